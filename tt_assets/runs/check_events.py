"""What an asset check says of single partitions, which a range run cannot say: it gives one evaluation for all of them.

An event is written for a partition that fails, and for one that holds again after it failed. A partition
that always held has none, so the number of events follows the failures and not the size of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tt_assets.runs._dagster import failed_check_partitions, name_target, step_of


@dataclass(frozen=True)
class PartitionEvaluation:
    """Whether a check holds in one partition. `metadata` is shown beside it; `blocking` as the check's spec says."""

    check: str
    partition: str
    passed: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    blocking: bool = True


def report_partitions(
    instance: dg.DagsterInstance, run: dg.DagsterRun, asset: str, evaluations: Iterable[PartitionEvaluation]
) -> None:
    """Report the evaluations of `asset` that fail, and those that hold where the last word was a failure.

    `evaluations` hold one entry for each check and partition that `run` looked at. The events belong to the run:
    Dagster keeps one runless evaluation of a check and partition at most, and refuses the second one. Failures are
    written last, because the asset's page shows the latest of all.
    """
    by_check: dict[str, list[PartitionEvaluation]] = {}
    for evaluation in evaluations:
        by_check.setdefault(evaluation.check, []).append(evaluation)
    mended, failing = [], []
    for check, found in by_check.items():
        failing += [evaluation for evaluation in found if not evaluation.passed]
        holding = {evaluation.partition: evaluation for evaluation in found if evaluation.passed}
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        mended += [holding[partition] for partition in failed_check_partitions(instance, key, holding)]
    for evaluation in (*mended, *failing):
        _report(instance, run, asset, evaluation)


def partitions_of(
    run: dg.DagsterRun, instance: dg.DagsterInstance, grid: dg.PartitionsDefinition
) -> Sequence[str] | None:
    """Partitions of `grid` that `run` is over; None where it names none, which means all of them."""
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        subset = run.get_resolved_partitions_subset_for_events(grid)
        return list(subset.get_partition_keys()) if subset else None


def target_latest(context: dg.AssetCheckExecutionContext, asset: str) -> None:
    """Have the evaluations of a check op of `asset` name its latest materialization as what they judged.

    In a range run Dagster would list every partition there is to find the same one.
    """
    key = dg.AssetKey(asset)
    (record,) = context.instance.get_asset_records([key]) or (None,)
    latest = record.asset_entry.last_materialization_record if record else None
    if latest is None:
        return
    name_target(step_of(context), key, latest)


def _report(instance: dg.DagsterInstance, run: dg.DagsterRun, asset: str, evaluation: PartitionEvaluation) -> None:
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
        job_name=run.job_name,
        event_specific_data=dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset),
            check_name=evaluation.check,
            passed=evaluation.passed,
            metadata=dict(evaluation.metadata),
            severity=evaluation.severity,
            blocking=evaluation.blocking,
            partition=evaluation.partition,
        ),
    )
    bad = logging.ERROR if evaluation.severity is dg.AssetCheckSeverity.ERROR else logging.WARNING
    instance.report_dagster_event(event, run.run_id, logging.INFO if evaluation.passed else bad)
