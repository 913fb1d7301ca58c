"""What the tests ask of Dagster: runs of the product's jobs, and what the event log says of them.

With `test_upstream_quirks` the one module of the tests that imports Dagster's private names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.subset.all import AllPartitionsSubset
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.events import EngineEventData
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.test_utils import freeze_time
from dagster._utils.error import SerializableErrorInfo
from dagster._utils.schedules import schedule_execution_time_iterator

from tt_assets.automation import AGENTS_JOB, MARKET_JOB
from tt_assets.definitions import definitions
from tt_assets.grid.blueprint import Blueprint, blueprint
from tt_assets.grid.run_tags import RANGE_END, RANGE_START
from tt_assets.postgres.database import Database
from tt_assets.settings import Settings
from tt_assets.tables import MARKET_TABLES, TABLES, content_columns, key_columns

__all__ = ["AllPartitionsSubset", "SensorExecutionData", "freeze_time"]


SAMPLE_DATES = {"TT_START_DATE": "2005-03-01", "TT_END_DATE": "2013-03-01"}
"""The dates of the bundled sample as settings."""


def keep_dates_of_sample(patch: pytest.MonkeyPatch) -> None:
    """Have the partitions of the bundled sample, in a test whose bars are its own."""
    for name, value in SAMPLE_DATES.items():
        patch.setenv(name, value)


def current_definitions() -> dg.Definitions:
    """The product's definitions under the settings of the test."""
    return definitions(Settings())


def current_plan() -> Blueprint:
    """What these definitions are made from."""
    return blueprint(Settings())


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags that make a run one over the rectangle from partition key `first` to `last`."""
    return {RANGE_START: first, RANGE_END: last}


def run_job(
    instance: dg.DagsterInstance, tables: Sequence[str], first: str, last: str | None = None, **config: Any
) -> dg.ExecuteInProcessResult:
    """One run of the product's definitions through `tables`: of the cell `first`, or of the rectangle up to `last`.

    `config` is the run config of the first table.
    """
    job = current_definitions().resolve_job_def(MARKET_JOB if set(tables) <= set(MARKET_TABLES) else AGENTS_JOB)
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(table) for table in tables],
        partition_key=None if last else first,
        tags=range_tags(first, last) if last else None,
        raise_on_error=False,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {tables[0]: {"config": config}} if config else {},
        },
    )


def landed_cells(instance: dg.DagsterInstance, table: str, run_id: str | None = None) -> dict[str, dict[str, Any]]:
    """Partition key → plain metadata of its latest materialization (of the run `run_id`)."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(table)), limit=10_000, ascending=True
    ).records
    return {
        record.partition_key: {name: entry.value for name, entry in record.asset_materialization.metadata.items()}
        for record in records
        if run_id in (None, record.run_id)
    }


def failure_text(result: dg.ExecuteInProcessResult, step: str) -> str:
    """What the failed step told its reader: the description of a `Failure`, else the innermost error."""
    for event in result.all_events:
        if event.is_step_failure and event.step_key == step:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return failure.user_failure_data.description
            error = failure.error
            while error.cause is not None:
                error = error.cause
            return error.message
    raise AssertionError(f"{step} did not fail")


def partition_counts(
    instance: dg.DagsterInstance, table: str, grid: dg.MultiPartitionsDefinition
) -> tuple[int, int, int]:
    """Partitions of `table` that Dagster's UI shows as materialized, missing and failed."""
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        keys = grid.get_partition_keys()
        status = instance.get_status_by_partition(dg.AssetKey(table), keys, grid) or {}
    counted = Counter(str(status.get(key)) for key in keys)
    done, failed = counted["AssetPartitionStatus.MATERIALIZED"], counted["AssetPartitionStatus.FAILED"]
    return done, len(keys) - done - failed, failed


def run_statuses(instance: dg.DagsterInstance) -> dict[str, dg.DagsterRunStatus]:
    """Status of every run by id."""
    return {run.run_id: run.status for run in instance.get_runs()}


def query(database: Database, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    with database.connect() as connection:
        return connection.execute(statement, values or None).fetchall()


def stored(database: Database, table: str) -> list[tuple[Any, ...]]:
    """Every row of `table` without its id, in the order of its key."""
    columns = ", ".join(content_columns(TABLES[table]))
    return query(database, f"SELECT {columns} FROM {table} ORDER BY {', '.join(key_columns(TABLES[table]))}")


def cells(dates: Iterable[str], instruments: Iterable[str]) -> set[str]:
    """Partition keys of a rectangle."""
    names = list(instruments)
    return {f"{day}|{name}" for day in dates for name in names}


def job_of_the_daemon(name: str) -> Any:
    """The job `name` as the daemon finds it in the code location, for `dg.execute_job`."""
    # Dagster keeps the last location it loaded; the folder makes this one another.
    location = ReconstructableRepository.for_module(__name__, "current_definitions", os.environ["TT_HOME"])
    return location.get_reconstructable_job(name)


def ticks_after(schedule: dg.ScheduleDefinition, moment: datetime) -> Iterator[datetime]:
    """When the daemon would tick `schedule` after `moment`, without an end."""
    return schedule_execution_time_iterator(moment.timestamp(), schedule.cron_schedule, schedule.execution_timezone)


def served_log(folder: Path, key: Sequence[str], extension: str) -> str | None:
    """The file that the webserver serves at `/logs/…` of compute logs in `folder`."""
    return LocalComputeLogManager(str(folder)).get_captured_local_path(list(key), extension)


def say_process(instance: dg.DagsterInstance, run: dg.DagsterRun, pid: int) -> None:
    """Note in the log of `run` that the process `pid` works on it, as Dagster does when it starts one."""
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))


def say_error(instance: dg.DagsterInstance, run: dg.DagsterRun, error: str, *causes: str) -> None:
    """Note in the log of `run` an error outside its steps, and what it followed from, outermost first."""
    chain = None
    for message in reversed((error, *causes)):
        chain = SerializableErrorInfo(message, [], message.partition(":")[0].rpartition(".")[2], cause=chain)
    instance.report_engine_event(error, run, EngineEventData.engine_error(chain))
