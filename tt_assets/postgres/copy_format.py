"""Frames as PostgreSQL's binary COPY stream, and the check that a frame fits its table.

The stream is built by Arrow from whole columns, never row by row, and its bytes are also what a slice's
content digest is taken of, so the digest says exactly what was stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import BigInteger, Column, Date, DateTime, Double, Integer, LargeBinary, Table, Text

from tt_assets.errors import UserError

HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
TRAILER = b"\xff\xff"
POSTGRES_EPOCH = np.datetime64("2000-01-01")
NULL_LENGTH = -1


class FrameMismatch(UserError):
    """A frame does not fit the table it is written to."""


@dataclass(frozen=True)
class CopyRows:
    """Rows in binary COPY form: row i is `payload[offsets[i]:offsets[i + 1]]`.

    Parameters
    ----------
    payload : the bytes of all rows, without header and trailer.
    offsets : where each row begins, and where the last one ends (R + 1).
    """

    payload: memoryview
    offsets: npt.NDArray[np.int64]

    def between(self, first: int, last: int) -> memoryview:
        """The bytes of some rows, not copied.

        Parameters
        ----------
        first, last : places of rows, the last excluded.
        """
        return self.payload[self.offsets[first] : self.offsets[last]]

    def pieces(self) -> Iterator[memoryview]:
        """The bytes of all rows, for a writer that takes them piece by piece."""
        if len(self.offsets) > 1:
            yield self.between(0, len(self.offsets) - 1)


def conform(frame: pd.DataFrame, table: Table, columns: tuple[str, ...]) -> pd.DataFrame:
    """A frame cast to what its table holds.

    Parameters
    ----------
    frame : at least `columns`, in any order; further columns are left out.
    table : whose types are cast to.
    columns : those of the result.

    Returns
    -------
    Exactly `columns`, in order.

    Raises
    ------
    FrameMismatch : a column is missing, a cast would change a value, an undefined value stands in a NOT NULL column, a
        number is infinite, or a timestamp has a time zone.
    """
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise FrameMismatch(
            f"{table.name}: the frame lacks {', '.join(absent)}; it has {', '.join(map(str, frame.columns))}."
        )
    return pd.DataFrame({name: _cast(frame[name], table, table.columns[name]) for name in columns}, copy=False)


def copy_rows(frame: pd.DataFrame, table: Table) -> CopyRows:
    """Rows in binary COPY form, in the frame's order.

    Parameters
    ----------
    frame : as `conform` gives it.
    table : whose types it has.
    """
    count = len(frame)
    if not count:
        return CopyRows(memoryview(b""), np.zeros(1, dtype=np.int64))
    columns: list[FixedField | pa.Array] = [FixedField(np.full(count, frame.shape[1], dtype=">i2"))]
    for name in frame.columns:
        columns.extend(_field(frame[name], table.columns[name]))
    rows = pc.binary_join_element_wise(*joined(columns), pa.scalar(b"", pa.large_binary()))
    _, offset_buffer, value_buffer = rows.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64, count=count + 1, offset=8 * rows.offset)
    return CopyRows(memoryview(value_buffer), offsets)


def _cast(column: pd.Series, table: Table, target: Column[Any]) -> pd.Series:
    if not target.nullable and column.isna().any():
        raise FrameMismatch(
            f"{table.name}.{target.name}: {int(column.isna().sum())} undefined values in a column that has none; "
            "drop the rows or give the values."
        )
    try:
        return _CASTS[type(target.type)](column)
    except (ValueError, TypeError, OverflowError) as error:
        raise FrameMismatch(
            f"{table.name}.{target.name}: {column.dtype} does not fit {target.type}: {str(error).splitlines()[0]}"
        ) from error


def _as_text(column: pd.Series) -> pd.Series:
    if column.empty:
        return column.astype(object)  # a column without values has whatever type its maker left it with
    kinds = pd.api.types.infer_dtype(column, skipna=True)
    if kinds not in {"string", "empty", "categorical"}:
        raise ValueError(f"text expected, got {kinds}")
    return column


def _as_bytes(column: pd.Series) -> pd.Series:
    if not column.map(lambda value: isinstance(value, bytes)).all():
        raise ValueError("bytes expected")
    return column


def _as_double(column: pd.Series) -> pd.Series:
    if column.dtype.kind not in "fiu" and not column.isna().all():
        raise ValueError("numbers expected")
    values = column.astype("float64")
    if np.isinf(values.to_numpy()).any():
        raise ValueError("infinite values")
    return values


def _as_whole(column: pd.Series) -> pd.Series:
    if column.dtype.kind in "iu":
        return column.astype("Int64")
    as_integers = column.astype("Int64")  # refuses fractions
    if column.dtype.kind == "b":
        raise ValueError("whole numbers expected, got booleans")
    return as_integers


def _as_timestamp(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        raise ValueError("timestamps carry a time zone; market time has none")
    if column.dtype.kind != "M" and not column.isna().all():
        raise ValueError("datetime64 expected")
    return column.astype("datetime64[us]")


def _as_date(column: pd.Series) -> pd.Series:
    stamps = _as_timestamp(pd.to_datetime(column) if column.dtype == object else column)
    if (stamps != stamps.dt.normalize()).any():
        raise ValueError("dates expected, got times of day")
    return stamps


_CASTS = {
    Text: _as_text,
    LargeBinary: _as_bytes,
    Double: _as_double,
    Integer: _as_whole,
    BigInteger: _as_whole,
    DateTime: _as_timestamp,
    Date: _as_date,
}


@dataclass(frozen=True)
class FixedField:
    """A part of every row that is as wide in each of them.

    Parameters
    ----------
    wire : big-endian values, one a row.
    with_length : whether their length stands before each of them.
    """

    wire: npt.NDArray[Any]
    with_length: bool = False


def _field(column: pd.Series, target: Column[Any]) -> list[FixedField | pa.Array]:
    """The length-prefixed field of every row; one part where the width is fixed, else prefix and payload."""
    if isinstance(target.type, Text | LargeBinary):
        return variable(column)
    if isinstance(target.type, Double):
        values = column.to_numpy(dtype="float64")
        missing = np.isnan(values)
        wire = values.astype(">f8")
    elif isinstance(target.type, DateTime):
        missing = column.isna().to_numpy()
        wire = (column.to_numpy(dtype="datetime64[us]") - POSTGRES_EPOCH).astype(np.int64).astype(">i8")
    elif isinstance(target.type, Date):
        missing = column.isna().to_numpy()
        wire = (column.to_numpy(dtype="datetime64[D]") - POSTGRES_EPOCH).astype(np.int64).astype(">i4")
    else:
        missing = column.isna().to_numpy()
        wide = isinstance(target.type, BigInteger)
        wire = column.fillna(0).to_numpy(dtype=np.int64).astype(">i8" if wide else ">i4")
    field = FixedField(wire, with_length=True)
    if not missing.any():
        return [field]
    null = pa.scalar(int(NULL_LENGTH).to_bytes(4, "big", signed=True), pa.large_binary())
    return [pc.if_else(pa.array(missing), null, _packed([field]))]


def variable(column: pd.Series) -> list[FixedField | pa.Array]:
    """The field of text or bytes of every row: its length, and what it holds."""
    values = pa.array(column, from_pandas=True)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    values = values.cast(pa.large_binary())
    lengths = pc.fill_null(pc.binary_length(values), NULL_LENGTH).to_numpy(zero_copy_only=False).astype(">i4")
    return [FixedField(lengths), pc.fill_null(values, b"")]


def joined(parts: Iterable[FixedField | pa.Array]) -> Iterator[pa.Array]:
    """The same bytes with every run of fixed fields made one array: joining costs by the array, not by the byte.

    Parameters
    ----------
    parts : of the rows, side by side.
    """
    for fixed, run in groupby(parts, key=lambda part: isinstance(part, FixedField)):
        if fixed:
            yield _packed(list(run))
        else:
            yield from run


def _packed(fields: Sequence[FixedField]) -> pa.Array:
    """A large-binary array of `fields` side by side, without a copy of the bytes."""
    layout: list[tuple[str, Any]] = []
    for place, field in enumerate(fields):
        layout += [(f"length{place}", ">i4")] if field.with_length else []
        layout.append((f"value{place}", field.wire.dtype))
    packed = np.empty(len(fields[0].wire), dtype=layout)
    for place, field in enumerate(fields):
        if field.with_length:
            packed[f"length{place}"] = field.wire.dtype.itemsize
        packed[f"value{place}"] = field.wire
    count, width = len(packed), packed.dtype.itemsize
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int64)
    return pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(packed)])
