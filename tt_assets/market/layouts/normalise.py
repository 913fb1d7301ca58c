"""From files in any layout to checked bars: tables opened, recognised, read, joined, and held against the contract."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tt_assets.market.bars import NUMBER_COLUMNS, BarFault, BarRows, BarRule, CheckedBars, RawRow, check_rows, read_day
from tt_assets.market.errors import BarsFileError, UnnamedBars
from tt_assets.market.layouts.containers import Kind, Member, Stamp, members, stem_of
from tt_assets.market.layouts.cut_off import refuse_cut
from tt_assets.market.layouts.dates import (
    Day,
    MarketClock,
    Order,
    ReadDates,
    ambiguous,
    days_of_moments,
    naive_rules,
    read_dates,
)
from tt_assets.market.layouts.delimited import BadEncoding, Delimited, sniff
from tt_assets.market.layouts.numbers import decimal_sign, read_numbers
from tt_assets.market.layouts.options import BarsOptions
from tt_assets.market.layouts.recognise import CLOSES_ALONE, NEEDED, Columns, Layout, recognise
from tt_assets.market.layouts.symbols import symbol_of
from tt_assets.market.layouts.typed import Table, open_feather, open_parquet, open_xlsx
from tt_assets.market.layouts.vocabulary import field_of, says_decimal_comma

DAILY = frozenset({"d", "1d", "day", "daily", "1day", "1440", "d1"})
_RULES = (BarRule.DATE, BarRule.TIME_ZONE, BarRule.TIME_OF_DAY, BarRule.NOT_DAILY)


@dataclass(frozen=True)
class ReadTable:
    """What was recognised in one table: layout, how, and how its dates are written."""

    name: str
    layout: str
    why: str
    dates: str
    rows: int
    left_out_column: str = ""


@dataclass(frozen=True)
class Normalised:
    """The bars of a path, checked; `tables` as they were recognised, `passed_over` files that hold no bars.

    `by_name` says that a symbol came from a file's name or from the watchlist. `counts` has, by symbol (`names`), how
    many bars are `whole` and of how many of these the close lies `outside` low to high.
    """

    checked: CheckedBars
    tables: tuple[ReadTable, ...]
    passed_over: tuple[str, ...]
    rows: int
    by_name: bool
    counts: dict[str, npt.NDArray[Any]]


@dataclass
class _Opened:
    """A table with its layout; the symbol where it has no column for it."""

    table: Table
    layout: Layout
    decimal: str
    symbol: str | None = None


@dataclass
class _Part:
    """The rows of one table."""

    opened: _Opened
    symbols: list[str]
    codes: npt.NDArray[np.int64]
    days: npt.NDArray[np.datetime64]
    broken: dict[BarRule, npt.NDArray[np.bool_]]
    numbers: dict[str, npt.NDArray[np.float64]]
    order: str
    count: int
    """Rows of the table itself; a wide one yields that many for each symbol."""
    stamps: pa.ChunkedArray | None
    """The column of the dates where no line shows its cells."""


def normalise(
    files: Sequence[Stamp],
    options: BarsOptions,
    symbols: Sequence[str] | None,
    clock: MarketClock,
    path: Path | None = None,
) -> Normalised:
    """Read the `files` as one set of bars.

    `symbols` is the watchlist by which tables without a column for the symbol are named, None where there is none.
    Faults name their file unless it is `path` itself.
    Raises BarsFileError for the first file that cannot be used as a whole, naming file, line, value and remedy.
    """
    opened, passed_over = _open_all(files, options)
    by_name = _name(opened, symbols)
    parts = _read_all(opened, options, clock)
    named = len(parts) > 1 or parts[0].opened.table.name != str(path)
    rows, odd = _joined(parts, named)
    checked = check_rows(rows)
    checked = _with_odd_lines(checked, odd, named)
    told = tuple(
        ReadTable(
            part.opened.table.name,
            part.opened.layout.name,
            _why(part.opened.layout, options),
            part.order,
            len(part.days),
            part.opened.layout.left_out,
        )
        for part in parts
    )
    return Normalised(checked, told, tuple(passed_over), len(rows), by_name, _outside_counts(rows))


def _why(layout: Layout, options: BarsOptions) -> str:
    scaled = any(columns.adj_close is not None for columns in layout.by_symbol.values())
    return layout.why + (f"; all four prices are scaled by {options.adjust}" if scaled else "")


def _open_all(files: Sequence[Stamp], options: BarsOptions) -> tuple[list[_Opened], list[str]]:
    opened: list[_Opened] = []
    passed_over: list[str] = []
    first: BarsFileError | None = None
    for stamp in files:
        inside: list[Member] = []
        try:
            inside = members(Path(stamp.path))
        except BarsFileError as error:
            # What a download of a symbol that is gone leaves behind.
            if len(files) == 1 or "is empty" not in str(error):
                raise
            first = first or error
            passed_over.append(str(error))
        for member in inside:
            try:
                opened += [_recognised(table, options) for table in open_tables(member)]
            except BarsFileError as error:
                # A file that is something else stops no folder or archive; one with half of the columns does.
                if len(files) == len(inside) == 1 or not _is_something_else(error):
                    raise
                first = first or error
                passed_over.append(str(error))
    if not opened:
        raise first or BarsFileError("There is no bars file.")
    return opened, passed_over


def _is_something_else(error: BarsFileError) -> bool:
    said = str(error)
    if isinstance(error, UnnamedBars):
        return False
    return sum(f" {name}," in said or f" {name} (" in said for name in NEEDED) >= 4 or any(
        words in said for words in ("is no table", CLOSES_ALONE)
    )


def open_tables(member: Member) -> Sequence[Table]:
    """The table in a member, of a workbook those of its sheets; their heads are read and their columns not yet."""
    match member.kind:
        case Kind.PARQUET:
            return [open_parquet(member)]
        case Kind.FEATHER:
            return [open_feather(member)]
        case Kind.XLSX:
            return open_xlsx(member)
    table = sniff(member)
    refuse_cut(table)
    return [table]


def _recognised(table: Table, options: BarsOptions) -> _Opened:
    layout = recognise(table, options)
    columns = next(iter(layout.by_symbol.values()))
    prices = [row[place] for row in table.head for place in (columns.open, columns.high, columns.low, columns.close)]
    volumes = [row[columns.volume] for row in table.head]
    separator = table.separator if isinstance(table, Delimited) else ","
    continental = any(map(says_decimal_comma, table.headers))
    return _Opened(table, layout, decimal_sign(prices, volumes, separator, continental=continental))


def _name(opened: Sequence[_Opened], symbols: Sequence[str] | None) -> bool:
    """Give each table without a symbol in it the one its name says; whether any needed it."""
    unnamed = [item for item in opened if item.layout.instrument is None and "" in item.layout.by_symbol]
    folders = {_folder(item.table.member) for item in unnamed}
    of_file = Counter(item.table.member.path for item in opened)
    for item in unnamed:
        stem = item.table.member.stem
        item.symbol = _keyed(item.table.member.path) or symbol_of(stem, symbols)
        if item.symbol is None and len(folders) > 1:
            # AAPL/daily.csv beside IBM/daily.csv
            item.symbol = symbol_of(_folder(item.table.member).name, symbols)
        if item.symbol is None and len(opened) > 1 and re.fullmatch(r"[A-Z]{1,5}", stem):
            item.symbol = stem  # DAY.csv beside AAPL.csv; alone a word like it names the contents
        if item.symbol is None and of_file[item.table.member.path] == 1:
            # data.csv in ACME.zip, Sheet1 of ACME.xlsx
            item.symbol = symbol_of(stem_of(item.table.member.path), symbols)
        if len(opened) == 1 and symbols is not None and len(symbols) == 1:
            item.symbol = symbols[0]
        if item.symbol is None:
            raise BarsFileError(
                f'{item.table.name} names no symbol: it has no such column, and "{stem}" is no symbol either. Name the '
                f"file after it (ACME.csv), add a column symbol, or set TT_WATCHLIST to a list of that one symbol."
            )
    return bool(unnamed)


def _folder(member: Member) -> Path:
    """The folder a table lies in, on disk or in its archive."""
    return Path(member.name.removeprefix(f"{member.path}:")).parent


def _keyed(path: Path) -> str | None:
    """The symbol in the folders of a partitioned data set, as in symbol=AAPL/part-0.parquet."""
    pairs = (part.partition("=") for part in reversed(path.parts[:-1]))
    return next(
        (unquote(value) for key, sign, value in pairs if sign and value and field_of(key) == "instrument"), None
    )


def _read_all(opened: Sequence[_Opened], options: BarsOptions, clock: MarketClock) -> list[_Part]:
    """Every table read; those whose dates are ambiguous by what the others of their folder settled."""
    parts: dict[int, _Part] = {}
    waiting: list[tuple[int, ReadDates]] = []
    settled: Order | None = None
    for place, item in enumerate(opened):
        part, dates = _read(item, options, clock, None)
        if dates is not None and dates.order in (Order.AMBIGUOUS, Order.CONTRADICTING):
            waiting.append((place, dates))
            continue
        if dates is not None and dates.order in (Order.DAY_FIRST, Order.MONTH_FIRST):
            settled = settled or dates.order
        parts[place] = part
    for place, dates in waiting:
        if settled is None or dates.order is Order.CONTRADICTING:
            raise BarsFileError(ambiguous(opened[place].table.name, dates))
        parts[place], _ = _read(opened[place], options, clock, settled)
    return [parts[place] for place in sorted(parts)]


def _read(
    item: _Opened, options: BarsOptions, clock: MarketClock, order: Order | None
) -> tuple[_Part, ReadDates | None]:
    layout = item.layout
    texts = [layout.timestamp, *(p for p in (layout.instrument, layout.time_of_day, layout.period) if p is not None)]
    wanted = [place for own in layout.by_symbol.values() for place in _places(own)]
    try:
        columns = item.table.read(list(dict.fromkeys(texts)), list(dict.fromkeys(wanted)), item.decimal)
    except BadEncoding as error:
        # Latin-1 after a head of plain ASCII.
        again = _recognised(error.table.in_encoding("cp1252"), options)
        again.symbol = item.symbol
        return _read(again, options, clock, order)
    stamps = columns[layout.timestamp]
    count = len(stamps)
    days, broken, dates = _days(stamps, clock, options.date_format, order, columns.get(layout.time_of_day or -1))
    if layout.period is not None:
        broken[BarRule.NOT_DAILY] = _not_daily(columns[layout.period])
    codes, symbols = _symbols(item, columns, count)
    numbers = _numbers(item, columns)
    wide = len(layout.by_symbol)
    if wide > 1 or "" not in layout.by_symbol:
        days = np.tile(days, wide)
        broken = {rule: np.tile(mask, wide) for rule, mask in broken.items()}
    said = dates.said if dates is not None else "typed"
    kept = None if isinstance(item.table, Delimited) else stamps
    return _Part(item, symbols, codes, days, broken, numbers, said, count, kept), dates


def _places(own: Columns) -> list[int]:
    return [own.open, own.high, own.low, own.close, own.volume, *([] if own.adj_close is None else [own.adj_close])]


def _symbols(item: _Opened, columns: dict[int, pa.ChunkedArray], count: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Codes (rows,) and the names they stand for."""
    layout = item.layout
    if layout.instrument is not None:
        codes, texts = _distinct(columns[layout.instrument])
        names = [text.strip(' "\t') for text in texts]
        if layout.strip_us:
            names = [name[:-3] if name.upper().endswith(".US") else name for name in names]
        return codes, names
    if "" in layout.by_symbol:
        return np.zeros(count, dtype=np.int64), [item.symbol or ""]
    names = list(layout.by_symbol)
    return np.repeat(np.arange(len(names), dtype=np.int64), count), names


