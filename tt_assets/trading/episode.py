"""Rolling a trained agent over its window on the TensorTrade environment, and the record of it.

Decisions are taken at the closes of the window's sessions but the last, filled in the session after, and the account is
marked at every close. Rows carry timestamps inside the window only.
"""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.errors import NotEnoughHistory, PolicyMismatch
from tt_assets.trading.metrics import max_drawdown, sharpe_ratio, turnover
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.policy import TrainedPolicy
from tt_assets.trading.rationale import Rationale

CASH = "CASH"
"""The instrument of the row that holds what the target weights leave in cash."""


class StopReason(StrEnum):
    """Why an episode ended."""

    EVALUATION_COMPLETE = "evaluation_complete"
    TERMINATED = "terminated"


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """One evaluation episode: its row of tt_episode and the rows of its eight child tables.

    Each frame has the columns of its table in the table's order, without ids: `holdings` has `timestamp` where the
    table has `portfolio_id`, the others lack `episode_id`. `sharpe_ratio` is None where it is undefined.
    """

    start_time: pd.Timestamp
    end_time: pd.Timestamp
    stop_reason: StopReason
    max_drawdown: float
    sharpe_ratio: float | None
    turnover: float
    config_json: str
    observation: pd.DataFrame
    action: pd.DataFrame
    target_weights: pd.DataFrame
    order: pd.DataFrame
    portfolio: pd.DataFrame
    holdings: pd.DataFrame
    reward: pd.DataFrame
    equity_curve: pd.DataFrame


@dataclasses.dataclass
class _Log:
    """What happened, session by session, before it becomes frames."""

    observations: list[npt.NDArray[np.float32]] = dataclasses.field(default_factory=list)
    actions: list[Floats] = dataclasses.field(default_factory=list)
    targets: list[Floats] = dataclasses.field(default_factory=list)
    shares: list[Floats] = dataclasses.field(default_factory=list)
    prices: list[Floats] = dataclasses.field(default_factory=list)
    commissions: list[Floats] = dataclasses.field(default_factory=list)
    rewards: list[float] = dataclasses.field(default_factory=list)
    net_worth: list[float] = dataclasses.field(default_factory=list)
    cash: list[float] = dataclasses.field(default_factory=list)
    quantity: list[Floats] = dataclasses.field(default_factory=list)


