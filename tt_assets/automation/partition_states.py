"""Which cells of the tables exist, have landed, have failed or are being made: one boolean per date and instrument.

A grid of cells is a NumPy array of dates × instruments, in the order Dagster lists the keys. A sensor's
question over 100,000 cells is then a few array operations, and a range run is a rectangle of the array.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
import numpy as np

from tt_assets.automation.axes import Axes, Mask
from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB, REPORT_JOB, ROLL_JOB
from tt_assets.automation.ledger_view import TableLedger, read_ledger
from tt_assets.grid.run_tags import UNFINISHED
from tt_assets.grid.sliding import Numbers
from tt_assets.postgres.database import Database
from tt_assets.runs._dagster import backfills_in_flight
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

__all__ = ["Axes", "Cells", "Mask", "TableCells", "cells_in_flight", "read_cells", "tables_of"]

FORGOTTEN_AFTER = 3600.0
"""A run that was recorded and not handed over for an hour (seconds) never will be: who made it died in between."""

TABLES_OF_JOB: Mapping[str, Sequence[str]] = {
    MARKET_JOB: MARKET_TABLES,
    AGENTS_JOB: ("tt_policy", *EPISODE_TABLES),
    ROLL_JOB: EPISODE_TABLES,
    REPORT_JOB: (),
}


@dataclass(frozen=True)
class TableCells:
    """The cells of one table that have landed, failed since, or are being made. A failed one may have landed before.

    `ledger` is all that is on record of them; None of cells that were made by hand.
    """

    done: Mask
    failed: Mask
    in_flight: Mask
    ledger: TableLedger | None = None

    @property
    def numbers(self) -> Numbers:
        """What each cell adds to the sum of what is computed from it."""
        return np.zeros(self.done.shape, dtype=np.int64) if self.ledger is None else self.ledger.number

    @property
    def filled(self) -> Mask:
        """The cells that hold a row."""
        return self.done if self.ledger is None else self.ledger.rows > 0

    def computed_from_others(self, sums: Numbers) -> Mask:
        """The cells that are on record as computed from other content than `sums` says there is now."""
        if self.ledger is None:
            return np.zeros_like(self.done)
        chosen: Mask = self.ledger.held & self.ledger.knows_reads & (self.ledger.reads != sums)
        return chosen


@dataclass(frozen=True)
class Cells:
    """What became of the cells of the tables of one grid."""

    axes: Axes
    tables: Mapping[str, TableCells]

    def __getitem__(self, table: str) -> TableCells:
        return self.tables[table]


def read_cells(
    instance: dg.DagsterInstance, database: Database, grid: dg.MultiPartitionsDefinition, tables: Sequence[str]
) -> Cells:
    """The cells of `tables` of `grid` as the ledger knows them.

    Runs are looked at first: what ends in between is seen as in flight, never as missing.
    """
    axes = Axes.of(instance, grid)
    in_flight = cells_in_flight(instance, axes, tables)
    ledger = read_ledger(database, axes, tables)
    known = {table: (ledger[table].held, ledger[table].failed, in_flight[table], ledger[table]) for table in tables}
    return Cells(axes, {table: TableCells(*known[table]) for table in tables})


def cells_in_flight(instance: dg.DagsterInstance, axes: Axes, tables: Sequence[str]) -> dict[str, Mask]:
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
