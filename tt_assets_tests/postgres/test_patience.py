"""A lock that somebody holds, and a network that goes silent: said in one line, and never waited for without an end."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta

import pandas as pd
import psycopg
import pytest

from tt_assets.postgres import patience, schema
from tt_assets.postgres.arrow_frames import read_frame
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_store import EpisodeHeader, EpisodeStore
from tt_assets.postgres.patience import Locked, Stalled, patiently
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.tables import TABLES

BAR = pd.DataFrame(
    {
        "instrument": ["AAPL"],
        "timestamp": pd.to_datetime(["2012-05-18"]),
        **{name: [10.0] for name in ("open", "high", "low", "close", "volume")},
    }
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds for what takes minutes where people work."""
    for name, seconds in (
        ("LOCK_TIMEOUT", 1.0),
        ("PATIENCE", 2.5),
        ("PATIENCE_WITH_OURS", 6.0),
        ("FIRST_LOOK", 0.2),
        ("LOOK_EVERY", 0.2),
        ("STALLED_AFTER", 2.0),
        ("NO_WORD", 2),
    ):
        monkeypatch.setattr(patience, name, seconds)


def selection() -> Selection:
    day = datetime(2012, 5, 18)
    return Selection.of({"2012-05-18|AAPL": ("AAPL", day, day + timedelta(days=1))})


def write(database: Database, volume: float = 10.0) -> None:
    SliceStore(database, TABLES["tt_prices"]).write(selection(), BAR.assign(volume=volume))


@contextmanager
def another(database: Database, statement: str, application: str = "psql") -> Iterator[psycopg.Connection]:
    """A session of somebody else in the middle of a transaction that did `statement`."""
    with psycopg.connect(database.adbc_uri(), application_name=application) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
        yield connection
        connection.rollback()


HELD = {
    "a lock": "LOCK TABLE tt_prices IN EXCLUSIVE MODE",
    "an open transaction": "UPDATE tt_prices SET volume = volume + 1",
    "an ALTER TABLE": "ALTER TABLE tt_prices ADD COLUMN mine integer",
}