def roll_episode(policy: TrainedPolicy, panel: MarketPanel, config: TradingConfig) -> EpisodeRecord:
    """Roll `policy` over the panel's span (from `panel.start`; what lies before is look-back).

    A window of one session has no decision: one equity row, `evaluation_complete`, no Sharpe ratio. Raises
    PolicyMismatch when the panel's instruments or channels, or settings that shape what the agent sees or does, differ
    from those of the training; UnsupportedOnTensorTrade for shorts; NotEnoughHistory for a window without a session;
    NotFinite when a weight, a reward or a net worth is not a number.
    """
    policy.check_fits(panel)
    _check_settings(policy.config, config)
    if len(panel.sessions) == panel.start:
        raise NotEnoughHistory("the window has no session yet; choose an earlier one.")

    from tt_assets.trading.tensortrade_env import session_env

    env = session_env(panel, config, policy.scaler)
    observation, _ = env.reset()
    log = _Log()

    def mark() -> None:
        log.net_worth.append(env.net_worth)
        log.cash.append(env.account.cash)
        log.quantity.append(env.account.quantity)

    mark()
    terminated, truncated = False, len(panel.sessions) - panel.start == 1
    while not (terminated or truncated):
        action = policy.act(observation)
        log.observations.append(observation)
        log.actions.append(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        log.targets.append(env.target)
        fills = env.fills
        log.shares.append(fills.shares)
        log.prices.append(fills.price)
        log.commissions.append(fills.commission)
        log.rewards.append(reward)
        mark()
    reason = StopReason.TERMINATED if terminated else StopReason.EVALUATION_COMPLETE
    return _record(policy, panel, config, log, reason, env.observation_names, env.not_filled)


_AGENT_SETTINGS = ("observation_window", "action_scheme", "risk_target", "max_leverage", "allow_shorts")


def _check_settings(trained: TradingConfig, asked: TradingConfig) -> None:
    """The settings that define what the network's inputs and outputs mean must be those of the training."""
    for name in _AGENT_SETTINGS:
        if getattr(trained, name) != getattr(asked, name):
            raise PolicyMismatch(
                f"the policy was trained with {name} {getattr(trained, name)}, the episode asks for "
                f"{getattr(asked, name)}; train the policy again or use its setting."
            )


def _record(
    policy: TrainedPolicy,
    panel: MarketPanel,
    config: TradingConfig,
    log: _Log,
    reason: StopReason,
    observation_names: tuple[str, ...],
    not_filled: int,
) -> EpisodeRecord:
    names, count = panel.instruments, len(panel.instruments)
    marked = panel.sessions[panel.start : panel.start + len(log.net_worth)].astype("datetime64[ns]")
    decided, filled = marked[:-1], marked[1:]
    net_worth = np.array(log.net_worth)
    actions, targets, shares, prices, commissions = (
        np.array(rows, dtype=np.float64).reshape(len(decided), count)
        for rows in (log.actions, log.targets, log.shares, log.prices, log.commissions)
    )
    session, column = np.nonzero(shares)
    sizes = shares[session, column]
    bars = np.isfinite(panel.close[panel.start : panel.start + len(marked)])
    listed = panel.listed[panel.start : panel.start + len(marked)]
    episode_config = {
        "trading": dataclasses.asdict(config),
        "policy_sha256": policy.sha256,
        "policy_seed": policy.seed,
        "engine": "tensortrade",
        "sessions": len(marked),
        "missing_bars": int((listed & ~bars).sum()),
        "orders_not_filled": not_filled,
    }
    return EpisodeRecord(
        start_time=pd.Timestamp(marked[0]),
        end_time=pd.Timestamp(marked[-1]),
        stop_reason=reason,
        max_drawdown=max_drawdown(net_worth),
        sharpe_ratio=sharpe_ratio(net_worth),
        turnover=turnover(targets),
        config_json=json.dumps(episode_config, sort_keys=True, separators=(",", ":")),
        observation=pd.DataFrame(
            {"timestamp": decided, "features": [_named_values(observation_names, row) for row in log.observations]}
        ),
        action=pd.DataFrame(_per_instrument(decided, names) | {"action_value": actions.ravel()}),
        target_weights=_target_weights(panel, config, policy, decided, actions, targets),
        order=pd.DataFrame(
            {
                "timestamp": filled[session],
                "instrument": np.array(names, dtype=object)[column],
                "order_type": np.where(sizes > 0.0, "buy", "sell").astype(object),
                "size": np.abs(sizes),
                "price": prices[session, column],
                "commission": commissions[session, column],
            }
        ),
        portfolio=pd.DataFrame({"timestamp": marked, "net_worth": net_worth, "cash_balance": np.array(log.cash)}),
        holdings=pd.DataFrame(_per_instrument(marked, names) | {"quantity": np.array(log.quantity).ravel()}),
        reward=pd.DataFrame({"timestamp": filled, "reward_value": np.array(log.rewards, dtype=np.float64)}),
        equity_curve=pd.DataFrame({"timestamp": marked, "net_worth": net_worth}),
    )


def _per_instrument(timestamps: npt.NDArray[np.datetime64], names: tuple[str, ...]) -> dict[str, npt.NDArray]:
    return {
        "timestamp": np.repeat(timestamps, len(names)),
        "instrument": np.tile(np.array(names, dtype=object), len(timestamps)),
    }


def _target_weights(
    panel: MarketPanel,
    config: TradingConfig,
    policy: TrainedPolicy,
    decided: npt.NDArray[np.datetime64],
    actions: Floats,
    targets: Floats,
) -> pd.DataFrame:
    """Instruments and CASH, so that the rows of a session sum to 1."""
    rationale = Rationale(panel, config, policy.scaler)
    weights = np.concatenate([targets, 1.0 - targets.sum(axis=1, keepdims=True)], axis=1)
    reasons = [
        sentence
        for step, (action, target) in enumerate(zip(actions, targets, strict=True))
        for sentence in rationale.sentences(panel.start + step, action, target)
    ]
    return pd.DataFrame(
        _per_instrument(decided, (*panel.instruments, CASH))
        | {
            "target_weight": weights.ravel(),
            "strategy": np.full(weights.size, config.action_scheme, dtype=object),
            "rationale": np.array(reasons, dtype=object),
        }
    )


def _named_values(names: tuple[str, ...], observation: npt.NDArray[np.float32]) -> str:
    """A JSON object of the observation; each number is the shortest that reads back as the same float32."""
    # `float(str(value))` turns the float32's own shortest digits into a float that json writes with those digits.
    return json.dumps(
        dict(zip(names, map(float, observation.astype(str)), strict=True)), separators=(",", ":"), allow_nan=False
    )
