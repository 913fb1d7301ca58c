"""Stoppers: when an account is closed before its data ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Booleans, Floats


class Stopper(ABC):
    """A rule over net worth and drawdown at a close. One of your own has a `name`, `from_config` and `stops`."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def from_config(cls, config: TradingConfig) -> Stopper:
        """The rule under `config`."""

    @abstractmethod
    def stops(self, net_worth: Floats, drawdown: Floats) -> Booleans:
        """Which accounts are closed at this close.

        Parameters
        ----------
        net_worth : at the close (B), USD.
        drawdown : fall from the peak so far (B), fraction in [0, 1].

        Returns
        -------
        B booleans. True ends the account's episode as terminated: it keeps its net worth and decides no more.
        """


@dataclass(frozen=True)
class DrawdownStopper(Stopper):
    """Stops at a fall of `limit` from the peak."""

    name: ClassVar[str] = "max_drawdown"

    limit: float

    @classmethod
    def from_config(cls, config: TradingConfig) -> DrawdownStopper:
        """The limit is `max_drawdown`."""
        return cls(config.max_drawdown)

    def stops(self, net_worth: Floats, drawdown: Floats) -> Booleans:
        """drawdown ≥ limit."""
        return drawdown >= self.limit


@dataclass(frozen=True)
class NetWorthFloor(Stopper):
    """Stops at or below `floor` USD."""

    name: ClassVar[str] = "min_net_worth"

    floor: float

    @classmethod
    def from_config(cls, config: TradingConfig) -> NetWorthFloor:
        """The floor is `min_net_worth`."""
        return cls(config.min_net_worth)

    def stops(self, net_worth: Floats, drawdown: Floats) -> Booleans:
        """net worth ≤ floor."""
        return net_worth <= self.floor
