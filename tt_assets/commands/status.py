"""`tt status`: what is in every table and which partitions are done, as the ledger knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import dagster as dg
import numpy as np
from psycopg import sql
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from tt_assets.automation.agents import read_agents
from tt_assets.automation.market import PRICES, read_market
from tt_assets.automation.partition_states import read_cells
from tt_assets.grid.blueprint import blueprint
from tt_assets.postgres.database import Database
from tt_assets.postgres.patience import patiently
from tt_assets.settings import Settings
from tt_assets.tables import BAR_FORMS, EPISODE_TABLES, MARKET_TABLES, TABLES


@dataclass(frozen=True)
class TableStatus:
    """One line of `tt status`. `first` and `last` are session dates or window starts, None for an empty table.

    `behind` partitions hold what was computed from other content than there is now; of prices, months and years of
    which the source has more sessions. None is missing of what is off the watchlist.
    """

    table: str
    rows: int
    first: str | None
    last: str | None
    materialized: int
    missing: int
    failed: int
    behind: int


def table_statuses(database: Database, instance: dg.DagsterInstance, settings: Settings) -> list[TableStatus]:
    """The status of every table, in flow order. Raises Locked, naming who holds a table that is to be looked at."""
    return patiently(database, lambda: _statuses(database, instance, settings), abandon=True)


def _statuses(database: Database, instance: dg.DagsterInstance, settings: Settings) -> list[TableStatus]:
    plan = blueprint(settings)
    market = read_market(instance, plan, database)
    windows = read_cells(instance, database, plan.window_partitions, ("tt_policy", *EPISODE_TABLES))
    agents = read_agents(instance, market, database)
    listed = market.listed.watchlist
    behind = {table: market.stale(table) for table in MARKET_TABLES[1:]} | dict.fromkeys(EPISODE_TABLES, agents.behind)
    # Whether a live source has more is not known before it is asked.
    if market.source.latest is not None and market.extents is not None and market.extents.exact:
        behind[PRICES] = market.grown(market.source.latest)
    counted = []
    with database.connect() as connection:
        for name in TABLES:
            rows, first, last = connection.execute(_extent(name)).fetchone()  # type: ignore[misc]
            of_market = name in MARKET_TABLES
            own = market.cells[name] if of_market else windows[name]
            # What is off the watchlist keeps its partitions, and nobody is going to make those that it lacks.
            still = market.axes.columns(listed.symbols) if of_market else windows.axes.columns(listed.traded)
            late = behind.get(name, np.zeros_like(own.done)) & own.done & ~own.failed
            counted.append(
                TableStatus(
                    name,
                    rows,
                    _text(first),
                    _text(last),
                    materialized=int((own.done & ~own.failed).sum()),
                    missing=int((~own.done & ~own.failed & still[None, :]).sum()),
                    failed=int(own.failed.sum()),
                    behind=int(late.sum()),
                )
            )
    return counted


COLUMNS = ("table", "rows", "first", "last", "materialized", "missing", "failed", "behind")
SHORT = {"materialized": "done", "missing": "miss", "failed": "fail", "behind": "old"}
LEFT = ("table", "first", "last")
NARROWER: tuple[tuple[str, ...], ...] = ((), ("first",), ("first", "last"))
"""What is left out where the terminal is narrow, the least first."""


def status_grid(statuses: Sequence[TableStatus], width: int | None = None) -> Grid:
    """The statuses as a table for the terminal.

    Parameters
    ----------
    statuses : the lines.
    width : characters there are; None: as many as it takes. Where they are few the frame goes, then headings become
        shorter, then the first and the last timestamp go. A figure is never cut.
    """
    console = Console(width=10_000)
    grid = _grid(statuses, COLUMNS, short=False, frame=True)
    for frame, short, without in ((True, False, ()), (False, False, ()), *((False, True, left) for left in NARROWER)):
        grid = _grid(statuses, [name for name in COLUMNS if name not in without], short=short, frame=frame)
        if width is None or console.measure(grid).maximum <= width:
            return grid
    return grid


def _grid(statuses: Sequence[TableStatus], columns: Sequence[str], *, short: bool, frame: bool) -> Grid:
    grid = Grid(title="tt_assets", title_justify="left", box=box.HEAVY_HEAD if frame else box.SIMPLE, padding=(0, 1))
    if not frame:
        grid.show_edge, grid.pad_edge = False, False
    for name in columns:
        title = SHORT.get(name, name) if short else name
        grid.add_column(title, justify="left" if name in LEFT else "right", no_wrap=True)
    for status in statuses:
        row = asdict(status)
        grid.add_row(
            *(f"{row[name]:,}" if isinstance(row[name], int) else str(row[name] or "") for name in columns),
            style="red" if status.failed else "",
        )
    return grid


def _extent(table: str) -> sql.Composed:
    source: sql.Composable = sql.SQL("tt_holdings AS t JOIN tt_portfolio AS p ON p.id = t.portfolio_id")
    column: sql.Composable = sql.SQL("p.timestamp")
    count = sql.SQL("count(*)")
    if table in BAR_FORMS:  # counted where it is stored: to show every value only to count it takes longer
        source = sql.SQL("{} AS t").format(sql.Identifier(BAR_FORMS[table].bars.name))
        column = sql.Identifier("t", "timestamp")
        count = sql.SQL("coalesce(sum(cardinality(names)), 0)::bigint")
    elif table != "tt_holdings":
        names = TABLES[table].columns.keys()
        source = sql.SQL("{} AS t").format(sql.Identifier(table))
        column = sql.Identifier("t", "timestamp" if "timestamp" in names else "window_start")
    return sql.SQL("SELECT {n}, min({c}), max({c}) FROM {s}").format(n=count, c=column, s=source)


def _text(moment: object) -> str | None:
    return str(moment)[:10] if moment is not None else None
