"""Which cells of the tables exist, have landed, have failed or are being made: one boolean per date and instrument.

A grid of cells is a NumPy array of dates × instruments, in the order Dagster lists the keys. A sensor's
question over 100,000 cells is then a few array operations, and a range run is a rectangle of the array.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import dagster as dg
import numpy as np
import numpy.typing as npt

from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB, REPORT_JOB, ROLL_JOB
from tt_assets.grid.keys import DATE, INSTRUMENT, CellKey
from tt_assets.grid.run_tags import PARTITION, RANGE_END, RANGE_START, UNFINISHED
from tt_assets.runs._dagster import backfills_in_flight, known_partitions
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

FORGOTTEN_AFTER = 3600.0
"""A run that was recorded and not handed over for an hour (seconds) never will be: who made it died in between."""

TABLES_OF_JOB: Mapping[str, Sequence[str]] = {
    MARKET_JOB: MARKET_TABLES,
    AGENTS_JOB: ("tt_policy", *EPISODE_TABLES),
    ROLL_JOB: EPISODE_TABLES,
    REPORT_JOB: (),
}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Axes:
    """Date keys and instrument keys of a grid, in the order Dagster lists them."""

    dates: tuple[str, ...]
    instruments: tuple[str, ...]

    @classmethod
    def of(cls, instance: dg.DagsterInstance, grid: dg.MultiPartitionsDefinition) -> Axes:
        """The keys that `grid` has now."""
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            return cls(
                tuple(grid.get_partitions_def_for_dimension(DATE).get_partition_keys()),
                tuple(grid.get_partitions_def_for_dimension(INSTRUMENT).get_partition_keys()),
            )

    @cached_property
    def date_at(self) -> Mapping[str, int]:
        """Row of each date key."""
        return {key: index for index, key in enumerate(self.dates)}

    @cached_property
    def instrument_at(self) -> Mapping[str, int]:
        """Column of each instrument."""
        return {name: index for index, name in enumerate(self.instruments)}

    def none(self) -> Mask:
        """No cell."""
        return np.zeros((len(self.dates), len(self.instruments)), dtype=bool)

    def cells(self, keys: Iterable[str]) -> Mask:
        """The cells named by partition keys `date|instrument`; keys the grid does not have are left out."""
        found = self.none()
        dates, instruments = self.date_at, self.instrument_at
        places = [
            (dates[day], instruments[name])
            for day, name in map(CellKey.parse, keys)
            if day in dates and name in instruments
        ]
        if places:
            found[tuple(np.array(places).T)] = True
        return found

    def block(self, tags: Mapping[str, str]) -> tuple[slice, slice] | None:
        """Rows and columns of the rectangle in the tags of a run; None for a run over no part of this grid."""
        if RANGE_START in tags and RANGE_END in tags:
            (first, begin), (last, end) = (CellKey.parse(tags[name]) for name in (RANGE_START, RANGE_END))
        elif key := CellKey.find(tags.get(PARTITION)):
            first, begin = last, end = key
        else:
            return None
        if begin not in self.instrument_at or end not in self.instrument_at:
            return None
        columns = slice(self.instrument_at[begin], self.instrument_at[end] + 1)
        return slice(bisect_left(self.dates, first), bisect_right(self.dates, last)), columns

    def pairs(self, cells: Mask) -> set[CellKey]:
        """The cells as partition keys."""
        return {CellKey(self.dates[row], self.instruments[column]) for row, column in np.argwhere(cells).tolist()}

    def columns(self, names: Iterable[str]) -> Mask:
        """(instruments,) which of them are among `names`."""
        wanted = set(names)
        return np.array([name in wanted for name in self.instruments], dtype=bool)


@dataclass(frozen=True)
class TableCells:
    """The cells of one table that have landed, failed since, or are being made. A failed one may have landed before."""

    done: Mask
    failed: Mask
    in_flight: Mask


@dataclass(frozen=True)
class Cells:
    """What became of the cells of the tables of one grid."""

    axes: Axes
    tables: Mapping[str, TableCells]

    def __getitem__(self, table: str) -> TableCells:
        return self.tables[table]


def read_cells(instance: dg.DagsterInstance, grid: dg.MultiPartitionsDefinition, tables: Sequence[str]) -> Cells:
    """The cells of `tables` of `grid` as Dagster counts them.

    Runs are looked at first: what ends in between is seen as in flight, never as missing.
    """
    axes = Axes.of(instance, grid)
    in_flight = cells_in_flight(instance, axes, grid, tables)
    return Cells(axes, {table: TableCells(*_landed(instance, axes, grid, table), in_flight[table]) for table in tables})


def cells_in_flight(
    instance: dg.DagsterInstance, axes: Axes, grid: dg.MultiPartitionsDefinition, tables: Sequence[str]
) -> dict[str, Mask]:
    """The cells of `tables` that an unfinished run or backfill, whoever started it, is going to make."""
    found = {table: axes.none() for table in tables}
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        if run.status is dg.DagsterRunStatus.NOT_STARTED and (
            time.time() - record.create_timestamp.timestamp() > FORGOTTEN_AFTER
        ):
            continue
        place = axes.block(run.tags)
        for table in tables_of(run) & found.keys() if place else ():
            found[table][place] = True
    for subsets in backfills_in_flight(instance):
        for table in tables:
            if dg.AssetKey(table) in subsets:
                with dg.partition_loading_context(dynamic_partitions_store=instance):
                    found[table] |= axes.cells(subsets[dg.AssetKey(table)].get_partition_keys())
    return found


def tables_of(run: dg.DagsterRun) -> set[str]:
    """The tables that a run makes."""
    if run.asset_selection is not None:
        return {key.path[-1] for key in run.asset_selection}
    return set(TABLES_OF_JOB.get(run.job_name, (*MARKET_TABLES, "tt_policy", *EPISODE_TABLES)))


def _landed(
    instance: dg.DagsterInstance, axes: Axes, grid: dg.MultiPartitionsDefinition, table: str
) -> tuple[Mask, Mask]:
    done, failed = known_partitions(instance, dg.AssetKey(table), grid)
    return axes.cells(done.get_partition_keys()), axes.cells(failed.get_partition_keys())
