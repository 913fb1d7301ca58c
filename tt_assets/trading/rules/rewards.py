"""Reward schemes: what the agent is rewarded for, over B accounts at once.

A reward at session t is known at its close and recomputes from the equity curve and the target weights up to t.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tt_assets.trading.panel import Floats


class RewardScheme(ABC):
    """Reward per account and step. Holds what it needs of each account's past.

    A scheme of your own has a `name`, `reset` and `reward`. A reward may depend on what `reward` has been given since
    the last `reset` and on nothing else: a check recomputes it from the stored curve and weights.

    Parameters
    ----------
    accounts : number of accounts (B) that are stepped together.
    """

    name: ClassVar[str]

    def __init__(self, accounts: int) -> None:
        self.accounts = accounts

    @abstractmethod
    def reset(self, which: npt.NDArray[np.bool_]) -> None:
        """Forget the past of the accounts marked in `which` (B)."""

    @abstractmethod
    def reward(self, returns: Floats, drawdown: Floats, turnover: Floats) -> Floats:
        """Reward of one step, known at the close that ends it.

        Parameters
        ----------
        returns : close-to-close return of net worth, costs included (B), fraction.
        drawdown : fall from the peak so far (B), fraction in [0, 1].
        turnover : Σ over instruments of |Δ target weight| of the decision that led here (B), without cash.

        Returns
        -------
        Reward (B), in whatever unit the scheme has. NaN and infinity end a training or an episode with NotFinite.
        """


class RiskAware(RewardScheme):
    """Return over its own σ, minus 2.5 × drawdown, minus 0.05 × turnover, clipped to ±5.

    The return is in excess of cash, which earns nothing here. σ is the population standard deviation (ddof 0) of the
    account's last 64 returns, this one included, all of them while there are fewer, and never below 0.001.
    """

    name: ClassVar[str] = "risk_aware"

    WINDOW: ClassVar[int] = 64
    SIGMA_FLOOR: ClassVar[float] = 1e-3
    DRAWDOWN_PENALTY: ClassVar[float] = 2.5
    TURNOVER_PENALTY: ClassVar[float] = 0.05
    CLIP: ClassVar[float] = 5.0

    def __init__(self, accounts: int) -> None:
        super().__init__(accounts)
        # One ring of returns for all accounts: each takes one step at a time, so they share the place of the newest.
        # A place not filled yet is 0 and adds nothing to the sums of returns and of their squares.
        self._past = np.zeros((self.WINDOW, accounts))
        self._sums = np.zeros((2, accounts))
        self._known = np.zeros(accounts, dtype=np.int64)
        self._oldest = 0

    def reset(self, which: npt.NDArray[np.bool_]) -> None:
        """Empty the windows of returns."""
        self._past[:, which] = 0.0
        self._sums[:, which] = 0.0
        self._known[which] = 0

    def reward(self, returns: Floats, drawdown: Floats, turnover: Floats) -> Floats:
        """See the class. The sums over the window are carried on from step to step."""
        from tt_assets.trading import kernels

        place, self._oldest = self._oldest, (self._oldest + 1) % self.WINDOW
        return kernels.risk_aware(
            returns,
            drawdown,
            turnover,
            self._past,
            self._sums,
            self._known,
            place,
            self.SIGMA_FLOOR,
            self.DRAWDOWN_PENALTY,
            self.TURNOVER_PENALTY,
            self.CLIP,
        )


class SimpleReturns(RewardScheme):
    """The close-to-close return of net worth."""

    name: ClassVar[str] = "simple_returns"

    def reset(self, which: npt.NDArray[np.bool_]) -> None:
        """There is no past to forget."""

    def reward(self, returns: Floats, drawdown: Floats, turnover: Floats) -> Floats:
        """The return itself."""
        return returns


class DifferentialSharpe(RewardScheme):
    """What the latest return adds to an exponentially weighted Sharpe ratio.

    D = (B ΔA − ½ A ΔB) / (B − A²)^{3/2} with A and B the exponential means of the returns R and of R² before this
    step, ΔA = R − A, ΔB = R² − B; afterwards A += η ΔA, B += η ΔB. Moody, Wu, Liao, Saffell, "Performance functions
    and reinforcement learning for trading systems and portfolios", Journal of Forecasting 17 (1998), eq. 15.
    η is 1/64. B − A² is never taken below 0.001², where the formula blows up, and D is clipped to ±5.
    """

    name: ClassVar[str] = "differential_sharpe"

    ADAPTATION: ClassVar[float] = 1.0 / 64.0
    SIGMA_FLOOR: ClassVar[float] = 1e-3
    CLIP: ClassVar[float] = 5.0

    def __init__(self, accounts: int) -> None:
        super().__init__(accounts)
        self._mean = np.zeros(accounts)
        self._square = np.zeros(accounts)

    def reset(self, which: npt.NDArray[np.bool_]) -> None:
        """Both means start again from 0, so the first reward of an account is 0."""
        self._mean[which] = 0.0
        self._square[which] = 0.0

    def reward(self, returns: Floats, drawdown: Floats, turnover: Floats) -> Floats:
        """See the class."""
        more, more_square = returns - self._mean, returns * returns - self._square
        variance = np.maximum(self._square - self._mean * self._mean, self.SIGMA_FLOOR * self.SIGMA_FLOOR)
        raw = (self._square * more - 0.5 * self._mean * more_square) / (variance * np.sqrt(variance))
        self._mean += self.ADAPTATION * more
        self._square += self.ADAPTATION * more_square
        clipped: Floats = np.minimum(np.maximum(raw, -self.CLIP), self.CLIP)
        return clipped


class LogGrowth(RewardScheme):
    """100 × the logarithm of what net worth grew by: what is compounded, in percent."""

    name: ClassVar[str] = "log_growth"

    SMALLEST_RETURN: ClassVar[float] = -0.9
    """A return of less counts as this: the logarithm of a lost account is no number to learn from."""

    def reset(self, which: npt.NDArray[np.bool_]) -> None:
        """There is no past to forget."""

    def reward(self, returns: Floats, drawdown: Floats, turnover: Floats) -> Floats:
        """See the class."""
        growth: Floats = 100.0 * np.log1p(np.maximum(returns, self.SMALLEST_RETURN))
        return growth


class DrawdownRise(LogGrowth):
    """Log growth less half of what the drawdown rose by, in percent.

    The rise is penalised, not the level: an account that has fallen is not told to stay out for ever.
    """

    name: ClassVar[str] = "drawdown_rise"

    PENALTY: ClassVar[float] = 0.5

    def __init__(self, accounts: int) -> None:
        super().__init__(accounts)
        self._drawdown = np.zeros(accounts)

    def reset(self, which: npt.NDArray[np.bool_]) -> None:
        """An account starts at its peak."""
        self._drawdown[which] = 0.0

    def reward(self, returns: Floats, drawdown: Floats, turnover: Floats) -> Floats:
        """See the class."""
        rise = np.maximum(drawdown - self._drawdown, 0.0)
        self._drawdown[:] = drawdown
        return super().reward(returns, drawdown, turnover) - 100.0 * self.PENALTY * rise
