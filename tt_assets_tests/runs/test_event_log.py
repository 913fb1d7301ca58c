"""Batches of materializations reach Dagster's tables as Dagster's own way of writing them would have it."""

import json
from typing import Any

import dagster as dg
import pytest

from tt_assets.postgres.database import Database
from tt_assets.runs.event_log import EventLog
from tt_assets_tests.dagster_runs import query, range_tags

AWKWARD = 'it\'s 100 % \\ "quoted" – σ %s and %(name)s'
DATES = [f"2012-05-{day}" for day in (14, 15, 16, 17, 18)]
NAMES = [f"{number} {AWKWARD}" for number in range(6)]
KEYS = [f"{day}|{name}" for day in DATES for name in NAMES]
GRID = dg.MultiPartitionsDefinition(
    {"date": dg.StaticPartitionsDefinition(DATES), "instrument": dg.StaticPartitionsDefinition(NAMES)}
)


@dg.asset(code_version="1", partitions_def=GRID, backfill_policy=dg.BackfillPolicy.single_run())
def batched() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"dagster/row_count": 7, "words": AWKWARD}, tags={"origin": "test"})


@pytest.fixture
def event_log(postgres_instance: dg.DagsterInstance, connected: Database) -> Database:
    """Dagster's own database, behind the storage that `dagster.yaml` names."""
    assert type(postgres_instance.event_log_storage) is EventLog
    return connected.named("dagster")


def materialize_all(instance: dg.DagsterInstance) -> str:
    job = dg.Definitions(assets=[batched]).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, tags=range_tags(KEYS[0], KEYS[-1]))
    assert result.success
    return result.run_id


def stored_events(event_log: Database, run_id: str) -> list[dict[str, Any]]:
    """Materializations of a run by partition, with their tags; of their times only whether they agree."""
    events = []
    for number, event, *columns in query(
        event_log,
        "SELECT id, event, dagster_event_type, step_key, asset_key, partition, "
        "abs(extract(epoch FROM timestamp) - (event::json ->> 'timestamp')::numeric) < 0.001 FROM event_logs "
        "WHERE run_id = %s AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY partition COLLATE \"C\"",
        run_id,
    ):
        tags = query(
            event_log,
            "SELECT key, value FROM asset_event_tags WHERE event_id = %s ORDER BY key",
            number,
        )
        (stamped,) = query(
            event_log,
            "SELECT count(*), count(*) FILTER (WHERE t.event_timestamp = e.timestamp) FROM asset_event_tags AS t "
            "JOIN event_logs AS e ON e.id = t.event_id WHERE e.id = %s",
            number,
        )
        said = json.loads(event)
        materialization = said["dagster_event"]["event_specific_data"]["materialization"]
        events.append({"columns": columns, "said": materialization, "tags": tags, "stamped": stamped})
    return events


def test_a_batch_is_stored_as_dagster_itself_stores_it(postgres_instance, event_log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delattr(EventLog, "store_event_batch")
        by_dagster = stored_events(event_log, materialize_all(postgres_instance))
    in_bulk = stored_events(event_log, materialize_all(postgres_instance))
    assert [event["said"]["partition"] for event in in_bulk] == KEYS
    assert all(event["said"]["tags"]["dagster/partition/date"] == event["said"]["partition"][:10] for event in in_bulk)
    assert all([key for key, _ in event["tags"]] == ["dagster/data_version"] for event in in_bulk)
    assert in_bulk == by_dagster


def test_what_is_stored_is_long_enough_for_postgres_to_compress_it(postgres_instance, event_log):
    run_id = materialize_all(postgres_instance)
    ((shortest, stored),) = query(
        event_log,
        "SELECT min(length(event)), max(pg_column_size(event)) FROM event_logs "
        "WHERE run_id = %s AND dagster_event_type = 'ASSET_MATERIALIZATION'",
        run_id,
    )
    assert stored < shortest / 1.5


def test_dagster_counts_partitions_stored_in_bulk_as_materialized(postgres_instance, event_log):
    run_id = materialize_all(postgres_instance)
    assert postgres_instance.get_materialized_partitions(batched.key) == set(KEYS)
    statuses = postgres_instance.get_status_by_partition(batched.key, KEYS, GRID)
    assert {status.value for status in statuses.values()} == {"MATERIALIZED"}
    latest = postgres_instance.get_latest_materialization_event(batched.key)
    assert latest.run_id == run_id
    ((last,),) = query(
        event_log,
        "SELECT partition FROM event_logs WHERE run_id = %s AND partition IS NOT NULL ORDER BY id DESC LIMIT 1",
        run_id,
    )
    assert latest.asset_materialization.partition == last
    assert latest.asset_materialization.metadata["words"].value == AWKWARD


def test_a_batch_that_cannot_be_stored_whole_leaves_every_event_once(postgres_instance, event_log, monkeypatch):
    storage = postgres_instance.event_log_storage
    real, calls = storage._store_asset_event, []

    def broken_once(connection: Any, event: dg.EventLogEntry, event_id: int) -> None:
        if event.dagster_event.is_step_materialization:
            calls.append(event_id)
            if len(calls) == 1:
                raise RuntimeError("the server went away")
        real(connection, event, event_id)

    monkeypatch.setattr(storage, "_store_asset_event", broken_once)
    events = stored_events(event_log, materialize_all(postgres_instance))
    assert [event["said"]["partition"] for event in events] == KEYS
    assert len(calls) > 1
