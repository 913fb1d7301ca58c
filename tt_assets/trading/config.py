"""The settings of one training and its episodes, and their exact JSON form.

The JSON form is strict in both directions. An unknown or missing key is an error, so a stored agent is
never rebuilt under settings that it was not trained with.
"""

from __future__ import annotations

import dataclasses
import json
import math
from enum import StrEnum
from typing import Any

from tt_assets.trading.errors import ConfigError

SIGMA_SESSIONS = 20
"""Sessions over which an instrument's standard deviation of returns is taken."""


SMALLEST_ORDER_USD = 0.01
"""An order of less than a cent at the deciding close is never sent."""


class Execution(StrEnum):
    """When a decision taken at the close of session t is filled."""

    NEXT_OPEN = "next_open"
    NEXT_CLOSE = "next_close"


class TrainingSpan(StrEnum):
    """Where the training span of a walk-forward window begins."""

    ROLLING = "rolling"
    ANCHORED = "anchored"


@dataclasses.dataclass(frozen=True)
class TradingConfig:
    """How an account trades and its agent is trained. Defaults are those of the platform.

    initial_cash: USD at the start of an episode.
    cost_model: name of the cost model (see `costs`).
    commission_bps, slippage_bps: basis points of notional and of price, always against the trader.
    commission_per_share: USD per share, on top. commission_minimum: least commission of one order, USD.
    price_impact: slippage of `volume_share` at an order of a session's whole volume, fraction of price.
    volume_limit: largest share of a session's volume that one order fills, the rest is not filled; 0 is no limit.
    cost_multiple: every cost, the borrow fee too, times this; to judge how much a result hangs on them.
    minimum_trade: orders worth less at the deciding close are not sent, USD; a cent at least.
    whole_shares: orders are whole shares, cut towards zero.
    execution: fill at the open or at the close of the session after the decision.
    observation_window: sessions of channels the agent sees, the deciding one included.
    action_scheme, reward_scheme, stoppers: names in the registries of `schemes`, `rewards` and `stoppers`.
    max_drawdown: `max_drawdown` stops when net worth has fallen by this fraction of its peak.
    min_net_worth: `min_net_worth` stops at or below this net worth, USD.
    risk_target: daily standard deviation of returns that one full position aims at.
    max_leverage: largest sum of absolute weights.
    allow_shorts: weights may be negative; the simulator only.
    borrow_bps: fee on the market value of shares held short at a close, basis points a year of 252 sessions.
    maintenance_margin: least net worth over the market value of shorts; below it they are covered.
    train_steps: decisions of all accounts together in one training, rounded up to whole rollouts.
    training_span: whether training reads a fixed number of windows back or everything since the first bar.
    validation_sessions: sessions at the end of the training span on which the checkpoint is chosen; 0 takes the last.
    embargo_sessions: sessions between the training span and the traded window that nothing is learned from; at
    least the sessions that an observation looks back over.
    trading_modules: modules with schemes, rewards, stoppers and cost models of the user's own.
    """

    initial_cash: float = 10_000.0
    cost_model: str = "proportional"
    commission_bps: float = 10.0
    commission_per_share: float = 0.0
    commission_minimum: float = 0.0
    slippage_bps: float = 0.0
    price_impact: float = 0.1
    volume_limit: float = 0.0
    cost_multiple: float = 1.0
    minimum_trade: float = 0.01
    whole_shares: bool = False
    execution: Execution = Execution.NEXT_OPEN
    observation_window: int = 10
    action_scheme: str = "volatility_target"
    reward_scheme: str = "risk_aware"
    stoppers: tuple[str, ...] = ("max_drawdown", "min_net_worth")
    max_drawdown: float = 0.2
    min_net_worth: float = 0.0
    risk_target: float = 0.01
    max_leverage: float = 1.0
    allow_shorts: bool = False
    borrow_bps: float = 50.0
    maintenance_margin: float = 0.3
    train_steps: int = 20_000
    training_span: TrainingSpan = TrainingSpan.ROLLING
    validation_sessions: int = 42
    embargo_sessions: int = 29
    trading_modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in _NUMBERS.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), kind))
        for name in ("allow_shorts", "whole_shares"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give true or false.")
        for name in ("stoppers", "trading_modules"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        choices: dict[str, type[StrEnum]] = {"execution": Execution, "training_span": TrainingSpan}
        for name, known in choices.items():
            object.__setattr__(self, name, _choice(name, getattr(self, name), known))
        for name, holds, rule in (
            ("initial_cash", self.initial_cash > 0, "more than 0 USD"),
            ("commission_bps", 0 <= self.commission_bps < 10_000, "at least 0 and below 10000"),
            ("commission_per_share", self.commission_per_share >= 0, "at least 0 USD"),
            ("commission_minimum", self.commission_minimum >= 0, "at least 0 USD"),
            ("slippage_bps", 0 <= self.slippage_bps < 10_000, "at least 0 and below 10000"),
            ("price_impact", 0 <= self.price_impact < 1, "at least 0 and below 1"),
            ("volume_limit", 0 <= self.volume_limit <= 1, "at least 0 and at most 1"),
            ("cost_multiple", 0 <= self.cost_multiple <= 100, "at least 0 and at most 100"),
            ("minimum_trade", self.minimum_trade >= SMALLEST_ORDER_USD, f"at least {SMALLEST_ORDER_USD} USD"),
            ("observation_window", self.observation_window >= 1, "at least 1 session"),
            ("max_drawdown", 0 < self.max_drawdown <= 1, "above 0 and at most 1"),
            ("min_net_worth", 0 <= self.min_net_worth < self.initial_cash, "at least 0 and below initial_cash"),
            ("risk_target", self.risk_target > 0, "more than 0"),
            ("max_leverage", 0 < self.max_leverage <= 1, "above 0 and at most 1"),
            ("borrow_bps", 0 <= self.borrow_bps < 10_000, "at least 0 and below 10000"),
            ("maintenance_margin", 0 <= self.maintenance_margin <= 1, "at least 0 and at most 1"),
            ("train_steps", self.train_steps >= 1, "at least 1"),
            ("validation_sessions", self.validation_sessions >= 0, "at least 0"),
            ("embargo_sessions", self.embargo_sessions >= 0, "at least 0"),
        ):
            if not holds:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give {rule}.")

    @property
    def lookback_sessions(self) -> int:
        """Sessions before the first decision that a panel should cover, so that nothing warms up inside the span."""
        return max(self.observation_window - 1, SIGMA_SESSIONS)

    def reach(self, longest_lookback: int) -> int:
        """Sessions before a decision that an observation reads, when its channels look back `longest_lookback`."""
        return max(self.observation_window - 1 + longest_lookback, SIGMA_SESSIONS)

    def to_json(self) -> str:
        """Compact JSON with sorted keys; floats are written so that they read back exactly."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TradingConfig:
        """The config written by `to_json`. A key too many, too few or a value out of range raises ConfigError."""
        try:
            loaded = json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"the trading config is not JSON ({error}); write it with TradingConfig.to_json."
            ) from None
        if not isinstance(loaded, dict):
            raise ConfigError(f"the trading config is {text[:60]!r}; give a JSON object.")
        return cls.from_mapping(loaded)

    @classmethod
    def from_mapping(cls, loaded: dict[str, Any]) -> TradingConfig:
        """As `from_json`, from the parsed object."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(loaded) - known):
            raise ConfigError(f"unknown trading setting {', '.join(unknown)}; known are: {', '.join(sorted(known))}.")
        if missing := sorted(known - set(loaded)):
            raise ConfigError(f"the trading config lacks {', '.join(missing)}; it must name every setting.")
        return cls(**loaded)


_NUMBERS: dict[str, type[int] | type[float]] = {
    field.name: int if isinstance(field.default, int) else float
    for field in dataclasses.fields(TradingConfig)
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
}


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(part, str) for part in value):
        raise ConfigError(f"{name} is {value!r}; give a list of names.")
    return tuple(value)


def _choice(name: str, value: Any, kind: type[StrEnum]) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name} {str(value)!r} is unknown; known are: {', '.join(kind)}.") from None


def _number(name: str, value: Any, kind: type[int] | type[float]) -> int | float:
    """`value` as `kind` without loss, so that 1 and 1.0 give the same JSON and the same sha256."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value != kind(value)
    ):
        wanted = "a whole number" if kind is int else "a finite number"
        raise ConfigError(f"{name} is {value!r}; give {wanted}.")
    return kind(value)
