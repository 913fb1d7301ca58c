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
from tt_assets.market.layouts.delimited import LEVELS, MOST_PREAMBLE, Delimited, is_number, is_row, named, row_names
from tt_assets.market.layouts.symbols import is_noise
from tt_assets.market.layouts.vocabulary import field_of, header_levels, plain

HEAD_ROWS = 200
MOST_LEVELS = 4
"""Header lines of one sheet, as of delimited text."""
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

    Dates and numbers are as they are kept there. A sheet's name is the stem of its table, as a file's is. The header
    lines of a sheet are found as those of delimited text are.
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
    tops = {name: _top_of(rows) for name, rows in sheets.items()}
    best = max((top.score for top in tops.values()), default=0)
    if best < 1:
        raise BarsFileError(
            f"{member.name} has no sheet with a header of daily bars. Name the columns in its first row."
        )
    whole = [name for name, top in tops.items() if top.score >= WHOLE_HEADER]
    if len(whole) < 2:
        name = next(name for name, top in tops.items() if top.score == best)
        return [_of_sheet(member, sheets[name], tops[name])]
    return [
        _of_sheet(replace(member, name=f"{member.name}:{name}", stem=name), sheets[name], tops[name]) for name in whole
    ]


@dataclass(frozen=True)
class _Top:
    """Where the header lines of a sheet are, where its rows begin, and how many columns of a bar are told by them."""

    score: int
    levels: tuple[int, ...]
    first: int


def _top_of(rows: list[list[Any]]) -> _Top:
    """The header lines of a sheet: the line that names most columns, and those of tickers beside it.

    Without such a line the first row with a date tells: the line above it is a header in words that nobody knows, or
    the sheet has none.
    """
    head = [[_text(cell) for cell in row] for row in rows[: MOST_PREAMBLE + HEAD_ROWS]]
    names, above = max(((named(cells), -place) for place, cells in enumerate(head[:MOST_PREAMBLE])), default=(0, 0))
    if names >= 2:
        return _Top(names, *_levels(head, -above))
    first = next((place for place, cells in enumerate(head) if is_row(_filled(cells))), None)
    if first is None:
        return _Top(0, (), 0)
    if first and _is_header_above(head[first - 1], head[first]):
        return _Top(1, (first - 1,), first)
    figures = sum(any(sign.isdigit() for sign in cell) for cell in head[first])
    return _Top(WHOLE_HEADER if figures >= WHOLE_HEADER else 0, (), first)


def _filled(cells: list[str]) -> list[str]:
    return [cell for cell in cells if cell]


def _is_header_above(header: list[str], row: list[str]) -> bool:
    filled = _filled(header)
    return not is_row(filled) and len(filled) > 1 and len(filled) >= len(_filled(row)) - 1


def _levels(head: list[list[str]], start: int) -> tuple[tuple[int, ...], int]:
    """The header lines around line `start`, which names most columns, and the first row below them."""
    top, below = start, start + 1
    while top and _is_level(head[top - 1], head[start]):
        top -= 1
    while below < len(head) and below - top < MOST_LEVELS and _is_level_below(head[below]):
        below += 1
    levels = tuple(place for place in range(top, below) if _filled(head[place]))
    if levels[-1] > start and not any(head[levels[-1]][1:]):
        levels = levels[:-1]  # pandas names the index in a line of its own
    return levels, below


def _is_level_below(cells: list[str]) -> bool:
    """Whether a line below the names of columns holds tickers, names the index, or is blank."""
    beside = plain(cells[0]) in LEVELS or field_of(cells[0]) == "timestamp"
    return beside and not any(map(is_number, _filled(cells)))


def _is_level(cells: list[str], header: list[str]) -> bool:
    """Whether a line above the names of columns holds tickers, as yfinance and merged cells have it, and no title."""
    tickers = _filled(cells[1:])
    beside = plain(cells[0]) in LEVELS or (field_of(cells[0]) == "timestamp" and not header[0])
    titled = len(tickers) == 1 and not cells[0] and (" " in tickers[0].strip() or is_noise(tickers[0]))
    return beside and bool(tickers) and not titled


def _of_sheet(member: Member, rows: list[list[Any]], top: _Top) -> Typed:
    """The table of a sheet below its header lines."""
    width = max(len(row) for row in rows)
    headers = [_padded(rows[place], width) for place in top.levels]
    # The cells of an upper level are merged: only the first of them has the text.
    headers[:-1] = [_spread(cells) for cells in headers[:-1]]
    body = rows[top.first :]
    while body and not any(_text(cell) for cell in body[-1]):
        body.pop()
    head = [_padded(row, width) for row in body[:HEAD_ROWS]]
    if len(headers) == 1:
        shifted = not headers[0][-1] and row_names([headers[0][:-1]], [cells for cells in head if cells[-1]], width)
        headers = header_levels(["", *headers[0][:-1]] if shifted else headers[0])
    texts = {
        f"c{place}": pa.array([_text(row[place]) if place < len(row) else "" for row in body], pa.string())
        for place in range(width)
    }
    return Typed(member, headers, head, width, first_row=top.first, _table=pa.table(texts))


def _padded(row: list[Any], width: int) -> list[str]:
    return [_text(cell) for cell in [*row, *[None] * width][:width]]


def _spread(cells: list[str]) -> list[str]:
    """A header line of merged cells: each empty one has the text of the one before it."""
    spread: list[str] = []
    for cell in cells:
        spread.append(cell or (spread[-1] if spread else ""))
    return spread


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
