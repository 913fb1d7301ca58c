"""`tt db`: what the commands of the database do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from tt_assets.errors import UserError
from tt_assets.runtime import in_use
from tt_assets.settings import Settings, database_of


def describe(settings: Settings) -> dict[str, Any]:
    """Where the tables are, whether the server answers, its version, the schema's revision, whether all is ready."""
    from tt_assets.postgres.schema import check, current, head

    database = database_of(settings)
    described: dict[str, Any] = {
        "server": "external" if settings.database_url else "embedded",
        "url": database.masked(),
        "answers": False,
        "version": None,
        "revision": None,
        "newest_revision": head(),
        "ready": False,
    }
    try:
        with database.connect() as connection:
            described["answers"] = True
            described["version"] = connection.execute("SHOW server_version").fetchone()[0]  # type: ignore[index]
        described["revision"] = current(database)
        check(database)
        described["ready"] = True
    except UserError as error:
        described["reason"] = str(error)
    return described


def read_only_url(settings: Settings) -> str:
    """The address of the tables for a login that only reads, made where it is absent; with its password.

    Over 127.0.0.1 where TT_PG_PORT is set, else over the server's socket, which only this account can open.

    Raises
    ------
    UserError : the server is one of the user's own, with the statement that makes such a login there; or the embedded
        one was started without the port.
    """
    from tt_assets.postgres.reader import read_only_login
    from tt_assets.postgres.schema import check
    from tt_assets.runtime.home import kept_secret

    if settings.database_url is not None:
        raise UserError(
            "The server of TT_DATABASE_URL is yours: have its administrator run CREATE ROLE reader LOGIN PASSWORD '…' "
            "IN ROLE tt_reader, and put that login into the address."
        )
    in_use.hold(settings)
    database = database_of(settings, start=True, owner=True)
    check(database)
    return read_only_login(database, kept_secret(settings.home / "read_only.password"), settings.pg_port).shared_uri()


def psql(settings: Settings, arguments: Sequence[str], *, owner: bool = False) -> int:
    """Run psql on the tables; the password goes through the environment, never the command line.

    On the embedded server as the login that works there, or as its `owner`.
    """
    from psycopg.conninfo import conninfo_to_dict

    in_use.hold(settings)
    program = _program(settings)
    database = database_of(settings, start=True, owner=owner)
    database.connect().close()  # our words for what is wrong, not psql's
    parts = {key: str(value) for key, value in conninfo_to_dict(database.adbc_uri()).items()}
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    settings_ = {variable: parts[key] for key, variable in names.items() if key in parts}
    return subprocess.run([program, *arguments], env={**os.environ, **settings_}, check=False).returncode


def _program(settings: Settings) -> str:
    from tt_assets.postgres.server.binaries import find_binaries

    found = find_binaries(settings.pg_bin).folder / "psql"
    program = str(found) if found.exists() else shutil.which("psql")
    if not program:
        raise UserError("psql is not installed; install the PostgreSQL client or set TT_PG_BIN to its folder.")
    return program
