"""Rows of a long table as rows of bars, and back: how `tt_features` and `tt_signal_scores` are stored.

A bar's row takes a ninth of the space of its long rows, and of the server's time. Whoever writes and reads in long form
pays for it here, in whole columns, never row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql
from sqlalchemy import ARRAY, SmallInteger, Table

from tt_assets.postgres.copy_format import POSTGRES_EPOCH, FixedField, joined, variable
from tt_assets.tables import BarForm, content_columns

COLUMNS = ("instrument", "timestamp", "names", "numbers")
"""Of a row of bars, without its number."""
_OID_OF_DOUBLE, _OID_OF_SMALL, _OID_OF_INTEGER = 701, 21, 23
_ARRAY_HEADER = 24
"""Bytes before the elements of an array: its length in bytes, dimensions, whether it has NULLs, type, length, first."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bars:
    """Rows of bars, m of them with n values in all.

    Parameters
    ----------
    instruments : text (m). timestamps : datetime64[ns] market time (m).
    counts : values of each (m).
    names : id of the name of every value (n), those of a bar one behind the other.
    numbers : the values (n).
    """

    instruments: npt.NDArray[np.object_]
    timestamps: npt.NDArray[np.datetime64]
    counts: IntArray
    names: IntArray
    numbers: npt.NDArray[np.float64]


def name_ids(connection: Connection[Any], form: BarForm, rows: pd.DataFrame) -> IntArray:
    """The id of the name of every row; names that are new are entered in the catalog.

    Parameters
    ----------
    connection : outside of a transaction: new names are committed at once, so that no writer waits for another one that
        has the same, and a write that fails leaves them behind, which harms nobody.
    form : of the table.
    rows : long rows (n).

    Returns
    -------
    Ids in the catalog (n).
    """
    place, names = _distinct([rows[column] for column in form.named_by])
    if not len(place):
        return place
    with connection.transaction():
        ids = _known(connection, form, names)
        if None in ids:
            _enter(connection, form, [[text[i] for i, known in enumerate(ids) if known is None] for text in names])
            ids = _known(connection, form, names)
    return np.array(ids, dtype=np.int64)[place]


def bar_starts(cells: IntArray, timestamps: pd.Series) -> IntArray:
    """Where each bar begins in rows that are sorted by cell, then moment.

    Parameters
    ----------
    cells, timestamps : of the rows; a cell has one instrument.

    Returns
    -------
    Place of the first row of each bar.
    """
    if not len(cells):
        return np.zeros(0, dtype=np.int64)
    moments = timestamps.to_numpy().view(np.int64)
    return np.flatnonzero(np.concatenate(([True], (np.diff(cells) != 0) | (np.diff(moments) != 0))))


def encoded_bars(form: BarForm, rows: pd.DataFrame, names: IntArray, starts: IntArray) -> memoryview:
    """Long rows as rows of bars in binary COPY form, columns COLUMNS.

    Parameters
    ----------
    form : of the table.
    rows : as `copy_format.conform` gives them, the rows of a bar one behind the other (n, at least one).
    names : id of the name of each row (n).
    starts : where each bar begins.
    """
    counts = np.diff(np.append(starts, len(rows)))
    kind = form.bars.columns["names"].type
    small = isinstance(kind, ARRAY) and isinstance(kind.item_type, SmallInteger)
    oid, wire = (_OID_OF_SMALL, ">i2") if small else (_OID_OF_INTEGER, ">i4")
    moments = rows["timestamp"].to_numpy(dtype="datetime64[us]")[starts]
    fields: list[FixedField | pa.Array] = [
        FixedField(np.full(len(starts), len(COLUMNS), dtype=">i2")),
        *variable(rows["instrument"].iloc[starts]),
        FixedField((moments - POSTGRES_EPOCH).astype(np.int64).astype(">i8"), with_length=True),
        _arrays(names.astype(wire), oid, starts, counts),
        _arrays(rows[form.number].to_numpy(dtype=np.float64).astype(">f8"), _OID_OF_DOUBLE, starts, counts),
    ]
    encoded = pc.binary_join_element_wise(*joined(fields), pa.scalar(b"", pa.large_binary()))
    return memoryview(encoded.buffers()[2])


