"""Bars as sessions × instruments frames on the exchange calendar, the shape every feature and signal computes on.

The rows are the sessions of the calendar, not the sessions that happen to have a bar. A missing bar is
NaN in its own row and is never bridged, so "20 sessions" means the same for every instrument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.calendar import sessions as calendar_sessions


@dataclass(frozen=True, eq=False)
class Grid:
    """The axes of a panel.

    Parameters
    ----------
    sessions : of the exchange calendar, ascending midnights without time zone (T).
    instruments : symbols, sorted (N).
    """

    sessions: pd.DatetimeIndex
    instruments: pd.Index[str]

    @classmethod
    def spanning(cls, *longs: pd.DataFrame) -> Grid:
        """Every session of the calendar from the first to the last timestamp in `longs`, and every instrument.

        Each frame has columns instrument and timestamp; all may be empty, which gives an empty grid.
        """
        filled = [long for long in longs if len(long)]
        names = sorted({str(name) for long in filled for name in long["instrument"].unique()})
        instruments = pd.Index(names, dtype=object, name="instrument")
        if not filled:
            return cls(pd.DatetimeIndex([], dtype="datetime64[ns]", name="timestamp"), instruments)
        first = min(long["timestamp"].min() for long in filled)
        last = max(long["timestamp"].max() for long in filled)
        return cls(calendar_sessions(first, last), instruments)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return len(self.sessions), len(self.instruments)

    def cells(self, long: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Flat position (row-major, T × N) of each row of `long`.

        Parameters
        ----------
        long : at least instrument and timestamp (R rows), in any order.

        Returns
        -------
        (R,) int64, 0 to T × N - 1.

        Raises
        ------
        ValueError : naming the first row whose timestamp is no session or whose cell is off the grid.
        """
        timestamps = long["timestamp"].to_numpy().astype("datetime64[ns]")
        rows = self.sessions.get_indexer(pd.DatetimeIndex(timestamps))
        codes, names = pd.factorize(long["instrument"].to_numpy())
        columns = self.instruments.get_indexer(pd.Index(names, dtype=object))[codes]
        off = (rows < 0) | (columns < 0)
        if off.any():
            first = long.iloc[int(off.argmax())]
            raise ValueError(f"{first['instrument']} {first['timestamp']} is no session of the exchange calendar")
        return rows.astype(np.int64) * len(self.instruments) + columns

    def frame(self, cells: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> pd.DataFrame:
        """Values as a frame under the grid's axes.

        Parameters
        ----------
        cells : flat positions, as `cells` gives them (R).
        values : of any unit (R).

        Returns
        -------
        T × N; NaN where no value is given.
        """
        flat = np.full(self.shape[0] * self.shape[1], np.nan)
        flat[cells] = values
        return self.wide(flat.reshape(self.shape))

    def wide(self, values: npt.NDArray[np.float64]) -> pd.DataFrame:
        """(T, N) values under the grid's axes."""
        return pd.DataFrame(values, index=self.sessions, columns=self.instruments, copy=False)


@dataclass(frozen=True, eq=False)
class BarPanel:
    """Daily bars, sessions × instruments in every field.

    Row t is known at the close of session t. A session without a bar of an instrument is NaN in all five fields, and so
    is what comes before its listing; no gap is bridged.

    Parameters
    ----------
    grid : the axes: every session of the exchange calendar in the span, ascending, and the instruments, sorted.
    open, high, low, close : USD, split-adjusted, float64.
    volume : shares, float64.
    """

    grid: Grid
    open: pd.DataFrame
    high: pd.DataFrame
    low: pd.DataFrame
    close: pd.DataFrame
    volume: pd.DataFrame

    @classmethod
    def from_prices(cls, prices: pd.DataFrame, grid: Grid | None = None) -> BarPanel:
        """The panel of long bars.

        Parameters
        ----------
        prices : instrument, timestamp (sessions), open, high, low, close, volume, in any order.
        grid : the axes; the grid that spans `prices` where it is None.

        Raises
        ------
        ValueError : a bar off the calendar or off the grid, or one that is there twice.
        """
        grid = Grid.spanning(prices) if grid is None else grid
        cells = grid.cells(prices)
        refuse_duplicates(cells, prices)
        fields = (grid.frame(cells, prices[field].to_numpy(dtype=np.float64)) for field in BAR_FIELDS)
        return cls(grid, *fields)

    @property
    def sessions(self) -> pd.DatetimeIndex:
        """Ascending sessions, the rows of every field."""
        return self.grid.sessions

    @property
    def instruments(self) -> pd.Index[str]:
        """Sorted instruments, the columns of every field."""
        return self.grid.instruments


BAR_FIELDS: Sequence[str] = ("open", "high", "low", "close", "volume")
"""Names that a signal may list among its inputs beside features."""


def refuse_duplicates(cells: npt.NDArray[np.int64], long: pd.DataFrame) -> None:
    """Refuse two rows of one instrument and session.

    Parameters
    ----------
    cells : flat position of each row (R).
    long : the rows (R), at least instrument and timestamp.

    Raises
    ------
    ValueError : names the first instrument and timestamp that is there twice.
    """
    _, first, counts = np.unique(cells, return_index=True, return_counts=True)
    if (counts > 1).any():
        row = long.iloc[int(first[counts.argmax()])]
        raise ValueError(f"{row['instrument']} {row['timestamp']} is there twice")
