"""Market states made by hand: what has landed is written down cell by cell, nothing is run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np

from tt_assets.automation.market import MarketState
from tt_assets.automation.partition_states import Axes, Cells, TableCells
from tt_assets.automation.source import SourceState
from tt_assets.automation.tries import Tries
from tt_assets.grid.blueprint import blueprint
from tt_assets.market.calendar import sessions
from tt_assets.market.current_watchlist import CurrentWatchlist
from tt_assets.market.watchlist import read_watchlist
from tt_assets.settings import Settings
from tt_assets.tables import MARKET_TABLES

NAMES = ("AA", "BB", "CC")


def axes_of(count: int, names: Iterable[str] = NAMES) -> Axes:
    """`count` sessions from 3 January 2011 on."""
    days = sessions(date(2011, 1, 3), date(2013, 1, 3))[:count]
    return Axes(tuple(day.strftime("%Y-%m-%d") for day in days), tuple(names))


def nothing(axes: Axes) -> TableCells:
    """A table of which no cell was ever made."""
    return TableCells(axes.none(), axes.none(), axes.none())


def state_of(
    axes: Axes,
    folder: Path,
    tables: dict[str, TableCells] | None = None,
    counts: dict[str, np.ndarray] | None = None,
    last: dict[str, np.ndarray] | None = None,
    active: Iterable[str] = NAMES,
    now: float | None = None,
    **settings: object,
) -> MarketState:
    """The state in which `tables` hold what they say and every cell of the `active` instruments is wished."""
    watchlist = folder / "watchlist.csv"
    watchlist.write_text("symbol\n" + "\n".join(active) + "\n")
    zeros = np.zeros(axes.none().shape)
    cells = {table: (tables or {}).get(table, nothing(axes)) for table in MARKET_TABLES}
    tries = {
        table: Tries((counts or {}).get(table, zeros.astype(np.int64)), (last or {}).get(table, zeros))
        for table in MARKET_TABLES
    }
    wished = axes.none()
    wished[:, axes.columns(active)] = True
    return MarketState(
        blueprint(Settings(**settings)),
        SourceState("this file", date.fromisoformat(axes.dates[-1])),
        CurrentWatchlist(read_watchlist(watchlist)),
        Cells(axes, cells),
        tries,
        wished,
        time.time() if now is None else now,
    )


def cells_of(request: dg.RunRequest, axes: Axes) -> set[tuple[str, str, str]]:
    """(table, date key, instrument) of everything a range run makes, as Dagster reads its tags."""
    span = request.partition_key_range
    first, begin = span.start.split("|")
    last, end = span.end.split("|")
    names = axes.instruments[axes.instruments.index(begin) : axes.instruments.index(end) + 1]
    return {
        (key.path[-1], day, name)
        for key in request.asset_selection
        for day in axes.dates
        if first <= day <= last
        for name in names
    }


def asked(requests: Iterable[dg.RunRequest], axes: Axes) -> list[tuple[str, str, str]]:
    """Every cell asked for, as often as it is asked for."""
    return sorted(cell for request in requests for cell in cells_of(request, axes))
