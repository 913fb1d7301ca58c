"""A database that says no: every command ends with one line, and the same command does the work once it says yes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import dagster as dg
import psycopg
import pytest

from tt_assets.grid.run_tags import UNFINISHED
from tt_assets.postgres import patience, schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import dates_of, mark_told, record_failures
from tt_assets.postgres.patience import Locked
from tt_assets.postgres.slices import Selection
from tt_assets_tests import agreement
from tt_assets_tests.commands.conftest import Tt, tt
from tt_assets_tests.dagster_runs import keep_dates_of_sample
from tt_assets_tests.faults.content import content

__all__ = ["tt"]

pytestmark = pytest.mark.slow

BACKFILL = ("backfill", "market", "--from", "2012-05-01", "--to", "2012-05-31", "--instruments", "AAPL,IBM")
CELL = Selection.of({"2012-05-14|AAPL": ("AAPL", datetime(2012, 5, 14), datetime(2012, 5, 15))})


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LOCK_TIMEOUT": 0.5, "PATIENCE": 1.0, "FIRST_LOOK": 0.1, "LOOK_EVERY": 0.1}.items():
        monkeypatch.setattr(patience, name, seconds)


@contextmanager
def locked(database: Database, table: str) -> Iterator[None]:
    """Somebody else's transaction that has `table` for itself."""
    with psycopg.connect(database.adbc_uri(), application_name="somebody's notebook") as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def crowd(database: Database) -> Iterator[None]:
    """So many sessions of other people that the server has room for no more."""
    sessions = []
    try:
        with suppress(psycopg.OperationalError):
            while True:
                sessions.append(psycopg.connect(database.adbc_uri()))
        yield
    finally:
        for session in sessions:
            session.close()


def end_runs_of_commands(instance: dg.DagsterInstance) -> None:
    """A command that fails takes its process along, and the next one ends its runs; here the process is the test's."""
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
        instance.report_run_failed(run, "its command is over")


@pytest.mark.parametrize("table", ["tt_prices", "tt_slice", "tt_episode", "alembic_version"])
def test_every_command_names_who_keeps_a_table_to_himself(tt: Tt, connected: Database, table: str) -> None:
    assert tt("status", "--json").code == 0  # what is not there yet is there now
    with locked(connected, table):
        answer = tt("status")
    assert answer.is_one_line_of_advice(), answer
    assert 'application "somebody\'s notebook"' in answer.err
    assert "pg_terminate_backend" in answer.err
    assert tt("status").code == 0


@pytest.mark.parametrize(
    "work",
    [
        lambda database: record_failures(database, "tt_prices", CELL, {"2012-05-14|AAPL": "why"}),
        lambda database: mark_told(database, "tt_prices", CELL, ["00"]),
        schema.upgrade,
        schema.check,
    ],
    ids=["failures", "told", "upgrade", "check"],
)
def test_what_goes_on_behind_a_command_waits_no_longer(connected: Database, work) -> None:
    with connected.connect() as connection:
        connection.execute(
            'INSERT INTO tt_slice (table_name, date, instrument, "fetch", tries, told, written_in) '
            "VALUES ('tt_prices', %s, 'AAPL', 0, 0, false, 0)",
            dates_of(CELL),
        )
    with locked(connected, "tt_slice, alembic_version"), pytest.raises(Locked, match="somebody's notebook"):
        work(connected)


def test_a_server_without_room_is_one_line_and_the_same_command_goes_on_later(
    tt: Tt, postgres_instance, connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_dates_of_sample(monkeypatch)
    assert tt(*BACKFILL).code == 0
    undisturbed = content(connected)
    with connected.connect() as connection:
        connection.execute("DELETE FROM tt_prices; DELETE FROM tt_features; DELETE FROM tt_signal_scores")
        connection.execute("DELETE FROM tt_slice")
    with crowd(connected):
        answer = tt(*BACKFILL)
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err
    assert "max_connections" in answer.err.splitlines()[-1]
    end_runs_of_commands(postgres_instance)
    assert tt(*BACKFILL).code == 0
    assert content(connected) == undisturbed


def test_a_session_that_is_ended_in_the_middle_costs_the_command_and_nothing_else(
    tt: Tt, postgres_instance, connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_dates_of_sample(monkeypatch)
    assert tt(*BACKFILL).code == 0
    undisturbed = content(connected)
    over = threading.Event()

    def end_sessions() -> None:
        with psycopg.connect(connected.named("postgres").adbc_uri(), autocommit=True) as connection:
            while not over.wait(0.7):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    "AND datname IN (%s, %s)",
                    [connected.name, connected.dagster().name],
                )

    thread = threading.Thread(target=end_sessions)
    thread.start()
    try:
        for _ in range(3):
            answer = tt(*BACKFILL)
            assert "Traceback" not in answer.err, answer.err
    finally:
        over.set()
        thread.join()
    end_runs_of_commands(postgres_instance)
    assert tt(*BACKFILL).code == 0
    assert content(connected) == undisturbed
    agreement.rows_and_ledger_agree(connected)
