"""The watchlist: which instruments the platform follows and which portfolios trade several of them on one account.

The CSV file is the truth and a person edits it by hand, so `add` and `retire` touch only the lines they
must, keep comments and other columns, and replace the file in one step after the new text has been read back.
`_watchlist_format` says what the file looks like.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tt_assets.errors import nearest_or_all
from tt_assets.market.small_files import small_text
from tt_assets.market.watchlist_format import (
    COLUMNS,
    DATES,
    Instrument,
    Line,
    Membership,
    Watchlist,
    WatchlistError,
    check_name,
    header_of,
    lines_of,
    parse,
)

__all__ = ["Instrument", "Watchlist", "WatchlistError", "add", "read_watchlist", "retire", "write_watchlist"]


def read_watchlist(path: Path) -> Watchlist:
    """Read and check the watchlist at `path`.

    Parameters
    ----------
    path : a CSV with a header that begins with `symbol`, or one line of symbols; see `watchlist_format`.

    Raises
    ------
    WatchlistError : naming file, line and value; the file is missing, unreadable or empty, a column is unknown, a
        symbol is missing, twice there or holds an illegal character, or a portfolio is named like a symbol.
    """
    return parse(_read_text(path), path)


def write_watchlist(path: Path, watchlist: Watchlist) -> None:
    """Write a watchlist in the form with a header, in one step.

    Parameters
    ----------
    path : of the file; its folder is made where it is missing.
    watchlist : what it is to say; columns of dates only where somebody has one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        (
            i.symbol,
            i.description,
            i.exchange,
            i.primary_exchange,
            i.currency,
            _portfolio_cell(watchlist, i.symbol),
            str(i.listed or ""),
            str(i.delisted or ""),
            *_days_cells(watchlist, i.symbol),
        )
        for i in watchlist.instruments
    ]
    # Columns of dates only where somebody has one: most lists have none.
    width = max((place + 1 for row in rows for place, cell in enumerate(row) if cell), default=1)
    width = max(width, 1 + len(COLUMNS) - len(DATES))
    _replace("".join(_row(row[:width], "\n") for row in [("symbol", *COLUMNS), *rows]), path)


def add(path: Path, symbol: str, *, portfolios: Sequence[str] = (), description: str = "") -> Watchlist:
    """Append a symbol to the watchlist at `path`.

    A file without a header becomes one with a header as soon as there is a portfolio or a description to keep.

    Parameters
    ----------
    path : the file; comments and other columns of it stay.
    symbol : as IBKR writes it (`BRK B`).
    portfolios : names of the portfolios it joins.
    description : for people.

    Returns
    -------
    The new watchlist.

    Raises
    ------
    WatchlistError : nothing was changed; the result would not be a watchlist, or the symbol is on it already.
    """
    text = _read_text(path)
    if symbol in parse(text, path).symbols:
        raise WatchlistError(f'{path}: "{symbol}" is on the watchlist already. Edit its line to change it.')
    check_name(symbol, "symbol", f"{path}")
    for name in portfolios:
        check_name(name, "portfolio", f"{path}")
    lines = list(lines_of(text, path))
    ending = "\r\n" if "\r\n" in text else "\n"
    header = header_of(lines)
    if header is None:
        if not portfolios and not description:
            return _replace(_with_cells(lines, lambda cells: [*filter(None, cells), symbol]), path)
        symbols = [cell for line in lines for cell in line.cells or ()]
        comments = "".join(line.text for line in lines if line.cells is None and line.text.strip())
        text = comments + "".join(_row((cell,), ending) for cell in ("symbol", *filter(None, symbols)))
        lines = list(lines_of(text, path))
        header = ("symbol",)
    values = {header[0]: symbol, "description": description, "portfolio": ";".join(portfolios)}
    absent = [column for column in ("description", "portfolio") if values[column] and column not in header]
    if absent:
        width = len(header)
        titles = iter([absent])
        text = _with_cells(
            lines, lambda cells: [*cells, *[""] * (width - len(cells)), *next(titles, [""] * len(absent))]
        )
        header = (*header, *absent)
    if not text.endswith(("\n", "\r")):
        text += ending
    return _replace(text + _row([values.get(column, "") for column in header], ending), path)


def retire(path: Path, symbol: str) -> Watchlist:
    """Take a symbol off the watchlist at `path`; its stored history stays.

    Parameters
    ----------
    path : the file; comments and other columns of it stay.
    symbol : as it stands there.

    Returns
    -------
    The new watchlist.

    Raises
    ------
    WatchlistError : nothing was changed; the symbol is not on it, or is the last one.
    """
    text = _read_text(path)
    known = parse(text, path).symbols
    if symbol not in known:
        raise WatchlistError(f'{path}: "{symbol}" is not on the watchlist. {nearest_or_all(symbol, known)}')
    if len(known) == 1:
        raise WatchlistError(f'{path}: "{symbol}" is the only symbol; a watchlist needs one. Add another before.')
    lines = list(lines_of(text, path))
    if header_of(lines) is None:
        return _replace(_with_cells(lines, lambda cells: [cell for cell in cells if cell != symbol]), path)
    return _replace("".join(line.text for line in lines if not line.cells or line.cells[0] != symbol), path)


def _read_text(path: Path) -> str:
    try:
        return small_text(path)
    except FileNotFoundError:
        raise WatchlistError(
            f"{path}: there is no watchlist. Write a CSV with a header line `symbol`, or point TT_WATCHLIST at one."
        ) from None
    except (OSError, ValueError) as error:
        raise WatchlistError(f"{path}: the watchlist cannot be read ({error}). Save it as UTF-8 text.") from error


def _portfolio_cell(watchlist: Watchlist, symbol: str) -> str:
    return ";".join(name for name, symbols in watchlist.portfolios.items() if symbol in symbols)


def _days_cells(watchlist: Watchlist, symbol: str) -> tuple[str, str]:
    """First and last days in each portfolio of `symbol`, in their order."""
    dated = [
        next((member for member in watchlist.memberships.get(name, ()) if member.symbol == symbol), Membership(symbol))
        for name, symbols in watchlist.portfolios.items()
        if symbol in symbols
    ]
    cells = [[str(getattr(member, name) or "") for member in dated] for name in ("first", "last")]
    first, last = (";".join(days) if any(days) else "" for days in cells)
    return first, last


def _row(cells: Sequence[str], ending: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=ending).writerow(cells)
    return text.getvalue()


def _with_cells(lines: Sequence[Line], change: Callable[[tuple[str, ...]], Sequence[str]]) -> str:
    """The file's text with every line of cells rewritten by `change`, in order; the other lines as they are."""
    return "".join(
        line.text if line.cells is None else _row(change(line.cells), line.text[len(line.text.rstrip("\r\n")) :])
        for line in lines
    )


def _replace(text: str, path: Path) -> Watchlist:
    """Check `text`, then put it in the place of `path` in one step; a crash leaves the old file or the new one."""
    watchlist = parse(text, path)
    target = path.resolve()  # through a symbolic link, so that the link stays one
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return watchlist
