"""The record of one episode: what happened, session by session, as the rows of the nine episode tables.

Rows carry timestamps inside the window only: decisions and marks at its closes, fills and rewards one session later.
The decision at the last close, whose fill is not known yet, has no part in the figures of the episode.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.watchlist_format import CASH
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.metrics import max_drawdown, sharpe_ratio, turnover
from tt_assets.trading.panel import Booleans, Floats, MarketPanel


class StopReason(StrEnum):
    """Why an episode ended."""

    EVALUATION_COMPLETE = "evaluation_complete"
    TERMINATED = "terminated"


class OrderType(StrEnum):
    """What an order was. Those of delisted instruments closed the position at the last close, without commission."""

    BUY = "buy"
    SELL = "sell"
    DELISTED_BUY = "delisted_buy"
    DELISTED_SELL = "delisted_sell"


BOUGHT = (OrderType.BUY, OrderType.DELISTED_BUY)
"""The types that add shares."""


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """One evaluation episode: its row of tt_episode and the rows of its eight child tables.

    Each frame has the columns of its table in the table's order, without ids: `holdings` has `timestamp` where the
    table has `portfolio_id`, the others lack `episode_id`.

    Parameters
    ----------
    start_time, end_time : sessions (market time, 00:00, no zone) of the first and the last mark.
    stop_reason : why it ended.
    max_drawdown : largest fall from a peak, fraction in [0, 1].
    sharpe_ratio : annualised; None where it is undefined.
    turnover : mean over filled decisions and instruments of |Δ target weight|, fraction.
    config_json : settings and who decided, as JSON.
    observation, action, target_weights : a decision per session, the one at the last close included.
    order : one row per fill, in the session of the fill: shares, USD per share, commission in USD.
    portfolio, holdings : USD, and shares, at every close.
    reward : of each decision, in the session it was filled in. equity_curve : USD at every close.
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
class EpisodeLog:
    """What happened, session by session, before it becomes frames: an entry per decision, per fill or per mark.

    Parameters
    ----------
    observations : what was seen (size, float32). actions : raw output (N). targets : weights (N); each per decision.
    shares, prices, commissions : signed shares, USD per share and USD (N); per fill.
    closed : which fills closed a delisted position (N); per fill. rewards : per fill.
    net_worth, cash : USD; per mark. quantity : shares (N); per mark.
    reasons : N + 1 sentences per decision, cash last.
    """

    observations: list[npt.NDArray[np.float32]] = dataclasses.field(default_factory=list)
    actions: list[Floats] = dataclasses.field(default_factory=list)
    targets: list[Floats] = dataclasses.field(default_factory=list)
    shares: list[Floats] = dataclasses.field(default_factory=list)
    prices: list[Floats] = dataclasses.field(default_factory=list)
    commissions: list[Floats] = dataclasses.field(default_factory=list)
    closed: list[Booleans] = dataclasses.field(default_factory=list)
    rewards: list[float] = dataclasses.field(default_factory=list)
    net_worth: list[float] = dataclasses.field(default_factory=list)
    cash: list[float] = dataclasses.field(default_factory=list)
    quantity: list[Floats] = dataclasses.field(default_factory=list)
    reasons: list[str] = dataclasses.field(default_factory=list)


def episode_record(
    panel: MarketPanel,
    config: TradingConfig,
    log: EpisodeLog,
    reason: StopReason,
    strategy: str,
    observation_names: tuple[str, ...],
    entries: Mapping[str, str | int | float | None],
) -> EpisodeRecord:
    """The rows of what `log` says happened.

    Parameters
    ----------
    panel : bars of the window with its look-back; marks are those of its sessions from `start` on.
    config : goes into config_json whole.
    log : at least one mark.
    reason : why it ended.
    strategy : what tt_target_weights and config_json call who decided.
    observation_names : name of each element of an observation.
    entries : further keys of config_json.
    """
    names, count = panel.instruments, len(panel.instruments)
    marked = panel.sessions[panel.start : panel.start + len(log.net_worth)].astype("datetime64[ns]")
    decided, filled = marked[: len(log.actions)], marked[1:]
    net_worth = np.array(log.net_worth)
    actions, targets, shares, prices, commissions = (
        np.array(rows, dtype=np.float64).reshape(-1, count)
        for rows in (log.actions, log.targets, log.shares, log.prices, log.commissions)
    )
    session, column = np.nonzero(shares)
    sizes = shares[session, column]
    closed = np.array(log.closed, dtype=bool).reshape(shares.shape)[session, column]
    sides = np.where(sizes > 0.0, OrderType.BUY, OrderType.SELL)
    delisted = np.where(sizes > 0.0, OrderType.DELISTED_BUY, OrderType.DELISTED_SELL)
    # Counted only once listed: a session before the first bar is not a missing one.
    bars = np.isfinite(panel.close[panel.start : panel.start + len(marked)])
    listed = panel.listed[panel.start : panel.start + len(marked)]
    episode_config = {
        "trading": config.model_dump(),
        "strategy": strategy,
        "sessions": len(marked),
        "missing_bars": int((listed & ~bars).sum()),
        **entries,
    }
    return EpisodeRecord(
        start_time=pd.Timestamp(marked[0]),
        end_time=pd.Timestamp(marked[-1]),
        stop_reason=reason,
        max_drawdown=max_drawdown(net_worth),
        sharpe_ratio=sharpe_ratio(net_worth),
        turnover=turnover(targets[: len(filled)]),
        config_json=json.dumps(episode_config, sort_keys=True, separators=(",", ":")),
        observation=pd.DataFrame(
            {"timestamp": decided, "features": [_named_values(observation_names, row) for row in log.observations]}
        ),
        action=pd.DataFrame(_per_instrument(decided, names) | {"action_value": actions.ravel()}),
        target_weights=_target_weights(panel.instruments, strategy, decided, targets, log.reasons),
        order=pd.DataFrame(
            {
                "timestamp": filled[session],
                "instrument": np.array(names, dtype=object)[column],
                "order_type": np.where(closed, delisted, sides).astype(object),
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


def _per_instrument(timestamps: npt.NDArray[np.datetime64], names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    return {
        "timestamp": np.repeat(timestamps, len(names)),
        "instrument": np.tile(np.array(names, dtype=object), len(timestamps)),
    }


def _target_weights(
    names: tuple[str, ...],
    strategy: str,
    decided: npt.NDArray[np.datetime64],
    targets: Floats,
    reasons: Sequence[str],
) -> pd.DataFrame:
    """Instruments and CASH, so that the rows of a session sum to 1."""
    weights = np.concatenate([targets, 1.0 - targets.sum(axis=1, keepdims=True)], axis=1)
    return pd.DataFrame(
        _per_instrument(decided, (*names, CASH))
        | {
            "target_weight": weights.ravel(),
            "strategy": np.full(weights.size, strategy, dtype=object),
            "rationale": np.array(reasons, dtype=object),
        }
    )


def _named_values(names: tuple[str, ...], observation: npt.NDArray[np.float32]) -> str:
    """A JSON object of the observation; each number is the shortest that reads back as the same float32."""
    # `float(str(value))` turns the float32's own shortest digits into a float that json writes with those digits.
    return json.dumps(
        dict(zip(names, map(float, observation.astype(str)), strict=True)), separators=(",", ":"), allow_nan=False
    )
