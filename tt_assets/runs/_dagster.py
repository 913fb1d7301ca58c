"""The one door to what Dagster does not promise: nobody else imports `dagster._core` or touches what starts with `_`.

Each name says why it is needed and which public way it waits for; `test_dagster_door.py` and `test_upstream_quirks.py`
fail the day it moves or is no longer needed. What is imported at the top is loaded by `import dagster` itself, so the
door adds nothing to start-up.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import batched
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.data_version import extract_data_version_from_entry
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEventBatchMetadata,
    StepMaterializationData,
    generate_event_batch_id,
)
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.context.data_version_cache import InputAssetVersionInfo
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator
from dagster._core.instance.ref import InstanceRef
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from sqlalchemy import func, select

__all__ = [
    "TERMINAL",
    "PartitionsSubset",
    "add_metadata",
    "backfills_in_flight",
    "code_origin",
    "event_records",
    "execute",
    "failed_check_partitions",
    "instance_at",
    "job_origin",
    "last_evaluation",
    "materialized",
    "name_target",
    "observed",
    "planned",
    "report",
    "report_runless",
    "start_runs_as",
    "step_of",
    "storage_time",
    "submit",
    "workspace",
]

CODE_LOCATION = "tt_assets.definitions"
"""The name that `workspace.yaml` gives the code location: that of the module."""

REPOSITORY = "__repository__"
"""The name Dagster gives the one repository of a module with `Definitions`."""

DAEMON_MODULE = "dagster._daemon"
"""What `dagster-daemon` runs: started as a module, it needs no program on a path."""

ASKED_AT_ONCE = 1_000
"""Partitions in one question to the event log."""

TERMINAL = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
"""Compute logs, as `instance_at` takes them, that leave what a step prints on the terminal. Waits for a public name."""

FAILURES_LOOKED_BACK = 10_000
"""Failed evaluations of a check, the latest first, among whose partitions one that holds again is looked for."""


# The step at work


def step_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> dg.StepExecutionContext:
    """The step that `context` belongs to.

    An asset that writes its own rows has no `OutputContext`, which would hand its step over. Waits for a context of
    assets that reports materializations of single partitions.
    """
    return context.op_execution_context.get_step_execution_context()


def add_metadata(
    step: dg.StepExecutionContext, asset_key: dg.AssetKey, per_partition: Mapping[str, Mapping[str, Any]]
) -> None:
    """Give each partition that `step` makes its own metadata, all at once.

    `add_asset_metadata(partition_key=…)` lists the partitions of the run and copies what was said before on every call,
    which is quadratic in the partitions: one second a call at 113,100 of them, a third of a second for all of them
    here. Waits for a public call that takes many partitions.
    """
    before = step._metadata_accumulator
    own: dict[Any, Mapping[str, Any]] = {
        AssetMetadataHandle(asset_key=asset_key, partition_key=key): metadata for key, metadata in per_partition.items()
    }
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata={**before.per_output_metadata, **own})


def name_target(step: dg.StepExecutionContext, asset_key: dg.AssetKey, latest: dg.EventLogRecord) -> None:
    """Have the evaluations of checks in `step` name `latest`, a materialization, as what they judged.

    Dagster does the same in a range run, after a list of every partition there is, which takes a second for 40,000
    of them, in each op. What it would look up is put where it looks first. Waits for an `AssetCheckResult` that names
    its target.
    """
    known = step._data_version_cache.input_asset_version_info
    known[asset_key] = InputAssetVersionInfo(
        storage_id=latest.storage_id,
        event_type=dg.DagsterEventType.ASSET_MATERIALIZATION,
        data_version=extract_data_version_from_entry(latest.event_log_entry),
        run_id=latest.run_id,
        timestamp=latest.timestamp,
    )


# Events


def materialized(
    step: dg.StepExecutionContext, materializations: Sequence[dg.AssetMaterialization]
) -> Iterator[dg.DagsterEvent]:
    """Events of `materializations` for a step to yield, stored as one batch.

    Yielding an `AssetMaterialization` is public, and stores one event at a time. Waits for batches of those.
    """
    for event, batch in _in_a_batch(materializations):
        yield dg.DagsterEvent.asset_materialization(step, event, batch)


def planned(job_name: str, step_key: str, asset_key: dg.AssetKey, partition: str) -> dg.DagsterEvent:
    """The event that a run is going to make `partition`.

    Waits for range runs that plan their partitions by name, or say by name which of them failed.
    """
    return dg.DagsterEvent.build_asset_materialization_planned_event(
        job_name, step_key, AssetMaterializationPlannedData(asset_key, partition=partition)
    )


def observed(job_name: str, step_key: str, observation: dg.AssetObservation) -> dg.DagsterEvent:
    """The event of `observation` by a step that has ended, where nobody can yield it any more.

    Waits for hooks that may report events of their run.
    """
    return dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_OBSERVATION.value,
        job_name=job_name,
        step_key=step_key,
        event_specific_data=AssetObservationData(observation),
    )


def report(
    instance: dg.DagsterInstance, run_id: str, events: Sequence[dg.DagsterEvent], level: int = logging.DEBUG
) -> None:
    """Store `events` of a run as one batch; `level` is that of the log. Waits for public reports of a run's events."""
    for event, batch in _in_a_batch(events):
        instance.report_dagster_event(event, run_id, level, batch_metadata=batch)


