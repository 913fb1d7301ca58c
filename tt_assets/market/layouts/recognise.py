"""Which column of a table is what, and how such a layout is called.

The columns decide, not the name of the layout: a file that fits none of the names is read all the same where its
headers say enough. The names are there so that a person sees that the file was understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tt_assets.market.errors import BarsFileError, UnnamedBars
from tt_assets.market.layouts.delimited import LEVELS, SEPARATORS, Delimited, is_date, is_number
from tt_assets.market.layouts.options import BarsOptions
from tt_assets.market.layouts.symbols import in_words, is_noise
from tt_assets.market.layouts.typed import Table
from tt_assets.market.layouts.unnamed_bars import FEWEST, MOST, hold_bars
from tt_assets.market.layouts.vocabulary import field_of, plain, rank_of

NEEDED = ("timestamp", "open", "high", "low", "close", "volume")
DECI_CENTS = 10_000.0
PRICES_AND_VOLUME = NEEDED[1:]
MOST_SHOWN = 12
MOST_GROUPS = 4
"""Kinds of symbols that lack the same columns, of which a line names some."""


@dataclass(frozen=True)
class Columns:
    """Positions of the columns of one instrument (or of all, in a long table); None where there is no such column."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    adj_close: int | None = None


@dataclass(frozen=True)
class Layout:
    """How a table is read.

    `by_symbol` maps each instrument to its columns; in a long table, or one of a single instrument, it has one entry
    under the empty name. `price_unit` divides prices (10,000 for deci-cents). `left_out` names an adjusted close that
    is there and not used. `why` says in words how the layout was recognised.
    """

    name: str
    why: str
    timestamp: int
    by_symbol: Mapping[str, Columns]
    instrument: int | None = None
    time_of_day: int | None = None
    period: int | None = None
    price_unit: float = 1.0
    left_out: str = ""
    strip_us: bool = False


@dataclass(frozen=True)
class Known:
    """A layout people know by name: `heads` are headers, plain, that are there together; `example` is a header line."""

    name: str
    heads: frozenset[str]
    example: str
    note: str = ""


def _known(name: str, example: str, heads: str, note: str = "") -> Known:
    return Known(name, frozenset(heads.split()), example, note)


KNOWN: tuple[Known, ...] = (
    _known(
        "Stooq",
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        "ticker per date openint",
        "ACME.US is ACME; rows of another <PER> than D are refused",
    ),
    _known("Finam", "<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>", "ticker per date time vol"),
    _known(
        "MetaTrader", "<DATE> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>", "date open tickvol spread", "tab"
    ),
    _known(
        "Nasdaq",
        "Date,Close/Last,Volume,Open,High,Low",
        "date closelast volume open",
        "$ signs, MM/DD/YYYY, newest first",
    ),
    _known(
        "Tiingo",
        "date,close,high,low,open,volume,adjClose,adjHigh,…,divCash,splitFactor",
        "adjclose adjhigh adjopen",
        "unadjusted prices; TT_BARS_ADJUST=adjClose scales them",
    ),
    _known(
        "Yahoo",
        "Date,Open,High,Low,Close,Adj Close,Volume",
        "date open high low close adjclose volume",
        "one file a symbol, named after it; the adjusted close is left out unless TT_BARS_ADJUST names it",
    ),
    _known("FinRL", "date,open,high,low,close,volume,tic,day", "date open high low close volume tic"),
    _known("Kaggle", "date,open,high,low,close,volume,Name", "date open high low close volume name"),
    _known("Alpaca", "symbol,timestamp,open,high,low,close,volume,trade_count,vwap", "timestamp open tradecount vwap"),
    _known("Alpaca", "t,o,h,l,c,v,n,vw", "t o h l c v n vw", "also Polygon's answers"),
    _known(
        "Polygon",
        "ticker,volume,open,close,high,low,window_start,transactions",
        "ticker windowstart transactions",
        "epochs in s, ms, µs or ns by their size",
    ),
    _known(
        "ib_insync", ",date,open,high,low,close,volume,average,barCount", "date open average barcount", "util.df(bars)"
    ),
    _known(
        "Investing", "Date,Price,Open,High,Low,Vol.,Change %", "date price open high low vol change", "21.50M, 1,234.5"
    ),
    _known("zipline csvdir", "date,open,high,low,close,volume,dividend,split", "date open volume dividend split"),
    _known(
        "yfinance history", "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", "date open dividends stocksplits"
    ),
    _known("CryptoDataDownload", "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD", "unix date symbol open"),
    _known("NSE", "Date,series,OPEN,HIGH,LOW,PREV. CLOSE,ltp,close,vwap,VOLUME,VALUE", "date series open ltp close"),
    _known("ariva", "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen", "datum erster hoch tief schlusskurs"),
    _known(
        "tt_prices",
        "instrument,timestamp,open,high,low,close,volume",
        "instrument timestamp open high low close volume",
    ),
    _known(
        "Alpha Vantage", "timestamp,open,high,low,close,volume", "timestamp open high low close volume", "newest first"
    ),
)
YFINANCE = Known(
    "yfinance",
    frozenset(),
    "Price,Close,High,Low,Open,Volume / Ticker,ACME,… / Date,,,,,",
    "two or three header lines, several tickers across; also as parquet with MultiIndex columns",
)
WIDE = Known("wide", frozenset(), "Date,AAPL.Open,AAPL.High,… or Close_AAPL,Open_AAPL,…", "also R's quantmod")
QUANTCONNECT = Known(
    "QuantConnect",
    frozenset(),
    "20140102 00:00,403700,404900,393100,395900,21504200",
    "aapl.zip, no header, deci-cents",
)
BINANCE = Known(
    "Binance", frozenset(), "1388620800000,732.00,815.90,729.40,805.94,21504.2,1388707199999,…", "no header"
)
HEADERLESS = Known(
    "no header", frozenset(), "[ACME,]2014-01-02,40.37,40.49,39.31,39.59,21504200", "open, high, low, close, volume"
)
EXPORT = Known(
    "export",
    frozenset(),
    "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen",
    "other words, ; tab |, decimal comma, UTF-16, Latin-1",
)
ALL_KNOWN = (*KNOWN, YFINANCE, WIDE, QUANTCONNECT, BINANCE, HEADERLESS, EXPORT)


