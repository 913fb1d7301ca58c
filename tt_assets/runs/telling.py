"""Dagster is told what the ledger says: events are a projection of it.

A run tells of its own partitions as it goes. What it could not, because it was killed after COMMIT, and what was
written without a run, is told here: by whoever starts next. An event says of a partition what its page shows, its rows,
digest and outcome, and what changed where it was restated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from tt_assets.grid.keys import CellKey
from tt_assets.grid.run_tags import DATA_VERSION, UNFINISHED
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import mark_told_keys
from tt_assets.postgres.restated import RESTATED
from tt_assets.runs._dagster import report_runless
from tt_assets.runs.asset_page import whole_table
from tt_assets.tables import MARKET_TABLES, TABLES

AT_ONCE = 20_000
"""Slices read, and told of, in one go."""


@dataclass(frozen=True)
class Told:
    """A slice as it is told of."""

    key: CellKey
    rows: int
    digest: str
    outcome: str
    changed: dict[str, Any] | None


def tell(instance: dg.DagsterInstance, database: Database) -> int:
    """Report every slice that Dagster has no event of, but for those of runs that go on; returns how many."""
    told = 0
    with database.connect() as connection:
        untold = connection.execute(
            "SELECT DISTINCT table_name FROM tt_slice WHERE NOT told AND digest IS NOT NULL"
        ).fetchall()
    for table in [table for table in TABLES if (table,) in untold]:
        with database.connect() as connection:
            rows = connection.execute(
                "SELECT date::text, instrument, rows, digest, outcome, changed, run_id FROM tt_slice "
                "WHERE NOT told AND digest IS NOT NULL AND table_name = %s ORDER BY 1, 2 LIMIT %s",
                [table, AT_ONCE],
            ).fetchall()
        if not rows:
            continue
        runs = list({run_id for *_, run_id in rows if run_id})
        alive: set[str] = set()
        if runs:
            going_on = dg.RunsFilter(run_ids=runs, statuses=list(UNFINISHED))
            alive = {run.run_id for run in instance.get_runs(going_on)}
        slices = [
            Told(CellKey(day, name), count, digest, outcome, changed)
            for day, name, count, digest, outcome, changed, run_id in rows
            if run_id not in alive
        ]
        report(instance, database, table, slices)
        told += len(slices)
    return told


def slices_of(database: Database, table: str, keys: Sequence[CellKey]) -> list[Told]:
    """The slices of `keys` that hold something."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT s.date::text, s.instrument, s.rows, s.digest, s.outcome, s.changed "
            "FROM unnest(%s::date[], %s::text[]) AS k(d, i) JOIN tt_slice AS s "
            "ON s.table_name = %s AND s.date = k.d AND s.instrument = k.i WHERE s.digest IS NOT NULL ORDER BY 1, 2",
            [[key.date for key in keys], [key.instrument for key in keys], table],
        ).fetchall()
    return [Told(CellKey(day, name), *rest) for day, name, *rest in rows]


def report(instance: dg.DagsterInstance, database: Database, table: str, slices: Sequence[Told]) -> None:
    """Store one materialization per slice; an instrument Dagster has no key for yet gets one."""
    if not slices:
        return
    dimension = "instrument" if table in MARKET_TABLES else "traded"
    names = sorted({told.key.instrument for told in slices})
    instance.add_dynamic_partitions(dimension, names)  # those that are there already stay as they are
    # Only the last is shown on the table's page, so it alone says what all of them are part of.
    whole = {**whole_table(database, table), "dagster/table_name": table}
    report_runless(instance, [*(_event(table, told, {}) for told in slices[:-1]), _event(table, slices[-1], whole)])
    mark_told_keys(
        database,
        table,
        [told.key.date for told in slices],
        [told.key.instrument for told in slices],
        [told.digest for told in slices],
    )


def _event(table: str, told: Told, shown: Mapping[str, Any]) -> dg.AssetMaterialization:
    metadata: dict[str, Any] = {
        **shown,
        "dagster/row_count": told.rows,
        "digest": told.digest,
        "outcome": told.outcome,
    }
    if told.changed is not None:
        metadata[RESTATED] = dg.MetadataValue.json(told.changed)
    return dg.AssetMaterialization(
        dg.AssetKey(table),
        partition=told.key.multi(),
        metadata=metadata,
        tags={**told.key.event_tags(), DATA_VERSION: told.digest},
    )
