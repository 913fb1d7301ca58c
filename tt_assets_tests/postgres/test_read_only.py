"""The login for BI tools: over 127.0.0.1 with its password, and it only reads."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from tt_assets.commands.database import read_only_url
from tt_assets.errors import UserError
from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.address import AddressError
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.server.postmaster import running_postmaster
from tt_assets.postgres.views import VIEWS
from tt_assets.settings import Settings
from tt_assets.tables import TABLES
from tt_assets_tests.conftest import PG_BIN, reachable_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there the server listens on 127.0.0.1 in any case")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Those of a home whose server was started with TT_PG_PORT and has the tables."""
    folder = reachable_folder()
    made = Settings(home=folder / "home", pg_port=_free_port(), pg_bin=PG_BIN)
    server = EmbeddedServer(made.home, PG_BIN, made.pg_port)
    try:
        server.ensure()
        schema.upgrade(Database.on(server))
        yield made
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(settings: Settings) -> str:
    return read_only_url(settings)


def test_it_reads_every_table_and_view_over_tcp(settings: Settings, url: str) -> None:
    assert url.startswith("postgresql://tt_read_only:")
    assert url.endswith(f"@127.0.0.1:{settings.pg_port}/tt")
    with psycopg.connect(url) as connection:
        for name in (*TABLES, *(view.name for view in VIEWS)):
            connection.execute(f"SELECT count(*) FROM {name}")
        assert connection.execute("SHOW search_path").fetchone() == ("public",)


def test_the_server_listens_on_loopback_alone(settings: Settings, url: str) -> None:
    postmaster = psutil.Process(running_postmaster(EmbeddedServer(settings.home).data_dir))
    listening = {c.laddr[:2] for c in postmaster.net_connections() if c.family in (socket.AF_INET, socket.AF_INET6)}
    assert listening == {("127.0.0.1", settings.pg_port)}


def test_the_password_is_asked_kept_closed_and_the_same_each_time(settings: Settings, url: str) -> None:
    file = settings.home / "read_only.password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() in url
    assert read_only_url(settings) == url
    log = EmbeddedServer(settings.home).log.read_text(errors="replace")
    assert file.read_text().strip() not in log
    for wrong in (url.replace(file.read_text().strip(), "wrong"), url.replace(f":{file.read_text().strip()}", "")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(wrong, passfile=os.devnull)


@pytest.mark.parametrize("user", ["postgres", "tt_dashboard", "tt_owner"])
def test_nobody_else_is_let_in_over_tcp(settings: Settings, url: str, user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="pg_hba"):
        psycopg.connect(url, user=user)


HOSTILE = {
    "INSERT INTO tt_prices (instrument) VALUES ('A')": "read-only|permission",
    "DELETE FROM tt_prices": "read-only|permission",
    "UPDATE v_partitions SET rows = 0": "read-only|permission",
    "CREATE TABLE mine (a int)": "read-only|permission",
    "CREATE TEMP TABLE mine (a int)": "read-only|permission",
    "SELECT lo_creat(-1)": "permission",
    "SELECT pg_read_file('/etc/passwd')": "permission",
    "SELECT pg_ls_dir('/')": "permission",
    "COPY tt_prices TO '/tmp/tt_stolen'": "permission",
    "COPY (SELECT 1) TO PROGRAM 'id'": "permission",
    "SET ROLE postgres": "permission",
    "SET ROLE tt_writer": "permission",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'": "permission",
    "SELECT rolpassword FROM pg_authid": "permission",
    "ALTER SYSTEM SET fsync = off": "read-only|permission",
    "SET temp_file_limit = -1": "permission",
    "ALTER ROLE tt_read_only CONNECTION LIMIT -1": "read-only|permission",
}


@pytest.mark.parametrize("statement", HOSTILE)
def test_it_writes_nothing_and_reads_no_file_even_where_it_takes_its_own_bounds_off(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for before in ("SELECT 1", "SET default_transaction_read_only = off"):
            connection.execute(before)
            with pytest.raises(psycopg.Error, match=HOSTILE[statement]):
                connection.execute(statement)


def test_a_long_statement_and_an_idle_transaction_end(settings: Settings, url: str) -> None:
    with psycopg.connect(url) as connection:
        shown = connection.execute(
            "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'), "
            "current_setting('lock_timeout')"
        ).fetchone()
    assert shown == ("1min", "1min", "5s")
    with Database.on(EmbeddedServer(settings.home)).connect(autocommit=True) as connection:
        connection.execute("ALTER ROLE tt_read_only SET statement_timeout = '200ms'")
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")


def test_without_the_port_it_is_asked_over_the_closed_socket(settings: Settings) -> None:
    here = read_only_url(settings.model_copy(update={"pg_port": None}))
    assert "password" not in here
    with psycopg.connect(here) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("tt_read_only",)


def test_a_server_that_was_started_without_the_port_is_said(settings: Settings) -> None:
    with pytest.raises(UserError, match="started without TT_PG_PORT"):
        read_only_url(settings.model_copy(update={"pg_port": _free_port()}))


def test_on_a_server_of_ones_own_the_statement_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="IN ROLE tt_reader"):
        read_only_url(Settings(home=tmp_path, database_url=SecretStr("postgresql://me@localhost/tt")))


def test_the_port_goes_as_it_came_and_a_taken_one_is_named(server_home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"TT_PG_PORT {port} cannot be listened on"):
            EmbeddedServer(server_home, PG_BIN, port).ensure()
    with_port = EmbeddedServer(server_home, PG_BIN, port)
    with_port.ensure()
    assert EmbeddedServer(server_home, PG_BIN).is_running(), "everybody finds it, whatever they know of the port"
    with_port.stop()
    plain = EmbeddedServer(server_home, PG_BIN)
    plain.ensure()
    postmaster = psutil.Process(running_postmaster(plain.data_dir))
    assert [c for c in postmaster.net_connections() if c.family in (socket.AF_INET, socket.AF_INET6)] == []
    assert "tt_read_only" not in (plain.data_dir / "pg_hba.conf").read_text()
