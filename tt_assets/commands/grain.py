"""`tt grain`: the partitions of a home at another width, without loading a bar again.

The rows stay. In one transaction the ledger's slices are reckoned anew from them. Then Dagster forgets the partitions
of the old width and is told of the new ones, and the home's `.env` records the grain. A file in the home says that this
goes on: whatever it was killed in, the same command does it from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import pandas as pd
from psycopg import Connection

from tt_assets.assets.regrained import regrained
from tt_assets.automation.agents import AgentState, read_agents
from tt_assets.automation.axes import Axes, Mask
from tt_assets.automation.ledger_view import TableLedger
from tt_assets.automation.market import FEATURES_TABLE, PRICES, MarketState, read_market
from tt_assets.automation.partition_states import Cells, TableCells
from tt_assets.commands.grain_on_record import outweighing, record_grain
from tt_assets.errors import UserError, counted
from tt_assets.grain import DateGrain
from tt_assets.grid.blueprint import Blueprint, blueprint
from tt_assets.grid.run_tags import UNFINISHED
from tt_assets.grid.sliding import Numbers, over_lookback, total
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import digest_number
from tt_assets.postgres.regrained import (
    entries,
    hold_market,
    instruments_on_record,
    replace_entries,
    replace_window_reads,
    tell_market_anew,
)
from tt_assets.postgres.standing import standing
from tt_assets.postgres.stored_grain import grain_of
from tt_assets.runs._dagster import backfills_in_flight
from tt_assets.runs.owners import bury_dead_runs
from tt_assets.runs.telling import tell
from tt_assets.runtime.one_grain import mark
from tt_assets.runtime.platform import adopt, open_instance, upgraded
from tt_assets.runtime.up_record import owner
from tt_assets.settings import Settings
from tt_assets.tables import MARKET_TABLES

AT_ONCE = 100
"""Instruments whose slices are moved together; all of them in one transaction."""
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Moved:
    """What a move came to: partitions on record of each market table that has any, before and after."""

    before: Mapping[str, int]
    after: Mapping[str, int]

    def lines(self, grain: DateGrain) -> list[str]:
        """In words, one line a table."""
        moved = [
            f"{table}: {counted(count, 'partition')} before, {self.after.get(table, 0):,} now"
            for table, count in self.before.items()
        ]
        return [*moved, f"One partition is one {grain} now. The rows of all tables, and the agents, are as they were."]


def move(settings: Settings, target: DateGrain) -> Moved:
    """Move the home to `target`. Raises UserError where somebody works on it, or a variable outweighs its `.env`."""
    if said := outweighing(settings, target):
        raise UserError(said)
    if up := owner(settings):
        raise UserError(f"tt up (process {up.pid}) works on this home: `tt down`, then `tt grain {target}`.")
    platform = upgraded(settings, any_grain=True)
    adopt(platform)
    database, instance = platform.database, open_instance()
    _refuse_runs(instance, target)
    mark(settings).write_text(f"{target}\n", encoding="utf-8")
    before = _partitions(database)
    with database.connect() as connection:
        # What was moved already is moved once more, to the same.
        source = grain_of(connection, (settings.date_grain, target, *DateGrain)) or settings.date_grain
    old, new = (blueprint(settings.model_copy(update={"date_grain": grain})) for grain in (source, target))
    _move_ledger(database, instance, old, new)
    with database.connect() as connection, connection.transaction():
        tell_market_anew(connection)
    instance.wipe_assets([dg.AssetKey(table) for table in MARKET_TABLES])
    while tell(instance, database):
        pass
    record_grain(settings, target)
    mark(settings).unlink(missing_ok=True)
    return Moved(before, _partitions(database))


def _refuse_runs(instance: dg.DagsterInstance, target: DateGrain) -> None:
    bury_dead_runs(instance)
    going_on = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)), limit=1)
    if going_on or any(True for _ in backfills_in_flight(instance)):
        what = f"Run {going_on[0].run_id[:8]}" if going_on else "A backfill"
        raise UserError(f"{what} has not ended; wait for it or end it, then `tt grain {target}`.")


def _partitions(database: Database) -> dict[str, int]:
    """Partitions on record of each market table, in flow order."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT table_name, count(*) FROM tt_slice WHERE table_name = ANY(%s) AND rows IS NOT NULL GROUP BY 1",
            [list(MARKET_TABLES)],
        )
        found = dict(rows.fetchall())
    return {table: int(found[table]) for table in MARKET_TABLES if table in found}


def _move_ledger(database: Database, instance: dg.DagsterInstance, old: Blueprint, new: Blueprint) -> None:
    """The slices of the market tables, and what episodes were rolled on, in one transaction."""
    before = read_market(instance, old, database)
    agents = read_agents(instance, before, database)
    state = replace(before, plan=new, cells=Cells(Axes.of(instance, new.market_partitions), {}))
    ledger = _Reckoned(before, state)
    with database.connect() as connection, connection.transaction():
        hold_market(connection)
        names = instruments_on_record(connection)
        for begin in range(0, len(names), AT_ONCE):
            ledger.move(connection, names[begin : begin + AT_ONCE])
        state = replace(state, cells=ledger.cells())
        _move_windows(connection, agents, AgentState(state, agents.cells, agents.tries, agents.tag))


