"""Intervals for figures of dependent returns: the stationary bootstrap.

Politis, Romano, "The stationary bootstrap", Journal of the American Statistical Association 89 (1994): blocks of
random, geometrically distributed length, wrapped around the end, so that resampled returns keep their short memory.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tt_assets.trading.metrics import SESSIONS_PER_YEAR
from tt_assets.trading.panel import Floats

MEAN_BLOCK = 10
"""Mean length of a block, sessions: two weeks."""

DRAWS = 1_000
COVERAGE = 0.95


def stationary_indices(sessions: int, draws: int, mean_block: float, seed: int) -> npt.NDArray[np.int64]:
    """Rows to resample, each draw a walk through 0 … sessions−1 that jumps with chance 1 / mean_block.

    Parameters
    ----------
    sessions : length of the series and of each draw.
    draws : how many series to draw.
    mean_block : mean length of a block, sessions.
    seed : of the generator; equal seeds give equal rows.

    Returns
    -------
    draws × sessions, row numbers of the series; a block that passes the end goes on at the beginning.
    """
    random = np.random.default_rng(seed)
    jumps = random.random((draws, sessions)) < 1.0 / mean_block
    jumps[:, 0] = True
    # Between two jumps the row moves on by one: the landing of the last jump plus the distance from it.
    place = np.arange(sessions)
    jumped_at = np.maximum.accumulate(np.where(jumps, place, 0), axis=1)
    landed = random.integers(0, sessions, size=(draws, sessions))
    rows: npt.NDArray[np.int64] = (np.take_along_axis(landed, jumped_at, axis=1) + place - jumped_at) % sessions
    return rows


@lru_cache(maxsize=4)
def resampling_counts(sessions: int, draws: int, mean_block: float, seed: int) -> Floats:
    """How often each draw has each session: one matrix product then gives the sums of every draw.

    Parameters
    ----------
    sessions, draws, mean_block, seed : as in `stationary_indices`.

    Returns
    -------
    draws × sessions, each row summing to `sessions`. Kept, since all strategies of a judgement are drawn on the same
    sessions, and therefore read-only.
    """
    rows = stationary_indices(sessions, draws, mean_block, seed)
    counts = np.zeros((draws, sessions))
    np.add.at(counts, (np.arange(draws)[:, None], rows), 1.0)
    counts.setflags(write=False)
    return counts


def sharpe_interval(
    returns: Floats, *, draws: int = DRAWS, mean_block: float = MEAN_BLOCK, coverage: float = COVERAGE, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile interval of the annual Sharpe ratio, the median over the seeds.

    Parameters
    ----------
    returns : close-to-close returns (sessions × seeds), fractions, without NaN. The same sessions are drawn for all
        seeds, since they live in the same market.
    draws, mean_block : as in `stationary_indices`.
    coverage : of the interval, a fraction: 0.95 leaves 2.5 % on either side.
    seed : of the draws; equal arguments give equal intervals.

    Returns
    -------
    Low and high end, or None where the ratio is undefined: fewer than two sessions, or returns of a seed that do not
    vary.
    """
    if len(returns) < 2 or (np.ptp(returns, axis=0) == 0.0).any():
        return None
    sessions, counts = len(returns), resampling_counts(len(returns), draws, mean_block, seed)
    # Returns are centred first, so that the difference of two sums of squares keeps its digits.
    centre = returns.mean(axis=0)
    apart = returns - centre
    mean = counts @ apart / sessions
    variance = (counts @ apart**2 / sessions - mean**2) * sessions / (sessions - 1)
    sigma = np.sqrt(np.maximum(variance, 0.0))
    # A draw whose returns do not vary (one quiet block over and over) has no ratio; it counts as 0.
    ratios = np.divide(mean + centre, sigma, out=np.zeros_like(mean), where=sigma > 1e-12 * np.abs(returns).max())
    tail = (1.0 - coverage) / 2.0
    low, high = np.quantile(np.median(ratios, axis=1) * math.sqrt(SESSIONS_PER_YEAR), [tail, 1.0 - tail])
    return float(low), float(high)
