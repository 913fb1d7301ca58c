"""Says of every cell that a failed step was to make that it failed, and why.

The ledger keeps the reason of each, and hears which slices Dagster has been told of.

A hook on the step, so that a failure of some cells and of all of them, of a fetch, a computation or a
write, are told the same way. Dagster counts them as failed (see `runs.attempts`), and the reason is an observation
of the partition: the page of the cell and the list of events show it beside its run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from tt_assets.grid.keys import CellKey
from tt_assets.grid.partition_slices import selection_of
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import mark_told, record_failures
from tt_assets.runs._dagster import observed, planned, report
from tt_assets.runs.check_events import partitions_of, report_not_reached
from tt_assets.runs.failures import failure_reasons
from tt_assets.runs.io_managers import SOURCE_TAG, PartitionsFailed

NAME = "name_failed_cells"

REASONS_KEPT = 1_000
"""Cells of a step and table whose reason is stored with the cell; the run says it of all."""


def name_failed_cells(grid: dg.PartitionsDefinition, *tables: str) -> dg.HookDefinition:
    """The hook of the step that makes `tables` over partitions of `grid`."""

    def name_them(context: dg.HookContext, events: Sequence[dg.DagsterEvent]) -> dg.HookExecutionResult:
        failure = next((event for event in events if event.is_step_failure), None)
        database = context.resources.database
        note_told(database, grid, events)
        if failure is not None:
            run = context.instance.get_run_by_id(context.run_id)
            failed = _reasons(context, failure, run, grid)
            source = run.tags.get(SOURCE_TAG) if run else None
            for table in tables:
                record_failures(
                    database, table, selection_of(grid, failed), failed, run_id=context.run_id, source=source
                )
                report(context.instance, context.run_id, list(_events(context, dg.AssetKey(table), failed)))
            report_not_reached(context.instance, context.run_id, f"{context.op.name} failed")
        return dg.HookExecutionResult(NAME, is_skipped=failure is None)

    return dg.HookDefinition(name=NAME, hook_fn=name_them, required_resource_keys={"database"})


def note_told(database: Database, grid: dg.PartitionsDefinition, events: Sequence[dg.DagsterEvent]) -> None:
    """Enter in the ledger that Dagster has these events, as far as they are materializations with a digest."""
    told: dict[str, dict[str, str]] = {}
    for event in events:
        if event.event_type is not dg.DagsterEventType.ASSET_MATERIALIZATION or event.partition is None:
            continue
        digest = event.step_materialization_data.materialization.metadata.get("digest")
        if digest is not None and event.asset_key is not None:
            told.setdefault(event.asset_key.path[-1], {})[str(event.partition)] = str(digest.value)
    for table, digests in told.items():
        selection = selection_of(grid, digests)
        mark_told(database, table, selection, [digests[key] for key in selection.keys])


def _reasons(
    context: dg.HookContext, failure: dg.DagsterEvent, run: dg.DagsterRun | None, grid: dg.PartitionsDefinition
) -> Mapping[str, str]:
    """Partition key → why it failed; of a step that failed as a whole these are all its partitions."""
    error: Any = context.op_exception
    if isinstance(error, PartitionsFailed):
        return dict(sorted(error.failed.items()))
    _, reason = failure_reasons(failure)
    return dict.fromkeys((partitions_of(run, context.instance, grid) or ()) if run else (), reason)


def _events(context: dg.HookContext, asset_key: dg.AssetKey, failed: Mapping[str, str]) -> Iterator[dg.DagsterEvent]:
    for key in failed:
        yield planned(context.job_name, context.step_key, asset_key, key)
    for key, reason in list(failed.items())[:REASONS_KEPT]:
        observation = dg.AssetObservation(
            asset_key,
            partition=key,
            metadata={"failed": f"{key}: {reason}", "run": dg.MetadataValue.dagster_run(context.run_id)},
            tags=CellKey.parse(key).event_tags(),
        )
        yield observed(context.job_name, context.step_key, observation)
