"""A login that is only a member of tt_writer does all work but the upgrade, on a server of somebody else's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets_tests.e2e.command_line import Machine, machine

pytestmark = pytest.mark.slow

SMALL = {"TT_SEEDS": "1", "TT_TRAIN_STEPS": "256", "TT_TRAIN_WINDOWS": "1", "TT_BASELINES": "cash", "TT_PICTURES": "0"}
NAMES = ("written_tables", "written_tables_dagster")

SENSOR = """
import dagster as dg
from tt_assets.definitions import defs
from tt_assets.runtime.platform import attach, open_instance, settle_dead_runs
from tt_assets.settings import Settings
platform = attach(Settings())
with open_instance() as instance:
    repository = defs.get_repository_def()
    for name in ("watchlist", "sessions", "gaps", "agents", "restatement"):
        with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
            repository.get_sensor_def(name).evaluate_tick(context)
    instance.event_log_storage.set_concurrency_slots("training", 1)
    instance.daemon_cursor_storage.set_cursor_values({"written": "yes"})
    assert instance.daemon_cursor_storage.get_cursor_values({"written"}) == {"written": "yes"}
    settle_dead_runs(instance, platform.database)
"""


@pytest.fixture(scope="module")
def owner(embedded_server: EmbeddedServer) -> Iterator[Database]:
    """A login that owns its two databases and may make no role; beside it the login `writer`, a mere tt_writer."""
    administrator = Database.on(embedded_server, "postgres")
    with administrator.connect(autocommit=True) as connection:
        for role in ("tt_owner", "tt_writer", "tt_reader"):
            try:
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            except psycopg.errors.DuplicateObject:
                continue
        connection.execute("CREATE ROLE written_owner LOGIN CREATEDB")
        connection.execute("CREATE ROLE writer LOGIN IN ROLE tt_writer")
    yield Database.of(dict(administrator.parameters) | {"user": "written_owner", "dbname": NAMES[0]})
    with administrator.connect(autocommit=True) as connection:
        for name in NAMES:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute("DROP ROLE written_owner")
        connection.execute("DROP ROLE writer")


@pytest.fixture(scope="module")
def writing(owner: Database) -> Iterator[Machine]:
    """The writer's machine, once the owner has run `tt db upgrade`."""
    writer = Database.of(dict(owner.parameters) | {"user": "writer"})
    with machine(TT_DATABASE_URL=writer.adbc_uri(), **SMALL) as here:
        done = here.tt("db", "upgrade", TT_DATABASE_URL=owner.adbc_uri())
        assert done.returncode == 0, done.stderr
        yield here


def _done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_it_loads_trains_rolls_reports_and_judges(writing: Machine, tmp_path: Path) -> None:
    span = ("--from", "2011-09-01", "--to", "2012-06-29", "--instruments", "AAPL")
    _done(writing.tt("backfill", "market", *span))
    _done(writing.tt("backfill", "agents", "--from", "2012-04-02", *span[2:]))
    assert "AAPL" in _done(writing.tt("report"))
    scores = tmp_path / "scores.csv"
    scores.write_text("instrument,timestamp,signal_name,score\nAAPL,2012-05-18,mine,0.5\n")
    _done(writing.tt("signals", "import", str(scores)))
    for command in (("status",), ("db", "status"), ("status", "--partitions"), ("trials", "list")):
        _done(writing.tt(*command))


def test_it_keeps_the_state_of_sensors_pools_and_the_daemon(writing: Machine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SENSOR],
        env=writing.environment(),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_it_cannot_migrate_and_is_told_who_can(writing: Machine, owner: Database) -> None:
    with owner.connect() as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
        connection.execute("UPDATE alembic_version SET version_num = '0006'")
    try:
        refused = writing.tt("db", "upgrade")
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1
        assert "run `tt db upgrade` as the owner" in refused.stderr
    finally:
        with owner.connect() as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", [revision])


def test_on_an_empty_database_it_is_told_who_makes_the_tables(writing: Machine, owner: Database) -> None:
    with owner.named(NAMES[0]).connect(autocommit=True) as connection:
        connection.execute("CREATE DATABASE written_empty")
    try:
        empty = Database.of(dict(owner.parameters) | {"user": "writer", "dbname": "written_empty"})
        refused = writing.tt("backfill", "market", TT_DATABASE_URL=empty.adbc_uri())
        assert refused.returncode == 2
        *_, line = refused.stderr.splitlines()
        assert "may not create the database" in line
        assert "administrator" in line
    finally:
        with owner.named(NAMES[0]).connect(autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS written_empty WITH (FORCE)")
