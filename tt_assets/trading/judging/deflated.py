"""How far a Sharpe ratio can be believed: given its length, its tails, and how many were tried.

Bailey, López de Prado, "The Sharpe ratio efficient frontier", Journal of Risk 15 (2012): probabilistic Sharpe ratio and
minimum track record length. The same, "The deflated Sharpe ratio", Journal of Portfolio Management 40 (2014): the best
of N tries on noise has a ratio of its own, and only what lies above it is worth anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tt_assets.errors import UserError
from tt_assets.trading.metrics import SESSIONS_PER_YEAR
from tt_assets.trading.panel import Floats

NORMAL = NormalDist()


class NoSharpeRatio(UserError):
    """Returns that have no Sharpe ratio."""


@dataclass(frozen=True)
class SharpeRatio:
    """A Sharpe ratio as it was measured.

    Parameters
    ----------
    ratio : per session, not annualised.
    sessions : returns it was measured on.
    skewness, kurtosis : of these returns; a normal distribution has 0 and 3.
    """

    ratio: float
    sessions: int
    skewness: float
    kurtosis: float

    @property
    def annual(self) -> float:
        """Times √252."""
        return self.ratio * math.sqrt(SESSIONS_PER_YEAR)

    @property
    def spread(self) -> float:
        """Standard deviation of the estimate times √(sessions − 1): 1 for a ratio of 0 and normal returns."""
        # Kurtosis is at least 1 + skewness², so this is (1 − skewness · ratio / 2)² or more; it is divided by.
        return math.sqrt(max(1.0 - self.skewness * self.ratio + (self.kurtosis - 1.0) / 4.0 * self.ratio**2, 1e-12))


def measured(excess: Floats) -> SharpeRatio:
    """The Sharpe ratio of simple returns over cash (T), fractions.

    Raises
    ------
    NoSharpeRatio : fewer than three returns, one that is not a number, or returns that do not vary.
    """
    from scipy import stats  # a second of processor time, which only a judgement has to pay

    if len(excess) < 3:
        raise NoSharpeRatio(f"{len(excess)} returns have no Sharpe ratio to speak of; it takes 3 at least.")
    if not np.isfinite(excess).all():
        raise NoSharpeRatio("a return is not a number, so there is no Sharpe ratio.")
    sigma = float(excess.std(ddof=1))
    if np.ptp(excess) == 0.0 or sigma <= 0.0:
        raise NoSharpeRatio("the returns do not vary, so the Sharpe ratio is undefined.")
    return SharpeRatio(
        ratio=float(excess.mean()) / sigma,
        sessions=len(excess),
        skewness=float(stats.skew(excess)),
        kurtosis=float(stats.kurtosis(excess, fisher=False)),
    )


def probabilistic(sharpe: SharpeRatio, benchmark: float = 0.0) -> float:
    """Probabilistic Sharpe ratio: the chance that the true ratio lies above `benchmark`. Bailey, López de Prado (2012).

    Parameters
    ----------
    sharpe : as measured.
    benchmark : ratio per session, not annualised.

    Returns
    -------
    A probability.
    """
    z = (sharpe.ratio - benchmark) * math.sqrt(sharpe.sessions - 1) / sharpe.spread
    return NORMAL.cdf(z)


def best_of_noise(trials: int, variance: float) -> float:
    """The largest ratio that so many tries without skill are expected to have. Bailey, López de Prado (2014).

    Parameters
    ----------
    trials : independent tries.
    variance : of their ratios, per session.

    Returns
    -------
    A ratio per session; 0 for fewer than two tries.
    """
    if trials < 2:
        return 0.0
    quantile = NORMAL.inv_cdf
    best = (1.0 - np.euler_gamma) * quantile(1.0 - 1.0 / trials) + np.euler_gamma * quantile(
        1.0 - 1.0 / (trials * math.e)
    )
    return float(math.sqrt(variance) * best)


def deflated(sharpe: SharpeRatio, trials: int, ratios: Sequence[float] = ()) -> float:
    """Probabilistic ratio against the best that `trials` tries on noise would have had.

    Parameters
    ----------
    sharpe : of the subject.
    trials : configurations that were counted, the subject's included.
    ratios : per session, of those that have returns; NaN is left out. What noise alone makes of them, spread² /
        (sessions − 1), is the least their variance is taken for: a few tries that resemble each other must not make
        luck look small.

    Returns
    -------
    A probability.
    """
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    seen = float(np.var(known, ddof=1)) if len(known) > 1 else 0.0
    variance = max(seen, sharpe.spread**2 / (sharpe.sessions - 1))
    return probabilistic(sharpe, best_of_noise(trials, variance))


def fewest_sessions(sharpe: SharpeRatio, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Minimum track record: sessions after which this ratio would be above `benchmark`. Bailey, López de Prado (2012).

    Parameters
    ----------
    sharpe : as measured.
    benchmark : ratio per session, not annualised.
    confidence : probability that is asked for.

    Returns
    -------
    Sessions; infinite where the ratio is not above `benchmark`.
    """
    if sharpe.ratio <= benchmark:
        return math.inf
    z = NORMAL.inv_cdf(confidence)
    return 1.0 + (sharpe.spread * z / (sharpe.ratio - benchmark)) ** 2