def _numbers(item: _Opened, columns: dict[int, pa.ChunkedArray]) -> dict[str, npt.NDArray[np.float64]]:
    """Prices and volumes (rows,), one instrument's rows after the other's in a wide table."""
    layout = item.layout
    found: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in NUMBER_COLUMNS}
    for own in layout.by_symbol.values():
        read = {name: read_numbers(columns[getattr(own, name)], item.decimal) for name in NUMBER_COLUMNS}
        if own.adj_close is not None:
            adjusted = read_numbers(columns[own.adj_close], item.decimal)
            with np.errstate(all="ignore"):
                factor = adjusted / read["close"]
                read |= {name: read[name] * factor for name in ("open", "high", "low")}
            read["close"] = adjusted
        if layout.price_unit != 1:
            read |= {name: read[name] / layout.price_unit for name in ("open", "high", "low", "close")}
        for name, values in read.items():
            found[name].append(values)
    return {name: values[0] if len(values) == 1 else np.concatenate(values) for name, values in found.items()}


def _not_daily(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    codes, texts = _distinct(column)
    daily = np.array([text.strip().casefold() in DAILY for text in texts] + [False])
    return ~daily[codes]


def _distinct(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Codes (rows,), -1 where empty, into the distinct cells as text."""
    if pa.types.is_duration(column.type) or pa.types.is_time(column.type):
        # Distinct ones of these Arrow cannot tell; a date or symbol none of them is.
        column = pa.chunked_array(
            [[None if value is None else str(value) for value in column.to_pylist()]], pa.string()
        )
    of_cells = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(of_cells):
        column = pa.chunked_array([pa.nulls(len(column), pa.string())])
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    joined = column.unify_dictionaries().combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = joined.chunk(0) if joined.num_chunks else pa.array([], pa.string()).dictionary_encode()
    texts = ["" if value is None else _plain(value) for value in joined.dictionary.to_pylist()]
    codes = pc.fill_null(joined.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = [code for code, text in enumerate(texts) if not text.strip()]
    if empty:
        codes = np.where(np.isin(codes, empty), -1, codes)
    return codes, texts


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _days(
    column: pa.ChunkedArray, clock: MarketClock, given: str, order: Order | None, times: pa.ChunkedArray | None
) -> tuple[npt.NDArray[np.datetime64], dict[BarRule, npt.NDArray[np.bool_]], ReadDates | None]:
    kind = column.type
    if pa.types.is_date(kind):
        days = column.to_numpy().astype("datetime64[D]")
        return days, {BarRule.DATE: np.isnat(days)}, None
    if pa.types.is_timestamp(kind):
        return _typed_days(column, clock)
    codes, texts = _distinct(column)
    dates = read_dates(texts, clock, given, order)
    found = _joined_times(dates, texts, codes, times) if times is not None else dates.days
    found = [*found, Day(None, BarRule.DATE)]
    days = np.array([day.day for day in found], dtype="datetime64[D]")[codes]
    rules = np.array([day.rule or "" for day in found])[codes]
    return days, {rule: rules == rule for rule in _RULES if (rules == rule).any()}, dates


def _joined_times(
    dates: ReadDates, texts: Sequence[str], codes: npt.NDArray[np.int64], times: pa.ChunkedArray
) -> list[Day]:
    """The days, refused where a column beside them holds more than one time of day."""
    _, clocks = _distinct(times)
    told = {text.strip().lstrip("0:") for text in clocks if text.strip()}
    if len(told) <= 1:
        return dates.days
    return [Day(day.day, BarRule.TIME_OF_DAY) if day.day is not None else day for day in dates.days]


def _typed_days(
    column: pa.ChunkedArray, clock: MarketClock
) -> tuple[npt.NDArray[np.datetime64], dict[BarRule, npt.NDArray[np.bool_]], None]:
    zone = column.type.tz
    try:
        moments = pc.cast(column, pa.timestamp("ns", zone)).to_numpy().astype("datetime64[ns]")
    except pa.ArrowInvalid:
        # Years beyond 2262 overflow nanoseconds; no bar is there.
        moments = pc.cast(column, pa.timestamp("ns", zone), safe=False).to_numpy().astype("datetime64[ns]")
    if zone is None:
        days = moments.astype("datetime64[D]")
        return days, {BarRule.DATE: np.isnat(days), BarRule.TIME_OF_DAY: naive_rules(moments, clock)}, None
    days, odd = days_of_moments(moments, clock)
    own = pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    there = np.asarray(own == own.normalize())
    days = np.where(there, own.normalize().to_numpy().astype("datetime64[D]"), days)
    return days, {BarRule.DATE: np.isnat(days), BarRule.TIME_ZONE: odd & ~there}, None


def _joined(parts: Sequence[_Part], named: bool) -> tuple[BarRows, list[tuple[_Part, int, list[str]]]]:
    """The rows of all tables as one, and the lines of another width."""
    names = np.unique(np.array([name for part in parts for name in part.symbols] or [""], dtype=object).astype(str))
    place = {name: code for code, name in enumerate(names.tolist())}
    codes = []
    for part in parts:
        here = np.array([place[name] if name else -1 for name in part.symbols] + [-1], dtype=np.int64)
        codes.append(here[part.codes])
    rules = {rule for part in parts for rule in part.broken}
    starts = np.cumsum([0, *(len(part.days) for part in parts)])

    def raw(rows: npt.NDArray[np.int64]) -> list[RawRow]:
        found: dict[int, RawRow] = {}
        owner = np.searchsorted(starts, rows, side="right") - 1
        for index in np.unique(owner).tolist():
            mine = rows[owner == index]
            found |= dict(zip(mine.tolist(), _raw(parts[index], mine - starts[index], named), strict=True))
        return [found[row] for row in rows.tolist()]

    joined = BarRows(
        _concatenated(codes),
        names.astype(object),
        _concatenated([part.days for part in parts]),
        {
            rule: _concatenated([part.broken.get(rule, np.zeros(len(part.days), dtype=bool)) for part in parts])
            for rule in rules
        },
        {name: _concatenated([part.numbers[name] for part in parts]) for name in NUMBER_COLUMNS},
        raw,
    )
    odd = [(part, line, cells) for part in parts for line, cells in part.opened.table.odd_lines()]
    return joined, odd


def _concatenated(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _raw(part: _Part, rows: npt.NDArray[np.int64], named: bool) -> list[RawRow]:
    layout, table = part.opened.layout, part.opened.table
    name = Path(table.name).name if named else ""
    places = table.places((rows % max(1, part.count)).tolist(), part.count)
    owns = list(layout.by_symbol.values())
    found = []
    for row in rows.tolist():
        line, cells = places.get(row % max(1, part.count), (None, []))
        own = owns[row // max(1, part.count)] if len(owns) > 1 else owns[0]
        at = {"timestamp": layout.timestamp, "period": layout.period} | {
            name: getattr(own, name) for name in NUMBER_COLUMNS
        }
        texts = {name: cells[spot].strip() for name, spot in at.items() if spot is not None and spot < len(cells)}
        if not texts and part.stamps is not None:
            texts = {"timestamp": _written(part.stamps[row % max(1, part.count)])}
        found.append(RawRow(line, name, texts))
    return found


def _written(moment: pa.Scalar) -> str:
    """A moment as people read it, one that no calendar has as its number; empty for none."""
    try:
        value = moment.as_py()
    except (OverflowError, ValueError):
        value = getattr(moment, "value", "")
    return "" if value is None else str(value)


def _with_odd_lines(checked: CheckedBars, odd: Sequence[tuple[_Part, int, list[str]]], named: bool) -> CheckedBars:
    """`checked` with a fault for every line of another width, and without bars that such a line contradicts."""
    if not odd:
        return checked
    faults = []
    for part, line, cells in odd:
        layout, table = part.opened.layout, part.opened.table
        if len(cells) == 1 and line > 2 and not any(sign.isdigit() for sign in cells[0][:4]):
            continue  # a footer in words ("Downloaded from …")
        stamp = cells[layout.timestamp].strip() if layout.timestamp < len(cells) else ""
        symbol = part.symbols[0] if layout.instrument is None else ""
        if layout.instrument is not None and layout.instrument < len(cells):
            symbol = cells[layout.instrument].strip()
        value = f"{len(cells)} cells instead of {table.width}"
        name = Path(table.name).name if named else ""
        faults.append(BarFault(symbol, read_day(stamp)[0] or stamp, BarRule.CELLS, value, line, name))
    keys = pd.MultiIndex.from_frame(checked.clean[["instrument", "timestamp"]])
    taken = [(fault.instrument, pd.Timestamp(fault.session)) for fault in faults if not isinstance(fault.session, str)]
    clean = checked.clean[~keys.isin(taken)].reset_index(drop=True) if taken else checked.clean
    return CheckedBars(clean, (*faults, *checked.faults), checked.mended)


def _outside_counts(rows: BarRows) -> dict[str, npt.NDArray[Any]]:
    """Per symbol of how many bars the close lies outside low to high, and how many bars are whole."""
    opened, high, low, close = (rows.numbers[name] for name in ("open", "high", "low", "close"))
    with np.errstate(invalid="ignore"):
        whole = (low > 0) & (high >= low) & (high < np.inf) & (close > 0) & (close < np.inf) & (rows.instruments >= 0)
        within = whole & (opened >= low * (1 - 1e-6)) & (opened <= high * (1 + 1e-6))
        outside = within & ((close < low * (1 - 1e-6)) | (close > high * (1 + 1e-6)))
    size = len(rows.names)
    return {
        "names": rows.names,
        "whole": np.bincount(rows.instruments[whole], minlength=size),
        "outside": np.bincount(rows.instruments[outside], minlength=size),
    }