def stored_bars(table: pa.Table) -> Bars:
    """The rows of bars in a table of Arrow with COLUMNS."""
    whole = table.combine_chunks()
    instruments, timestamps, names, numbers = (whole.column(column) for column in COLUMNS)
    return Bars(
        instruments=instruments.to_pandas().to_numpy(dtype=object),
        timestamps=timestamps.to_numpy().astype("datetime64[ns]"),
        counts=pc.list_value_length(names).to_numpy().astype(np.int64),
        names=pc.list_flatten(names).to_numpy().astype(np.int64),
        numbers=pc.list_flatten(numbers).to_numpy(),
    )


def fetched_bars(rows: Sequence[tuple[Any, ...]]) -> Bars:
    """The rows of bars that psycopg fetched of COLUMNS."""
    instruments, timestamps, names, numbers = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Bars(
        instruments=np.array(instruments, dtype=object),
        timestamps=np.array(timestamps, dtype="datetime64[ns]"),
        counts=np.array([len(each) for each in names], dtype=np.int64),
        names=np.array(list(chain.from_iterable(names)), dtype=np.int64),
        numbers=np.array(list(chain.from_iterable(numbers)), dtype=np.float64),
    )


def long_rows(table: Table, bars: Bars, ids: IntArray, names: Sequence[npt.NDArray[np.object_]]) -> pd.DataFrame:
    """Rows of bars in long form, sorted by the table's key (text by code point).

    Parameters
    ----------
    table : the long one.
    bars : in any order.
    ids : in the catalog, of at least the names that occur.
    names : the columns of the catalog, equally long.

    Returns
    -------
    The table's content columns; timestamps datetime64[ns].
    """
    form: BarForm = table.info["bars"]
    order = np.argsort(ids, kind="stable")
    place = order[np.searchsorted(ids, bars.names, sorter=order)] if len(bars.names) else bars.names
    columns: dict[str, Any] = {
        "instrument": np.repeat(bars.instruments, bars.counts),
        "timestamp": np.repeat(bars.timestamps, bars.counts),
        **{column: text[place] for column, text in zip(form.named_by, names, strict=True)},
        form.number: bars.numbers,
    }
    rows = pd.DataFrame({column: columns[column] for column in content_columns(table)}, copy=False)
    sorting = _sorting(bars, pd.factorize(names[0], sort=True)[0][place] if len(place) else place)
    return rows if sorting is None else rows.take(sorting).reset_index(drop=True)


def catalog_query(form: BarForm, ids: Sequence[int]) -> sql.Composed:
    """Query: id and columns of names in a catalog.

    Parameters
    ----------
    form : whose catalog it is.
    ids : of the names.
    """
    return sql.SQL("SELECT id, {} FROM {} WHERE id = ANY({}::integer[])").format(
        sql.SQL(", ").join(map(sql.Identifier, form.named_by)),
        sql.Identifier(form.catalog.name),
        sql.Literal(f"{{{','.join(map(str, ids))}}}"),
    )


def _sorting(bars: Bars, ranks: IntArray) -> IntArray | None:
    """The order that sorts the long rows of bars; None where they stand in it."""
    instruments = pd.factorize(bars.instruments, sort=True)[0].astype(np.int64)
    moments = bars.timestamps.view(np.int64)
    step, same = np.diff(instruments), np.diff(instruments) == 0
    within = np.diff(ranks) <= 0
    # From the last value of a bar to the first one of the next the rank may fall.
    within[np.cumsum(bars.counts)[:-1] - 1] = False
    if not within.any() and not (step < 0).any() and not (np.diff(moments)[same] <= 0).any():
        return None
    order: IntArray = np.lexsort((ranks, np.repeat(moments, bars.counts), np.repeat(instruments, bars.counts)))
    return order


