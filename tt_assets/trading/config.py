"""The settings of one training and its episodes, and their exact JSON form.

One decision: the JSON form is strict in both directions. An unknown or missing key is an error, so a stored agent is
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


class Execution(StrEnum):
    """When a decision taken at the close of session t is filled."""

    NEXT_OPEN = "next_open"
    NEXT_CLOSE = "next_close"


@dataclasses.dataclass(frozen=True)
class TradingConfig:
    """How an account trades. Defaults are those of the platform.

    initial_cash: USD at the start of an episode.
    commission_bps, slippage_bps: basis points of notional and of price, always against the trader.
    execution: fill at the open or at the close of the session after the decision.
    observation_window: sessions of channels the agent sees, the deciding one included.
    action_scheme, reward_scheme: names in the registries of `schemes` and `rewards`.
    max_drawdown: an episode stops when net worth has fallen by this fraction of its peak.
    min_net_worth: an episode stops at or below this net worth, USD.
    risk_target: daily standard deviation of returns that one full position aims at.
    max_leverage: largest sum of absolute weights.
    allow_shorts: weights may be negative; the simulator only.
    train_steps: decisions of all accounts together in one training, rounded up to whole rollouts.
    """

    initial_cash: float = 10_000.0
    commission_bps: float = 10.0
    slippage_bps: float = 0.0
    execution: Execution = Execution.NEXT_OPEN
    observation_window: int = 10
    action_scheme: str = "volatility_target"
    reward_scheme: str = "risk_aware"
    max_drawdown: float = 0.2
    min_net_worth: float = 0.0
    risk_target: float = 0.01
    max_leverage: float = 1.0
    allow_shorts: bool = False
    train_steps: int = 20_000

    def __post_init__(self) -> None:
        for name, kind in _NUMBERS.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), kind))
        if not isinstance(self.allow_shorts, bool):
            raise ConfigError(f"allow_shorts is {self.allow_shorts!r}; give true or false.")
        try:
            object.__setattr__(self, "execution", Execution(self.execution))
        except ValueError:
            known = ", ".join(Execution)
            raise ConfigError(f"execution {str(self.execution)!r} is unknown; known are: {known}.") from None
        for name, holds, rule in (
            ("initial_cash", self.initial_cash > 0, "more than 0 USD"),
            ("commission_bps", 0 <= self.commission_bps < 10_000, "at least 0 and below 10000"),
            ("slippage_bps", 0 <= self.slippage_bps < 10_000, "at least 0 and below 10000"),
            ("observation_window", self.observation_window >= 1, "at least 1 session"),
            ("max_drawdown", 0 < self.max_drawdown <= 1, "above 0 and at most 1"),
            ("min_net_worth", 0 <= self.min_net_worth < self.initial_cash, "at least 0 and below initial_cash"),
            ("risk_target", self.risk_target > 0, "more than 0"),
            ("max_leverage", 0 < self.max_leverage <= 1, "above 0 and at most 1"),
            ("train_steps", self.train_steps >= 1, "at least 1"),
        ):
            if not holds:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give {rule}.")

    @property
    def lookback_sessions(self) -> int:
        """Sessions before the first decision that a panel should cover, so that nothing warms up inside the span."""
        return max(self.observation_window - 1, SIGMA_SESSIONS)

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
    "initial_cash": float,
    "commission_bps": float,
    "slippage_bps": float,
    "observation_window": int,
    "max_drawdown": float,
    "min_net_worth": float,
    "risk_target": float,
    "max_leverage": float,
    "train_steps": int,
}


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