def recognise(table: Table, options: BarsOptions) -> Layout:
    """The layout of a table, from its headers, its first rows and what the `options` override.

    Raises BarsFileError that names every column that is missing, or doubled, at once.
    """
    if len(table.headers) > 1:
        return _several_levels(table, options)
    if not table.headers:
        return _without_header(table, options)
    return _by_headers(table, table.headers[0], options)


def _by_headers(table: Table, headers: Sequence[str], options: BarsOptions) -> Layout:
    found = _fields(table, headers, options)
    missing = [name for name in NEEDED if name not in found]
    if missing:
        wide, left_out, part = _joined_names(table, headers, found, options)
        if wide and "timestamp" in found:
            why = "each header joins a symbol and a column"
            why += f"; {in_words(list(part))} without all of them" if part else ""
            if len(wide) == 1 and is_noise(next(iter(wide))):
                wide, why = {"": wide.popitem()[1]}, "each header ends with the name of a column"
            return Layout(WIDE.name, why, found["timestamp"], wide, left_out=left_out)
        raise _not_whole(table, headers, found, part, options)
    named = {plain(header) for header in headers}
    known = next((known for known in KNOWN if known.heads <= named), None)
    if known is not None and known.name == "Alpha Vantage" and "instrument" in found:
        known = None
    words = (
        f"the headers are those of {known.name}"
        if known
        else "by its headers: "
        + ", ".join(f"{name} is {headers[place] or '(unnamed)'}" for name, place in found.items())
    )
    adjusted = _adjusting(table, headers, found, options)
    return Layout(
        known.name if known else _generic(table),
        words + _separated(table),
        found["timestamp"],
        {"": _columns(found, adjusted)},
        instrument=found.get("instrument"),
        time_of_day=found.get("time_of_day"),
        period=found.get("period"),
        left_out=headers[found["adj_close"]] if "adj_close" in found and adjusted is None else "",
        strip_us=known is not None and known.name == "Stooq",
    )


