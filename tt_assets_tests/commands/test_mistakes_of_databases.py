"""What a database does to a command in the middle is one line with the remedy that helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from tt_assets.commands.mistakes import describe_database
from tt_assets.errors import UserError
from tt_assets.postgres import schema
from tt_assets.postgres.database import Database, NoConnectionLeft
from tt_assets.postgres.schema import RelationInTheWay
from tt_assets.runtime import in_use
from tt_assets.settings import Settings


def _raised(database: Database, statement: str) -> DBAPIError:
    """What SQLAlchemy raises for Dagster's statements."""
    with pytest.raises(DBAPIError) as caught, create_engine(database.dagster_url()).connect() as connection:
        connection.execute(text(statement))
    return caught.value


def test_a_relation_of_somebody_elses_is_left_alone_and_named(postgres: Database) -> None:
    with postgres.connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS occupied")
        connection.execute("CREATE DATABASE occupied")
    occupied = postgres.named("occupied")
    with occupied.connect() as connection:
        connection.execute("CREATE TABLE tt_prices (mine integer)")
    with pytest.raises(RelationInTheWay) as caught:
        schema.upgrade(occupied)
    assert '"tt_prices" already exists' in str(caught.value)
    assert "ALTER TABLE" in str(caught.value)
    assert "\n" not in str(caught.value)
    with occupied.connect() as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert names == [("tt_prices",)]


def test_a_login_that_only_reads_is_told_which_one_to_use(postgres: Database) -> None:
    with postgres.connect(autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS looker")
        connection.execute("CREATE ROLE looker LOGIN IN ROLE tt_reader")
    looker = Database.of(dict(postgres.parameters) | {"user": "looker"})
    with pytest.raises(psycopg.Error) as caught, looker.connect() as connection:
        connection.execute("DELETE FROM tt_prices")
    said = describe_database(caught.value)
    assert said is not None
    assert "permission denied" in said
    assert "tt_writer" in said


def test_a_server_without_a_connection_left_is_not_taken_for_a_wrong_password(postgres: Database) -> None:
    with postgres.connect(autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS crowded")
        connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 1")
    crowded = Database.of(dict(postgres.parameters) | {"user": "crowded"})
    with crowded.connect(), pytest.raises(NoConnectionLeft) as caught:
        crowded.connect()
    assert "max_connections" in str(caught.value)
    assert "pg_hba" not in str(caught.value)


def test_dagsters_tables_lost_in_the_middle_lead_to_the_upgrade(postgres: Database) -> None:
    postgres.create_databases()
    said = describe_database(_raised(postgres, "SELECT * FROM no_such_table"))
    assert said is not None
    assert "tt db upgrade" in said
    assert "\n" not in said


def test_a_connection_that_was_ended_leads_to_running_it_again(postgres: Database) -> None:
    postgres.create_databases()
    said = describe_database(_raised(postgres, "SELECT pg_terminate_backend(pg_backend_pid())"))
    assert said is not None
    assert "running the same command again takes it up" in said


def test_an_error_of_our_own_stays_a_traceback() -> None:
    assert describe_database(ValueError("a bug")) is None
    assert describe_database(psycopg.errors.SyntaxError("a bug in a statement")) is None


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(home=tmp_path / "file" / "home")
    with pytest.raises(UserError, match="set TT_HOME to a folder you can write to"):
        in_use.lock_file(settings, "up.lock")


@pytest.mark.parametrize("command", [["up"], ["status"], ["backfill", "market"], ["down"]])
def test_every_command_says_so_of_a_home_that_cannot_be_written(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TT_", "DAGSTER_"))}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("tt")), *command],
        env={**kept, "TT_HOME": str(tmp_path / "file" / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    *_, line = done.stderr.splitlines()  # what it was about to do comes first
    assert line.startswith(f'tt: TT_HOME "{tmp_path / "file" / "home"}" cannot be used')
    assert done.returncode == 2