def report_runless(instance: dg.DagsterInstance, materializations: Sequence[dg.AssetMaterialization]) -> None:
    """Store `materializations` of no run as one batch.

    `report_runless_asset_event` is public, and stores one event at a time. Waits for one that takes many.
    """
    events = [
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            event_specific_data=StepMaterializationData(materialization),
            job_name=RUNLESS_JOB_NAME,
        )
        for materialization in materializations
    ]
    report(instance, RUNLESS_RUN_ID, events, logging.INFO)


def _in_a_batch[Event](events: Sequence[Event]) -> Iterator[tuple[Event, DagsterEventBatchMetadata]]:
    batch: str = generate_event_batch_id()
    for place, event in enumerate(events, start=1):
        yield event, DagsterEventBatchMetadata(batch, is_end=place == len(events))


def event_records(
    instance: dg.DagsterInstance, wanted: dg.EventRecordsFilter, limit: int | None = None, *, ascending: bool = False
) -> Sequence[dg.EventLogRecord]:
    """Stored events of one kind, the newest first unless `ascending`.

    The instance has public calls for materializations, observations and changes of a run's status, and deprecates the
    one for all kinds. Waits for one for evaluations of checks.
    """
    return instance.event_log_storage.get_event_records(wanted, limit=limit, ascending=ascending)


# What Dagster counts


def backfills_in_flight(instance: dg.DagsterInstance) -> Iterator[Mapping[dg.AssetKey, PartitionsSubset]]:
    """Per unfinished backfill the partitions that it is to make, by asset.

    `get_backfills` is public without a filter, and would read every backfill there ever was. Waits for a public filter.
    """
    # Not among what Dagster loads by itself: it brings the whole of its workspace with it.
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

    for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])):
        if backfill.asset_backfill_data is not None:
            yield backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key


def failed_check_partitions(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, partitions: Iterable[str]
) -> Iterator[str]:
    """Those of `partitions` whose latest evaluation of `check` failed. Waits for a public history of a check."""
    storage, failed = instance.event_log_storage, AssetCheckExecutionRecordStatus.FAILED
    # Few partitions ever fail a check, and a run may hold many: only those that did are asked about.
    ever = storage.get_asset_check_execution_history(check, limit=FAILURES_LOOKED_BACK, status={failed})
    suspects = {record.partition for record in ever}
    for some in batched((name for name in partitions if name in suspects), ASKED_AT_ONCE):
        for known in storage.get_asset_check_partition_info([check], partition_keys=list(some)):
            if known.latest_execution_status is failed and known.partition_key is not None:
                yield known.partition_key


