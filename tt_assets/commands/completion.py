"""What a shell offers behind a half-typed word: tables, and what is on the watchlist.

Click asks these when the shell's completion is set up (see docs/operating.md). A completion never complains: where the
settings or the watchlist cannot be read it offers nothing.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem
from pydantic import ValidationError

from tt_assets.errors import UserError
from tt_assets.market.watchlist import Watchlist, read_watchlist
from tt_assets.runtime.current import current_settings
from tt_assets.tables import TABLES

SETS = {"market": "prices, features and scores", "agents": "policies and episodes", "all": "all thirteen tables"}


def complete_tables(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tables, with or without their `tt_`, and the words for several where several may be given."""
    names = {**(SETS if parameter.nargs != 1 else {}), **dict.fromkeys(TABLES, "")}
    if incomplete and not "tt_".startswith(incomplete[:3]):
        names |= {name.removeprefix("tt_"): "" for name in TABLES}
    given = context.params.get(parameter.name or "") or ()
    taken = {given} if isinstance(given, str) else set(given)
    return [
        CompletionItem(name, help=words or None)
        for name, words in names.items()
        if name.startswith(incomplete) and name not in taken
    ]


def complete_instruments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Symbols and portfolios of the watchlist behind the last comma."""
    before, comma, part = incomplete.rpartition(",")
    taken = set(before.split(","))
    listed = _watchlist()
    names = listed.traded if listed else ()
    return [
        CompletionItem(before + comma + name)
        for name in names
        if name.casefold().startswith(part.casefold()) and name not in taken
    ]


def complete_traded(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """One symbol or portfolio of the watchlist."""
    listed = _watchlist()
    names = listed.traded if listed else ()
    return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]


def complete_symbol(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """One symbol of the watchlist."""
    listed = _watchlist()
    names = listed.symbols if listed else ()
    return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]


def complete_portfolio(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """One portfolio of the watchlist."""
    listed = _watchlist()
    return [CompletionItem(name) for name in (listed.portfolios if listed else ()) if name.startswith(incomplete)]


def _watchlist() -> Watchlist | None:
    try:
        return read_watchlist(current_settings().watchlist)
    except (UserError, ValidationError, OSError):
        return None
