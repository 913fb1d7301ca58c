"""Rolling statistics whose value at t is the same bits wherever the history starts.

A window is added up lag by lag, newest first, in the same order for every t. pandas' rolling, TA-Lib's
running sums, Wilder's smoothing and exponential means carry rounding (or true memory) from the first row on, so that a
cell computed from its look-back alone would differ from the same cell in a backfill.

Every function takes and returns sessions × instruments; row t uses rows t-sessions+1 … t and is known at the close of
t. Fewer than `sessions` rows, or a NaN among them, give NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

_Rows = npt.NDArray[np.float64]


def rolling_sum(values: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Sum over trailing sessions.

    Parameters
    ----------
    values : sessions × instruments, ascending sessions.
    sessions : length of the window, this row included.

    Returns
    -------
    Same shape and unit; known when row t is. NaN where a row of the window is missing or NaN.
    """
    return _windowed(values, sessions, lambda lags: _fold(lags, np.add))


def rolling_mean(values: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Arithmetic mean over trailing sessions.

    Parameters
    ----------
    values, sessions : as of `rolling_sum`.

    Returns
    -------
    Same shape and unit; NaN as of `rolling_sum`.
    """
    return _windowed(values, sessions, lambda lags: _fold(lags, np.add) / sessions)


def rolling_std(values: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Sample standard deviation over the trailing `sessions`.

    Parameters
    ----------
    values : sessions × instruments, ascending sessions.
    sessions : length of the window, this row included; at least 2.

    Returns
    -------
    Same shape, in the unit of `values`; ddof=1 as pandas' rolling std, but in two passes (mean first, then squared
    deviations). Row t uses rows t-sessions+1 … t and nothing else, so it is known when row t is; NaN where one of them
    is.

    Raises
    ------
    ValueError : fewer than 2 sessions.
    """
    if sessions < 2:
        raise ValueError(f"a sample standard deviation needs 2 sessions or more, not {sessions}")

    def deviation(lags: list[_Rows]) -> _Rows:
        mean = _fold(lags, np.add) / sessions
        squares = np.square(lags[0] - mean)
        for lag in lags[1:]:
            squares += np.square(lag - mean)
        result: _Rows = np.sqrt(squares / (sessions - 1))
        return result

    return _windowed(values, sessions, deviation)


def rolling_max(values: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Largest value of trailing sessions.

    Parameters
    ----------
    values, sessions : as of `rolling_sum`.

    Returns
    -------
    Same shape and unit; NaN as of `rolling_sum`.
    """
    return _windowed(values, sessions, lambda lags: _fold(lags, np.maximum))


def rolling_min(values: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Smallest value of trailing sessions.

    Parameters
    ----------
    values, sessions : as of `rolling_sum`.

    Returns
    -------
    Same shape and unit; NaN as of `rolling_sum`.
    """
    return _windowed(values, sessions, lambda lags: _fold(lags, np.minimum))


def _windowed(values: pd.DataFrame, sessions: int, reduce: Callable[[list[_Rows]], _Rows]) -> pd.DataFrame:
    """Apply `reduce` to the lags 0 … sessions-1 of `values`, each (T-sessions+1, N)."""
    if sessions < 1:
        raise ValueError(f"a window needs 1 session or more, not {sessions}")
    rows = values.to_numpy(dtype=np.float64)
    result = np.full(rows.shape, np.nan)
    complete = len(rows) - sessions + 1
    if complete > 0:
        with np.errstate(invalid="ignore", over="ignore"):
            result[sessions - 1 :] = reduce([rows[sessions - 1 - lag : len(rows) - lag] for lag in range(sessions)])
    return pd.DataFrame(result, index=values.index, columns=values.columns, copy=False)


def _fold(lags: list[_Rows], combine: np.ufunc) -> _Rows:
    total = lags[0].copy()
    for lag in lags[1:]:
        combine(total, lag, out=total)  # every one of the three ufuncs used gives NaN for a NaN
    return total
