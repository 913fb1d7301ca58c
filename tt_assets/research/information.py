"""How much a score says about the return after it: the information coefficient.

Nothing is annualised or averaged away. A coefficient stands with its standard error, so that a reader
sees when it cannot be told from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.research.panel import BarPanel, Grid

HORIZONS = (1, 2, 5, 10, 20)
"""Sessions ahead."""

FEWEST_INSTRUMENTS = 3
"""Scores and returns of one session that are ranked against each other; with fewer there is no coefficient."""


def information_coefficients(
    scores: pd.DataFrame, prices: pd.DataFrame, horizons: Sequence[int] = HORIZONS
) -> pd.DataFrame:
    """How well each signal ranks the returns after it.

    The coefficient is the mean over sessions of Spearman's rank correlation, across instruments, of the scores at t
    with close_{t+horizon} / close_t - 1. Where no session has `FEWEST_INSTRUMENTS`, it is the mean over instruments of
    the same correlation across sessions. The standard error is that of the mean, as if horizons did not overlap:
    divided by the root of the number of sessions over the horizon. It looks ahead, of course: it judges scores
    afterwards and feeds nothing.

    Parameters
    ----------
    scores : long scores: instrument, timestamp, signal_name, score.
    prices : long bars of the same instruments, reaching the longest horizon beyond the scores.
    horizons : sessions ahead.

    Returns
    -------
    signal_name, horizon (sessions), coefficient (-1 to 1), standard_error (NaN for fewer than two values), sessions
    (counted across instruments; 0 where they are too few), sorted by the first two.
    """
    grid = Grid.spanning(scores, prices)
    close = BarPanel.from_prices(prices, grid).close
    rows = []
    for name in sorted(scores["signal_name"].unique()):
        own = scores[scores["signal_name"] == name]
        wide = grid.frame(grid.cells(own), own["score"].to_numpy(dtype=np.float64))
        for horizon in horizons:
            after = close.shift(-horizon) / close - 1.0
            by_session = _correlations(wide, after, FEWEST_INSTRUMENTS)
            # Returns of a horizon overlap along time, so three horizons are the least to rank by.
            found = by_session if len(by_session) else _correlations(wide.T, after.T, 3 * horizon)
            independent = len(found) / horizon if len(by_session) else len(found)
            error = found.std(ddof=1) / np.sqrt(independent) if len(found) > 1 else np.nan
            mean = found.mean() if len(found) else np.nan
            rows.append((name, horizon, mean, error, len(by_session)))
    return pd.DataFrame(rows, columns=["signal_name", "horizon", "coefficient", "standard_error", "sessions"])


def _correlations(left: pd.DataFrame, right: pd.DataFrame, fewest: int) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of each row of `left` and `right` with at least `fewest` pairs of values."""
    both = left.notna().to_numpy() & right.notna().to_numpy()
    enough = both.sum(axis=1) >= fewest
    # Ranked within the pairs: a value without its partner would push the ranks of others apart.
    ranks = [frame.where(both).loc[enough].rank(axis=1).to_numpy() for frame in (left, right)]
    if not enough.any():
        return np.empty(0)
    a, b = (rank - np.nanmean(rank, axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt(np.nansum(a * a, axis=1) * np.nansum(b * b, axis=1))
    with np.errstate(invalid="ignore"):
        found = np.nansum(a * b, axis=1) / spread
    defined: npt.NDArray[np.float64] = found[spread > 0.0]  # a constant row has no rank correlation
    return defined
