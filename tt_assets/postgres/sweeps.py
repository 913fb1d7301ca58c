"""Where Optuna keeps its studies: tables of its own, in a schema of its own of Dagster's database.

They are the bookkeeping of whoever proposes what to try next, as Dagster's are of whoever runs it. What was tried, and
what came of it, stands in `tt_trial`, from which nothing is ever deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from tt_assets.errors import UserError
from tt_assets.postgres.database import Database

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

SCHEMA = "tt_sweep"


class SweepRunning(UserError):
    """Another process works on the study."""


class SweepNotAllowed(UserError):
    """The user may not make the tables of Optuna."""


class StudiesOfAnotherOptuna(UserError):
    """The tables of Optuna are those of another version."""


@contextmanager
def one_sweep(database: Database, study: str) -> Iterator[None]:
    """Be the only one who works on a study; the server lets go of it when this process dies.

    Parameters
    ----------
    database : the tables'; the lock is in Dagster's beside it.
    study : its name.

    Yields
    ------
    Nothing; the lock is held until the block ends.

    Raises
    ------
    SweepRunning : somebody else works on it.
    """
    key = int.from_bytes(hashlib.blake2b(f"{SCHEMA} {study}".encode(), digest_size=8).digest(), "big", signed=True)
    with database.dagster().connect(autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
        if not row or not row[0]:
            raise SweepRunning(f'Another process works on the study "{study}": wait for it, or name another (--study).')
        yield


@contextmanager
def optuna_storage(database: Database) -> Iterator[RDBStorage]:
    """Optuna's storage on the server of `database`; its tables are made where they are absent.

    Parameters
    ----------
    database : the tables'; Optuna's are in Dagster's beside it.

    Raises
    ------
    SweepNotAllowed : the user may not create the schema.
    StudiesOfAnotherOptuna : the tables were made by a version whose tables are others.
    DatabaseUnreachable : the server cannot be reached.
    """
    import optuna
    from sqlalchemy.engine import URL

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    beside = database.dagster()
    _make_schema(beside)

    def connect() -> psycopg.Connection[Any]:
        connection = beside.connect()
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(SCHEMA)))
        connection.commit()
        return connection

    # The address is only the name of the driver: whoever prints it shows no login.
    url = URL.create("postgresql+psycopg").render_as_string()
    storage = optuna.storages.RDBStorage(
        url, engine_kwargs={"creator": connect, "pool_pre_ping": True}, skip_compatibility_check=True
    )
    try:
        # Optuna's own upgrade opens a connection of its own, which would not find the server.
        if (made_by := storage.get_current_version()) != storage.get_head_version():
            raise StudiesOfAnotherOptuna(
                f'The studies in the schema "{SCHEMA}" of the database "{beside.name}" are of Optuna {made_by}, this '
                f"is {optuna.__version__}: install that version, or drop the schema and begin anew; what was tried "
                "stays in tt_trial."
            )
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _make_schema(database: Database) -> None:
    statement = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA))
    try:
        with database.connect() as connection:
            connection.execute(statement)
    except psycopg.errors.UniqueViolation:
        return  # another process was faster
    except psycopg.errors.InsufficientPrivilege:
        pass
    else:
        return
    raise SweepNotAllowed(
        f'The user may not create the schema "{SCHEMA}" in the database "{database.name}": have an administrator run '
        f'GRANT CREATE ON DATABASE "{database.name}" TO that user.'
    )
