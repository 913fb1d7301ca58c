"""Connections to a server of somebody else's: every URL form works, every failure is one line without the password."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url, text

from tt_assets.errors import UserError
from tt_assets.postgres import database as database_module
from tt_assets.postgres.database import (
    AccessRefused,
    Database,
    DatabaseUnreachable,
    MayNotCreate,
    NoSuchDatabase,
    ServerTooOld,
)
from tt_assets.postgres.database_url import DatabaseUrlError, parse_url
from tt_assets.postgres.server.account import server_account
from tt_assets.postgres.server.binaries import find_binaries, reachable_binaries
from tt_assets.settings import Settings, database_of
from tt_assets_tests.conftest import PG_BIN, reachable_folder

PASSWORD = "p@ss:w/o?r#d% +'\"é&=\\x"


@dataclass(frozen=True)
class ExternalServer:
    port: int

    def url(
        self, name: str = "tt", *, user: str = "admin", password: str = PASSWORD, scheme: str = "postgresql"
    ) -> str:
        return f"{scheme}://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{name}"

    def database(self, name: str = "tt", **parts: str) -> Database:
        return database_of(Settings(database_url=self.url(name, **parts)))


@pytest.fixture(scope="module")
def external() -> Iterator[ExternalServer]:
    """A server over TCP that demands passwords (scram), as somebody else would run it."""
    folder = reachable_folder()
    account = server_account(folder / "data")
    binaries = reachable_binaries(find_binaries(PG_BIN), account, folder)
    account.take(folder)
    (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    account.take(folder / "password")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [binaries.program(program), "-D", folder / "data", *arguments],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **account.process_options(),
        )

    access = ["--auth=scram-sha-256", "--pwfile", str(folder / "password")]
    run("initdb", "-U", "admin", "--encoding=UTF8", "--locale=C", "--no-sync", *access)
    listen = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", listen, "start")
    try:
        server = ExternalServer(port)
        server.database().create_databases()
        yield server
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_usual_scheme_connects(external: ExternalServer, scheme: str) -> None:
    with external.database(scheme=scheme).connect() as connection:
        row = connection.execute("SELECT current_database(), current_setting('application_name')").fetchone()
    assert row == ("tt", "tt_assets")


def test_every_driver_gets_through_with_a_password_full_of_special_characters(external: ExternalServer) -> None:
    from adbc_driver_postgresql import dbapi

    database = external.database()
    with database.engine().connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == "tt"
    with dbapi.connect(database.adbc_uri()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == ("tt",)
    with create_engine(database.dagster_url()).connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == "dagster"
        assert connection.dialect.driver == "psycopg2"


def test_every_driver_gets_through_the_socket_of_the_embedded_server(postgres: Database) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(postgres.adbc_uri()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == ("tt",)
    with create_engine(postgres.dagster_url()).connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == "dagster"
    with postgres.engine().connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == "tt"


def test_dagsters_own_storage_comes_up_on_the_url_it_is_given(external: ExternalServer) -> None:
    from dagster_postgres.event_log import PostgresEventLogStorage

    storage = PostgresEventLogStorage.create_clean_storage(external.database().dagster_url())
    assert list(storage.get_logs_for_run("no such run")) == []
    with external.database().named("dagster").connect() as connection:
        assert connection.execute("SELECT to_regclass('event_logs') IS NOT NULL").fetchone() == (True,)


def _said(failing: Callable[[], object], kind: type[UserError]) -> str:
    """The message, after checking that nothing a traceback shows has a second line of message or the password."""
    with pytest.raises(kind) as caught:
        failing()
    error = caught.value
    assert "\n" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "sesame"):
        assert secret not in shown
    return str(error)


def test_a_wrong_password_is_named_and_not_shown(external: ExternalServer) -> None:
    said = _said(external.database(password="sesame").connect, AccessRefused)
    assert f"127.0.0.1:{external.port}" in said
    assert 'password of user "admin"' in said
    assert "TT_DATABASE_URL" in said


def test_a_missing_database_and_an_unknown_user_are_named(external: ExternalServer) -> None:
    assert 'no database "nowhere": run `tt db upgrade`' in _said(external.database("nowhere").connect, NoSuchDatabase)
    assert '"stranger"' in _said(external.database(user="stranger").connect, AccessRefused)


def with_password(secret: str, rest: str = "@h/tt") -> str:
    """The URL of a database as somebody types it."""
    return f"postgresql://u:{secret}{rest}"


def test_an_unreachable_port_and_host_are_named(external: ExternalServer) -> None:
    with socket.socket() as taken:  # bound but not listening: nobody can answer there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = _said(ExternalServer(port).database().connect, DatabaseUnreachable)
    assert f"No PostgreSQL answers at 127.0.0.1:{port} (Connection refused)" in said
    nowhere = Database.of(parse_url(with_password("sesame", "@no.such.host.invalid/tt")))
    assert "no.such.host.invalid" in _said(nowhere.connect, DatabaseUnreachable)


def test_the_engine_fails_with_the_same_line(external: ExternalServer) -> None:
    said = _said(external.database(password="sesame").engine().connect, AccessRefused)
    assert 'password of user "admin"' in said


def test_an_embedded_server_that_does_not_run_says_how_to_start_it(tmp_path: Path) -> None:
    database = database_of(Settings(home=tmp_path / "home"))
    assert "tt db start" in _said(database.connect, DatabaseUnreachable)
    assert not (tmp_path / "home").exists()


def test_a_server_that_is_too_old_is_refused(external: ExternalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "OLDEST_SERVER", 990_000)  # every server is older than that
    assert "99 or newer is needed" in _said(external.database().connect, ServerTooOld)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:sesame@h/tt",
        "sesame",
        with_password("sesame@x"),
        with_password("sesame/x", "@h:5432/tt"),
        with_password("12/sesame", "@h:5432/tt"),
        with_password("sesame%zz"),
        with_password("ses ame"),
        with_password("sesame", "@h/tt?no_such_option=1"),
        with_password("sesame", "@h/dagster"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_quoting_it(url: str) -> None:
    said = _said(lambda: database_of(Settings(database_url=url)), DatabaseUrlError)
    assert said.startswith("TT_DATABASE_URL")
    assert "ses ame" not in said


def test_nothing_a_person_sees_holds_the_password(external: ExternalServer) -> None:
    database = external.database()
    engine = database.engine()
    for shown in (database.masked(), repr(database), str(database), repr(engine), str(engine.url), f"{database!r}"):
        assert PASSWORD not in shown
        assert quote(PASSWORD, safe="") not in shown
    assert database.masked() == f"postgresql://admin:***@127.0.0.1:{external.port}/tt"


_text = st.text(st.characters(min_codepoint=33, exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(user=_text, password=_text)
def test_user_and_password_survive_every_url(user: str, password: str) -> None:
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h:5433/my%20bars?sslmode=require"
    database = Database.of(parse_url(url))
    assert parse_url(database.adbc_uri()) == dict(database.parameters) | {"password": password}
    dagster = make_url(database.dagster_url())
    assert (dagster.username, dagster.password, dagster.database) == (user, password, "my bars_dagster")
    assert (dagster.host, dagster.port, dagster.query["sslmode"]) == ("h", 5433, "require")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://h", "postgresql://h/tt"),
        ("postgresql://[::1]:5433/bars", "postgresql://[::1]:5433/bars"),
        ("postgres://u:p@h1:1,h2:2/bars", "postgresql://u:***@/bars?host=h1%2Ch2&port=1%2C2"),
        ("postgresql://u@/bars?host=/run/pg&password=p", "postgresql://u:***@/bars?host=%2Frun%2Fpg"),
    ],
)
def test_hosts_of_every_kind_survive_and_are_shown_without_secrets(url: str, masked: str) -> None:
    database = Database.of(parse_url(url))
    assert database.masked() == masked
    secrets = {name: secret.get_secret_value() for name, secret in database.secrets}
    assert parse_url(database.adbc_uri()) == dict(database.parameters) | secrets


def test_ten_processes_create_the_databases_at_once(external: ExternalServer) -> None:
    with external.database("postgres").connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS racing_dagster WITH (FORCE)")
    racing = external.database("racing")
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda _: racing.create_databases(), range(10)))
    with racing.connect() as connection:
        names = {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}
    assert {"racing", "racing_dagster"} <= names


def test_a_user_who_may_not_create_databases_is_told_what_to_ask_for(external: ExternalServer) -> None:
    with external.database().connect(autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS clerk")
        connection.execute("CREATE ROLE clerk LOGIN PASSWORD 'sesame'")
    clerk = external.database("ledger", user="clerk", password="sesame")
    said = _said(clerk.create_databases, MayNotCreate)
    assert 'CREATE DATABASE "ledger" OWNER "clerk"' in said
    external.database("ledger").create_databases()  # what the administrator does
    clerk.create_databases()
    with clerk.connect() as connection:
        assert isinstance(connection, psycopg.Connection)


def test_a_pgport_in_the_environment_does_not_lead_astray(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATABASE", "nowhere")
    with postgres.connect() as connection:
        assert connection.info.dbname == "tt"


def test_describing_a_database_starts_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; from tt_assets.postgres import database, schema; "
        "print([m for m in ('alembic', 'torch', 'adbc_driver_postgresql', 'dagster', 'pandas') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_no_schema_of_the_users_comes_before_the_tables(postgres: Database) -> None:
    from adbc_driver_postgresql import dbapi

    with postgres.connect(autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS trap CASCADE")
        connection.execute("DROP ROLE IF EXISTS trap")
        connection.execute("CREATE ROLE trap LOGIN IN ROLE tt_writer")
        connection.execute("ALTER ROLE trap SET search_path = trap, public")
        connection.execute("CREATE SCHEMA AUTHORIZATION trap CREATE TABLE tt_prices (mine integer)")
    trapped = Database.of(dict(postgres.parameters) | {"user": "trap", "options": "-c search_path=trap -c geqo=off"})
    question = "SELECT to_regclass('tt_prices') = 'public.tt_prices'::regclass, current_setting('geqo')"
    with trapped.connect() as connection:
        assert connection.execute(question).fetchone() == (True, "off")
    with dbapi.connect(trapped.adbc_uri()) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        assert cursor.fetchone() == (True, "off")
    with trapped.engine().connect() as connection:
        assert connection.execute(text(question)).fetchone() == (True, "off")
    with create_engine(trapped.named(postgres.name).dagster_url()).connect() as connection:
        assert connection.scalar(text("SHOW search_path")) == "public"
    assert parse_url(trapped.adbc_uri()) == dict(trapped.parameters)
