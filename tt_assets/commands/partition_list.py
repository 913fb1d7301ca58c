"""`tt status --cells`: the state of every cell of a table and why it is as it is.

States are those of the UI, by the same cache; what it cannot say (a cell that landed without a row, a
cell of a range run in flight) comes from the rows themselves and from the runs. Reasons are those the runs left behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import dagster as dg
import numpy as np
import numpy.typing as npt
from psycopg import sql

from tt_assets.automation.partition_states import Axes, read_cells, tables_of
from tt_assets.errors import UserError
from tt_assets.grid.keys import CellKey
from tt_assets.grid.partitions import grid_of, quarter_of
from tt_assets.postgres.database import Database
from tt_assets.runs.failures import failure_reasons
from tt_assets.runtime.selection import known_instruments
from tt_assets.settings import DateGrain, Settings
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

MOST_REASONS = 20_000
"""Cells without a row whose reason is read; with more of them the first ones go without."""
RUNS_READ = 50


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

    `unit` says what a date is: session, month or window.
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
    everything = read_cells(instance, grid_of(table, settings), [table])
    axes, known = everything.axes, everything[table]
    names = known_instruments(instruments, axes.instruments, "instrument" if table in MARKET_TABLES else "traded key")
    by_month = settings.date_grain is DateGrain.MONTH
    days = _dates_between(table, axes, first, last, by_month=by_month)
    with_rows = axes.cells(_keys_with_rows(database, table, days, by_month=by_month))
    states = np.select(
        [known.in_flight, known.failed, known.done & with_rows, known.done],
        [STATES.index(s) for s in (CellState.IN_FLIGHT, CellState.FAILED, CellState.MATERIALIZED, CellState.EMPTY)],
        STATES.index(CellState.MISSING),
    ).astype(np.int8)
    chosen = states[np.ix_([axes.date_at[day] for day in days], [axes.instrument_at[name] for name in names])]
    unit = settings.date_grain.value if table in MARKET_TABLES else "window"
    silent = Matrix(table, unit, days, tuple(names), chosen, {})
    reasons = {
        **_outcomes(instance, table, silent.keys(CellState.EMPTY)),
        **_failures(instance, table, silent.keys(CellState.FAILED)),
        **_ends_before(instance, axes, table, silent.keys(CellState.MISSING)),
    }
    return Matrix(table, unit, days, tuple(names), chosen, reasons)


def _dates_between(table: str, axes: Axes, first: date | None, last: date | None, *, by_month: bool) -> tuple[str, ...]:
    """The date keys that the span touches."""
    if first and last and last < first:
        raise UserError(f"--from {first} is after --to {last}; did you mean --from {last} --to {first}?")
    begin = first
    if first and table not in MARKET_TABLES:
        begin = quarter_of(first)
    elif first and by_month:
        begin = first.replace(day=1)
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


def _keys_with_rows(database: Database, table: str, dates: Sequence[str], *, by_month: bool) -> list[str]:
    """Partition keys from the first to the last of `dates` under which rows are stored.

    The nine episode tables are one materialization, which stands where an episode does.
    """
    if table in MARKET_TABLES:
        day: sql.Composable = sql.SQL("timestamp::date")
        if by_month:
            day = sql.SQL("date_trunc('month', timestamp)::date")
        source = sql.Identifier(table)
    else:
        day = sql.SQL("window_start")
        source = sql.Identifier("tt_episode" if table in EPISODE_TABLES else table)
    query = sql.SQL("SELECT DISTINCT {day}::text, instrument FROM {source} WHERE {day} BETWEEN %s AND %s")
    with database.connect() as connection:
        rows = connection.execute(query.format(day=day, source=source), [dates[0], dates[-1]]).fetchall()
    return [str(CellKey(*row)) for row in rows]


def _outcomes(instance: dg.DagsterInstance, table: str, keys: Sequence[str]) -> dict[str, str]:
    """What the latest materialization of each cell without rows says of it."""
    asked = list(keys[-MOST_REASONS:])
    outcomes: dict[str, str] = {}
    cursor = None
    while asked:
        asset = dg.AssetRecordsFilter(dg.AssetKey(table), asset_partitions=asked)
        page = instance.fetch_materializations(asset, limit=1_000, cursor=cursor)
        for record in page.records:  # the newest first
            materialization = record.asset_materialization
            if materialization and materialization.partition and materialization.partition not in outcomes:
                outcome = materialization.metadata.get("outcome")
                outcomes[materialization.partition] = str(outcome.value) if outcome else "no rows"
        if not page.has_more or len(outcomes) == len(asked):
            break
        cursor = page.cursor
    # A run that says it loaded a cell and no row to show for it: somebody took the row away since.
    gone = "its row is gone; materialize it again"
    return {key: gone if outcome == "loaded" else outcome for key, outcome in outcomes.items()}


def _failures(instance: dg.DagsterInstance, table: str, keys: Sequence[str]) -> dict[str, str]:
    """Why the latest attempt at each failed cell failed, for the cells of the most recent runs."""
    if not keys:
        return {}
    attempts = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        dg.AssetKey(table)
    )
    run_of = {key: attempts[key] for key in keys if key in attempts}
    newest = sorted({(number, run) for run, number in run_of.values()}, reverse=True)
    recent = list(dict.fromkeys(run for _, run in newest))[:RUNS_READ]
    by_run = {run: _failure_of(instance, run, table) for run in recent}
    return {key: by_run[run][0].get(key) or by_run[run][1] for key, (run, _) in run_of.items() if run in by_run}


def _ends_before(instance: dg.DagsterInstance, axes: Axes, table: str, keys: Sequence[str]) -> dict[str, str]:
    """Why the latest run that was to make each missing cell ended before it did, for cells of the most recent runs."""
    waiting = axes.cells(keys)
    found: dict[str, str] = {}
    ended = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
    for run in instance.get_runs(ended, limit=RUNS_READ) if keys else ():
        place = axes.block(run.tags)
        if place is None or table not in tables_of(run) or not waiting[place].any():
            continue
        own = axes.none()
        own[place] = waiting[place]
        waiting &= ~own
        reasons, otherwise = _failure_of(instance, run.run_id, table)
        for key in map(str, axes.pairs(own)):
            found[key] = reasons.get(key) or otherwise
    return found


def _failure_of(instance: dg.DagsterInstance, run_id: str, table: str) -> tuple[Mapping[str, str], str]:
    """What a run says of single partitions of `table` and of all of them: its own step, or the one that came before."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in records]
    found = [event for event in events if event is not None]
    if not found:
        return {}, f"run {run_id[:8]} ended before it"
    own = next((event for event in reversed(found) if event.step_key == table), found[-1])
    reasons, message = failure_reasons(own)
    return reasons, message or f"{own.step_key} failed in run {run_id[:8]}"
