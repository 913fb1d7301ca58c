"""Both databases in one file, as of one moment, and back from it into empty ones.

The moment: every table of both is locked against writers at once, each database's snapshot is taken, the locks are
let go, and `pg_dump` reads by the snapshots while work goes on. The file is a zip of two archives of `pg_dump` and a
manifest that says what they hold; it appears under its name only when it was read back whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tt_assets.errors import UserError
from tt_assets.grain import DateGrain
from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.binaries import Binaries
from tt_assets.postgres.stored_grain import grain_of
from tt_assets.postgres.sweeps import SCHEMA as SWEEPS

FORMAT = 1
TABLES_ARCHIVE, DAGSTER_ARCHIVE, MANIFEST = "tables.dump", "dagster.dump", "manifest.json"
LOCK_PATIENCE = "30s"
"""How long the moment is waited for: until every transaction that writes has ended."""
_CHUNK = 1 << 20
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}


class BackupError(UserError):
    """A dump or a restore that was not done; nothing was changed."""


@dataclass(frozen=True)
class Manifest:
    """What a file of a dump says about itself."""

    format: int
    """Of the file: raised when what is in it changes."""
    version: str
    """Of the package that wrote it."""
    revision: str
    """Of the schema of the tables."""
    server: str
    """Version of PostgreSQL that was read."""
    taken_at: str
    """ISO 8601, UTC."""
    rows: Mapping[str, int]
    """Rows of every table of the tables' database, at the moment."""
    sha256: Mapping[str, str]
    """Of the two archives."""
    grain: str = ""
    """Width of a partition of the market tables; files of before it was written say none."""


def dump(
    database: Database, binaries: Binaries, file: Path, *, version: str, grain: DateGrain = DateGrain.SESSION
) -> Manifest:
    """Write both databases of `database` to `file`, read it back, and return what it holds.

    Parameters
    ----------
    database : the tables'; Dagster's is found from it. Its user must be allowed to read every table of both.
    binaries : PostgreSQL's programs, no older than the server.
    file : must not exist; its folder must.
    version : of this package, for the manifest.
    grain : of the settings; the manifest names it where the stored partitions fit it, else the first that they fit.

    Raises
    ------
    BackupError : with the reason; `file` is not there then.
    DatabaseUnreachable : the server cannot be reached.
    """
    if file.exists():
        raise BackupError(f'"{file}" is there already: name another file, or remove it.')
    if not file.parent.is_dir():
        raise BackupError(f'There is no folder "{file.parent}": make it, or name another file.')
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
            staged = _staged(database, binaries, Path(folder), version, grain)
            manifest = read_manifest(staged)
            _read_whole(staged, binaries, Path(folder))
            with staged.open("rb") as written:
                os.fsync(written.fileno())
            staged.replace(file)
    except OSError as error:
        raise BackupError(f'"{file}" cannot be written ({error.strerror}): free space, or name another file.') from None
    return manifest


def restore(database: Database, binaries: Binaries, file: Path) -> Manifest:
    """Fill the empty databases of `database` from `file`, bring the schema to this package's revision, and compare.

    Parameters
    ----------
    database : the tables'; it and Dagster's are created where they are absent and must hold no relation.
    binaries : PostgreSQL's programs, no older than those that wrote the file.
    file : as `dump` writes it.

    Raises
    ------
    BackupError : the file is broken or of a newer package, the databases are not empty, or PostgreSQL refused a
        statement. The databases are as empty as before.
    DatabaseUnreachable, MayNotCreate : as of `Database`.
    """
    manifest = read_manifest(file)
    if manifest.revision not in schema.revisions():
        raise BackupError(
            f'"{file}" is of tt_assets {manifest.version} (schema {manifest.revision}), this one knows none beyond '
            f"{schema.head()}: restore it with that version."
        )
    database.create_databases()
    both = {TABLES_ARCHIVE: database, DAGSTER_ARCHIVE: database.dagster()}
    for target in both.values():
        _refuse_filled(target)
    with tempfile.TemporaryDirectory(prefix="tt-restore-") as folder:
        archives = _unpacked(file, manifest, Path(folder))
        try:
            for name, target in both.items():
                _run(binaries, "pg_restore", target, *_INTO, str(archives[name]))
            _compare(database, manifest)
        except BaseException:
            for target in both.values():
                _empty(target)
            raise
    schema.upgrade(database)
    return manifest


