"""`tt status --partitions`: the state of every cell of a table and why it is as it is.

States and reasons are those of the ledger; which partitions are being made comes from the runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

import dagster as dg
import numpy as np
import numpy.typing as npt
from psycopg import sql

from tt_assets.automation.ended_runs import IN_VAIN, RUNS_LOOKED_AT
from tt_assets.automation.partition_states import Axes, read_cells, tables_of
from tt_assets.errors import UserError
from tt_assets.grid.keys import CellKey
from tt_assets.grid.partitions import grid_of, quarter_of
from tt_assets.postgres.database import Database
from tt_assets.runtime.selection import known_instruments
from tt_assets.settings import DateGrain, Settings
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

GONE = "its row is gone; materialize it again"
"""Of a slice that somebody emptied without the ledger."""


class CellState(StrEnum):
    """What became of a cell."""

    MATERIALIZED = "materialized"
    EMPTY = "empty"
    MISSING = "missing"
    FAILED = "failed"
    IN_FLIGHT = "in flight"


STATES = tuple(CellState)


@dataclass(frozen=True)
class Cell:
    """One cell; `reason` is empty where none is known."""

    table: str
    date: str
    instrument: str
    state: CellState
    reason: str


@dataclass(frozen=True, eq=False)
class Matrix:
    """The cells of `table`: `states` is dates × instruments, positions in `STATES`. `reasons` are by partition key.

    `unit` says what a date is: session, month, year or window.
    """

    table: str
    unit: str
    dates: tuple[str, ...]
    instruments: tuple[str, ...]
    states: npt.NDArray[np.int8]
    reasons: Mapping[str, str]

    def cells(self) -> Iterator[Cell]:
        """Every cell, by date, then instrument."""
        for day, row in zip(self.dates, self.states.tolist(), strict=True):
            for name, state in zip(self.instruments, row, strict=True):
                yield Cell(self.table, day, name, STATES[state], self.reasons.get(str(CellKey(day, name)), ""))

    def keys(self, state: CellState) -> list[str]:
        """Partition keys of the cells in `state`."""
        return [
            str(CellKey(self.dates[row], self.instruments[column]))
            for row, column in np.argwhere(self.states == STATES.index(state)).tolist()
        ]


def read_matrix(
    database: Database,
    instance: dg.DagsterInstance,
    settings: Settings,
    table: str,
    first: date | None = None,
    last: date | None = None,
    instruments: str | None = None,
) -> Matrix:
    """The cells of `table` between two dates, both included, and of the comma-separated `instruments`.

    Raises `UserError` for a span without a partition and for an instrument that has none.
    """
    everything = read_cells(instance, database, grid_of(table, settings), [table])
    axes, known = everything.axes, everything[table]
    names = known_instruments(instruments, axes.instruments, "instrument" if table in MARKET_TABLES else "traded key")
    days = _dates_between(table, axes, first, last, settings.date_grain)
    gone = without_their_rows(database, table, days, settings.date_grain)
    filled = known.filled & ~axes.cells(gone)
    states = np.select(
        [known.in_flight, known.failed, known.done & filled, known.done],
        [STATES.index(s) for s in (CellState.IN_FLIGHT, CellState.FAILED, CellState.MATERIALIZED, CellState.EMPTY)],
        STATES.index(CellState.MISSING),
    ).astype(np.int8)
    chosen = states[np.ix_([axes.date_at[day] for day in days], [axes.instrument_at[name] for name in names])]
    unit = settings.date_grain.value if table in MARKET_TABLES else "window"
    reasons = {**reasons_on_record(database, table, days), **dict.fromkeys(gone, GONE)}
    silent = Matrix(table, unit, days, tuple(names), chosen, reasons)
    ended = ends_before(instance, axes, table, silent.keys(CellState.MISSING))
    return replace(silent, reasons={**ended, **reasons})


def _dates_between(table: str, axes: Axes, first: date | None, last: date | None, grain: DateGrain) -> tuple[str, ...]:
    """The date keys that the span touches."""
    if first and last and last < first:
        raise UserError(f"--from {first} is after --to {last}; did you mean --from {last} --to {first}?")
    key_of = grain.key_of if table in MARKET_TABLES else quarter_of
    begin = key_of(first) if first else None
    found = tuple(
        key
        for key in axes.dates
        if (begin is None or key >= begin.isoformat()) and (last is None or key <= last.isoformat())
    )
    if not found:
        there = f"they run from {axes.dates[0]} to {axes.dates[-1]}" if axes.dates else "there is none"
        raise UserError(
            f"No date partition of {table} is between {first or 'the first'} and {last or 'today'}; {there}."
        )
    return found


def without_their_rows(database: Database, table: str, dates: Sequence[str], grain: DateGrain) -> list[str]:
    """Partition keys, from the first to the last of `dates`, of slices that are to hold rows and hold none."""
    inside: sql.Composable = sql.SQL("t.window_start = s.date")
    if table in MARKET_TABLES:
        inside = sql.SQL("t.timestamp >= s.date AND t.timestamp < s.date + {}::interval").format(
            sql.Literal(grain.interval)
        )
    query = sql.SQL(
        "SELECT s.date::text, s.instrument FROM tt_slice AS s WHERE s.table_name = %s AND s.date BETWEEN %s AND %s "
        "AND s.rows > 0 AND NOT EXISTS (SELECT FROM {} AS t WHERE t.instrument = s.instrument AND {})"
    ).format(sql.Identifier("tt_episode" if table in EPISODE_TABLES else table), inside)
    with database.connect() as connection:
        rows = connection.execute(query, [table, dates[0], dates[-1]]).fetchall()
    return [str(CellKey(day, name)) for day, name in rows]


def ends_before(instance: dg.DagsterInstance, axes: Axes, table: str, keys: Sequence[str]) -> dict[str, str]:
    """Missing partition key → the latest run that was to make it and ended before, of the most recent runs."""
    found: dict[str, str] = {}
    waiting = axes.cells(keys)
    for run in instance.get_runs(dg.RunsFilter(statuses=IN_VAIN), limit=RUNS_LOOKED_AT) if keys else ():
        place = axes.block(run.tags)
        if place is None or table not in tables_of(run):
            continue
        own = axes.none()
        own[place] = waiting[place]
        waiting &= ~own
        found |= dict.fromkeys(map(str, axes.pairs(own)), f"run {run.run_id[:8]} ended before it")
    return found


def reasons_on_record(database: Database, table: str, dates: Sequence[str]) -> dict[str, str]:
    """Partition key → why it failed, or why it holds no row, from the first to the last of `dates`."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT date::text, instrument, coalesce(failure->>'reason', outcome, 'no rows') FROM tt_slice "
            "WHERE table_name = %s AND date BETWEEN %s AND %s AND (failure IS NOT NULL OR rows = 0)",
            [table, dates[0], dates[-1]],
        ).fetchall()
    return {str(CellKey(day, name)): reason for day, name, reason in rows}
