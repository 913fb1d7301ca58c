"""What a check says of single partitions.

One decision: a check of a range run is one evaluation without a partition, because Dagster would store one planned row
for each partition, each with the list of them all. What fails is reported by partition on top of it, and what had
failed and holds again is reported as holding.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from itertools import islice

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

CELLS_REPORTED = 1_000
"""Partitions of one check and run that are reported by name; the evaluation of the run counts them all."""

FAILED = {AssetCheckExecutionRecordStatus.FAILED}


def report_cells(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    spec: dg.AssetCheckSpec,
    failing: Mapping[str, str],
    judged: Collection[str],
    severity: dg.AssetCheckSeverity,
) -> None:
    """Report each partition in `failing` with its reason, and those of `judged` that failed before and hold again.

    The events belong to the run: Dagster keeps one runless evaluation of a check and partition at most, and refuses
    the second one.
    """
    for key, reason in islice(failing.items(), CELLS_REPORTED):
        _report(instance, run, spec, key, reason, severity, passed=False)
    for key in sorted((failed_before(instance, spec.key) & set(judged)) - failing.keys()):
        _report(instance, run, spec, key, "holds again", severity, passed=True)


def failed_before(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> set[str]:
    """The partitions whose last evaluation of `check` failed."""
    storage = instance.event_log_storage
    ever = storage.get_asset_check_execution_history(check, limit=10 * CELLS_REPORTED, status=FAILED)
    partitions = {record.partition for record in ever if record.partition is not None}
    if not partitions:
        return set()
    latest = storage.get_asset_check_partition_info([check], partition_keys=sorted(partitions))
    return {one.partition_key for one in latest if one.partition_key and one.latest_execution_status in FAILED}


def _report(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    spec: dg.AssetCheckSpec,
    key: str,
    reason: str,
    severity: dg.AssetCheckSeverity,
    *,
    passed: bool,
) -> None:
    evaluation = dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=passed,
        description=f"{key}: {reason}",
        metadata={"reason": reason, "run": dg.MetadataValue.dagster_run(run.run_id)},
        severity=severity,
        blocking=spec.blocking,
        partition=key,
    )
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
        job_name=run.job_name,
        event_specific_data=evaluation,
    )
    level = logging.INFO if passed else logging.ERROR if severity is dg.AssetCheckSeverity.ERROR else logging.WARNING
    instance.report_dagster_event(event, run.run_id, level)