def _not_whole(
    table: Table,
    headers: Sequence[str],
    found: Mapping[str, int],
    part: Mapping[str, Sequence[str]],
    options: BarsOptions,
) -> BarsFileError:
    """The refusal of a table without all columns of a bar.

    Parameters
    ----------
    found : position of each field that a header names. part : symbol that headers join to fields → fields it lacks.
    """
    missing = [name for name in NEEDED if name not in found]
    named = any(name in PRICES_AND_VOLUME for name, _ in options.columns)
    if "timestamp" in found and not named:
        others = [place for place in range(len(headers)) if place not in found.values()]
        separator = table.separator if isinstance(table, Delimited) else ","
        if hold_bars([[row[place] for place in others] for row in table.head], separator):
            return UnnamedBars(str(lacking(table.name, missing, headers)))
        if alone := _alone(table, headers, found["timestamp"]):
            return closes_alone(table.name, alone, joined=alone[0] not in map(str.strip, headers))
    halves = {symbol: lacks for symbol, lacks in part.items() if len(lacks) <= 2}
    for symbol, lacks in halves.items():
        if is_noise(symbol):
            return lacking(table.name, lacks, headers)
    return _halves(table.name, halves) if halves else lacking(table.name, missing, headers)


def _halves(name: str, lacking_of: Mapping[str, Sequence[str]]) -> BarsFileError:
    """The refusal of a wide table in which symbols lack one or two columns."""
    by_lack: dict[str, list[str]] = {}
    for symbol, lacks in lacking_of.items():
        by_lack.setdefault(" and ".join(lacks), []).append(symbol)
    groups = [f"{lacks} of {in_words(symbols)}" for lacks, symbols in by_lack.items()]
    more = f"; and more of {len(groups) - MOST_GROUPS} other kinds" if len(groups) > MOST_GROUPS else ""
    return BarsFileError(
        f"The bars in {name} lack {'; '.join(groups[:MOST_GROUPS])}{more}, whose other columns are there. Add a column "
        f"for each symbol, headed like those."
    )


def _generic(table: Table) -> str:
    return EXPORT.name if isinstance(table, Delimited) and table.separator != "," else "columns by name"


def _separated(table: Table) -> str:
    if isinstance(table, Delimited) and table.separator != ",":
        return f"; cells are separated by {SEPARATORS[table.separator]}"
    return ""


def _fields(table: Table, headers: Sequence[str], options: BarsOptions) -> dict[str, int]:
    """Position of each field, the plainest header first; overrides go before."""
    given: dict[str, int] = {}
    for name, header in options.columns:
        given[name] = _place(table, headers, header, "TT_BARS_COLUMNS")
    candidates: dict[str, list[int]] = {}
    for place, header in enumerate(headers):
        field = field_of(header)
        if field is not None and place not in given.values():
            candidates.setdefault(field, []).append(place)
    found = dict(given)
    for name, places in candidates.items():
        if name in found:
            continue
        best = min(places, key=lambda place: (rank_of(name, headers[place]), place))
        doubled = [place for place in places if plain(headers[place]) == plain(headers[best])]
        if len(doubled) > 1:
            shown = ", ".join(f'"{headers[place]}" (column {place + 1})' for place in doubled)
            raise BarsFileError(
                f"{table.name} has the column {name} more than once: {shown}. Keep one, or name it by "
                f"TT_BARS_COLUMNS={name}=HEADER with a header of its own."
            )
        found[name] = best
    _settle_times(headers, found, candidates)
    if "timestamp" not in found:
        # util.df and to_csv of a series leave the head of the index empty.
        unnamed = next((p for p, header in enumerate(headers) if plain(header) in ("", "unnamed0")), None)
        if unnamed is not None and _looks_dated(table, unnamed):
            found["timestamp"] = unnamed
    return found


def _settle_times(headers: Sequence[str], found: dict[str, int], candidates: Mapping[str, list[int]]) -> None:
    """`Time` beside `Date` is the time of day."""
    for place in candidates.get("timestamp", ()):
        if place != found.get("timestamp") and plain(headers[place]) in ("time", "timehhmmss", "uhrzeit"):
            found["time_of_day"] = place


def _looks_dated(table: Table, place: int) -> bool:
    cells = [row[place] for row in table.head[:20] if row[place].strip()]
    return bool(cells) and all(re.search(r"\d{4}|\d[-/.]\d", cell) for cell in cells)


def _place(table: Table, headers: Sequence[str], header: str, setting: str) -> int:
    exact = [place for place, name in enumerate(headers) if name.strip() == header]
    alike = exact or [place for place, name in enumerate(headers) if plain(name) == plain(header) != ""]
    if not alike:
        raise BarsFileError(
            f'{setting}: {table.name} has no column "{header}" (there are: {_shown(headers)}). Name one of them.'
        )
    return alike[0]