_INTO = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--dbname=")


def read_manifest(file: Path) -> Manifest:
    """What the file of a dump says about itself; its archives are not looked at.

    Raises
    ------
    BackupError : there is no such file, it is not a dump of ours or cut off, or it is of another form.
    """
    try:
        if file.exists() and not file.is_file():  # a device would be read without end
            raise BackupError(f'"{file}" is no regular file: name one that `tt db dump` wrote.')
        with zipfile.ZipFile(file) as archive:
            said = json.loads(archive.read(MANIFEST))
        manifest = Manifest(**said)
    except FileNotFoundError:
        raise BackupError(f'There is no file "{file}".') from None
    except OSError as error:
        raise BackupError(f'"{file}" cannot be read: {error.strerror}.') from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError):
        raise BackupError(f'"{file}" is no dump of `tt db dump`, or it is cut off: take another copy.') from None
    if manifest.format != FORMAT:
        raise BackupError(
            f'"{file}" has form {manifest.format}, this tt_assets reads {FORMAT}: use the one that wrote it.'
        )
    return manifest


def _staged(database: Database, binaries: Binaries, folder: Path, version: str, grain: DateGrain) -> Path:
    archives = {TABLES_ARCHIVE: database, DAGSTER_ARCHIVE: database.dagster()}
    with _one_moment(*archives.values()) as (tables, dagster):
        taken_at = datetime.now(UTC)
        for (name, source), connection in zip(archives.items(), (tables, dagster), strict=True):
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()[0]  # type: ignore[index]
            options = ("--format=custom", f"--snapshot={snapshot}", f"--file={folder / name}")
            _run(binaries, "pg_dump", source, *options)
        manifest = Manifest(
            FORMAT,
            version,
            tables.execute("SELECT version_num FROM alembic_version").fetchone()[0],  # type: ignore[index]
            tables.execute("SHOW server_version").fetchone()[0],  # type: ignore[index]
            taken_at.isoformat(timespec="seconds"),
            _rows(tables),
            {name: _sha256(folder / name) for name in archives},
            _stored_grain(tables, grain),
        )
    staged = folder / "staged"
    with zipfile.ZipFile(staged, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
        for name in archives:
            archive.write(folder / name, name)
            (folder / name).unlink()
    return staged


@contextmanager
def _one_moment(*databases: Database) -> Iterator[list[psycopg.Connection[Any]]]:
    """A transaction in each of `databases`, all of whose snapshots are of one moment at which nobody was writing.

    A savepoint holds the locks: rolling back to it lets them go and keeps the snapshot.
    """
    with ExitStack() as stack:
        connections = [stack.enter_context(database.connect()) for database in databases]
        try:
            for connection in connections:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                connection.execute(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}'")
            names = [_own_tables(database) for database in databases]
            for connection, tables in zip(connections, names, strict=True):
                connection.execute("SAVEPOINT quiet")
                if tables:
                    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(tables)))
            for connection in connections:
                connection.execute("SELECT 1 FROM pg_catalog.pg_class LIMIT 1")  # takes the snapshot
            for connection in connections:
                connection.execute("ROLLBACK TO SAVEPOINT quiet")
                connection.execute("RELEASE SAVEPOINT quiet")
        except psycopg.errors.LockNotAvailable:
            failure = f"Somebody has been writing for {LOCK_PATIENCE}: dump when that has ended, `tt doctor` says who."
        except psycopg.errors.InsufficientPrivilege as error:
            failure = (
                f"The user may not read everything ({error.diag.message_primary}): dump as the owner of the tables."
            )
        else:
            yield connections
            return
    raise BackupError(failure)


def _own_tables(database: Database) -> list[sql.Composable]:
    """Every table of the schema `public`, asked from a connection apart: the question must not take the snapshot."""
    with database.connect() as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
    return [sql.Identifier("public", name) for (name,) in found]


