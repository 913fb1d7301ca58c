"""Delimited text: encoding, separator and header lines are sniffed from the head, the rows are read by Arrow.

Arrow's reader is exact (each number is the double nearest to its text), streams from any decompressor, knows the
decimal comma and reports rows of another width; what it cannot know are several header lines and a preamble.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tt_assets.market.errors import BarsFileError
from tt_assets.market.layouts.containers import HEAD, READ, STREAM_ERRORS, Member, unreadable
from tt_assets.market.layouts.vocabulary import field_of, header_levels, plain

SEPARATORS = dict(zip(",;\t| ", ("comma", "semicolon", "tab", "pipe", "space"), strict=True))
MOST_HEAD_LINES = 400
MOST_LINE = 1 << 20
MOST_PREAMBLE = 30
_DATE = re.compile(
    r"""\s*['"]?(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{8}(\.0)?|\d{9,19}(\.0+)?"""
    r"""|\d{1,2}\.?[-\s][^\W\d_]{3,10}[-.\s,]+\d{2,4}|[^\W\d_]{3,10}\.?\s\d{1,2},?\s\d{4})([T\s].*)?['"]?\s*$""",
    re.VERBOSE,
)
_BLOCK = 1 << 22
LEVELS = frozenset({"", "ticker", "tickers", "symbol", "symbols", "price", "attributes"})
"""First cells, plain, of a header line above or below the names of columns."""
_NULLS = ["", "nan", "NaN", "NAN", "NA", "N/A", "#N/A", "null", "NULL", "None", "none", "-", "--"]


class BadEncoding(Exception):
    """The text of `table` turned out to be no UTF-8 after its head."""

    def __init__(self, table: Delimited) -> None:
        super().__init__(table.name)
        self.table = table


