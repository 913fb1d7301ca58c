"""Whether columns whose headers say nothing hold bars: by how their numbers stand to each other in each row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tt_assets.market.layouts.numbers import decimal_sign, read_numbers

FEWEST, MOST = 5, 8
"""Columns that may be bars of one instrument: four prices, a volume, and what vendors add."""
FEWEST_ROWS = 3
NEARLY_ALL = 0.95
"""Share of the rows in which bars are as bars are; some vendors' highs are not the highest in all."""
WIDEST = 1.5
"""Times the low that a day's high may be. Closes of several symbols lie further apart, or change their order."""
OF_A_VOLUME = 20.0
"""Times a price that a volume is at least; the other columns of closes are prices as well."""


def hold_bars(rows: Sequence[Sequence[str]], separator: str) -> bool:
    """Whether four of some columns are the prices of bars, and another one is their volume.

    Parameters
    ----------
    rows : cells of the first rows of a table, without its dates; rows in which one is no number do not count.
    separator : sign between the cells of the file.
    """
    width = len(rows[0]) if rows else 0
    if not FEWEST <= width <= MOST:
        return False
    decimal = decimal_sign([cell for row in rows for cell in row], [], separator)
    columns = [pa.chunked_array([pa.array([row[place] for row in rows], pa.string())]) for place in range(width)]
    numbers = np.stack([read_numbers(column, decimal) for column in columns], axis=1)
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    if len(numbers) < FEWEST_ROWS:
        return False
    middle = np.median(numbers, axis=0)
    for four in map(list, combinations(range(width), 4)):
        others = np.delete(middle, four)
        if (others > OF_A_VOLUME * middle[four].max()).any() and _are_prices(numbers[:, four]):
            return True
    return False


def _are_prices(four: npt.NDArray[np.float64]) -> bool:
    """Whether columns (rows × 4) are prices of bars: one highest, one lowest, two between that change places."""
    high, low = four.max(axis=1, keepdims=True), four.min(axis=1, keepdims=True)
    if low.min() <= 0.0 or (high <= WIDEST * low).mean() < NEARLY_ALL:
        return False
    highest, lowest = (np.flatnonzero((four == most).mean(axis=0) >= NEARLY_ALL) for most in (high, low))
    return any(up != down and _change_places(np.delete(four, [up, down], axis=1)) for up in highest for down in lowest)


def _change_places(two: npt.NDArray[np.float64]) -> bool:
    """Whether each of two columns is above the other in some rows, as open and close are by turns."""
    above = two[:, 0] - two[:, 1]
    return bool((above > 0.0).any() and (above < 0.0).any())
