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


def psql(settings: Settings, arguments: Sequence[str]) -> int:
    """Run psql on the tables; the password goes through the environment, never the command line."""
    from psycopg.conninfo import conninfo_to_dict

    in_use.hold(settings)
    program = _program(settings)
    database = database_of(settings, start=True)
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
