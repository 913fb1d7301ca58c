"""Runs that ended before they made what they were to make: the ledger is told, so that nobody asks for it in a circle.

A step that fails says so itself. A run that was killed or canceled says nothing, and neither do the steps behind a
failed one. Each such run is looked at once; a tag on it says that it was.
"""

from __future__ import annotations

import dagster as dg

from tt_assets.automation.axes import Axes
from tt_assets.automation.partition_states import tables_of
from tt_assets.grid.keys import CellKey
from tt_assets.grid.partition_slices import selection_of
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import record_failures
from tt_assets.runs.io_managers import SOURCE_TAG
from tt_assets.tables import MARKET_TABLES

RECKONED_TAG = "tt/reckoned"
RUNS_LOOKED_AT = 50
IN_VAIN = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def reckon_ended_runs(
    instance: dg.DagsterInstance,
    database: Database,
    market: dg.MultiPartitionsDefinition,
    windows: dg.MultiPartitionsDefinition,
) -> int:
    """Enter as failed what the latest failed and canceled runs were to make and neither made nor explained.

    `market` and `windows` are the partitions of the market tables and of the others. Returns how many runs were looked
    at for the first time.
    """
    looked_at = 0
    for record in instance.get_run_records(dg.RunsFilter(statuses=IN_VAIN), limit=RUNS_LOOKED_AT):
        run = record.dagster_run
        if RECKONED_TAG in run.tags:
            continue
        for grid in (market, windows):
            own = Axes.of(instance, grid)
            place = own.block(run.tags)
            if place is None:
                continue
            rows, columns = place
            keys = [str(CellKey(day, name)) for day in own.dates[rows] for name in own.instruments[columns]]
            for table in tables_of(run):
                if (table in MARKET_TABLES) is (grid is market):
                    record_failures(
                        database,
                        table,
                        selection_of(grid, keys),
                        dict.fromkeys(keys, f"run {run.run_id[:8]} ended before it"),
                        run_id=run.run_id,
                        source=run.tags.get(SOURCE_TAG),
                        since=record.start_time or record.create_timestamp.timestamp(),
                    )
        instance.add_run_tags(run.run_id, {RECKONED_TAG: "yes"})
        looked_at += 1
    return looked_at
