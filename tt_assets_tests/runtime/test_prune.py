"""What pruning takes out of Dagster's storage and what it never takes, on the storage that the platform has."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from tt_assets.postgres.database import Database
from tt_assets.runs import superseded
from tt_assets.runs._dagster import planned, report
from tt_assets.runtime import prune as pruning
from tt_assets.runtime.prune import Pruned, prune
from tt_assets_tests.dagster_runs import query, range_tags

DAYS = ["2012-05-24", "2012-05-25"]
NAMES = ["A", "T"]
KEYS = [f"{day}|{name}" for day in DAYS for name in NAMES]
GRID = dg.MultiPartitionsDefinition(
    {"date": dg.StaticPartitionsDefinition(DAYS), "instrument": dg.StaticPartitionsDefinition(NAMES)}
)
PROBE = dg.AssetKey("probe")
fails: set[str] = set()


@dg.asset(
    partitions_def=GRID,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("sound", asset="probe")],
)
def probe(context: dg.AssetExecutionContext):
    context.log.info("a line of the log")
    if fails.intersection(context.partition_keys):
        raise dg.Failure("not today")
    context.log_event(dg.AssetObservation(PROBE, partition=context.partition_keys[0]))
    return dg.MaterializeResult(
        metadata={"picture": dg.MetadataValue.md(f"![p](/logs/pictures/{len(context.run_id):032x}/png)")},
        check_results=[dg.AssetCheckResult(passed=True, check_name="sound")],
    )


@pytest.fixture
def storage(postgres_instance: dg.DagsterInstance, connected: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(pruning, "FAILURES_LOOKED_AT", 0)
    monkeypatch.setattr(superseded, "WINDOW", 7)
    fails.clear()
    return connected.dagster()


def run(instance: dg.DagsterInstance, first: str = KEYS[0], last: str | None = KEYS[-1], **tags: str) -> str:
    job = dg.Definitions(assets=[probe]).resolve_implicit_global_asset_job_def()
    where = {"tags": {**range_tags(first, last), **tags}} if last else {"partition_key": first, "tags": tags}
    return job.execute_in_process(instance=instance, raise_on_error=False, **where).run_id


def prune_all(instance: dg.DagsterInstance, database: Database, home: Path, before: datetime | None = None) -> Pruned:
    total = Pruned()
    for step in prune(instance, database, home / "logs", home, before or datetime.now(UTC) + timedelta(seconds=5)):
        total += step
    return total


def statuses(instance: dg.DagsterInstance, storage: Database) -> dict[str, str | None]:
    """As the UI computes them anew."""
    with storage.connect() as connection:
        connection.execute("UPDATE asset_keys SET cached_status_data = NULL")
    found = instance.get_status_by_partition(PROBE, KEYS, GRID) or {}
    return {key: status.value if status else None for key, status in found.items()}


def newest(storage: Database) -> list[tuple[Any, ...]]:
    """The newest event of each partition and kind, and the newest result of each check."""
    return query(
        storage,
        "SELECT DISTINCT ON (asset_key, dagster_event_type, partition) id, event FROM event_logs "
        "WHERE dagster_event_type IN ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION') "
        "ORDER BY asset_key, dagster_event_type, partition, id DESC",
    ) + query(
        storage,
        "SELECT DISTINCT ON (asset_key, check_name, partition) id, evaluation_event FROM asset_check_executions "
        "ORDER BY asset_key, check_name, partition, id DESC",
    )


def test_what_newer_runs_made_anew_goes_and_the_newest_of_everything_stays(
    postgres_instance: dg.DagsterInstance, connected: Database, storage: Database, tmp_path: Path
) -> None:
    of_a_day = KEYS[0], KEYS[1]
    runs = [run(postgres_instance, *of_a_day), run(postgres_instance, *of_a_day), run(postgres_instance, KEYS[0], None)]
    fails.add(KEYS[3])
    runs.append(run(postgres_instance, KEYS[3], None))
    # As the platform names what a failed step was to make.
    report(postgres_instance, runs[-1], [planned("__ASSET_JOB", "probe", PROBE, KEYS[3])])
    before = statuses(postgres_instance, storage), newest(storage)
    assert before[0] == dict(zip(KEYS, ("MATERIALIZED", "MATERIALIZED", None, "FAILED"), strict=True))
    pruned = prune_all(postgres_instance, connected, tmp_path)
    assert (statuses(postgres_instance, storage), newest(storage)) == before
    assert {one.run_id for one in postgres_instance.get_runs()} == set(runs[1:]), "the first was made anew entirely"
    assert pruned.runs == 1
    assert pruned.removed.events > 0
    assert pruned.removed.results == 2
    assert pruned.removed.bytes > 1_000
    kinds = {kind for (kind,) in query(storage, "SELECT DISTINCT dagster_event_type FROM event_logs")}
    assert {"PIPELINE_SUCCESS", "STEP_FAILURE", "STEP_START"} <= kinds, "a run that stays keeps its page"
    assert not kinds & {None, "ENGINE_EVENT", "STEP_OUTPUT"}
    assert query(
        storage, "SELECT count(*) FROM asset_event_tags WHERE event_id NOT IN (SELECT id FROM event_logs)"
    ) == [(0,)]
    assert prune_all(postgres_instance, connected, tmp_path) == Pruned(), "once is enough"


def test_stopping_it_anywhere_leaves_every_status_and_the_next_call_ends_it(
    postgres_instance: dg.DagsterInstance, connected: Database, storage: Database, tmp_path: Path
) -> None:
    for _ in range(3):
        run(postgres_instance)
    before = statuses(postgres_instance, storage), newest(storage)
    soon = datetime.now(UTC) + timedelta(seconds=5)
    stopped = 0
    while True:
        work = prune(postgres_instance, connected, tmp_path / "logs", tmp_path, soon)
        some = [step for _, step in zip(range(2), work, strict=False)]
        work.close()
        assert (statuses(postgres_instance, storage), newest(storage)) == before
        stopped += 1
        if stopped > 3 or not any(step != Pruned() for step in some):
            break
    prune_all(postgres_instance, connected, tmp_path)
    assert (statuses(postgres_instance, storage), newest(storage)) == before
    assert len(postgres_instance.get_runs()) == 1


def test_nothing_of_a_younger_or_an_unfinished_run_goes(
    postgres_instance: dg.DagsterInstance, connected: Database, storage: Database, tmp_path: Path
) -> None:
    old, young = run(postgres_instance), run(postgres_instance)
    count = "SELECT count(*) FROM event_logs"
    all_of_them = query(storage, count)
    assert prune_all(postgres_instance, connected, tmp_path, datetime.now(UTC) - timedelta(days=1)) == Pruned()
    with storage.connect() as connection:
        connection.execute("UPDATE runs SET status = 'STARTED' WHERE run_id = ANY(%s)", [[old, young]])
    assert prune_all(postgres_instance, connected, tmp_path) == Pruned()
    assert query(storage, count) == all_of_them
    with storage.connect() as connection:
        connection.execute("UPDATE runs SET status = 'SUCCESS' WHERE run_id = ANY(%s)", [[old, young]])


def test_runs_that_a_backfill_a_later_try_or_a_failure_leads_to_stay(
    postgres_instance: dg.DagsterInstance,
    connected: Database,
    storage: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_backfill = run(postgres_instance, **{"dagster/backfill": "abcdefgh"})
    with storage.connect() as connection:
        connection.execute(
            "INSERT INTO bulk_actions (key, status, timestamp) VALUES ('abcdefgh', 'COMPLETED_SUCCESS', now())"
        )
    fails.update(KEYS)
    first = run(postgres_instance)
    second = run(postgres_instance, **{"dagster/parent_run_id": first, "dagster/root_run_id": first})
    forgotten = run(postgres_instance)
    fails.clear()
    last = run(postgres_instance, **{"dagster/parent_run_id": second, "dagster/root_run_id": first})
    monkeypatch.setattr(pruning, "FAILURES_LOOKED_AT", 1)
    prune_all(postgres_instance, connected, tmp_path)
    assert {one.run_id for one in postgres_instance.get_runs()} == {of_backfill, first, second, forgotten, last}
    monkeypatch.setattr(pruning, "FAILURES_LOOKED_AT", 0)
    prune_all(postgres_instance, connected, tmp_path)
    assert {one.run_id for one in postgres_instance.get_runs()} == {of_backfill, first, second, last}


def test_what_old_steps_printed_and_pictures_that_no_event_shows_go_from_the_disk(
    postgres_instance: dg.DagsterInstance, connected: Database, storage: Database, tmp_path: Path
) -> None:
    gone, stays = run(postgres_instance), run(postgres_instance)
    pictures = tmp_path / "logs" / "pictures"
    shown, forgotten, drawn_now = (pictures / f"{name}.png" for name in (f"{len(stays):032x}", "0" * 32, "1" * 32))
    files = [tmp_path / "logs" / name / "compute_logs" / "probe.out" for name in (gone, stays, str(uuid4()), "ticks")]
    files += [tmp_path / "storage" / gone / "result.json", shown, forgotten, drawn_now]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("12345")
    past = time.time() - 100
    for path in (*tmp_path.rglob("*"),):
        os.utime(path, (past, past))
    os.utime(drawn_now, (time.time() + 100, time.time() + 100))
    pruned = prune_all(postgres_instance, connected, tmp_path)
    assert [file for file in files if file.exists()] == [files[3], shown, drawn_now]
    assert (pruned.files, pruned.bytes_of_files) == (5, 25)


def test_two_at_once_come_to_the_same(
    postgres_instance: dg.DagsterInstance, connected: Database, storage: Database, tmp_path: Path
) -> None:
    for _ in range(3):
        run(postgres_instance)
    before = statuses(postgres_instance, storage), newest(storage)
    soon = datetime.now(UTC) + timedelta(seconds=5)
    one, other = (prune(postgres_instance, connected, tmp_path / "logs", tmp_path, soon) for _ in range(2))
    nothing: Callable[[], Pruned] = Pruned
    while (next(one, None) or nothing()) != Pruned() or (next(other, None) or nothing()) != Pruned():
        continue
    for rest in (one, other):
        list(rest)
    assert (statuses(postgres_instance, storage), newest(storage)) == before
    assert len(postgres_instance.get_runs()) == 1


def test_the_columns_it_reads_are_those_of_dagster(storage: Database) -> None:
    for table, columns in {
        "event_logs": "id, run_id, event, dagster_event_type, timestamp, asset_key, partition",
        "asset_event_tags": "event_id, value",
        "asset_check_executions": "id, asset_key, check_name, partition, run_id, execution_status, evaluation_event, "
        "evaluation_event_storage_id, create_timestamp",
        "runs": "run_id, status, end_time, update_timestamp",
        "run_tags": "run_id, key, value",
        "bulk_actions": "key",
        "asset_keys": "last_run_id",
    }.items():
        query(storage, f"SELECT {columns} FROM {table} LIMIT 1")
    known = {kind.value for kind in dg.DagsterEventType}
    assert {*superseded.OF_ASSETS, *superseded.OF_CHECKS, *superseded.OF_PAGES} <= known