@dataclass
class Delimited:
    """One text table, sniffed.

    `headers` are the header lines as cells (none for a file without a header, then columns are known by position),
    `head` the first rows below them; `first_row` counts the physical lines before the first row.
    """

    member: Member
    encoding: str
    separator: str
    headers: list[list[str]]
    head: list[list[str]]
    first_row: int
    width: int
    _skipped: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """How people are told of the table."""
        return self.member.name

    def read(self, texts: Sequence[int], numbers: Sequence[int], decimal: str) -> dict[int, pa.ChunkedArray]:
        """The columns at these positions.

        `texts` come dictionary-encoded, `numbers` as doubles or, where a cell is no plain number, as they stand. Lines
        of another width are left out and told by `odd_lines`. Raises BarsFileError for what is no table.
        """
        plain = dict.fromkeys(texts, pa.dictionary(pa.int32(), pa.string()))
        try:
            return self._columns({**plain, **dict.fromkeys(numbers, pa.float64())}, decimal)
        except pa.ArrowInvalid as error:
            if "UTF8" in str(error) and self.encoding == "utf-8":
                raise BadEncoding(self) from error
        self._skipped.clear()
        columns = self._columns({**plain, **dict.fromkeys(numbers, pa.string())}, decimal)
        if any(map(_has_line_break, columns.values())):
            self.refuse_open_quote()
        return columns

    def _columns(self, types: dict[int, pa.DataType], decimal: str) -> dict[int, pa.ChunkedArray]:
        names = [f"c{place}" for place in range(self.width)]

        def skip(row: pa_csv.InvalidRow) -> str:
            self._skipped.add(row.text.strip("\r\n"))
            return "skip"

        wanted = [names[place] for place in types]
        options = {
            "read_options": pa_csv.ReadOptions(
                column_names=names, skip_rows=self.first_row, encoding=self.encoding, block_size=_BLOCK
            ),
            "parse_options": pa_csv.ParseOptions(delimiter=self.separator, invalid_row_handler=skip),
            "convert_options": pa_csv.ConvertOptions(
                column_types={names[place]: kind for place, kind in types.items()},
                include_columns=wanted,
                null_values=_NULLS,
                strings_can_be_null=False,
                decimal_point=decimal,
            ),
        }
        with self.member.open() as stream:
            try:
                table = pa_csv.read_csv(_skipping_mark(stream, self.encoding), **options)
            except pa.ArrowInvalid as error:
                if "onversion error" in str(error) or "UTF8" in str(error):
                    raise
                if "Empty CSV" in str(error):
                    table = pa.table({f"c{place}": pa.array([], kind) for place, kind in types.items()})
                else:
                    raise unreadable(self.name, error) from None
            except STREAM_ERRORS as error:
                raise unreadable(self.name, error) from None
        if any("\n" in text for text in self._skipped):
            self.refuse_open_quote()
        return {place: table[names[place]] for place in types}

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Physical lines of the rows with their numbers (1 is the file's first), blank ones left out."""
        with self.member.open() as stream:
            text = io.TextIOWrapper(io.BufferedReader(_Raw(stream)), encoding=_with_mark(self.encoding), newline=None)
            try:
                for number, line in enumerate(text, start=1):
                    if number > self.first_row and line.strip("\r\n"):
                        yield number, line.rstrip("\r\n")
            except STREAM_ERRORS as error:
                raise unreadable(self.name, error) from None

    def refuse_open_quote(self) -> None:
        """Raise BarsFileError for the quote that took the lines after it into one cell."""
        for number, line in self._lines():
            if _opens_quote(line, self.separator):
                raise BarsFileError(
                    f'{self.name}, line {number}: a quote is opened and not closed ("{line[:60]}"), so the lines after '
                    f"it are one cell. Close it, or take it out."
                )

    def cells_of(self, line: str) -> list[str]:
        """The cells of a line."""
        return next(csv.reader([line], delimiter=self.separator), [])

    def places(self, rows: Sequence[int], count: int) -> dict[int, tuple[int, list[str]]]:
        """Line and cells of the `rows`, which are positions among the `count` read.

        Empty where lines and rows do not match, because a quoted cell holds a line break.
        """
        wanted = set(rows)
        found: dict[int, tuple[int, list[str]]] = {}
        position = 0
        for number, line in self._lines():
            if line in self._skipped:
                continue
            if position in wanted:
                found[position] = (number, self.cells_of(line))
            position += 1
        return found if position == count else {}

    def odd_lines(self) -> list[tuple[int, list[str]]]:
        """Line and cells of every line that was left out for its width, those of nothing but separators aside."""
        if not self._skipped:
            return []
        odd = [(number, self.cells_of(line)) for number, line in self._lines() if line in self._skipped]
        return [(number, cells) for number, cells in odd if any(cell.strip() for cell in cells)]

    def in_encoding(self, encoding: str) -> Delimited:
        """The same table read in another encoding."""
        return sniff(self.member, encoding)


class _Raw(io.RawIOBase):
    """A stream of a decompressor as the raw stream that Python's text layer wants."""

    def __init__(self, stream: object) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(data)] = data
        return len(data)


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _skipping_mark(stream: object, encoding: str) -> object:
    """`stream` for Arrow, which drops the mark of UTF-8 by itself and transcodes the rest."""
    return stream if isinstance(stream, pa.NativeFile) else pa.PythonFile(stream, mode="r")


