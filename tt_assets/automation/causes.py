"""Why a cell has no bar, or no row at all: the words that a person, `tt status` and the UI are given.

The cause is worked out from what is stored and from the runs, when somebody asks. Nothing keeps a list of
gaps that could disagree with the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import dagster as dg
import numpy as np

from tt_assets.automation.market import PRICES, MarketState
from tt_assets.automation.partition_states import Axes, Mask
from tt_assets.grid.keys import CellKey
from tt_assets.grid.rectangles import rectangles
from tt_assets.market.calendar import is_session
from tt_assets.postgres.database import Database
from tt_assets.runs.failures import failure_reasons
from tt_assets.settings import DateGrain
from tt_assets.tables import MARKET_TABLES

RUNS_READ = 50
"""The latest failed runs that reasons are looked up in."""


class Cause(StrEnum):
    """Why a cell is empty."""

    HOLIDAY = "holiday"
    NOT_LISTED = "not listed"
    HALTED = "halted"
    ENDED = "after its last bar"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True)
class Gap:
    """Cells of one table and instrument from date key `first` to `last` that are empty for one cause.

    `tries` is how often sensors asked for them in vain, the most of any of them; `next_try` when they are asked for
    again (seconds since 1970), None where nobody will.
    """

    table: str
    instrument: str
    first: str
    last: str
    cells: int
    cause: Cause
    reason: str = ""
    tries: int = 0
    next_try: float | None = None


def bars_held(axes: Axes, database: Database) -> Mask:
    """The cells of the grid with a row in tt_prices."""
    with database.connect() as connection:
        rows = connection.execute("SELECT timestamp::date, instrument FROM tt_prices").fetchall()
    found = axes.none()
    if rows and axes.dates:
        starts = np.array(axes.dates, dtype="datetime64[D]")
        places = np.searchsorted(starts, np.array([day for day, _ in rows], dtype="datetime64[D]"), side="right") - 1
        columns = np.array([axes.instrument_at.get(name, -1) for _, name in rows])
        known = (places >= 0) & (columns >= 0)
        found[places[known], columns[known]] = True
    return found


def causes_of_prices(state: MarketState, held: Mask) -> dict[Cause, Mask]:
    """The wished cells of tt_prices without a bar, by cause; `held` are the cells with one."""
    own, tried = state.cells[PRICES], state.tries[PRICES].count > 0
    begun = np.maximum.accumulate(held, axis=0)
    goes_on = np.maximum.accumulate(held[::-1], axis=0)[::-1]
    failed = state.wished & (own.failed | (~own.done & tried))
    empty = state.wished & own.done & ~held & ~failed
    return {
        Cause.FAILED: failed,
        Cause.MISSING: state.wished & ~own.done & ~failed,
        Cause.NOT_LISTED: empty & ~begun & goes_on,
        Cause.HALTED: empty & begun & goes_on,
        Cause.ENDED: empty & ~goes_on,
    }


def gaps_of(instance: dg.DagsterInstance, state: MarketState, database: Database) -> list[Gap]:
    """Every gap of the market tables with its cause, in the order of tables, instruments and dates."""
    reasons = reasons_told(instance)
    found: list[Gap] = []
    for table in MARKET_TABLES:
        if table == PRICES:
            causes = causes_of_prices(state, bars_held(state.axes, database))
        else:
            own, tried = state.cells[table], state.tries[table].count > 0
            failed = state.wished & (own.failed | (~own.done & tried))
            causes = {Cause.FAILED: failed, Cause.MISSING: state.wished & ~own.done & ~failed}
        for cause, cells in causes.items():
            found += _lines(state, table, cause, cells, reasons.get(table, {}))
    order = {table: number for number, table in enumerate(MARKET_TABLES)}
    return sorted(found, key=lambda gap: (order[gap.table], state.axes.instrument_at[gap.instrument], gap.first))


def cause_of(state: MarketState, held: Mask, day: date, instrument: str) -> Cause | None:
    """Why `instrument` has no bar on `day`: None where it has one, or where nobody expects one to be there.

    A closed day is a holiday, whatever the instrument.
    """
    if state.settings.date_grain is DateGrain.SESSION and not is_session(day):
        return Cause.HOLIDAY
    key = day.isoformat() if state.settings.date_grain is DateGrain.SESSION else day.replace(day=1).isoformat()
    if key not in state.axes.date_at or instrument not in state.axes.instrument_at:
        return None
    place = state.axes.date_at[key], state.axes.instrument_at[instrument]
    return next((cause for cause, cells in causes_of_prices(state, held).items() if cells[place]), None)


def reasons_told(instance: dg.DagsterInstance) -> dict[str, dict[str, str]]:
    """Table → partition key → why it failed, as the latest failed runs told it."""
    found: dict[str, dict[str, str]] = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=RUNS_READ):
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            event = entry.dagster_event
            if event is not None and event.step_key:
                reasons, _ = failure_reasons(event)
                for key, reason in reasons.items():
                    found.setdefault(event.step_key, {}).setdefault(key, reason)
    return found


def _lines(state: MarketState, table: str, cause: Cause, cells: Mask, reasons: Mapping[str, str]) -> list[Gap]:
    axes, tries = state.axes, state.tries[table]
    lines = []
    for column in np.flatnonzero(cells.any(axis=0)):
        name = axes.instruments[column]
        own = {(axes.dates[row], name) for row in np.flatnonzero(cells[:, column])}
        for part in rectangles(own, axes.dates, [name], len(axes.dates)):
            rows = slice(axes.date_at[part.first_date], axes.date_at[part.last_date] + 1)
            count = int(tries.count[rows, column].max())
            given_up = count >= state.settings.gap_tries
            asks_again = cause in (Cause.FAILED, Cause.MISSING) and not given_up
            told = next(filter(None, (reasons.get(str(CellKey(day, name))) for day in axes.dates[rows])), "")
            lines.append(
                Gap(
                    table,
                    name,
                    part.first_date,
                    part.last_date,
                    part.cells,
                    cause,
                    f"given up after {count} tries: {told or 'see its runs'}" if given_up else told,
                    count,
                    float(tries.next(state.first_wait)[rows, column].max()) if asks_again else None,
                )
            )
    return lines
