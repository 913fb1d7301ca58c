"""`tt watchlist`: the instruments and portfolios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tt_assets.commands.completion import complete_portfolio, complete_symbol
from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, say, show, warn
from tt_assets.errors import UserError
from tt_assets.settings import SAMPLE_WATCHLIST, Settings


@click.group()
def watchlist() -> None:
    """The instruments and portfolios."""


@watchlist.command("list")
@as_json
@with_settings
def watchlist_list(settings: Settings, json_: bool) -> None:
    """Print the instruments of the watchlist file."""
    from tt_assets.grid.bars_files import watchlist_of

    listed = watchlist_of(settings)
    rows = [
        {
            "symbol": item.symbol,
            "description": item.description,
            "exchange": item.exchange,
            "currency": item.currency,
            "portfolios": [name for name, symbols in listed.portfolios.items() if item.symbol in symbols],
        }
        for item in listed.instruments
    ]
    show(rows, json_, title=str(settings.watchlist))


@watchlist.command("sync", short_help="Make partitions of what is new on the watchlist.")
@with_settings
def watchlist_sync(settings: Settings) -> None:
    """Add what is new on the watchlist to Dagster's partition keys."""
    from tt_assets.grid.bars_files import watchlist_of
    from tt_assets.runtime.platform import prepare, sync_watchlist

    instruments, traded = sync_watchlist(prepare(settings, sync=False))
    say(f"Added instruments: {', '.join(instruments) or 'none'}. Added to trade: {', '.join(traded) or 'none'}.")
    _warn_without_bars(settings, watchlist_of(settings).symbols)


@watchlist.command("add")
@click.argument("symbol")
@click.option(
    "--portfolio",
    "portfolios",
    multiple=True,
    help="Portfolio to put it in; may be given several times.",
    shell_complete=complete_portfolio,
)
@click.option("--description", default="", help="Name of the company.")
@with_settings
def watchlist_add(settings: Settings, symbol: str, portfolios: Sequence[str], description: str) -> None:
    """Add SYMBOL to the watchlist file."""
    from tt_assets.market.watchlist import add

    path = _own_watchlist(settings)
    add(path, symbol, portfolios=portfolios, description=description)
    say(f"Added {symbol} to {path}. `tt watchlist sync` makes it a partition; `tt backfill market` loads it.")
    _warn_without_bars(settings, [symbol])


@watchlist.command("retire", short_help="Take SYMBOL off the watchlist file; its history stays.")
@click.argument("symbol", shell_complete=complete_symbol)
@with_settings
def watchlist_retire(settings: Settings, symbol: str) -> None:
    """Take SYMBOL off the watchlist file; its rows and its partitions stay."""
    from tt_assets.market.watchlist import retire

    path = _own_watchlist(settings)
    retire(path, symbol)
    say(f"Retired {symbol} from {path}. Its history stays.")


def _warn_without_bars(settings: Settings, symbols: Sequence[str]) -> None:
    """One line that names those of which there are no bars to load."""
    from tt_assets.grid.bars_files import without_bars

    if absent := without_bars(settings, symbols):
        warn(f"{absent}: their partitions hold nothing until there are bars, or they are retired")


def _own_watchlist(settings: Settings) -> Path:
    """The watchlist file to edit; the bundled sample is not the user's to change."""
    path = settings.watchlist
    if settings.watchlist_is_of_bars:
        raise UserError(
            f"{path} lists the instruments of the bars and is written anew with them; copy it, set TT_WATCHLIST to the "
            f"copy and edit that."
        )
    if path == SAMPLE_WATCHLIST:
        raise UserError(f"{path} is the bundled sample; copy it, set TT_WATCHLIST to the copy and edit that.")
    return path