def _adjusting(table: Table, headers: Sequence[str], found: Mapping[str, int], options: BarsOptions) -> int | None:
    """The column by which prices are scaled, where that is asked for."""
    return _place(table, headers, options.adjust, "TT_BARS_ADJUST") if options.adjust else None


def _columns(found: Mapping[str, int], adjusted: int | None) -> Columns:
    return Columns(found["open"], found["high"], found["low"], found["close"], found["volume"], adjusted)


def lacking(name: str, missing: Sequence[str], headers: Sequence[str]) -> BarsFileError:
    """The refusal of a table without some columns of a bar."""
    return BarsFileError(
        f"The bars in {name} lack the column{'s' * (len(missing) > 1)} {', '.join(missing)} (there are: "
        f"{_shown(headers) or 'none'}). Add them, or say which they are by TT_BARS_COLUMNS={missing[0]}=HEADER,… "
        f"(`tt bars list` shows the layouts that are recognised)."
    )


CLOSES_ALONE = "holds one price a session (closes, it seems)"


def closes_alone(name: str, symbols: Sequence[str], *, joined: bool = True) -> BarsFileError:
    """The refusal of a table with one price of each symbol and session, as vendors ship adjusted closes.

    Headers that are no more than a word each, not `joined` to the close, may be words for open, high, low, close and
    volume, too, where they are about as many.
    """
    or_bars = (
        " If these are columns of the bars of one instrument, say which they are by TT_BARS_COLUMNS=open=HEADER,…."
        if not joined and FEWEST <= len(symbols) < MOST
        else ""
    )
    return BarsFileError(
        f"{name} {CLOSES_ALONE} for {in_words(symbols)}, and no bars: open, high, low and volume are needed as well. "
        f"Ask the vendor for the daily open, high, low, close and volume (OHLCV) of each symbol.{or_bars}"
    )


_TICKER = re.compile(r"\^?[A-Z0-9][A-Z0-9.\-/=^ ]{0,11}( [A-Za-z]{2})?( Equity| Index| Curncy)?")
NAMED_BY_CHANCE = 5
"""Symbols for each one that spells the name of a column (LOW, V) from which a header is one of symbols."""


def _alone(table: Table, headers: Sequence[str], timestamp: int) -> list[str]:
    """The symbols of a table whose other headers are symbols, or symbols joined to the close; none where it is not."""
    joined = [_close_of(header) for place, header in enumerate(headers) if place != timestamp and header.strip()]
    if joined and all(joined):
        return list(dict.fromkeys(joined))
    others = [place for place in range(len(headers)) if place != timestamp and headers[place].strip()]
    symbols = [place for place in others if _TICKER.fullmatch(headers[place].strip()) and _holds_numbers(table, place)]
    fields = [place for place in others if field_of(headers[place]) and len(headers[place].strip()) > 1]
    # The letters of a bar (o, h, l, c, v) are tickers as well, and few beside the symbols of a table of closes.
    letters = [place for place in symbols if field_of(headers[place])]
    if len(symbols) < len(others) or len(symbols) - len(letters) < NAMED_BY_CHANCE * len(fields) or symbols == letters:
        return []
    return [headers[place].strip() for place in symbols]


def _close_of(header: str) -> str:
    """The symbol of a header that joins it to the close (Close_ACME, ACME.Adj Close), else nothing."""
    for pattern in (r"\s*(?P<symbol>[^._ ]+)[._ ](?P<word>.+?)\s*", r"\s*(?P<word>.+)[._ ](?P<symbol>[^._ ]+)\s*"):
        match = re.fullmatch(pattern, header)
        if match and field_of(match["word"]) in ("close", "adj_close") and len(match["word"]) > 1:
            return match["symbol"]
    return ""


def _holds_numbers(table: Table, place: int) -> bool:
    """Whether a column of the first rows has numbers, and nothing else but empty cells."""
    cells = [row[place].strip() for row in table.head if row[place].strip()]
    return any(map(is_number, cells)) and all(not re.search("[A-Za-z]{4}", cell) for cell in cells)


def _shown(headers: Sequence[str]) -> str:
    shown = ", ".join(header.strip() or "(unnamed)" for header in headers[:MOST_SHOWN])
    return shown + (f" and {len(headers) - MOST_SHOWN} more" if len(headers) > MOST_SHOWN else "")


