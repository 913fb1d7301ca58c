"""Both databases go into one file as of one moment and come back the same; what is wrong changes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tt_assets.postgres import backup, schema
from tt_assets.postgres.backup import BackupError
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.binaries import Binaries, find_binaries
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets_tests.conftest import PG_BIN


@pytest.fixture
def databases(embedded_server: EmbeddedServer) -> Iterator[list[Database]]:
    """Three pairs of databases, absent until they are made."""
    made = [Database.on(embedded_server, f"test_{uuid4().hex[:12]}") for _ in range(3)]
    yield made
    with made[0].named("postgres").connect(autocommit=True) as connection:
        for database in made:
            for name in (database.name, database.dagster().name):
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def binaries() -> Binaries:
    return find_binaries(PG_BIN)


def filled(database: Database, revision: str = "head") -> Database:
    """`database` with rows whose text, floats and missing values are awkward; Dagster's with a table and a sequence."""
    from alembic import command

    database.create_databases()
    with database.engine().begin() as connection:
        command.upgrade(schema._config(connection), revision)
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
            "SELECT 'Ünï\t\"' || i, '2012-01-03', 0.1, 1e300, 5e-324, 1.0 / 3, 2 FROM generate_series(1, 500) AS i"
        )
        connection.execute(
            "INSERT INTO tt_features (instrument, timestamp, feature, value) VALUES ('A', '2012-01-03', 'f', -5e-324)"
        )
    with database.dagster().connect() as connection:
        connection.execute("CREATE TABLE event_logs (id bigserial PRIMARY KEY, event text)")
        connection.execute("INSERT INTO event_logs (event) SELECT repeat('e', i) FROM generate_series(1, 300) AS i")
    return database


def content(database: Database) -> dict[str, str]:
    """A digest of every table's rows, as the server writes them; the revision of the schema apart."""
    digests = {}
    for one in (database, database.dagster()):
        with one.connect() as connection:
            found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (name,) in found:
                rows = connection.execute(
                    sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(name))
                ).fetchall()
                digests[name] = hashlib.md5("\n".join(sorted(row for (row,) in rows)).encode()).hexdigest()
    return digests


