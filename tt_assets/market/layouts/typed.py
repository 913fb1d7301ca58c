"""Tables that know the types of their columns: parquet and feather through Arrow, workbooks through calamine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from tt_assets.market.errors import BarsFileError
from tt_assets.market.layouts.containers import Kind, Member, in_memory, unreadable
from tt_assets.market.layouts.delimited import Delimited
from tt_assets.market.layouts.vocabulary import field_of, header_levels

HEAD_ROWS = 200
WHOLE_HEADER = 6
"""Columns that a sheet names when it holds bars on its own: a date, four prices and a volume."""


@dataclass
class Typed:
    """One table with typed columns. `headers` are one line of names, or more where the columns had several levels."""

    member: Member
    headers: list[list[str]]
    head: list[list[str]]
    width: int
    _source: Any = None
    first_row: int = 0
    _table: pa.Table | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """How people are told of the table."""
        return self.member.name

    def type_of(self, place: int) -> pa.DataType:
        """The type of a column."""
        kind: pa.DataType = (
            self._source.schema_arrow.field(place).type if self._table is None else self._table.field(place).type
        )
        return kind

    def read(self, texts: Sequence[int], numbers: Sequence[int], decimal: str) -> dict[int, pa.ChunkedArray]:
        """The columns at these positions as they are kept. Raises BarsFileError where they cannot be read."""
        wanted = [*texts, *numbers]
        for place in wanted:
            kind = self.type_of(place)
            if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                raise BarsFileError(
                    f"{self.name}: the column {self.headers[-1][place]} holds {_in_words(kind)} ({kind}), not one "
                    f"value a row. Save it as one column a value."
                )
        if self._table is not None:
            return {place: self._table.column(place) for place in wanted}
        try:
            table = self._source.read(columns=[self._source.schema_arrow.names[place] for place in wanted])
        except (pa.ArrowException, OSError) as error:
            raise unreadable(self.name, error) from None
        return {place: table.column(position) for position, place in enumerate(wanted)}

    def places(self, rows: Sequence[int], count: int) -> dict[int, tuple[int, list[str]]]:
        """Nothing: rows of these files have no lines. A workbook's are its rows on the sheet."""
        if self._table is None or self.member.kind is not Kind.XLSX:
            return {}
        return {
            row: (row + self.first_row + 1, [_text(column[row].as_py()) for column in self._table.columns])
            for row in rows
        }

    def odd_lines(self) -> list[tuple[int, list[str]]]:
        """Nothing: every row has the same width."""
        return []


Table = Delimited | Typed


def open_parquet(member: Member) -> Typed:
    """A parquet file; its columns are read when asked for."""
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(str(member.path) if str(member.path) == member.name else in_memory(member))
        schema = source.schema_arrow
        head = next(source.iter_batches(batch_size=HEAD_ROWS), None) if source.metadata.num_rows else None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(member.name, error) from None
    headers = header_levels(schema.names)
    _refuse_doubled(member.name, schema.names)
    return Typed(member, headers, _rows_of(head), len(schema.names), source)


def open_feather(member: Member) -> Typed:
    """A feather file (Arrow's file format)."""
    from pyarrow import feather

    try:
        table = feather.read_table(in_memory(member))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(member.name, error) from None
    _refuse_doubled(member.name, table.column_names)
    head = _rows_of(table.slice(0, HEAD_ROWS).combine_chunks().to_batches()[0]) if table.num_rows else []
    return Typed(member, header_levels(table.column_names), head, table.num_columns, _table=table)


def open_xlsx(member: Member) -> list[Typed]:
    """The sheets of a workbook that hold bars: each with all columns, else the one that names most of them.

    Dates and numbers are as they are kept there. A sheet's name is the stem of its table, as a file's is.
    """
    import python_calamine as calamine

    with member.open() as stream:
        content = stream.read()
    try:
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {
            name: workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in workbook.sheet_names
        }
    except (calamine.CalamineError, OSError, ValueError, KeyError) as error:
        raise unreadable(member.name, error) from None
    scored = {name: _header_row(rows) for name, rows in sheets.items()}
    best = max((score for score, _ in scored.values()), default=0)
    if best < 2:
        raise BarsFileError(
            f"{member.name} has no sheet with a header of daily bars. Name the columns in its first row."
        )
    whole = [name for name, (score, _) in scored.items() if score >= WHOLE_HEADER]
    if len(whole) < 2:
        name = next(name for name, (score, _) in scored.items() if score == best)
        return [_of_sheet(member, sheets[name], scored[name][1])]
    return [
        _of_sheet(replace(member, name=f"{member.name}:{name}", stem=name), sheets[name], scored[name][1])
        for name in whole
    ]


def _of_sheet(member: Member, rows: list[list[Any]], start: int) -> Typed:
    """The table whose header is row `start` of a sheet; one of tickers beside it (yfinance) is a header too."""
    width = max(len(row) for row in rows)
    # pandas merges the cells of an upper level and names the index in a line of its own.
    levels = [place for place in (start - 1, start, start + 1) if 0 <= place < len(rows)]
    levels = [place for place in levels if place == start or _text(rows[place][0]).casefold() in ("ticker", "price")]
    headers = [_padded(rows[place], width) for place in levels]
    headers[:-1] = [_spread(cells) for cells in headers[:-1]]
    first = levels[-1]
    if len(levels) > 1 and first + 1 < len(rows) and not any(_text(cell) for cell in rows[first + 1][1:]):
        first += 1
    body = rows[first + 1 :]
    while body and not any(_text(cell) for cell in body[-1]):
        body.pop()
    texts = {
        f"c{place}": pa.array([_text(row[place]) if place < len(row) else "" for row in body], pa.string())
        for place in range(width)
    }
    head = [_padded(row, width) for row in body[:HEAD_ROWS]]
    return Typed(member, headers, head, width, first_row=first + 1, _table=pa.table(texts))


def _padded(row: list[Any], width: int) -> list[str]:
    return [_text(cell) for cell in [*row, *[None] * width][:width]]


def _spread(cells: list[str]) -> list[str]:
    """A header line of merged cells: each empty one has the text of the one before it."""
    spread: list[str] = []
    for cell in cells:
        spread.append(cell or (spread[-1] if spread else ""))
    return spread


def _header_row(rows: list[list[Any]]) -> tuple[int, int]:
    """How many columns the best header row of a sheet names, and which row that is."""
    scored = [(sum(field_of(cell) is not None for cell in row), -place) for place, row in enumerate(rows[:30])]
    best, place = max(scored, default=(0, 0))
    return best, -place


def _text(value: Any) -> str:
    """A cell of a workbook as text that is read back to the same value."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ") if value.time() != time() else value.date().isoformat()
    if isinstance(value, (date, time, timedelta)):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def _rows_of(batch: pa.RecordBatch | None) -> list[list[str]]:
    if batch is None:
        return []
    columns = []
    for column in batch.columns:
        try:
            columns.append([_text(value) for value in column.to_pylist()])
        except (pa.ArrowException, ValueError, OverflowError):
            columns.append([""] * batch.num_rows)
    return [list(row) for row in zip(*columns, strict=True)]


def _refuse_doubled(name: str, names: Sequence[str]) -> None:
    twice = sorted({column for column in names if list(names).count(column) > 1})
    if twice:
        raise BarsFileError(f"{name} has the column {', '.join(twice)} more than once. Keep one of each.")


def _in_words(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "objects"
    return "bytes" if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else "lists"