def sniff(member: Member, encoding: str = "") -> Delimited:
    """What a text table is: encoding, separator, header lines and the first rows.

    Raises BarsFileError for binary content and for text in which no table is found.
    """
    encoding = encoding or _encoding(member)
    lines = _head_lines(member, encoding)
    if not any(line.strip() for line in lines):
        raise BarsFileError(f"{member.name} is empty. Give it a header line and bars.")
    best = max((_tried(lines, separator) for separator in SEPARATORS if separator != " "), key=lambda found: found[0])
    (_, width), separator, rows = best
    if width < 2:  # spaces stand in words, too: they separate only where nothing else does, and one at a time
        (fit, width), separator, rows = _tried(lines, " ")
        width = 1 if fit < 3 * 10 or any("  " in line.strip() for line in lines) else width
    if width < 2:
        shown = next(line.strip() for line in lines if line.strip())[:80]
        raise BarsFileError(
            f'{member.name} is no table: its first line is "{shown}", without a comma, semicolon, tab, pipe or '
            f"single space that separates cells in every line. Save it as {READ}."
        )
    start, first = _body(rows, width)
    width = _width(member.name, [cells for _, cells in rows[start:first]], [cells for _, cells in rows[first:]], width)
    named_before = row_names([cells for _, cells in rows[start:first]], [cells for _, cells in rows[first:]], width)
    headers = [_padded(["", *cells] if named_before else cells, width) for _, cells in rows[start:first]]
    if len(headers) == 1:
        headers = header_levels(headers[0])
    before = rows[first][0] - 1 if first < len(rows) else (rows[-1][0] if rows else 0)
    head = [_padded(cells, width) for _, cells in rows[first:]]
    table = Delimited(member, encoding, separator, headers, head, before, width)
    # On the last line it takes nothing with it: that line is cut off, or one row that is bad.
    if any(_opens_quote(line, separator) for line in lines[before:-1]):
        table.refuse_open_quote()
    return table


def _opens_quote(line: str, separator: str) -> bool:
    """Whether the last quoted cell of a line is not closed; a quote inside a cell opens nothing."""
    if line.count('"') % 2 == 0:
        return False
    sign = re.escape(separator)
    return re.search(rf'(^|{sign})"', re.sub(rf'(^|{sign})"([^"]|"")*"', r"\1", line)) is not None


