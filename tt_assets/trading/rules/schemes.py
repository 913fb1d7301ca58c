"""Action schemes: how the agent's raw output becomes target weights.

A scheme is a scale per session and instrument, worked out once from the panel, and a map from actions to convictions:
weight = conviction × scale, all weights of an account then shrunk together to the leverage limit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Floats, MarketPanel

if TYPE_CHECKING:
    from gymnasium import spaces


@dataclass(frozen=True)
class ActionScheme(ABC):
    """Raw actions (B × N) to target weights (B × N, fractions of net worth, Σ|w| ≤ max_leverage).

    A scheme of your own has a `name` and a `scale`; it may change `lowest`, `choices` and `convictions` too. B is the
    number of accounts, N of instruments, T of the panel's sessions.

    Parameters
    ----------
    max_leverage : largest Σ|w| of one account, fraction of net worth.
    risk_target : standard deviation of daily returns that one full position aims at, fraction.
    allow_shorts : whether weights may be negative.
    """

    name: ClassVar[str]

    max_leverage: float
    risk_target: float
    allow_shorts: bool

    @classmethod
    def from_config(cls, config: TradingConfig) -> ActionScheme:
        """The scheme under `config`."""
        return cls(max_leverage=config.max_leverage, risk_target=config.risk_target, allow_shorts=config.allow_shorts)

    @property
    def lowest(self) -> float:
        """Smallest raw action: −1 with shorts, else 0."""
        return -1.0 if self.allow_shorts else 0.0

    @property
    def choices(self) -> int:
        """How many actions an agent chooses from per instrument; 0 where actions are numbers."""
        return 0

    def space(self, instruments: int) -> spaces.Space[Any]:
        """The gymnasium space of an agent that trades so many `instruments` (N)."""
        from gymnasium import spaces

        if self.choices:
            return spaces.MultiDiscrete([self.choices] * instruments)
        return spaces.Box(self.lowest, 1.0, (instruments,), np.float32)

    def convictions(self, actions: Floats) -> Floats:
        """The fraction of a full position that the agent asks for: actions cut to their bounds.

        Parameters
        ----------
        actions : raw output of the agent (B × N), decided at the close of each account's session.

        Returns
        -------
        B × N in [lowest, 1]. NaN stays NaN, so that an agent that has come apart is seen and not traded.
        """
        from tt_assets.trading import kernels

        return kernels.clipped(actions, self.lowest, 1.0)

    @abstractmethod
    def scale(self, panel: MarketPanel) -> Floats:
        """Weight of a full position in each instrument at each session; worked out once for a panel.

        Parameters
        ----------
        panel : bars and channels of the span with its look-back. Row t of the result may read rows up to t only.

        Returns
        -------
        T × N, fractions of net worth, known at the close of t. Finite everywhere: 0 where an instrument cannot be held,
        as before it is listed.
        """

    def weights(self, actions: Floats, scale: Floats) -> Floats:
        """Conviction × scale, the weights of an account shrunk together where Σ|w| exceeds `max_leverage`.

        Parameters
        ----------
        actions : raw output of the agent (B × N).
        scale : rows of `scale` at each account's session (B × N), or one row for all of them (N).

        Returns
        -------
        Target weights (B × N), fractions of net worth at the deciding close. One NaN makes all of its account NaN.
        """
        from tt_assets.trading import kernels

        convictions = self.convictions(actions)
        if scale.shape != convictions.shape:
            scale = np.tile(scale, (len(convictions), 1))
        return kernels.weights_within(convictions, scale, self.max_leverage)


def scale_while_listed(scheme: ActionScheme, panel: MarketPanel, config: TradingConfig) -> Floats:
    """The scheme's scale, 0 where an instrument counts as delisted, whatever the scheme makes of it.

    Parameters
    ----------
    scheme : what sizes a full position.
    panel : bars and channels of the span with its look-back (T sessions × N instruments).
    config : its `stale_sessions` say after how many sessions without a bar an instrument counts as delisted.

    Returns
    -------
    T × N, fractions of net worth, known at the close of t.
    """
    return np.where(panel.gone(config.stale_sessions), 0.0, scheme.scale(panel))


@dataclass(frozen=True)
class VolatilityTarget(ActionScheme):
    """w = a · min(L, target / σ), σ the instrument's standard deviation of returns up to t (trailing 20 sessions).

    An instrument whose σ is not known yet, because it has fewer than 20 returns, has scale 0.
    """

    name: ClassVar[str] = "volatility_target"

    def scale(self, panel: MarketPanel) -> Floats:
        """min(L, target / σ); a σ of 0 gives L."""
        # σ is 0 for a price that has not moved in 20 sessions; infinity is then cut to the limit.
        with np.errstate(divide="ignore"):
            scale = np.minimum(self.max_leverage, self.risk_target / panel.sigma)
        return np.where(np.isfinite(panel.sigma) & panel.listed, scale, 0.0)


@dataclass(frozen=True)
class LongOnlyWeights(ActionScheme):
    """w = a, never negative: the agent's output is the weight, up to the leverage limit."""

    name: ClassVar[str] = "long_only_weights"

    @property
    def lowest(self) -> float:
        """0, whatever the setting of shorts."""
        return 0.0

    def scale(self, panel: MarketPanel) -> Floats:
        """The leverage limit where listed."""
        return np.where(panel.listed, self.max_leverage, 0.0)


@dataclass(frozen=True)
class Discrete(ActionScheme):
    """0 is flat, 1 long and, with shorts, 2 short: equal weights in what is held, up to the leverage limit together."""

    name: ClassVar[str] = "discrete"

    @property
    def choices(self) -> int:
        """Flat and long; short as well where shorts are allowed."""
        return 3 if self.allow_shorts else 2

    def convictions(self, actions: Floats) -> Floats:
        """0, 1 and 2 become 0, 1 and −1. NaN stays NaN."""
        return np.where(actions == 2.0, -1.0 if self.allow_shorts else 1.0, np.minimum(np.maximum(actions, 0.0), 1.0))

    def scale(self, panel: MarketPanel) -> Floats:
        """The leverage limit where listed; what is held together is shrunk to it."""
        return np.where(panel.listed, self.max_leverage, 0.0)
