"""What a watchlist is and how its CSV text is read: two forms, one line of cells per physical line.

With a header: `symbol` (or `instrument`) first, then any of `description`, `exchange`, `primary_exchange`, `currency`,
`portfolio` (names separated by `;`), `listed` and `delisted` (dates of the instrument), `from` and `to` (first and last
day in the portfolio: one date for all of the line's, or as many as names, separated by `;`); lines that start with `#`
are comments. Without: one line of comma-separated symbols. Symbols are those of Interactive Brokers (`BRK B`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

from tt_assets.errors import UserError, nearest_or_all

SYMBOL_COLUMNS = ("symbol", "instrument")
DATES = ("listed", "delisted", "from", "to")
COLUMNS = ("description", "exchange", "primary_exchange", "currency", "portfolio", *DATES)
ILLEGAL_IN_NAMES = '|[],;"'
"""`|`, `[`, `]`, `,` separate partition keys, `;` separates portfolios, `"` quotes a cell."""
LONGEST_NAME = 64
"""Characters of a symbol or of a portfolio's name; IBKR's symbols have twelve at most."""
CASH = "CASH"
"""The name of the row of tt_target_weights that holds what the weights leave in cash; no instrument may have it."""


class WatchlistError(UserError):
    """The watchlist cannot be used as it stands: file, line, value, remedy."""


@dataclass(frozen=True)
class Instrument:
    """One line of the watchlist; the fields are those of an Interactive Brokers stock contract.

    Parameters
    ----------
    symbol : as IBKR writes it (`BRK B`), and a part of partition keys. description : for people.
    exchange : that is asked for bars. primary_exchange : tells two companies of one symbol apart; empty: not said.
    currency : of its prices.
    listed, delisted : first and last day, both included; None where that is open.
    """

    symbol: str
    description: str = ""
    exchange: str = "SMART"
    primary_exchange: str = ""
    currency: str = "USD"
    listed: date | None = None
    delisted: date | None = None

    def trades_on(self, day: date) -> bool:
        """Whether it is listed on `day` as far as its dates say."""
        return (self.listed is None or self.listed <= day) and (self.delisted is None or day <= self.delisted)


@dataclass(frozen=True)
class Membership:
    """Of one symbol in one portfolio.

    Parameters
    ----------
    symbol : of the member.
    first, last : days, both included; None where that is open.
    """

    symbol: str
    first: date | None = None
    last: date | None = None

    def holds_on(self, day: date) -> bool:
        """Whether `day` is one of its days."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True)