def last_evaluation(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey
) -> tuple[dg.AssetCheckEvaluation, str] | None:
    """The latest evaluation of `check` that is not of a single partition, and its run; None where it was never made.

    Waits for a public history of a check.
    """
    made = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    for record in instance.event_log_storage.get_asset_check_execution_history(
        check, limit=1, status=made, partition_filter=PartitionKeyFilter(key=None)
    ):
        event = record.event.dagster_event if record.event else None
        if event is not None:
            return event.asset_check_evaluation_data, record.run_id
    return None


# Instances and runs


def instance_at(home: Path, **overrides: Mapping[str, Any]) -> dg.DagsterInstance:
    """The instance of the folder `home`, with parts of its `dagster.yaml` said otherwise for this process.

    `DagsterInstance.get` is public and takes the file as it is. Waits for one that takes overrides.
    """
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=dict(overrides)))


def execute(job: dg.JobDefinition, run: dg.DagsterRun, instance: dg.DagsterInstance) -> Iterator[dg.DagsterEvent]:
    """Carry out `run` of `job` in this process; its events come as they happen.

    `execute_in_process` is public and returns at the end, so a progress bar would stand still. Waits for one
    that tells.
    """
    return execute_run_iterator(InMemoryJob(job), run, instance)


def job_origin(job: str) -> RemoteJobOrigin:
    """Where the UI looks up the job of a run: without it the run is on neither the timeline nor the page of its job.

    `create_run_for_job` is public and takes it; the classes are not. Waits for a run of Dagster's own commands that
    says which code location it belongs to.
    """
    location = RegisteredCodeLocationOrigin(CODE_LOCATION)
    return RemoteRepositoryOrigin(location, REPOSITORY).get_job_origin(job)


def code_origin(job: str) -> JobPythonOrigin:
    """Where a process that is started for a run finds the code of its job: `dagster` on its PATH, and our module.

    A launcher on other machines asks for it. Waits for the same as `job_origin`.
    """
    pointer = ModuleCodePointer(CODE_LOCATION, "defs", None)
    return JobPythonOrigin(
        job, RepositoryPythonOrigin(sys.executable, pointer, entry_point=list(DEFAULT_DAGSTER_ENTRY_POINT))
    )


def start_runs_as(process: type[BaseProcess]) -> None:
    """Have the code server in this process start its runs as `process`, in place of the processes that it would spawn.

    It asks multiprocessing for the context "spawn", of which a process has one, and starts what that calls `Process`.
    Its queues and events are handed to either kind of process. Nothing else is spawned there. This is the one object of
    a library in which a name is replaced; waits for a code server that is told how to start a process.
    """
    multiprocessing.get_context("spawn").Process = process  # type: ignore[assignment,misc]


def submit(instance: dg.DagsterInstance, run_id: str) -> None:
    """Put a run that was created into the queue of `instance`.

    The call is public and wants a workspace, which a queue hands on to nobody: the daemon has its own. Waits for one
    without.
    """
    instance.submit_run(run_id, None)  # type: ignore[arg-type]


def storage_time(instance: dg.DagsterInstance) -> datetime:
    """What time it is for the storage of runs, UTC, in whole seconds: one clock for all machines.

    Waits for an instance that says when it heard of a run last.
    """
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined] # every storage over SQL has it
        now: datetime = connection.execute(select(func.current_timestamp())).scalar_one()
    return (now if now.tzinfo else now.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def workspace(instance: dg.DagsterInstance, file: Path, *, read_only: bool) -> AbstractContextManager[Any]:
    """What Dagster's webserver serves: the code locations of a workspace file. `read_only` refuses every mutation.

    The classes of `dagster-webserver` are public and take it; its own command is the only public way to make one. Waits
    for that command to have a hook for middleware.
    """
    # Not among what Dagster loads by itself: only a webserver needs its workspace.
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    return WorkspaceProcessContext(instance, WorkspaceFileTarget([str(file)]), dg.__version__, read_only=read_only)