def relations(database: Database) -> int:
    """How many relations both databases hold; those that do not exist hold none."""
    count = 0
    for one in (database, database.dagster()):
        with one.connect() as connection:
            count += connection.execute(
                "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            ).fetchone()[0]
    return count


def test_what_is_restored_is_what_was_dumped(databases, binaries, tmp_path):
    source, target, _ = databases
    filled(source)
    before = content(source)
    written = backup.dump(source, binaries, tmp_path / "both", version="1")
    assert written.rows["tt_prices"] == 500
    assert backup.restore(target, binaries, tmp_path / "both") == written
    assert content(target) == before == content(source)
    schema.check(target)
    target.check_dagster()
    for database in (source, target):  # identities and sequences go on where they were
        with database.connect() as connection, database.dagster().connect() as dagster:
            price = "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
            row = connection.execute(f"{price} VALUES ('B', now(), 1, 1, 1, 1, 0) RETURNING id").fetchone()
            assert row == (501,)
            assert dagster.execute("INSERT INTO event_logs (event) VALUES ('n') RETURNING id").fetchone() == (301,)


def test_both_are_as_of_one_moment_while_others_write(databases, binaries, tmp_path):
    """A writer counts in the tables' database, then in Dagster's: no dump has the second without the first."""
    source, *targets = databases
    filled(source)
    for one in (source, source.dagster()):
        with one.connect() as connection:
            connection.execute("CREATE TABLE counted (n integer)")
    ended = threading.Event()

    def count() -> None:
        with source.connect(autocommit=True) as tables, source.dagster().connect(autocommit=True) as dagster:
            n = 0
            while not ended.is_set():
                n += 1
                for connection in (tables, dagster):
                    connection.execute("INSERT INTO counted VALUES (%s)", [n])

    writer = threading.Thread(target=count)
    writer.start()
    try:
        for index, target in enumerate(targets):
            backup.dump(source, binaries, tmp_path / str(index), version="1")
            backup.restore(target, binaries, tmp_path / str(index))
    finally:
        ended.set()
        writer.join()
    for target in targets:
        with target.connect() as tables, target.dagster().connect() as dagster:
            first, second = (c.execute("SELECT max(n) FROM counted").fetchone()[0] for c in (tables, dagster))
        assert first > 0
        assert first - second in (0, 1)


def test_a_moment_that_does_not_come_is_said(databases, binaries, tmp_path, monkeypatch):
    source, *_ = databases
    filled(source)
    monkeypatch.setattr(backup, "LOCK_PATIENCE", "200ms")
    with source.connect() as busy:
        busy.execute("DELETE FROM tt_prices WHERE id = 1")
        with pytest.raises(BackupError, match="has been writing"):
            backup.dump(source, binaries, tmp_path / "both", version="1")
        busy.rollback()
    assert list(tmp_path.iterdir()) == []


def test_a_dump_of_an_older_schema_is_brought_to_this_one(databases, binaries, tmp_path):
    source, target, _ = databases
    filled(source, "0003")
    backup.dump(source, binaries, tmp_path / "both", version="0")
    backup.restore(target, binaries, tmp_path / "both")
    assert schema.current(target) == schema.head()
    with target.connect() as connection:
        assert connection.execute("SELECT count(*), sum(rows) FROM tt_slice").fetchone() == (501, 501)


def _rewritten(file: Path, **changed: object) -> None:
    """`file` with another manifest."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["manifest.json"] = json.dumps(json.loads(parts["manifest.json"]) | changed).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20_000])


def one_byte_changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def other_rows(file: Path) -> None:
    _rewritten(file, rows={"tt_prices": 499})


def newer_schema(file: Path) -> None:
    _rewritten(file, revision="9999")


def newer_form(file: Path) -> None:
    _rewritten(file, format=2)


def no_manifest(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello", "you")


WRONG = {
    cut: "no dump",
    one_byte_changed: "broken",
    other_rows: "other rows came back",
    newer_schema: "restore it with that version",
    newer_form: "form 2",
    no_manifest: "no dump",
}


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_a_wrong_file_is_refused_and_leaves_the_target_empty(spoil, databases, binaries, tmp_path):
    source, target, _ = databases
    backup.dump(filled(source), binaries, tmp_path / "both", version="1")
    target.create_databases()
    spoil(tmp_path / "both")
    with pytest.raises(BackupError, match=WRONG[spoil]) as caught:
        backup.restore(target, binaries, tmp_path / "both")
    assert "\n" not in str(caught.value)
    assert relations(target) == 0


def test_a_filled_target_is_refused_and_kept(databases, binaries, tmp_path):
    source, target, _ = databases
    backup.dump(filled(source), binaries, tmp_path / "both", version="1")
    target.create_databases()
    with target.connect() as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS one")
    with pytest.raises(BackupError, match=r'not empty \("mine"'):
        backup.restore(target, binaries, tmp_path / "both")
    with target.connect() as connection:
        assert connection.execute("SELECT one FROM mine").fetchone() == (1,)


def test_nothing_is_written_over(databases, binaries, tmp_path):
    (tmp_path / "both").write_text("mine")
    with pytest.raises(BackupError, match="is there already"):
        backup.dump(databases[0], binaries, tmp_path / "both", version="1")
    assert (tmp_path / "both").read_text() == "mine"
    with pytest.raises(BackupError, match="no folder"):
        backup.dump(databases[0], binaries, tmp_path / "absent" / "both", version="1")


def test_a_user_who_may_not_read_everything_is_told(databases, binaries, tmp_path):
    source, *_ = databases
    filled(source)
    name = f"looker_{uuid4().hex[:8]}"
    with source.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    try:
        looker = Database.of(dict(source.parameters) | {"user": name})
        with pytest.raises(BackupError, match="may not read everything"):
            backup.dump(looker, binaries, tmp_path / "both", version="1")
    finally:
        with source.connect() as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    assert list(tmp_path.iterdir()) == []


def test_programs_that_are_missing_are_named(databases, binaries, tmp_path):
    source, *_ = databases
    filled(source)
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(binaries.program("psql"), folder)
    with pytest.raises(BackupError, match="has no pg_dump"):
        backup.dump(source, Binaries(folder, binaries.version), tmp_path / "both", version="1")


def test_the_roles_work_in_a_restored_database(databases, binaries, tmp_path):
    from tt_assets.postgres.grants import grant

    source, target, _ = databases
    backup.dump(filled(source), binaries, tmp_path / "both", version="1")
    backup.restore(target, binaries, tmp_path / "both")
    assert set(grant(target)) == {"tt_owner", "tt_writer", "tt_reader"}
    grant(target)  # again, to no other effect
    allowed = {
        "SELECT count(*) FROM tt_prices": {"tt_writer", "tt_reader"},
        "DELETE FROM tt_prices": {"tt_writer"},
        "UPDATE alembic_version SET version_num = 'x'": set(),
        "DROP TABLE tt_prices": set(),
    }
    for statement, roles in allowed.items():
        for role in ("tt_writer", "tt_reader"):
            with target.connect() as connection:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
                if role in roles:
                    connection.execute(statement)
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(statement)
                connection.rollback()
    with target.dagster().connect() as connection:
        connection.execute("SET ROLE tt_writer")
        connection.execute("INSERT INTO event_logs (event) VALUES ('n')")
        connection.rollback()


@pytest.mark.parametrize("file", ["/dev/zero", "/", "n" * 5_000])
def test_what_is_no_file_is_refused_in_one_line(file):
    with pytest.raises(BackupError, match=r"no regular file|cannot be read"):
        backup.read_manifest(Path(file))
