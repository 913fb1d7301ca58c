"""A process keeps one connection to Dagster's database; a dead one, a fork and a webserver's limit are seen to."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster import EventLogEntry
from sqlalchemy import text

from tt_assets.postgres.database import Database
from tt_assets.runs.connections import KEPT, engine_of
from tt_assets.runs.dagster_storage import PostgresStorage
from tt_assets_tests.dagster_runs import query
from tt_assets_tests.e2e.command_line import wait_until


@pytest.fixture
def storage(postgres_instance: dg.DagsterInstance, connected: Database) -> Iterator[PostgresStorage]:
    url = connected.dagster_url()
    yield PostgresStorage(url)
    engine_of(url).dispose()


def backend(storage: Any) -> int:
    """The process of the server that answers a storage."""
    connect = storage.index_connection if hasattr(storage, "index_connection") else storage.connect
    with connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def alive(database: Database, backends: Iterable[int]) -> int:
    """How many of these processes of the server there are."""
    return int(query(database, "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", list(backends))[0][0])


def of(storage: PostgresStorage) -> list[Any]:
    return [storage.run_storage, storage.event_log_storage, storage.schedule_storage]


def test_all_that_is_asked_goes_over_one_connection(storage: PostgresStorage) -> None:
    (first,) = {backend(one) for one in of(storage)}
    storage.run_storage.get_runs()
    storage.event_log_storage.get_dynamic_partitions("instrument")
    storage.schedule_storage.all_instigator_state()
    assert {backend(one) for one in of(PostgresStorage(storage.postgres_url))} == {first}


def test_no_question_goes_past_the_pool(storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in of(storage):
        # Of the pool that Dagster made only the dialect is left, so that whoever connects through it fails.
        monkeypatch.setattr(one, "_engine", SimpleNamespace(dialect=engine_of(storage.postgres_url).dialect))
    runs, events, schedules = of(storage)
    assert runs.get_runs() == []
    assert runs.get_daemon_heartbeats() == {}
    assert events.get_dynamic_partitions("nobody's") == []
    assert events.has_table("event_logs")
    assert not events.has_table("no_such_table")
    events.store_event(EventLogEntry(None, 10, "", "a run", 0.0))
    assert [entry.level for entry in events.get_logs_for_run("a run")] == [10]
    events.delete_events("a run")
    assert schedules.all_instigator_state() == []


def test_a_connection_that_was_ended_is_replaced_before_it_is_used(
    storage: PostgresStorage, connected: Database
) -> None:
    first = backend(storage.run_storage)
    query(connected, "SELECT pg_terminate_backend(%s)", first)
    wait_until(lambda: alive(connected, [first]) == 0, every=0.05)
    assert storage.run_storage.get_runs() == []
    assert backend(storage.run_storage) != first


def test_as_many_as_ask_at_once_are_answered_and_few_stay(storage: PostgresStorage, connected: Database) -> None:
    with ExitStack() as held:
        asking = [held.enter_context(storage.run_storage.connect()) for _ in range(12)]
        with ThreadPoolExecutor(12) as threads:
            own = set(threads.map(lambda one: one.execute(text("SELECT pg_backend_pid()")).scalar_one(), asking))
        assert len(own) == 12
    wait_until(lambda: alive(connected, own) <= KEPT, every=0.05)
    assert alive(connected, own) == KEPT


def _ask(url: str, answers: Any) -> None:
    answers.put(backend(PostgresStorage(url).run_storage))


def test_a_fork_opens_its_own(storage: PostgresStorage) -> None:
    first = backend(storage.run_storage)
    forks = multiprocessing.get_context("fork")
    answers = forks.SimpleQueue()
    child = forks.Process(target=_ask, args=(storage.postgres_url, answers))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert answers.get() != first
    assert backend(storage.run_storage) == first


def test_a_webserver_has_its_own_with_its_limit(storage: PostgresStorage) -> None:
    first = backend(storage.run_storage)
    for one in of(storage):
        one.optimize_for_webserver(4321, pool_recycle=3600, max_overflow=5)
        assert backend(one) != first
        connect = one.index_connection if hasattr(one, "index_connection") else one.connect
        with connect() as connection:
            assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "4321ms"
