"""What a dump says of the width of the partitions, and who is told where a home says otherwise."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg import sql

from tt_assets.commands.backup import dump
from tt_assets.grain import DateGrain
from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.settings import Settings
from tt_assets_tests.commands.conftest import Tt


@pytest.fixture
def databases(embedded_server: EmbeddedServer) -> Iterator[list[Database]]:
    """Two pairs of databases, absent until they are made."""
    made = [Database.on(embedded_server, f"test_{uuid4().hex[:12]}") for _ in range(2)]
    yield made
    with made[0].named("postgres").connect(autocommit=True) as connection:
        for database in made:
            for name in (database.name, database.dagster().name):
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def dumped(databases: list[Database], tmp_path: Path) -> Path:
    """A dump of years of which one January is loaded: its slices may be months as well."""
    source = databases[0]
    source.create_databases()
    schema.upgrade(source)
    with source.connect() as connection:
        connection.execute(
            'INSERT INTO tt_slice (table_name, date, instrument, rows, digest, "fetch", tries, told, written_in) '
            "VALUES ('tt_prices', '2020-01-01', 'AAPL', 20, '', 0, 0, false, 0)"
        )
    settings = Settings(home=tmp_path / "other", database_url=source.adbc_uri(), date_grain=DateGrain.YEAR)
    assert dump(settings, tmp_path / "whole.dump").grain == "year"
    return tmp_path / "whole.dump"


def restored(tt: Tt, databases: list[Database], file: Path, home: Path, **settings: str) -> str:
    """What `tt db restore` says, which names the home's `.env`."""
    told = tt("db", "restore", str(file), TT_DATABASE_URL=databases[1].adbc_uri(), TT_HOME=str(home), **settings)
    assert told.code == 0, told
    return " ".join(told.out.split())


def test_a_dump_names_its_grain_and_a_home_out_of_it_has_it(
    tt: Tt, databases: list[Database], dumped: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    said = restored(tt, databases, dumped, home)
    assert f"One partition of the market tables is one year, as {home / '.env'} says now." in said
    assert (home / ".env").read_text() == "TT_DATE_GRAIN=year\n"


def test_a_restore_names_who_outweighs_the_grain_that_it_records(
    tt: Tt, databases: list[Database], dumped: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    said = restored(tt, databases, dumped, home, TT_DATE_GRAIN="session")
    assert "says now" not in said
    assert (
        f"is one year. TT_DATE_GRAIN=session stands in the environment, which outweighs {home / '.env'}: take it out, "
        "or set it to year."
    ) in said


def test_the_settings_of_the_folder_one_is_in_are_named_too(
    tt: Tt, databases: list[Database], dumped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", (str(tmp_path / "none"), ".env"))
    (tmp_path / ".env").write_text("TT_DATE_GRAIN=session\n")
    said = restored(tt, databases, dumped, tmp_path / "home")
    assert f"TT_DATE_GRAIN=session stands in {tmp_path / '.env'}, which outweighs" in said


def test_of_a_dump_that_names_no_grain_the_slices_tell_it(
    tt: Tt, databases: list[Database], dumped: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(dumped) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts["manifest.json"])
    del manifest["grain"]
    with zipfile.ZipFile(dumped, "w") as archive:
        for name, part in (parts | {"manifest.json": json.dumps(manifest).encode()}).items():
            archive.writestr(name, part)
    assert "is one month, as" in restored(tt, databases, dumped, tmp_path / "home")