def _distinct(columns: Sequence[pd.Series]) -> tuple[IntArray, list[list[str]]]:
    """The place of each row among the different combinations, and these, column by column."""
    codes = np.zeros(len(columns[0]), dtype=np.int64)
    kept: list[tuple[IntArray, npt.NDArray[np.object_]]] = []
    for column in columns:
        own, values = pd.factorize(column)
        kept.append((own, np.asarray(values, dtype=object)))
        codes = codes * max(len(values), 1) + own
    place, _ = pd.factorize(codes)
    first = np.unique(place, return_index=True)[1]
    return place.astype(np.int64), [values[own[first]].tolist() for own, values in kept]


def _known(connection: Connection[Any], form: BarForm, names: Sequence[Sequence[str]]) -> list[int | None]:
    """Ids of names in a catalog, None of those that are not in it."""
    equal = [sql.SQL("n.{c} = k.{c}").format(c=sql.Identifier(column)) for column in form.named_by]
    # The second column of a catalog is indexed by its md5: text may be longer than an index takes.
    equal += [sql.SQL("md5(n.{c}) = md5(k.{c})").format(c=sql.Identifier(column)) for column in form.named_by[1:]]
    query = sql.SQL(
        "SELECT n.id FROM unnest({arrays}) WITH ORDINALITY AS k({columns}, place) LEFT JOIN {catalog} AS n ON {equal} "
        "ORDER BY k.place"
    ).format(
        arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(names)),
        columns=sql.SQL(", ").join(map(sql.Identifier, form.named_by)),
        catalog=sql.Identifier(form.catalog.name),
        equal=sql.SQL(" AND ").join(equal),
    )
    return [number for (number,) in connection.execute(query, list(names)).fetchall()]


def _enter(connection: Connection[Any], form: BarForm, names: Sequence[Sequence[str]]) -> None:
    """Enter names in a catalog, in sorted order, so that nobody waits in a circle; somebody may be faster."""
    columns = sql.SQL(", ").join(map(sql.Identifier, form.named_by))
    connection.execute(
        sql.SQL(
            "INSERT INTO {catalog} ({columns}) SELECT * FROM unnest({arrays}) AS k ORDER BY k ON CONFLICT DO NOTHING"
        ).format(
            catalog=sql.Identifier(form.catalog.name),
            columns=columns,
            arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(names)),
        ),
        list(names),
    )


def _arrays(values: npt.NDArray[Any], oid: int, starts: IntArray, counts: IntArray) -> pa.Array:
    """The field of an array for each bar: header, then every element with its length before it."""
    width = values.dtype.itemsize
    unit = 4 + width
    head = _ARRAY_HEADER // unit  # whole units, whatever the width is: 6, 8 or 12 bytes
    packed = np.empty(len(values) + head * len(starts), dtype=f"V{unit}")
    header = np.empty((len(starts), 6), dtype=">i4")
    header[:] = (0, 1, 0, oid, 0, 1)
    header[:, 0] = _ARRAY_HEADER - 4 + unit * counts
    header[:, 4] = counts
    begins = starts + head * np.arange(len(starts))
    packed[(begins[:, None] + np.arange(head)).ravel()] = header.reshape(-1).view(f"V{unit}")
    elements = np.empty(len(values), dtype=[("length", ">i4"), ("value", values.dtype)])
    elements["length"], elements["value"] = width, values
    after = np.repeat(head * np.arange(1, len(starts) + 1), counts)
    packed[np.arange(len(values)) + after] = elements.view(f"V{unit}")
    offsets = np.append(begins, len(packed)) * unit
    return pa.Array.from_buffers(pa.large_binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(packed)])