def _several_levels(table: Table, options: BarsOptions) -> Layout:
    """yfinance's header lines: one names the columns, one the tickers, a third perhaps the index."""
    lines = table.headers
    scores = [sum(field_of(cell) is not None for cell in line[1:]) for line in lines]
    level = max(range(len(lines)), key=lambda place: scores[place])
    _refuse_closes(table, level)
    if scores[level] < 5:
        # A preamble that looks like a header: the line with most names is it.
        return _by_headers(table, lines[level], options)
    fields = lines[level]
    tickers = next(
        (
            line
            for place, line in enumerate(lines)
            if place != level and sum(map(bool, (c.strip() for c in line[1:]))) >= 5
        ),
        None,
    )
    if tickers is None:
        return _by_headers(table, fields, options)
    indexes = {"date", "datetime", "timestamp"}
    places = range(table.width)
    dated = next((place for place in places if any(plain(line[place]) in indexes for line in lines)), 0)
    by_symbol = _by_symbol(table, fields, tickers, dated, options)
    columns = {symbol: _complete(table, fields, symbol, found, options) for symbol, found in by_symbol.items()}
    if not columns:
        raise lacking(table.name, NEEDED, fields)
    adjusted = next((found["adj_close"] for found in by_symbol.values() if "adj_close" in found), None)
    return Layout(
        YFINANCE.name,
        f"{len(lines)} header lines, {len(columns)} tickers across",
        dated,
        columns,
        left_out=fields[adjusted].strip() if adjusted is not None and not options.adjust else "",
    )


def _refuse_closes(table: Table, level: int) -> None:
    """Raise BarsFileError where header line `level` of several names closes alone."""
    labels = {place for line in table.headers for place in range(table.width) if field_of(line[place]) == "timestamp"}
    labels |= {0} if any(line[0].strip() and plain(line[0]) in LEVELS for line in table.headers) else set()
    lines = [
        [cell.strip() for place, cell in enumerate(line) if cell.strip() and place not in labels]
        for line in table.headers
    ]
    if lines[level] and {field_of(cell) for cell in lines[level]} <= {"close", "adj_close"}:
        others = [line for place, line in enumerate(lines) if place != level and len(line) >= len(lines[level])]
        raise closes_alone(table.name, list(dict.fromkeys(others[0] if others else lines[level])))


def _by_symbol(
    table: Table, fields: Sequence[str], tickers: Sequence[str], dated: int, options: BarsOptions
) -> dict[str, dict[str, int]]:
    """Positions of each ticker's columns by field."""
    overrides = {plain(header): name for name, header in options.columns}
    found: dict[str, dict[str, int]] = {}
    for place in range(table.width):
        name = overrides.get(plain(fields[place])) or field_of(fields[place])
        symbol = tickers[place].strip()
        if place == dated or name is None or not symbol:
            continue
        own = found.setdefault(symbol, {})
        if name in own:
            raise BarsFileError(f"{table.name} has the column {name} of {symbol} more than once. Keep one.")
        own[name] = place
    return found


def _complete(
    table: Table, fields: Sequence[str], symbol: str, found: Mapping[str, int], options: BarsOptions
) -> Columns:
    """The columns of one ticker, none missing."""
    missing = [name for name in NEEDED[1:] if name not in found]
    if missing:
        raise lacking(f"{table.name} for {symbol}", missing, [fields[place] for place in found.values()])
    if not options.adjust:
        return _columns(found, None)
    adjusted = next((place for place in found.values() if plain(fields[place]) == plain(options.adjust)), None)
    if adjusted is None:
        raise BarsFileError(
            f'TT_BARS_ADJUST: {table.name} has no column "{options.adjust}" of {symbol} (there are: '
            f"{_shown([fields[place] for place in found.values()])}). Name one of them."
        )
    return _columns(found, adjusted)


