"""Each database of tables has a database of Dagster's own, which remembers whose it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tt_assets.postgres.dagster_database import DagsterDatabaseTaken
from tt_assets.postgres.database import Database, NoSuchDatabase
from tt_assets.postgres.database_url import DatabaseUrlError, dagster_name, parse_url
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets_tests.conftest import PG_BIN, reachable_folder

HISTORY = (
    "CREATE TABLE asset_keys (asset_key text); CREATE TABLE runs (run_id text);"
    "INSERT INTO asset_keys VALUES ('[\"tt_prices\"]')"
)


@pytest.fixture(scope="module")
def bare_server() -> Iterator[EmbeddedServer]:
    """A server of this module's own: the session's always has databases of ours."""
    folder = reachable_folder()
    running = EmbeddedServer(folder / "home", PG_BIN)
    try:
        running.ensure()
        yield running
    finally:
        running.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(bare_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """A server without a database of ours."""
    yield bare_server
    for name in names(bare_server):
        run(bare_server, f'DROP DATABASE "{name}" WITH (FORCE)')


def names(server: EmbeddedServer) -> set[str]:
    with Database.on(server, "postgres").connect() as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()
    return {name for (name,) in found} - {"postgres"}


def run(server: EmbeddedServer, statement: str, database: str = "postgres") -> None:
    with Database.on(server, database).connect(autocommit=True) as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("tables", "dagster"), [("tt", "dagster"), ("prices", "prices_dagster"), ("my bars", "my bars_dagster")]
)
def test_dagsters_database_is_named_after_the_tables(tables: str, dagster: str) -> None:
    assert dagster_name(tables) == dagster


def test_names_too_long_for_the_server_stay_apart() -> None:
    long = [f"{'ä' * 30}{number}" for number in range(3)]
    made = {dagster_name(tables) for tables in long}
    assert len(made) == 3
    assert all(len(name.encode()) <= 63 and name.endswith("_dagster") for name in made)


@pytest.mark.parametrize("name", ["dagster", "prices_dagster"])
def test_tables_cannot_be_kept_in_a_database_of_dagsters(name: str) -> None:
    with pytest.raises(DatabaseUrlError, match=f'names the database "{name}", which is for Dagster'):
        parse_url(f"postgresql://h/{name}")


def test_two_databases_on_one_server_share_nothing(server: EmbeddedServer) -> None:
    for name in ("tt", "paper"):
        Database.on(server, name).create_databases()
        Database.on(server, name).create_databases()
        Database.on(server, name).check_dagster()
    assert names(server) == {"tt", "dagster", "paper", "paper_dagster"}
    assert Database.on(server, "tt").dagster_url() != Database.on(server, "paper").dagster_url()


def test_a_database_that_belongs_to_other_tables_is_refused_on_one_line(server: EmbeddedServer) -> None:
    Database.on(server, "paper").create_databases()
    run(server, "ALTER DATABASE paper RENAME TO old; ")
    run(server, 'ALTER DATABASE paper_dagster RENAME TO "live_dagster"')
    run(server, "CREATE DATABASE live")
    live = Database.on(server, "live")
    for refused in (live.create_databases, live.check_dagster):
        with pytest.raises(DagsterDatabaseTaken) as caught:
            refused()
        assert str(caught.value).startswith(
            'The database "live_dagster" holds Dagster\'s storage of the tables in "paper", not of those in "live": '
        )
        assert 'ALTER DATABASE "live_dagster" RENAME TO "paper_dagster"' in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_filled_home_of_before_goes_on_with_its_history(server: EmbeddedServer) -> None:
    run(server, "CREATE DATABASE tt")
    run(server, "CREATE DATABASE dagster")
    run(server, HISTORY, "dagster")
    Database.on(server, "tt").create_databases()
    assert names(server) == {"tt", "dagster"}
    with Database.on(server, "tt").dagster().connect() as connection:
        assert connection.execute("SELECT count(*) FROM asset_keys").fetchone() == (1,)


def test_the_shared_history_of_tables_of_another_name_is_renamed_with_them(server: EmbeddedServer) -> None:
    run(server, "CREATE DATABASE prices")
    run(server, "CREATE DATABASE dagster")
    run(server, HISTORY, "dagster")
    prices = Database.on(server, "prices")
    with Database.on(server, "dagster").connect(), pytest.raises(DagsterDatabaseTaken, match="stop everything"):
        prices.create_databases()
    prices.create_databases()
    assert names(server) == {"prices", "prices_dagster"}
    with prices.dagster().connect() as connection:
        assert connection.execute("SELECT count(*) FROM asset_keys").fetchone() == (1,)


@pytest.mark.parametrize("other", ["tables in tt", "another user's Dagster", "marked as another's"])
def test_a_dagster_database_that_may_be_somebody_elses_is_left_alone(server: EmbeddedServer, other: str) -> None:
    run(server, "CREATE DATABASE prices")
    run(server, "CREATE DATABASE dagster")
    if other == "tables in tt":
        run(server, "CREATE DATABASE tt")
    if other != "another user's Dagster":
        run(server, HISTORY, "dagster")
    if other == "marked as another's":
        run(server, "COMMENT ON DATABASE dagster IS 'of the trading desk'")
    Database.on(server, "prices").create_databases()
    assert {"dagster", "prices_dagster"} <= names(server)


def test_a_lost_database_of_dagsters_is_one_line_with_the_remedy(server: EmbeddedServer) -> None:
    Database.on(server, "tt").create_databases()
    run(server, "DROP DATABASE dagster")
    with pytest.raises(NoSuchDatabase, match='has no database "dagster": run `tt db upgrade`'):
        Database.on(server, "tt").check_dagster()