@pytest.mark.parametrize("kind", HELD)
def test_a_writer_names_who_holds_what_it_waits_for_and_changes_nothing(
    empty_tables: Database, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(empty_tables)
    with another(empty_tables, HELD[kind]) as holder, caplog.at_level(logging.WARNING):
        with pytest.raises(Locked) as caught:
            write(empty_tables, volume=20.0)
        said = str(caught.value)
        assert f'process {holder.info.backend_pid} (user "{holder.info.user}", application "psql"' in said
        assert "in a transaction since " in said
        assert "idle in transaction" in said
        assert HELD[kind][:20] in said
        assert f"SELECT pg_terminate_backend({holder.info.backend_pid})" in said
        assert "\n" not in said
        assert caught.value.__context__ is None
        assert "trying again" in caplog.text
    with empty_tables.connect() as connection:
        assert connection.execute("SELECT count(*), sum(volume) FROM tt_prices").fetchone() == (1, 10.0)


def test_a_reader_names_the_holder_too(empty_tables: Database) -> None:
    with another(empty_tables, HELD["an ALTER TABLE"]) as holder:
        with pytest.raises(Locked) as caught:
            SliceStore(empty_tables, TABLES["tt_prices"]).read(selection())
        assert f"process {holder.info.backend_pid} " in str(caught.value)


def test_episodes_are_opened_under_the_same_rule(empty_tables: Database) -> None:
    header = EpisodeHeader(date(2012, 4, 1), "AAPL", "cash", 0, None, datetime(2012, 4, 2), "{}")
    with another(empty_tables, "LOCK TABLE tt_episode IN EXCLUSIVE MODE"), pytest.raises(Locked):
        EpisodeStore(empty_tables).open([(date(2012, 4, 1), "AAPL")], [header])


def test_what_is_let_go_in_time_is_written_as_if_nothing_had_been(empty_tables: Database) -> None:
    with another(empty_tables, HELD["a lock"]) as holder:
        threading.Timer(1.5, holder.rollback).start()
        write(empty_tables)
    with empty_tables.connect() as connection:
        assert connection.execute("SELECT count(*) FROM tt_prices").fetchone() == (1,)


def test_a_command_of_ours_is_waited_for_longer(empty_tables: Database) -> None:
    with another(empty_tables, HELD["a lock"], application="tt backfill") as holder:
        threading.Timer(4.0, holder.rollback).start()
        write(empty_tables)


def test_a_session_says_what_of_ours_it_is(empty_tables: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    named = "SELECT current_setting('application_name')"
    with empty_tables.connect() as connection:
        assert connection.execute(named).fetchone() == ("tt_assets",)
    monkeypatch.setenv("PGAPPNAME", "tt backfill")
    with empty_tables.connect() as connection:
        assert connection.execute(named).fetchone() == ("tt backfill",)
    (name,) = read_frame(empty_tables, psycopg.sql.SQL(f"{named} AS name"))["name"]
    assert name == "tt backfill"


def test_work_within_work_is_one_work(empty_tables: Database) -> None:
    def outer() -> int:
        write(empty_tables)
        return patiently(empty_tables, lambda: 7)

    assert patiently(empty_tables, outer) == 7


def test_other_errors_come_through_as_they_are(empty_tables: Database) -> None:
    def wrong() -> None:
        with empty_tables.connect() as connection:
            connection.execute("SELECT 1/0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        patiently(empty_tables, wrong)


class Proxy:
    """A network to a server that can go silent: connections stay open and nothing gets through."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.flows = threading.Event()
        self.flows.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._path)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                self.flows.wait()
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.flows.set()
        self._listening.close()


@pytest.fixture
def proxy(empty_tables: Database) -> Iterator[Proxy]:
    parts = dict(empty_tables.parameters)
    between = Proxy(f"{parts['host']}/.s.PGSQL.{parts['port']}")
    yield between
    between.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the embedded server listens on a socket file here")
@pytest.mark.parametrize("what", ["a write", "a read"])
def test_a_network_that_goes_silent_ends_with_one_line(empty_tables: Database, proxy: Proxy, what: str) -> None:
    parts = dict(empty_tables.parameters)
    far = Database.of({"host": "127.0.0.1", "port": str(proxy.port), "user": parts["user"], "dbname": parts["dbname"]})
    write(far)
    slow = psycopg.sql.SQL("SELECT 1 AS one FROM pg_sleep(2)")
    assert len(read_frame(far, slow)) == 1

    def stall() -> None:
        with far.connect() as connection:
            proxy.flows.clear()
            connection.execute("SELECT 1")

    def read() -> None:
        threading.Timer(1, proxy.flows.clear).start()
        read_frame(far, slow)

    with pytest.raises(Stalled) as caught:
        read() if what == "a read" else patiently(far, stall)
    assert str(caught.value).startswith(f"Nothing comes from {far.masked()} any more")
    assert "\n" not in str(caught.value)


def test_a_network_that_goes_silent_while_it_is_looked_at_is_noticed_too(
    empty_tables: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = dict(empty_tables.parameters)
    far = Database.of({"host": "127.0.0.1", "port": str(proxy.port), "user": parts["user"], "dbname": parts["dbname"]})
    monkeypatch.setattr(patience, "_HOLDERS", "SELECT pg_sleep(1.5) FROM unnest(%s::int[])")  # in the middle of a look
    threading.Timer(1, proxy.flows.clear).start()
    with pytest.raises(Stalled):
        read_frame(far, psycopg.sql.SQL("SELECT 1 AS one FROM pg_sleep(8)"))


def test_a_dead_peer_is_noticed_by_the_kernel() -> None:
    asked = dict(Database.of({"host": "h", "dbname": "tt"}).parameters)
    assert int(asked["tcp_user_timeout"]) == 30_000
    assert int(asked["keepalives_idle"]) + int(asked["keepalives_count"]) * int(asked["keepalives_interval"]) <= 60


def test_a_reader_stops_no_upgrade_for_long_and_is_named(empty_tables: Database) -> None:
    from alembic import command

    with empty_tables.engine().begin() as connection:
        command.downgrade(schema._config(connection), "0005")
    try:
        with another(empty_tables, "SELECT count(*) FROM tt_order", "Excel") as reader:
            with pytest.raises(Locked) as caught:
                schema.upgrade(empty_tables)
            said = str(caught.value)
            assert f'process {reader.info.backend_pid} (user "{reader.info.user}", application "Excel"' in said
            assert "Nothing was changed." in said
            assert "\n" not in said
            assert schema.current(empty_tables) == "0005"
            # Nobody waits behind the upgrade that gave up.
            write(empty_tables)
    finally:
        schema.upgrade(empty_tables)
    schema.check(empty_tables)


def test_an_upgrade_goes_on_once_the_reader_has_gone(empty_tables: Database) -> None:
    from alembic import command

    with empty_tables.engine().begin() as connection:
        command.downgrade(schema._config(connection), "0005")
    with another(empty_tables, "SELECT count(*) FROM tt_order") as reader:
        threading.Timer(1.5, reader.rollback).start()
        schema.upgrade(empty_tables)
    schema.check(empty_tables)