def _joined_names(
    table: Table, headers: Sequence[str], fields: Mapping[str, int], options: BarsOptions
) -> tuple[dict[str, Columns], str, dict[str, list[str]]]:
    """The instruments of headers such as AAPL.Open or Close_AAPL, the adjusted close that is left out, and the others.

    The others are instruments of which some columns are not there, with those. Where what is joined to the prices is no
    symbol (Adj Open), a volume that one of the `fields` names alone is theirs.
    """
    found: dict[str, dict[str, int]] = {}
    words: dict[int, str] = {}
    for place, header in enumerate(headers):
        if place == fields.get("timestamp"):
            continue
        match = re.fullmatch(r"\s*(.+?)[._ ](\w+(?:[ _]\w+)?)\s*", header)
        parts = [match.groups(), match.groups()[::-1]] if match else []
        back = re.fullmatch(r"\s*([A-Za-z]+(?:[ _][Cc]lose)?)[._ ](.+?)\s*", header)
        parts += [back.groups()[::-1]] if back else []
        for symbol, word in parts:
            name = field_of(word)
            if name in ("open", "high", "low", "close", "volume", "adj_close"):
                found.setdefault(symbol.strip(), {}).setdefault(name, place)
                words[place] = word
                break
    no_symbols = [symbol for symbol in found if is_noise(symbol)]
    if len(no_symbols) == 1 and "volume" in fields:
        # The volume alone: a price without the word is of another kind than those with it.
        found[no_symbols[0]].setdefault("volume", fields["volume"])
    complete = {symbol: own for symbol, own in found.items() if all(name in own for name in NEEDED[1:])}
    lacking_of = {symbol: [name for name in NEEDED[1:] if name not in own] for symbol, own in found.items()}
    part = {symbol: lacks for symbol, lacks in lacking_of.items() if lacks}
    if options.adjust:
        heads = [words.get(place, "") for place in range(len(headers))]
        return {symbol: _complete(table, heads, symbol, own, options) for symbol, own in complete.items()}, "", part
    left_out = next((words[own["adj_close"]] for own in complete.values() if "adj_close" in own), "")
    return {symbol: _columns(own, None) for symbol, own in complete.items()}, left_out, part


def _without_header(table: Table, options: BarsOptions) -> Layout:
    """Files without a header, told by their first row."""
    row = [cell.strip() for cell in table.head[0]] if table.head else []
    if options.columns:
        raise BarsFileError(
            f"TT_BARS_COLUMNS: {table.name} has no header line, so there is no column to name. Add a header line."
        )
    columns = Columns(1, 2, 3, 4, 5)
    if re.fullmatch(r"\d{8} \d{2}:\d{2}", row[0]) and len(row) == 6 and all(cell.isdigit() for cell in row[1:5]):
        why = "no header; a date with 00:00 and five whole numbers: prices in deci-cents"
        return Layout(QUANTCONNECT.name, why, 0, {"": columns}, price_unit=DECI_CENTS)
    if re.fullmatch(r"\d{12,17}", row[0]) and len(row) in (11, 12):
        return Layout(BINANCE.name, "no header; klines that begin with an epoch", 0, {"": columns})
    figures = [bool(re.fullmatch(r"[-+$]?[\d.,]+(e[-+]?\d+)?", cell, re.IGNORECASE)) for cell in row]
    if len(row) >= 7 and all(figures[2:7]) and is_date(row[0]) and _are_times([row[1] for row in table.head]):
        why = "no header; date, time, open, high, low, close, volume by position"
        return Layout(HEADERLESS.name, why, 0, {"": Columns(2, 3, 4, 5, 6)}, time_of_day=1)
    if len(row) >= 6 and all(figures[1:6]) and is_date(row[0]):
        return Layout(HEADERLESS.name, "no header; date, open, high, low, close, volume by position", 0, {"": columns})
    if len(row) >= 7 and all(figures[2:7]) and is_date(row[1]):
        why = "no header; symbol, date, open, high, low, close, volume by position"
        return Layout(HEADERLESS.name, why, 1, {"": Columns(2, 3, 4, 5, 6)}, instrument=0)
    if len(row) >= 7 and all(figures[2:7]) and is_date(row[0]):
        why = "no header; date, symbol, open, high, low, close, volume by position"
        return Layout(HEADERLESS.name, why, 0, {"": Columns(2, 3, 4, 5, 6)}, instrument=1)
    raise lacking(table.name, NEEDED, row)


def _are_times(cells: Sequence[str]) -> bool:
    """Whether a column of cells is times of day, or the zeros that stand for one."""
    return all(re.fullmatch(r"\s*(0+|\d{1,2}:\d{2}(:\d{2})?)\s*", cell) for cell in cells)
