"""`tt backfill --plan`: what a load would ask of its price source and how long that takes, before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence

from tt_assets.commands.partition_count import beyond_comfort, of_a_market_table
from tt_assets.errors import counted
from tt_assets.grid.rectangles import most_cells
from tt_assets.market.calendar import sessions
from tt_assets.market.sources import BarRequest
from tt_assets.market.watchlist import Watchlist
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runtime import in_use
from tt_assets.runtime.selection import Span
from tt_assets.settings import DateGrain, PriceSourceName, Settings, database_of
from tt_assets.tables import MARKET_TABLES


def load_plan(
    settings: Settings, watchlist: Watchlist, tables: Sequence[str], span: Span, symbols: Sequence[str]
) -> list[str]:
    """Lines for people: how much would be loaded, how many requests that takes, and how long. Changes nothing."""
    market = [table for table in tables if table in MARKET_TABLES]
    if "tt_prices" not in market:
        return [f"No bar is asked for: tt_prices is not among {', '.join(tables)}."]
    said = beyond_comfort(of_a_market_table(settings, watchlist), settings.date_grain)
    return [
        _size(settings, market, span, symbols),
        *([said] if said else []),
        _requests(settings, watchlist, span, symbols),
    ]


def _size(settings: Settings, tables: Sequence[str], span: Span, symbols: Sequence[str]) -> str:
    days = sessions(span.first, span.last)
    grain = settings.date_grain
    dates = len({grain.key_of(day.date()) for day in days})
    runs = -(-len(symbols) // max(1, most_cells(grain) // dates))
    return (
        f"{counted(len(symbols), 'instrument')} × {counted(dates, grain)} "
        f"({span.first} to {span.last}) × {counted(len(tables), 'table')}: "
        f"{counted(len(symbols) * dates * len(tables), 'partition')} in {counted(runs, 'run')}."
    )


def _requests(settings: Settings, watchlist: Watchlist, span: Span, symbols: Sequence[str]) -> str:
    if settings.price_source is PriceSourceName.FILE:
        return f"The bars come from {settings.bars_path}: nothing is asked over the network."
    if settings.price_source is not PriceSourceName.IBKR:
        return f"The bars come from {settings.price_source}: one request an instrument, {len(symbols)} in all."
    from tt_assets.assets.sources import ibkr_source, stored_bars
    from tt_assets.market.ibkr import nothing_stored

    first, last = span.first, span.last
    if settings.date_grain is not DateGrain.SESSION:
        first, last = settings.date_grain.key_of(first), settings.date_grain.last_day(last)
    stored = stored_bars(MarketReader(database_of(settings))) if _has_tables(settings) else nothing_stored
    source = ibkr_source(settings, watchlist, stored)
    return str(source.plan([BarRequest(symbol, first, last) for symbol in symbols]))


def _has_tables(settings: Settings) -> bool:
    """Whether there is anything to be read; a server that is there is started, none is made."""
    from tt_assets.postgres import schema
    from tt_assets.postgres.database import NoSuchDatabase
    from tt_assets.postgres.server.embedded import EmbeddedServer

    if settings.database_url is None and not EmbeddedServer(settings.home, settings.pg_bin).data_dir.exists():
        return False
    in_use.hold(settings)
    try:
        schema.check(database_of(settings, start=True))
    except (NoSuchDatabase, schema.SchemaMissing):
        return False
    return True