def _encoding(member: Member) -> str:
    head = member.head
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for parity, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[parity:200:2].count(0), head[1 - parity : 200 : 2].count(0)
        if zeros > len(head[:200]) // 4 > others:
            return encoding
    if b"\0" in head:
        raise BarsFileError(f"{member.name} is no text (it holds zero bytes). Save it as {READ}.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        # A European export of an older program; five bytes mean nothing in it, and then it is no text at all.
        if re.search(rb"\xed[\xa0-\xbf][\x80-\xbf]", head):
            raise unreadable(member.name, f"{error}; half of a surrogate pair", "Write it again as UTF-8.") from None
        try:
            head.decode("cp1252")
        except UnicodeDecodeError:
            raise unreadable(member.name, error) from None
        if sum(byte < 32 and byte not in b"\t\r\n\f" for byte in head) > 0:
            raise unreadable(member.name, error) from None
        return "cp1252"
    return "utf-8"


def _head_lines(member: Member, encoding: str) -> list[str]:
    decoder = codecs.getincrementaldecoder(_with_mark(encoding))()
    try:
        text = decoder.decode(member.head)
    except UnicodeDecodeError as error:
        raise unreadable(member.name, error) from None
    lines = re.split("\r\n|\r|\n", text)  # as Arrow does; `splitlines` takes more signs for the end of a line
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    if any(len(line) > MOST_LINE for line in lines[:2]) or (len(lines) == 1 and _cut(member)):
        raise BarsFileError(
            f"{member.name} is no table: its first line is longer than {len(lines[0]):,} signs. Save it as {READ}."
        )
    # The last line of a head that was cut may be half a line.
    return lines[: MOST_HEAD_LINES if len(lines) > 1 else 1][
        : -1 if 1 < len(lines) <= MOST_HEAD_LINES and _cut(member) else None
    ]


def _has_line_break(column: pa.ChunkedArray) -> bool:
    texts = pc.cast(column, pa.string()) if not pa.types.is_string(column.type) else column
    return bool(pc.any(pc.match_substring(texts, "\n")).as_py())


def _cut(member: Member) -> bool:
    return len(member.head) >= HEAD


def _tried(lines: Sequence[str], separator: str) -> tuple[tuple[float, int], str, list[tuple[int, list[str]]]]:
    """How well a separator splits the lines (higher is better), with the rows it makes and their line numbers."""
    rows = [
        (number, next(csv.reader([line], delimiter=separator), []))
        for number, line in enumerate(lines, start=1)
        if line.strip() and len(line) < csv.field_size_limit()
    ]
    # A table's width is that of most lines below the preamble.
    widths = Counter(len(cells) for _, cells in rows[min(3, len(rows) - 1) :] if len(cells) > 1)
    if not widths:
        return (0.0, 1), separator, rows
    width, lines_of_it = widths.most_common(1)[0]
    named = max(
        (sum(field_of(cell) is not None for cell in cells) for _, cells in islice(rows, MOST_PREAMBLE)), default=0
    )
    return (named * 10 + lines_of_it / len(rows), width), separator, rows


def _body(rows: Sequence[tuple[int, list[str]]], width: int) -> tuple[int, int]:
    """Where the header lines begin and where the rows begin, as positions in `rows`."""
    narrow = max(2, width - 1)
    wide = [place for place, (_, cells) in enumerate(rows) if len(cells) >= narrow]
    told = (place for place in wide[:MOST_PREAMBLE] if _tells(rows[place][1]))
    start = next(told, wide[0] if wide else 0)
    # A header may be in words that nobody knows, and be read by what a person says of it.
    if start and is_row(rows[start][1]) and len(rows[start - 1][1]) == len(rows[start][1]):
        start -= 1
    # Of the header lines of yfinance the first may name nothing but tickers.
    while start and len(rows[start - 1][1]) >= narrow and plain(rows[start - 1][1][0]) in LEVELS:
        start -= 1
    first = start
    while first < len(rows) and first - start < 4 and not is_row(rows[first][1]):
        first += 1
    if first - start >= 4 or first == len(rows):
        # No date is recognised: the line of names, and everything below it is rows.
        first = start + 1
    return start, first


def _tells(cells: Sequence[str]) -> bool:
    """Whether a line is a header or a row rather than words before the table."""
    return named(cells) >= 2 or is_row(cells)


def named(cells: Sequence[str]) -> int:
    """How many cells head a column of a bar, be it one of a symbol (ACME.Open, Close_ACME)."""
    return sum(any(map(field_of, (cell, *cell.replace("_", ".").rsplit(".", 1)))) for cell in cells)


def _width(name: str, headers: Sequence[list[str]], rows: Sequence[list[str]], usual: int) -> int:
    """How many cells a row has: as many as the header names, where there is one and any row agrees."""
    if not headers:
        return usual
    named = max(map(len, headers))
    widths = Counter(map(len, rows))
    if not rows or widths[named] or (named >= usual > 1 and headers[0][-1].strip()):
        return named
    if named < usual and not row_names(headers, rows, usual) and any(cell.strip() for r in rows for cell in r[named:]):
        raise BarsFileError(
            f"{name}: the rows have more cells than the header names ({usual} and {named}). Name every column in the "
            f"header."
        )
    return usual


def row_names(headers: Sequence[list[str]], rows: Sequence[list[str]], width: int) -> bool:
    """Whether each row begins with a number or a date that the header does not name, as R writes tables."""
    if not headers or not rows or any(len(cells) != width - 1 for cells in headers):
        return False
    fits = [cells for cells in rows if len(cells) == width]
    counted = all(cells[0].strip().isdigit() and is_date(cells[1]) for cells in fits)
    dated = all(is_date(cells[0]) and not is_date(cells[1]) for cells in fits)
    return bool(fits) and (counted or (dated and field_of(headers[0][0]) in ("open", "high", "low", "close")))


def is_date(cell: str) -> bool:
    """Whether a cell looks like a date or an epoch."""
    return _DATE.match(cell) is not None


def is_number(cell: str) -> bool:
    """Whether a cell is a plain number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_row(cells: Sequence[str]) -> bool:
    """Whether a line is a bar rather than a header: a date and figures."""
    dated = any(is_date(cell) for cell in cells)
    figures = sum(bool(re.search(r"\d", cell)) for cell in cells)
    return dated and (figures >= 2 or len(cells) < 3) and named(cells) < 3


def _padded(cells: list[str], width: int) -> list[str]:
    return [*cells, *[""] * (width - len(cells))][:width]
