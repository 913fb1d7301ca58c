"""How many partitions a market table of the home has, and what is to be said where they are too many for Dagster."""

from __future__ import annotations

from tt_assets.errors import counted
from tt_assets.grain import DateGrain
from tt_assets.grid.horizon import horizon
from tt_assets.grid.rectangles import SESSIONS_OF
from tt_assets.market.calendar import sessions
from tt_assets.market.watchlist import Watchlist
from tt_assets.settings import Settings

COMFORTABLE = 100_000
"""Partitions of an asset that Dagster's own documents call the most."""
NEAR = 90_000
"""From here on it is said: a market grows by its sessions alone."""


def of_a_market_table(settings: Settings, watchlist: Watchlist) -> int:
    """Date partitions up to today times instruments on `watchlist`, loaded or not."""
    span, grain = horizon(settings), settings.date_grain
    dates = {grain.key_of(day.date()) for day in sessions(span.first, span.last_or_today())}
    return len(dates) * len(watchlist.symbols)


def beyond_comfort(partitions: int, grain: DateGrain) -> str:
    """What is to be said of so many partitions a table, in a sentence; empty where Dagster bears them well.

    Parameters
    ----------
    partitions : of one table.
    grain : that they are of. The finest one that is wider and has few enough is named, else the widest.
    """
    if partitions < NEAR:
        return ""
    said = f"{counted(partitions, 'partition')} a table are {'more than' if partitions > COMFORTABLE else 'close to'}"
    said = f"{said} the {COMFORTABLE:,} that Dagster bears well: ticks and pages grow slow."
    if grain is DateGrain.YEAR:
        return f"{said} A year is the widest there is: load fewer instruments or years (docs/scaling.md)."
    fewer = [wider for wider in DateGrain if SESSIONS_OF[wider] > SESSIONS_OF[grain]]
    enough = (wider for wider in fewer if partitions * SESSIONS_OF[grain] // SESSIONS_OF[wider] < NEAR)
    chosen = next(enough, DateGrain.YEAR)
    return (
        f"{said} TT_DATE_GRAIN={chosen} has one for each {chosen}: `tt grain {chosen}`, best before the first load "
        "(docs/scaling.md)."
    )
