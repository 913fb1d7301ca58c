"""What a set of partition keys means in a table: cells, and the row ranges they cover.

A selection is any set of cells (single, line, rectangle, ragged), each an instrument over a half-open
range of time. Nothing assumes that one key is one day, that sessions are contiguous or that the set is a rectangle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.errors import UserError


class RowsOutsideSlice(UserError):
    """A frame holds rows that belong to none of the cells being written."""


@dataclass(frozen=True)
class Ranges:
    """Time ranges per instrument, sorted by instrument and start; lists of equal length.

    Parameters
    ----------
    instruments : one for each range.
    starts, ends : market time without zone, the end excluded.
    """

    instruments: list[str]
    starts: list[datetime]
    ends: list[datetime]


@dataclass(frozen=True)
class Selection:
    """Cells to read or to replace; they do not overlap.

    Parameters
    ----------
    keys : name of each cell in messages and metadata (n).
    instruments : what it is of (n,), sorted.
    starts, ends : the range of time it covers (n,), the end excluded: datetime64[ns] market time, no zone; ascending
        within an instrument.
    """

    keys: tuple[str, ...]
    instruments: npt.NDArray[np.object_]
    starts: npt.NDArray[np.datetime64]
    ends: npt.NDArray[np.datetime64]

    @classmethod
    def of(cls, cells: Mapping[str, tuple[str, datetime, datetime]]) -> Selection:
        """The selection of these cells, sorted by instrument, then start.

        Parameters
        ----------
        cells : partition key → (instrument, start, end), in any order; the end is excluded.
        """
        names, starts, ends = zip(*cells.values(), strict=True) if cells else ((), (), ())
        # A grid has few different names and moments beside its cells; only those are converted and compared.
        instruments, name_of = _distinct(names, "object")
        begins, begin_of = _distinct(starts, "datetime64[ns]")
        closes, close_of = _distinct(ends, "datetime64[ns]")
        order = np.lexsort((begin_of, name_of))
        keys = list(cells)
        return cls(
            keys=tuple(keys[place] for place in order.tolist()),
            instruments=instruments[name_of[order]],
            starts=begins[begin_of[order]],
            ends=closes[close_of[order]],
        )

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def _instrument_names(self) -> npt.NDArray[np.object_]:
        return np.unique(self.instruments)

    @cached_property
    def _windows(self) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.datetime64]]:
        starts, first = np.unique(self.starts, return_index=True)
        # Cells are of one grid: those that start together end together.
        return starts, self.ends[first]

    @cached_property
    def _cell_at(self) -> npt.NDArray[np.int64]:
        """(instruments, windows) → position of the cell, -1 where the selection has none."""
        table = np.full((len(self._instrument_names), len(self._windows[0])), -1, dtype=np.int64)
        rows = np.searchsorted(self._instrument_names, self.instruments)
        columns = np.searchsorted(self._windows[0], self.starts)
        table[rows, columns] = np.arange(len(self.keys))
        return table

    def cell_of(self, instruments: pd.Series, timestamps: pd.Series) -> npt.NDArray[np.int64]:
        """The cell that each row falls in.

        Parameters
        ----------
        instruments, timestamps : of the rows, equally long (R); datetime64[ns] market time.

        Returns
        -------
        Position in the selection (R); -1 for rows of no cell.
        """
        if not len(self) or instruments.empty:
            return np.full(len(instruments), -1, dtype=np.int64)
        codes, uniques = pd.factorize(instruments)
        known = pd.Index(self._instrument_names).get_indexer(pd.Index(uniques))
        rows = known[codes]
        starts, ends = self._windows
        stamps = timestamps.to_numpy(dtype="datetime64[ns]")
        columns = np.searchsorted(starts, stamps, side="right") - 1
        # A place of -1 would be the last one; it is looked up at 0, and `inside` leaves the row out.
        inside = (rows >= 0) & (columns >= 0) & (stamps < ends[np.maximum(columns, 0)])
        return np.where(inside, self._cell_at[np.maximum(rows, 0), np.maximum(columns, 0)], -1)

    def cell_before(self, instruments: pd.Series, timestamps: pd.Series) -> npt.NDArray[np.int64]:
        """The last cell of the row's instrument that starts at or before the row.

        Parameters
        ----------
        instruments, timestamps : of the rows, equally long (R); datetime64[ns] market time.

        Returns
        -------
        Position in the selection (R); -1 where no cell does.
        """
        first = np.searchsorted(self.instruments, instruments.to_numpy())
        last = np.searchsorted(self.instruments, instruments.to_numpy(), side="right")
        stamps = timestamps.to_numpy(dtype="datetime64[ns]")
        found = [
            begin + int(np.searchsorted(self.starts[begin:end], stamp, side="right")) - 1
            for begin, end, stamp in zip(first.tolist(), last.tolist(), stamps, strict=True)
        ]
        return np.where(np.array(found, dtype=np.int64) >= first, found, -1)

    def parts(self, most: int) -> Iterator[Selection]:
        """The selection in pieces of whole instruments, of at most `most` cells where one instrument has no more."""
        begin = 0
        bounds = np.append(np.flatnonzero(self.instruments[1:] != self.instruments[:-1]) + 1, len(self)).tolist()
        for end, following in zip(bounds, [*bounds[1:], None], strict=True):
            if end > begin and (following is None or following - begin > most):
                part = slice(begin, end)
                yield Selection(self.keys[part], self.instruments[part], self.starts[part], self.ends[part])
                begin = end

    def keep(self, frame: pd.DataFrame, date_column: str = "timestamp") -> pd.DataFrame:
        """The rows that fall in a cell of the selection.

        Parameters
        ----------
        frame : at least instrument and `date_column`.
        date_column : what the cells bound, market time without zone.

        Returns
        -------
        Those rows, with the index they had.
        """
        return frame[self.cell_of(frame["instrument"], frame[date_column]) >= 0]

    def without(self, keys: Sequence[str] | set[str] | Mapping[str, object]) -> Selection:
        """The selection less the cells named by `keys`."""
        if not keys:
            return self
        return self.where(np.array([key not in keys for key in self.keys], dtype=bool))

    def where(self, kept: npt.NDArray[np.bool_]) -> Selection:
        """Those of the cells for which `kept` says so (n,)."""
        return Selection(
            tuple(key for key, keep in zip(self.keys, kept.tolist(), strict=True) if keep),
            self.instruments[kept],
            self.starts[kept],
            self.ends[kept],
        )

    def joined(self, other: Selection) -> Selection:
        """The cells of both, which must not overlap; sorted by instrument, then start."""
        if not len(other):
            return self
        instruments = np.concatenate((self.instruments, other.instruments))
        starts = np.concatenate((self.starts, other.starts))
        order = np.lexsort((starts, np.unique(instruments, return_inverse=True)[1]))
        keys = (*self.keys, *other.keys)
        return Selection(
            tuple(keys[place] for place in order.tolist()),
            instruments[order],
            starts[order],
            np.concatenate((self.ends, other.ends))[order],
        )

    def ranges(self, bridged: timedelta = timedelta(0)) -> Ranges:
        """The cells as few ranges per instrument: those that follow each other without a gap are one.

        Parameters
        ----------
        bridged : widest gap that becomes a part of a range. It may hold rows that no selected cell owns, even that of a
            weekend: only who drops those afterwards may bridge.
        """
        near = self.starts[1:] - self.ends[:-1] <= np.timedelta64(bridged)
        follows = (self.instruments[1:] == self.instruments[:-1]) & near
        first = np.concatenate(([True], ~follows)) if len(self) else np.array([], dtype=bool)
        last = np.concatenate((~follows, [True])) if len(self) else np.array([], dtype=bool)
        return Ranges(
            instruments=list(self.instruments[first]),
            starts=self.starts[first].astype("datetime64[us]").tolist(),
            ends=self.ends[last].astype("datetime64[us]").tolist(),
        )

    def refuse_outsiders(self, frame: pd.DataFrame, table: str, date_column: str) -> npt.NDArray[np.int64]:
        """The cell of every row, where each has one.

        Parameters
        ----------
        frame : at least instrument and `date_column` (R).
        table : for the error.
        date_column : what the cells bound, market time without zone.

        Returns
        -------
        Position in the selection (R).

        Raises
        ------
        RowsOutsideSlice : a row falls in no cell; names the first.
        """
        cells = self.cell_of(frame["instrument"], frame[date_column])
        if (cells < 0).any():
            stray = frame[cells < 0]
            first = stray.iloc[0]
            raise RowsOutsideSlice(
                f"{table}: {len(stray)} of {len(frame)} rows lie outside the partitions being written, the first is "
                f"{first['instrument']} at {first[date_column]}; cut the frame to the run's partitions."
            )
        return cells


def _distinct(values: Sequence[Any], dtype: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The different `values`, ascending, and the place of each value among them."""
    ordered = sorted(set(values))
    place = {value: index for index, value in enumerate(ordered)}
    return np.array(ordered, dtype=dtype), np.fromiter(map(place.__getitem__, values), np.int64, len(values))
