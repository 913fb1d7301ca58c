"""Says of every cell that a failed step was to make that it failed, and why.

A hook on the step, so that a failure of some cells and of all of them, of a fetch, a computation or a
write, are told the same way. Dagster counts them as failed (see `runs.attempts`), and the reason is an observation
of the partition: the page of the cell and the list of events show it beside its run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from tt_assets.grid.keys import CellKey
from tt_assets.runs._dagster import observed, planned, report
from tt_assets.runs.check_events import partitions_of
from tt_assets.runs.failures import failure_reasons
from tt_assets.runs.io_managers import PartitionsFailed

NAME = "name_failed_cells"

REASONS_KEPT = 1_000
"""Cells of a step and table whose reason is stored with the cell; the run says it of all."""


def name_failed_cells(grid: dg.PartitionsDefinition, *tables: str) -> dg.HookDefinition:
    """The hook of the step that makes `tables` over partitions of `grid`."""

    def name_them(context: dg.HookContext, events: Sequence[dg.DagsterEvent]) -> dg.HookExecutionResult:
        failure = next((event for event in events if event.is_step_failure), None)
        if failure is not None:
            run = context.instance.get_run_by_id(context.run_id)
            failed = _reasons(context, failure, run, grid)
            for table in tables:
                report(context.instance, context.run_id, list(_events(context, dg.AssetKey(table), failed)))
        return dg.HookExecutionResult(NAME, is_skipped=failure is None)

    return dg.HookDefinition(name=NAME, hook_fn=name_them)


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
