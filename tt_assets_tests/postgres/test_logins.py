"""On the embedded server the platform works as a mere tt_writer, and as the owner of Dagster's database alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tt_assets.postgres import grants, schema
from tt_assets.postgres.database import AccessRefused, Database
from tt_assets.postgres.logins import DAGSTER_LOGIN, PLATFORM_LOGIN
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.sweeps import optuna_storage
from tt_assets.runs.dagster_storage import PostgresStorage
from tt_assets.settings import Settings, database_of
from tt_assets.tables import TABLES

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there the embedded server asks for the superuser's password")


def _make_storage(database: Database) -> None:
    with _storage(database):
        pass


@contextmanager
def _storage(database: Database) -> Iterator[PostgresStorage]:
    storage = PostgresStorage(database.dagster_url())
    try:
        yield storage
    finally:
        for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
            part.dispose()


@pytest.fixture
def owner(embedded_server: EmbeddedServer) -> Iterator[Database]:
    """A database with the tables, and Dagster's beside it, as the superuser made everything once."""
    database = Database.on(embedded_server, f"test_{uuid4().hex[:12]}")
    schema.upgrade(database)
    _make_storage(database)
    with optuna_storage(database):
        pass
    yield database
    with database.named("postgres").connect(autocommit=True) as connection:
        for name in (database.name, database.dagster().name):
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def working(owner: Database) -> Database:
    owner.let_platform_in()
    return owner.for_work()


def _owners(database: Database) -> set[tuple[str, ...]]:
    with database.connect() as connection:
        return set(
            connection.execute(
                "SELECT pg_get_userbyid(relowner) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace "
                "WHERE nspname IN ('public', 'tt_sweep') AND relkind IN ('r', 'S', 'v')"
            )
        )


def test_what_works_is_no_superuser_and_a_member_of_tt_writer_alone(working: Database) -> None:
    for database, login in ((working, PLATFORM_LOGIN), (working.dagster(), DAGSTER_LOGIN)):
        with database.connect() as connection:
            assert connection.execute("SELECT session_user, current_user").fetchone() == (login, login)
            assert connection.execute(
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls "
                "FROM pg_roles WHERE rolname = session_user"
            ).fetchone() == (False,)
            roles = connection.execute(
                "SELECT array_agg(rolname ORDER BY rolname) FROM pg_roles "
                "WHERE pg_has_role(session_user, oid, 'MEMBER') "
                "AND rolname NOT IN ('pg_read_all_stats', 'pg_database_owner', session_user)"
            ).fetchone()
        assert roles == (["tt_writer"] if database is working else None,)


FORBIDDEN = {
    "DROP TABLE tt_holdings": "must be owner",
    "ALTER TABLE tt_prices ADD COLUMN mine int": "must be owner",
    "TRUNCATE tt_prices": "permission denied",
    "CREATE TABLE mine (a int)": "permission denied",
    "CREATE SCHEMA mine": "permission denied",
    "UPDATE alembic_version SET version_num = '0001'": "permission denied",
    "SELECT rolpassword FROM pg_authid": "permission denied",
    "SELECT pg_read_file('/etc/passwd')": "permission denied",
    "COPY tt_prices TO '/tmp/tt_stolen'": "permission denied",
    "COPY (SELECT 1) TO PROGRAM 'id'": "permission denied",
    "CREATE ROLE mine SUPERUSER": "permission denied",
    "SET ROLE postgres": "permission denied",
    "SET ROLE tt_owner": "permission denied",
    "ALTER SYSTEM SET fsync = off": "permission denied",
    "CREATE DATABASE mine": "permission denied",
}


def test_it_changes_rows_and_nothing_else(working: Database) -> None:
    with working.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM tt_prices")
        for statement, reason in FORBIDDEN.items():
            with pytest.raises(psycopg.Error, match=reason):
                connection.execute(statement)
    beside = working.dagster().connect(autocommit=True)
    with beside as connection:
        for statement, reason in FORBIDDEN.items():
            if any(word in statement for word in ("pg_", "COPY (", "ROLE", "SYSTEM", "DATABASE")):
                with pytest.raises(psycopg.Error, match=reason):
                    connection.execute(statement)