class Watchlist:
    """What is followed, and what shares an account.

    Parameters
    ----------
    instruments : in the order of the file.
    portfolios : name → symbols of whoever was a member at any time, in the order of their first mention.
    memberships : name → when, where the file says it.
    """

    instruments: tuple[Instrument, ...]
    portfolios: Mapping[str, tuple[str, ...]]
    memberships: Mapping[str, tuple[Membership, ...]] = field(default_factory=dict)

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Symbols in the order of the file."""
        return tuple(instrument.symbol for instrument in self.instruments)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.symbols)

    @property
    def traded(self) -> tuple[str, ...]:
        """What an agent can trade: every symbol, then every portfolio."""
        return (*self.symbols, *self.portfolios)

    def members(self, traded: str, on: date | None = None) -> tuple[str, ...]:
        """Symbols that share the account of what is traded: a portfolio's, or the symbol alone.

        Parameters
        ----------
        traded : a portfolio or a symbol.
        on : the day whose members are asked for, such as the first of a walk-forward window; None: of any time.

        Returns
        -------
        In the order of the file; at least one.

        Raises
        ------
        WatchlistError : the name is neither, with the nearest one; or nothing belongs to it on that day.
        """
        if traded not in self.portfolios:
            if traded in self._known:
                return (traded,)
            raise WatchlistError(
                f'The watchlist has no symbol or portfolio "{traded}". {nearest_or_all(traded, self.traded)}'
            )
        if on is None:
            return self.portfolios[traded]
        known = {instrument.symbol: instrument for instrument in self.instruments}
        dated = {member.symbol: member for member in self.memberships.get(traded, ())}
        found = tuple(
            symbol
            for symbol in self.portfolios[traded]
            if known[symbol].trades_on(on) and dated.get(symbol, Membership(symbol)).holds_on(on)
        )
        if not found:
            raise WatchlistError(f"Portfolio {traded} has no member on {on}; see its dates (listed, from, to).")
        return found

    def chosen(self, traded: str) -> tuple[date | None, int]:
        """Since when the members of `traded` are chosen by date, and how often they changed since; None where not.

        A portfolio is chosen by date if every member says since when it belongs to it.
        """
        dated = self.memberships.get(traded, ())
        if not dated or any(member.first is None for member in dated) or len(dated) < len(self.portfolios[traded]):
            return None, 0
        days = {member.first for member in dated} | {member.last for member in dated if member.last is not None}
        first = min(member.first for member in dated if member.first is not None)
        return first, len(days) - 1


@dataclass(frozen=True)
class Line:
    """A physical line of the file.

    Parameters
    ----------
    number : from 1 on. text : with its ending.
    cells : without outer spaces; None for blank lines and comments.
    """

    number: int
    text: str
    cells: tuple[str, ...] | None


def lines_of(text: str, path: Path) -> Iterator[Line]:
    """The lines of a watchlist, comments and empty ones too.

    Parameters
    ----------
    text : of the file.
    path : for the error.

    Raises
    ------
    WatchlistError : a quote is not closed on its line.
    """
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            yield Line(number, line, None)
            continue
        try:
            # A record is one physical line: an open quote is a mistake here, not a description over two lines.
            (cells,) = csv.reader([line.rstrip("\r\n")], strict=True, skipinitialspace=True)
        except csv.Error as error:
            raise WatchlistError(f"{path}, line {number}: {error}. Close the quote on the same line.") from error
        yield Line(number, line, tuple(cell.strip() for cell in cells))


def header_of(lines: Sequence[Line]) -> tuple[str, ...] | None:
    """Column names in lower case, or None for the form of one line of symbols."""
    first = next((line.cells for line in lines if line.cells), ())
    names = tuple(cell.lower() for cell in first)
    return names if names and names[0] in SYMBOL_COLUMNS else None


def parse(text: str, path: Path) -> Watchlist:
    """The watchlist that a text is.

    Parameters
    ----------
    text : of the file.
    path : for the error.

    Raises
    ------
    WatchlistError : it is none; names the file, the line and what is wrong with it.
    """
    lines = list(lines_of(text, path))
    header = header_of(lines)
    rows = [line for line in lines if line.cells is not None]
    if header is None:
        entries = _entries_of_one_line(rows, path)
    else:
        _check_header(header, rows[0].number, path)
        entries = _entries_below_header(header, rows[1:], path)
    if not entries:
        raise WatchlistError(f"{path}: the watchlist is empty. Add a symbol, one a line below the header `symbol`.")
    return _assemble(entries, path)


@dataclass(frozen=True)
class _Entry:
    number: int
    instrument: Instrument
    portfolios: tuple[str, ...]
    first: tuple[date | None, ...] = ()
    last: tuple[date | None, ...] = ()


def _entries_of_one_line(rows: Sequence[Line], path: Path) -> list[_Entry]:
    if len(rows) > 1:
        first = rows[0].cells[0] if rows[0].cells else ""
        raise WatchlistError(
            f'{path}, line {rows[0].number}: the header starts with "{first}". '
            f"Name the first column symbol, or put all symbols on one line."
        )
    return [
        _Entry(row.number, Instrument(symbol=cell), ()) for row in rows for cell in row.cells or () if cell
    ]  # an empty cell is a comma at the end


def _check_header(header: tuple[str, ...], number: int, path: Path) -> None:
    for position, column in enumerate(header):
        if position and column not in COLUMNS:
            raise WatchlistError(
                f'{path}, line {number}: unknown column "{column}". Known are {", ".join(("symbol", *COLUMNS))}.'
            )
        if column in header[:position]:
            raise WatchlistError(f'{path}, line {number}: column "{column}" is there twice. Keep one.')


def _entries_below_header(header: tuple[str, ...], rows: Sequence[Line], path: Path) -> list[_Entry]:
    entries = []
    for row in rows:
        cells = row.cells or ()
        if len(cells) > len(header):
            raise WatchlistError(
                f'{path}, line {row.number}: "{cells[len(header)]}" has no column above it. '
                f"Quote a text that holds a comma, or name the column in the header."
            )
        by_column = {column: cell for column, cell in zip(header, cells, strict=False) if cell}
        names = tuple(name.strip() for name in by_column.pop("portfolio", "").split(";") if name.strip())
        symbol = by_column.pop(header[0], "")
        if not symbol and not by_column and not names:
            continue  # a line of bare commas, as spreadsheets leave them
        where = f"{path}, line {row.number}"
        first, last = (_days(by_column.pop(column, ""), column, len(names), where) for column in ("from", "to"))
        listed, delisted = (_day(by_column.pop(column, ""), column, where) for column in ("listed", "delisted"))
        for begin, end, what in (
            (listed, delisted, "delisted"),
            *((f, t, "to") for f, t in zip(first, last, strict=True)),
        ):
            if begin and end and end < begin:
                raise WatchlistError(f"{where}: {what} {end} lies before {begin}. Swap them.")
        instrument = Instrument(symbol=symbol, listed=listed, delisted=delisted, **by_column)
        entries.append(_Entry(row.number, instrument, names, first, last))
    return entries


def _day(cell: str, column: str, where: str) -> date | None:
    if not cell:
        return None
    try:
        return date.fromisoformat(cell)
    except ValueError:
        raise WatchlistError(f'{where}: {column} "{_shown(cell)}" is no date. Write it as 2012-05-18.') from None


def _days(cell: str, column: str, portfolios: int, where: str) -> tuple[date | None, ...]:
    """A day for each portfolio of the line: one for all, or as many as there are."""
    parts = [part.strip() for part in cell.split(";")]
    if len(parts) == 1:
        parts *= portfolios
    if cell and len(parts) != portfolios:
        raise WatchlistError(
            f"{where}: {column} has {len(parts)} dates for {portfolios} portfolios. Give one for all, or one each."
        )
    return tuple(_day(part, column, where) for part in parts[:portfolios])


def _assemble(entries: Sequence[_Entry], path: Path) -> Watchlist:
    line_of: dict[str, int] = {}
    for entry in entries:
        symbol = entry.instrument.symbol
        check_name(symbol, "symbol", f"{path}, line {entry.number}")
        if symbol in line_of:
            raise WatchlistError(
                f'{path}, line {entry.number}: symbol "{symbol}" is on line {line_of[symbol]} already. Keep one.'
            )
        line_of[symbol] = entry.number
    portfolios: dict[str, tuple[str, ...]] = {}
    memberships: dict[str, tuple[Membership, ...]] = {}
    for entry in entries:
        where = f"{path}, line {entry.number}"
        for place, name in enumerate(entry.portfolios):
            if name in entry.portfolios[:place]:
                continue
            check_name(name, "portfolio", where)
            if name in line_of:
                raise WatchlistError(f'{where}: portfolio "{name}" has the name of a symbol. Choose another name.')
            portfolios[name] = (*portfolios.get(name, ()), entry.instrument.symbol)
            days = [dates[place] if dates else None for dates in (entry.first, entry.last)]
            if any(days):
                memberships[name] = (*memberships.get(name, ()), Membership(entry.instrument.symbol, *days))
    return Watchlist(tuple(entry.instrument for entry in entries), portfolios, memberships)


def check_name(name: str, kind: str, where: str) -> None:
    """Symbols and portfolio names become partition keys: refuse what would break one.

    Parameters
    ----------
    name : as the file has it.
    kind : symbol or portfolio, for the error.
    where : file and line, for the error.

    Raises
    ------
    WatchlistError : it is missing, too long, CASH, or holds a sign that has a meaning elsewhere.
    """
    if not name:
        raise WatchlistError(f"{where}: the {kind} is missing. Write it, or remove the line.")
    if len(name) > LONGEST_NAME:
        raise WatchlistError(
            f'{where}: the {kind} "{_shown(name)}" has {len(name):,} characters; {LONGEST_NAME} are the most. '
            "Shorten it."
        )
    illegal = [sign for sign in name if sign in ILLEGAL_IN_NAMES or not sign.isprintable()]
    if illegal:
        raise WatchlistError(f'{where}: {kind} "{_shown(name)}" holds the illegal character {illegal[0]!r}. Remove it.')
    if "..." in name or name != name.strip() or name.startswith("#"):
        raise WatchlistError(f'{where}: {kind} "{name}" has "...", an outer space or a leading "#". Remove it.')
    if name == CASH:
        raise WatchlistError(f'{where}: {kind} "{CASH}" is taken by the cash row of tt_target_weights. Remove it.')


def _shown(name: str) -> str:
    cut = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in cut)
