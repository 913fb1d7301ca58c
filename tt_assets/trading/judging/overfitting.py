"""How often the best of many tries falls behind on the other half: the probability of backtest overfitting.

Bailey, Borwein, López de Prado, Zhu, "The probability of backtest overfitting", Journal of Computational Finance 20
(2017), by combinatorially symmetric cross-validation: sessions in an even number of blocks, every half of them in turn
the one that chooses, the rest the one that judges.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from tt_assets.errors import UserError
from tt_assets.trading.panel import Floats

FEWEST_TRIALS = 10
"""Below it the rank of the chosen one is too coarse to say anything."""

BLOCKS = 16
SESSIONS_IN_A_BLOCK = 10


class CannotCrossValidate(UserError):
    """Too few trials or sessions."""


def probability_of_overfitting(returns: Floats, blocks: int = BLOCKS) -> float:
    """Share of the halves in which the try with the best Sharpe ratio is below the median of the others' half.

    Parameters
    ----------
    returns : net returns (T sessions × N trials), fractions, on the same sessions for all.
    blocks : even; sessions left over at the end are not used.

    Returns
    -------
    In [0, 1]: about 0.5 where nothing tells the tries apart, 0 where one is better throughout.

    Raises
    ------
    CannotCrossValidate : fewer than 10 trials, fewer than 10 sessions a block, or a return that is not a number.
    """
    sessions, trials = returns.shape
    if trials < FEWEST_TRIALS:
        raise CannotCrossValidate(
            f"{trials} trials with returns on the same sessions: the probability of overfitting is taken from "
            f"{FEWEST_TRIALS} on."
        )
    length = sessions // blocks
    if length < SESSIONS_IN_A_BLOCK:
        raise CannotCrossValidate(
            f"{sessions} sessions make {blocks} blocks of {length}; the probability of overfitting takes "
            f"{SESSIONS_IN_A_BLOCK} a block."
        )
    if not np.isfinite(returns).all():
        raise CannotCrossValidate("a return is not a number, so tries cannot be ranked.")
    parts = returns[: blocks * length].reshape(blocks, length, trials)
    # Sums of blocks, so that every half is one product with them.
    first, second = parts.sum(axis=1), (parts**2).sum(axis=1)
    halves = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, chosen in enumerate(combinations(range(blocks), blocks // 2)):
        halves[row, chosen] = 1.0
    count = length * blocks // 2
    inside = _sharpe(halves @ first, halves @ second, count)
    outside = _sharpe((1.0 - halves) @ first, (1.0 - halves) @ second, count)
    best = inside.argmax(axis=1)[:, None]
    theirs = np.take_along_axis(outside, best, axis=1)
    # Ties count half on either side, so that equal tries give one half.
    rank = (outside < theirs).sum(axis=1) + 0.5 * ((outside == theirs).sum(axis=1) - 1) + 1.0
    share = rank / (trials + 1.0)
    return float((share < 0.5).mean() + 0.5 * (share == 0.5).mean())


def _sharpe(first: Floats, second: Floats, count: int) -> Floats:
    """Ratios per session from sums and sums of squares; 0 where returns do not vary."""
    mean = first / count
    variance = np.maximum(second / count - mean**2, 0.0)
    ratio: Floats = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=variance > 1e-18)
    return ratio