class _Reckoned:
    """The market's slices at the new grain, as far as they are moved.

    Parameters
    ----------
    before, after : the market at the old grain, and what is to become of it; the same instruments.
    """

    def __init__(self, before: MarketState, after: MarketState) -> None:
        self.source, self.target = before.settings.date_grain, after.settings.date_grain
        self.after, self.axes = after, after.axes
        latest = before.source.latest or before.axes.days[-1].date()
        self.keys = [key for key in self.axes.dates if key <= latest.isoformat()]
        self.numbers: dict[str, Numbers] = {
            table: np.zeros(self.axes.none().shape, dtype=np.int64) for table in MARKET_TABLES
        }
        self.late, self.unknown = {}, {}
        for table in MARKET_TABLES[1:]:
            ledger = before.cells[table].ledger
            unknown = before.axes.none() if ledger is None else ledger.held & ~ledger.knows_reads
            self.late[table] = self._carried(before.stale(table), before.axes)
            self.unknown[table] = self._carried(unknown, before.axes)

    def _carried(self, mask: Mask, axes: Axes) -> Mask:
        """The cells of the new grain that hold, or lie in, one of `mask`."""
        if self.target.holds(self.source):
            whole = [self.target.key_of(date.fromisoformat(day)).isoformat() for day in axes.dates]
            carried = self.axes.none()
            np.logical_or.at(carried, [self.axes.date_at[day] for day in whole], mask)
            return carried
        part = [self.source.key_of(date.fromisoformat(day)).isoformat() for day in self.axes.dates]
        chosen: Mask = mask[[axes.date_at[day] for day in part]]
        return chosen

    def cells(self) -> Cells:
        """What the slices add to the sums of others; nothing else is known of them here."""
        none = self.axes.none()
        known = {table: replace(TableLedger.empty(self.axes), number=own) for table, own in self.numbers.items()}
        return Cells(self.axes, {table: TableCells(none, none, none, ledger) for table, ledger in known.items()})

    def move(self, connection: Connection[Any], names: Sequence[str]) -> None:
        """Move the slices of some instruments."""
        for table in MARKET_TABLES:
            stored = list(standing(connection, table, grain=self.target, instruments=names))
            new = regrained(entries(connection, table, names), stored, self.source, self.target, self.keys)
            row = np.array([self.axes.date_at.get(day, -1) for day in new["date"]], dtype=np.int64)
            column = np.array([self.axes.instrument_at.get(name, -1) for name in new["instrument"]], dtype=np.int64)
            told = [
                digest_number(str(digest), 0 if pd.isna(rows) else int(rows))
                for digest, rows in zip(new["digest"], new["rows"], strict=True)
            ]
            there = (row >= 0) & (column >= 0)
            self.numbers[table][row[there], column[there]] = np.array(told, dtype=np.int64)[there]
            if table != PRICES:
                reads = self._reads(table, row, column, there & new["rows"].notna().to_numpy())
                new["reads"] = pd.Series(reads, index=new.index, dtype=object)
            replace_entries(connection, table, names, new)

    def _reads(self, table: str, row: Places, column: Places, there: npt.NDArray[np.bool_]) -> list[int | None]:
        """What slices were computed from; one with a part that was behind stays behind; None is not known."""
        read = [PRICES] if table == FEATURES_TABLE else [PRICES, FEATURES_TABLE]
        of_these = np.unique(column[there])
        place = np.searchsorted(of_these, column)
        sums = over_lookback(total(self.numbers[name][:, of_these] for name in read), self.after.behind(table))
        found: list[int | None] = []
        for day, name, own, known in zip(row.tolist(), column.tolist(), place.tolist(), there.tolist(), strict=True):
            if not known or self.unknown[table][day, name]:
                found.append(None)
            else:
                number = int(sums[day, own])
                found.append(_other_than(number) if self.late[table][day, name] else number)
        return found


def _other_than[N: (int, Numbers)](number: N) -> N:
    """What a slice says that was computed from something else."""
    return number ^ 1


def _move_windows(connection: Connection[Any], before: AgentState, after: AgentState) -> None:
    """Episodes that were rolled on what there is stay so; those that were behind stay behind."""
    episodes = before.cells["tt_episode"]
    ledger = episodes.ledger
    if ledger is None:
        return
    stale = episodes.computed_from_others(before.sums)
    rows, columns = np.nonzero(ledger.held & ledger.knows_reads)
    axes = before.cells.axes
    sums = np.where(stale, _other_than(after.sums), after.sums)
    replace_window_reads(
        connection,
        [axes.dates[row] for row in rows],
        [axes.instruments[column] for column in columns],
        [int(sums[row, column]) for row, column in zip(rows, columns, strict=True)],
    )