def _rows(connection: psycopg.Connection[Any]) -> dict[str, int]:
    names = [
        name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    ]
    counted = sql.SQL("SELECT count(*) FROM {}")
    return {
        name: connection.execute(counted.format(sql.Identifier("public", name))).fetchone()[0]  # type: ignore[index]
        for name in names
    }


def _stored_grain(tables: psycopg.Connection[Any], likely: DateGrain) -> DateGrain:
    """The grain of the stored partitions, `likely` where none tells it; the first schemas have no ledger."""
    ledger = tables.execute("SELECT to_regclass('public.tt_slice')").fetchone()
    told = grain_of(tables, (likely, *DateGrain)) if ledger and ledger[0] else None
    return told or likely


def _run(binaries: Binaries, program: str, database: Database, *arguments: str) -> None:
    """Run a program of PostgreSQL on `database`; the login goes through the environment, never the command line."""
    path = binaries.program(program)
    if not path.is_file():
        raise BackupError(f'"{binaries.folder}" has no {program}: install the PostgreSQL client, or set TT_PG_BIN.')
    parts = psycopg.conninfo.conninfo_to_dict(database.adbc_uri())
    login = {variable: str(parts[key]) for key, variable in _VARIABLES.items() if parts.get(key)}
    done = subprocess.run(
        [path, "--no-password", *[f"--dbname={database.name}" if a == "--dbname=" else a for a in arguments]],
        env={**os.environ, **login, "PGAPPNAME": f"tt {program}"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = next((line for line in lines if "error" in line), lines[-1] if lines else "it said nothing")
        remedy = " Set TT_PG_BIN to the programs of that version." if "server version mismatch" in done.stderr else ""
        raise BackupError(f"{program} ended with {done.returncode} ({told}).{remedy}")


def _unpacked(file: Path, manifest: Manifest, folder: Path) -> dict[str, Path]:
    """The archives of `file`, held against the manifest's sums."""
    found = {}
    broken = f'"{file}" is broken: {{}} is not what the manifest says. Take another copy.'
    with zipfile.ZipFile(file) as archive:
        for name, sum_ in manifest.sha256.items():
            try:
                found[name] = Path(archive.extract(name, folder))
            except (zipfile.BadZipFile, KeyError, EOFError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else None
                raise BackupError(broken.format(name) if reason is None else f"{name}: {reason}.") from None
            if _sha256(found[name]) != sum_:
                raise BackupError(broken.format(name))
    if set(found) != {TABLES_ARCHIVE, DAGSTER_ARCHIVE}:
        raise BackupError(broken.format("its list of archives"))
    return found


def _read_whole(staged: Path, binaries: Binaries, folder: Path) -> None:
    """Read every row of both archives back out of the written file. Raises BackupError where one cannot be read."""
    with tempfile.TemporaryDirectory(dir=folder) as unpacked:
        for name, path in _unpacked(staged, read_manifest(staged), Path(unpacked)).items():
            done = subprocess.run(
                [binaries.program("pg_restore"), f"--file={os.devnull}", str(path)], capture_output=True, check=False
            )
            if done.returncode:
                raise BackupError(f"{name} cannot be read back: the disk may be failing. Nothing was kept.")


def _refuse_filled(database: Database) -> None:
    with database.connect() as connection:
        row = connection.execute(
            "SELECT count(*), min(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p', 'v', 'm', 'S')"
        ).fetchone()
    count, first = row or (0, None)
    if count:
        raise BackupError(
            f'The database "{database.name}" is not empty ("{first}", {count} in all): restore into a new TT_HOME, '
            "or name an empty database in TT_DATABASE_URL."
        )


def _compare(database: Database, manifest: Manifest) -> None:
    with database.connect() as connection:
        rows = _rows(connection)
    if different := {name for name in rows.keys() | manifest.rows.keys() if rows.get(name) != manifest.rows.get(name)}:
        raise BackupError(f"{', '.join(sorted(different))}: other rows came back than were dumped.")


def _empty(database: Database) -> None:
    """Take back what a restore brought; the database held nothing before it."""
    with database.connect() as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SWEEPS)))
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
