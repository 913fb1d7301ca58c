"""What an asset check says of single partitions, which a range run cannot say: it gives one evaluation for all of them.

An event is written for a partition that fails, and for one that holds again after it failed. A partition
that always held has none, so the number of events follows the failures and not the size of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tt_assets.runs._dagster import failed_check_partitions, last_evaluation, name_target, step_of

REMEDY = "remedy"
"""Metadata of an evaluation that fails: what to do."""

NOT_RUN = "not run: "
"""How the evaluation of a check begins that its run did not reach."""

LAST = "; the last result: "


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


def report_not_reached(
    instance: dg.DagsterInstance, run_id: str, why: str, besides: Collection[dg.AssetCheckKey] = ()
) -> None:
    """Say of every check that the run was to make, and has not made, that it was not run and why.

    The evaluation passes where the last one did, and says what that was: a run that came to grief before a check tells
    nothing about it. One that was never made before is a warning. What was said of a check is not said again.

    Parameters
    ----------
    why : what came in between, such as "tt_prices failed".
    besides : checks that are being made just now.
    """
    reached = {*besides, *_checks_of(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)}
    run = instance.get_run_by_id(run_id)
    for key in _checks_of(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED):
        if key in reached or run is None:
            continue
        found = last_evaluation(instance, key)
        last = found[0] if found else None
        words, metadata = f"{NOT_RUN}{why}", dict(last.metadata) if last else {}
        if found and last is not None:
            said = last.description or ("it held" if last.passed else "it failed")
            words += LAST + said.rpartition(LAST)[2]
            metadata.setdefault("last_run", dg.MetadataValue.dagster_run(found[1]))
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=last is not None and last.passed,
            metadata=metadata,
            severity=last.severity if last else dg.AssetCheckSeverity.WARN,
            description=words,
        )
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name=run.job_name,
            event_specific_data=evaluation,
        )
        instance.report_dagster_event(event, run_id, logging.WARNING)


def not_reached(instance: dg.DagsterInstance, run_id: str) -> list[tuple[dg.AssetCheckKey, str]]:
    """The checks of a run that `report_not_reached` spoke of, and why they were not run."""
    return [
        (said.asset_check_key, said.description.removeprefix(NOT_RUN).partition(LAST)[0])
        for said in _said(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if (said.description or "").startswith(NOT_RUN)
    ]


def said_besides(event: dg.DagsterEvent) -> bool:
    """Whether `event` is of a single partition, or of a check that was not run: no evaluation by the run itself."""
    if event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return False
    said = event.asset_check_evaluation_data
    return said.partition is not None or (said.description or "").startswith(NOT_RUN)


def report_behind_failure(
    context: dg.AssetCheckExecutionContext, results: Sequence[dg.AssetCheckResult], blocking: Collection[str]
) -> None:
    """Where one of `results` that is `blocking` stops the run, say of the checks behind it that they are not run.

    Called before the results are yielded: behind a failing one nothing of the op is carried out.
    """
    error = dg.AssetCheckSeverity.ERROR
    stopping = [one for one in results if not one.passed and one.severity is error and one.check_name in blocking]
    if stopping:
        why = f"check {stopping[0].check_name} failed"
        report_not_reached(context.instance, context.run.run_id, why, context.selected_asset_check_keys)


def _checks_of(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> list[dg.AssetCheckKey]:
    """The checks that events of `kind` in the run are of, each once."""
    return list(dict.fromkeys(said.asset_check_key for said in _said(instance, run_id, kind)))


def _said(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> Iterator[Any]:
    """What the events of `kind` in the run hold; evaluations of single partitions are left out."""
    for record in instance.get_records_for_run(run_id, of_type=kind).records:
        event = record.event_log_entry.dagster_event
        said: Any = event.event_specific_data if event else None
        if said is not None and getattr(said, "partition", None) is None:
            yield said


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
