"""What partitions were computed from, as sums over dates × instruments: the arithmetic of what is stale.

Every slice with rows has a number (`postgres.ledger.digest_number`), and what was computed from slices keeps the sum of
theirs. The sum over today's numbers is a difference of two running totals, whatever the number of partitions. All sums
are modulo 2^64, which NumPy's int64 is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Numbers = npt.NDArray[np.int64]
"""One number per date key and instrument (dates × instruments); 0 for a slice without rows."""


def over_lookback(numbers: Numbers, steps: int) -> Numbers:
    """Sum of each cell and the `steps` date keys before it, clipped at the first.

    Parameters
    ----------
    numbers : dates × instruments, ascending dates.
    steps : date keys looked back over, at least 0.

    Returns
    -------
    Same shape.
    """
    totals = running(numbers)
    first = np.maximum(np.arange(len(numbers)) - steps, 0)
    sums: Numbers = totals[1:] - totals[first]
    return sums


def running(numbers: Numbers) -> Numbers:
    """(dates + 1) × instruments: row t is the sum of the rows before t."""
    totals = np.zeros((len(numbers) + 1, numbers.shape[1]), dtype=np.int64)
    np.cumsum(numbers, axis=0, out=totals[1:])
    return totals


def on_axes(slices: pd.DataFrame, dates: Sequence[str], instruments: Sequence[str]) -> Numbers:
    """The numbers of slices in rows of their own as an array.

    Parameters
    ----------
    slices : columns date (datetime64), instrument, number.
    dates : date keys, ascending ISO text.
    instruments : instrument keys.

    Returns
    -------
    dates × instruments; 0 where no slice is told of. Slices of other keys are left out.
    """
    numbers = np.zeros((len(dates), len(instruments)), dtype=np.int64)
    if slices.empty:
        return numbers
    days = pd.DatetimeIndex(np.array(dates, dtype="datetime64[ns]"))
    row = days.get_indexer(pd.DatetimeIndex(slices["date"]).as_unit("ns"))
    column = pd.Index(list(instruments), dtype=object).get_indexer(pd.Index(slices["instrument"], dtype=object))
    known = (row >= 0) & (column >= 0)
    numbers[row[known], column[known]] = slices["number"].to_numpy(np.int64)[known]
    return numbers


def total(parts: Iterable[Numbers]) -> Numbers:
    """The sum of arrays of one shape, cell by cell."""
    first, *rest = parts
    added = first.copy()
    for part in rest:
        added += part
    return added