def test_what_the_superuser_had_made_of_dagsters_is_handed_over_and_used(owner: Database) -> None:
    assert _owners(owner.dagster()) == {("postgres",)}
    owner.let_platform_in()
    assert _owners(owner.dagster()) == {(DAGSTER_LOGIN,)}
    assert _owners(owner) == {("tt_owner",)}, "the tables stay whose they are"
    working = owner.for_work()
    with _storage(working) as storage:
        storage.run_storage.upgrade()
        storage.event_log_storage.upgrade()
        storage.event_log_storage.set_concurrency_slots("training", 1)
        storage.event_log_storage.wipe()
    with optuna_storage(working):
        pass
    working.check_dagster()


def test_it_makes_what_dagster_and_optuna_need_where_nothing_is(embedded_server: EmbeddedServer) -> None:
    owner = Database.on(embedded_server, f"test_{uuid4().hex[:12]}")
    owner.create_databases()
    owner.let_platform_in()
    _make_storage(owner.for_work())
    with optuna_storage(owner.for_work()):
        pass
    assert _owners(owner.dagster()) == {(DAGSTER_LOGIN,)}


def test_a_writer_by_its_address_works_with_dagsters_tables_too(working: Database) -> None:
    by_address = Database.of(dict(working.parameters))
    with _storage(by_address) as storage:
        storage.event_log_storage.get_pool_limits()
    with by_address.dagster().connect() as connection:
        assert connection.execute("SELECT session_user").fetchone() == (PLATFORM_LOGIN,)
        connection.execute("DELETE FROM event_logs")


def test_what_a_migration_of_the_owner_brings_can_be_written(owner: Database, working: Database) -> None:
    with owner.connect() as connection:
        connection.execute("CREATE TABLE tt_later (id bigint GENERATED BY DEFAULT AS IDENTITY, a int)")
    with working.connect() as connection:
        connection.execute("INSERT INTO tt_later (a) VALUES (1)")


def test_any_number_of_processes_may_prepare_it_at_once(owner: Database) -> None:
    failed: list[BaseException] = []

    def prepare() -> None:
        try:
            owner.let_platform_in()
        except BaseException as error:  # noqa: BLE001 - said below
            failed.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert _owners(owner.dagster()) == {(DAGSTER_LOGIN,)}


def test_the_settings_name_the_login_that_works_and_only_on_demand_the_owner(server_home: Path) -> None:
    settings = Settings(home=server_home)
    user = dict(database_of(settings).parameters)["user"]
    assert (user, dict(database_of(settings, owner=True).parameters)["user"]) == (PLATFORM_LOGIN, "postgres")
    given = Settings(home=server_home, database_url="postgresql://me@localhost/tt")
    assert database_of(given, owner=True) == database_of(given), "on a server of the user's it is the one that is named"


def test_a_cluster_of_before_goes_on_at_the_next_start(server_home: Path) -> None:
    settings = Settings(home=server_home)
    server = EmbeddedServer(server_home)
    server.ensure()
    before = Database.on(server)
    schema.upgrade(before)
    grants.grant(before)
    _make_storage(before)
    with before.connect() as connection:
        connection.execute(
            "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
            "VALUES ('A', '2012-01-03', 1, 1, 1, 1, 1)"
        )
    with pytest.raises(AccessRefused, match="run `tt db upgrade`"):
        database_of(settings).connect()
    with database_of(settings, start=True).connect() as connection:
        assert connection.execute("SELECT count(*) FROM tt_prices").fetchone() == (1,)
        assert connection.execute(f"SELECT count(*) FROM {list(TABLES)[1]}").fetchone() == (0,)
    server.stop()
    assert database_of(settings, start=True).connect().info.user == PLATFORM_LOGIN
