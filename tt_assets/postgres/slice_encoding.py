"""Rows of slices on their way to the server: their order, their COPY form, the digest of each slice, which differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
from psycopg import Connection, sql
from psycopg.copy import QueuedLibpqWriter
from sqlalchemy import Table

from tt_assets.postgres import bar_rows
from tt_assets.postgres.copy_format import HEADER, TRAILER, copy_rows

COPY_CHUNK = 1 << 20
ROWS_ENCODED_AT_ONCE = 20_000
NOTHING = hashlib.blake2b(b"", digest_size=16).hexdigest()
"""Digest of a cell without rows."""

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class SliceEncoder:
    """Rows in COPY form, some whole cells at a time, with the digest of every cell noted on the way.

    The digest is of the long rows, whatever form they are stored in. `digests` is complete when `pieces` was iterated.

    Parameters
    ----------
    rows : sorted by cell, then key; as `conform` gives them.
    table : the long one.
    cells : cell of each row, ascending. count : how many cells there are.
    names : id of the name of each row where the table is stored by the bar.
    """

    def __init__(
        self, rows: pd.DataFrame, table: Table, cells: IntArray, count: int, names: IntArray | None = None
    ) -> None:
        self._rows = rows
        self._table = table
        self._bounds = np.searchsorted(cells, np.arange(count + 1))
        self._names = names
        self.digests = [NOTHING] * count

    def counts(self) -> tuple[int, ...]:
        """Rows of every cell."""
        return tuple(np.diff(self._bounds).tolist())

    def pieces(self, wanted: BoolArray | None = None) -> Iterator[memoryview]:
        """The bytes of the rows, some whole cells at a time.

        Parameters
        ----------
        wanted : whether each cell's rows are given; of the others only the digest is noted. None: all are. Rows that
            are stored by the bar are given whatever it says.
        """
        cells = len(self.digests)
        begun = np.searchsorted(self._bounds, np.arange(0, len(self._rows), ROWS_ENCODED_AT_ONCE))
        for first, last in pairwise(np.unique(np.append(begun, cells)).tolist()):
            begin, end = self._bounds[first], self._bounds[last]
            if begin == end:
                continue
            rows = self._rows.iloc[begin:end]
            encoded = copy_rows(rows, self._table)
            at = encoded.offsets[self._bounds[first : last + 1] - begin].tolist()
            if self._names is not None:
                of_cell = np.repeat(np.arange(first, last), np.diff(self._bounds[first : last + 1]))
                starts = bar_rows.bar_starts(of_cell, rows["timestamp"])
                yield bar_rows.encoded_bars(self._table.info["bars"], rows, self._names[begin:end], starts)
            elif wanted is None:
                yield from encoded.pieces()
            else:
                yield from (encoded.payload[at[begun] : at[ended]] for begun, ended in _runs(wanted[first:last]))
            self.digests[first:last] = [
                hashlib.blake2b(encoded.payload[start:stop], digest_size=16).hexdigest() for start, stop in pairwise(at)
            ]


def copy_into(connection: Connection, table: Table, columns: Iterable[str], pieces: Iterable[memoryview]) -> None:
    """Append encoded rows to a table through binary COPY.

    Parameters
    ----------
    connection : in a transaction.
    table : that they are of.
    columns : in the order of the encoded fields.
    pieces : rows in COPY form; made while the server stores earlier ones.
    """
    statement = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)").format(
        table=sql.Identifier(table.name), columns=sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement, writer=QueuedLibpqWriter(cursor)) as copy:
        copy.write(HEADER)
        for piece in pieces:
            for start in range(0, len(piece), COPY_CHUNK):
                copy.write(piece[start : start + COPY_CHUNK])
        copy.write(TRAILER)


def changed_cells(
    count: int, before: pd.DataFrame, before_cells: IntArray, after: pd.DataFrame, after_cells: IntArray
) -> BoolArray:
    """Which cells hold other rows than before; values are compared bit for bit, as their digest is.

    Parameters
    ----------
    count : how many cells there are.
    before, before_cells, after, after_cells : rows sorted by cell, then key, of the same columns, and the cell of each.

    Returns
    -------
    One entry a cell; a cell that was empty and stays empty is not changed.
    """
    changed: BoolArray = np.bincount(before_cells, minlength=count) != np.bincount(after_cells, minlength=count)
    # Of the other cells the rows lie beside one another.
    places = np.flatnonzero(~changed[after_cells])
    was, now = before[~changed[before_cells]], after.iloc[places]
    differ = np.zeros(len(places), dtype=np.bool_)
    for name in after.columns:
        differ |= _differ(was[name], now[name])
    changed[after_cells[places[differ]]] = True
    return changed


def rank(column: pd.Series) -> IntArray:
    """Integers in the order of the values; text by code point, as the C collation sorts it."""
    if column.dtype.kind == "M":
        return column.to_numpy().view(np.int64)
    return pd.factorize(column, sort=True)[0].astype(np.int64)


def strictly_increasing(ranks: Sequence[IntArray]) -> bool:
    """Whether rows ascend lexicographically by their ranks without a repetition.

    Parameters
    ----------
    ranks : the columns that are compared, the first one first.
    """
    undecided = np.ones(max(len(ranks[0]) - 1, 0), dtype=bool)
    for each in ranks:
        step = np.diff(each)
        if (step[undecided] < 0).any():
            return False
        undecided &= step == 0
    return not undecided.any()


def _differ(was: pd.Series, now: pd.Series) -> BoolArray:
    differs: BoolArray
    if was.dtype.kind == "f" and now.dtype.kind == "f":
        left, right = was.to_numpy(dtype=np.float64), now.to_numpy(dtype=np.float64)
        differs = (left.view(np.int64) != right.view(np.int64)) & ~(np.isnan(left) & np.isnan(right))
    elif was.dtype.kind == "M":
        differs = was.to_numpy(dtype="datetime64[us]") != now.to_numpy(dtype="datetime64[us]")
    else:
        missing = was.isna().to_numpy() & now.isna().to_numpy()
        differs = (was.to_numpy(dtype=object) != now.to_numpy(dtype=object)).astype(np.bool_) & ~missing
    return differs


def _runs(wanted: BoolArray) -> Iterator[tuple[int, int]]:
    """First and end of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
