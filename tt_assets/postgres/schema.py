"""Bringing the tables of a database to the revision of this package, and telling whether they are there.

The whole upgrade is one transaction under one advisory lock. Any number of processes may upgrade at once,
and a killed one leaves the schema as it was.
"""

from __future__ import annotations

import logging
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import text

from tt_assets.errors import UserError
from tt_assets.grain import DateGrain
from tt_assets.postgres.database import Database
from tt_assets.postgres.patience import patient_on_database

if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE_LOCK = 0x74745F736368656D
"""Key of the advisory lock: the bytes of `tt_schem`."""

LEDGER_SINCE = "0004"
"""The revision that brought the ledger."""

BARS_SINCE = "0008"
"""The revision that stores features and scores by the bar."""
MANY_VALUES, VALUES_A_SECOND = 2_000_000, 150_000
"""From how many values on it is said how long that takes, and what two busy cores do."""

_words = logging.getLogger(__name__)
_alembic = threading.Lock()  # alembic's environment is a global of the process


class SchemaError(UserError):
    """The tables of the database are not those of this package."""


class SchemaMissing(SchemaError):
    """The database has no tables of tt_assets."""


class SchemaOlder(SchemaError):
    """The tables were made by an older tt_assets."""


class SchemaNewer(SchemaError):
    """The tables were made by a tt_assets that this one does not know."""


class RelationInTheWay(SchemaError):
    """The database has a relation of somebody else's under the name of a table of ours."""


class DependedOn(SchemaError):
    """Somebody else's view or function hangs on a table that an upgrade makes anew."""


class SchemaNotAllowed(SchemaError):
    """The user may not change the schema."""


@cache
def revisions() -> tuple[str, ...]:
    """The revisions of this package, oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    return tuple(reversed([step.revision for step in script.walk_revisions()]))


def head() -> str:
    """The newest revision of this package."""
    return revisions()[-1]


@patient_on_database
def current(database: Database) -> str | None:
    """The revision of the database, or None where it has no tables of ours. Raises DatabaseUnreachable."""
    with database.connect() as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return row[0] if row else None


@patient_on_database
def upgrade(database: Database, *, grain: DateGrain = DateGrain.SESSION) -> None:
    """Create the databases where they are absent and bring the tables to `head()`; nothing to do is fine.

    Parameters
    ----------
    database : the tables'; its user must be allowed to change the schema.
    grain : width of the partitions of the market tables, for a ledger that has to be filled from rows that were stored
        without one.

    Raises
    ------
    SchemaNewer : the tables are of a version this package does not know; they are not touched.
    RelationInTheWay : somebody else's relation has the name of a table; nothing was changed.
    DependedOn : somebody else's view hangs on a table that is made anew; nothing was changed.
    SchemaNotAllowed : the user lacks a right; nothing was changed.
    DatabaseUnreachable, MayNotCreate : as of `Database`.
    Locked : somebody's transaction keeps a table locked; nothing was changed.
    """
    from alembic import command

    from tt_assets.postgres.standing import fill_ledger  # brings pandas, which most commands never need

    database.create_databases()
    if current(database) == head():
        return
    failure: SchemaError | None = None
    with _alembic, database.engine().connect() as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        before = current(database)
        _refuse_unknown(database, before)
        if before is not None and before < BARS_SINCE:
            _say_how_long(connection.connection.driver_connection)  # type: ignore[arg-type]
        try:
            command.upgrade(_config(connection), "head")
            if before is not None and before < LEDGER_SINCE:
                fill_ledger(connection.connection.driver_connection, grain=grain)  # type: ignore[arg-type]
        except Exception as error:
            failure = _refused(database, getattr(error, "orig", None))
            if failure is None:
                raise
            connection.rollback()
    if failure:
        raise failure  # outside the handler, so that the driver's error is not even its context


def check(database: Database) -> None:
    """Refuse a database whose tables are not at `head()`.

    Raises
    ------
    SchemaMissing : it has no tables of ours.
    SchemaOlder : they want an upgrade.
    SchemaNewer : they are of a version this package does not know.
    DatabaseUnreachable : the server cannot be reached.
    """
    found = current(database)
    if found is None:
        raise SchemaMissing(f'The database "{database.masked()}" has no tables of tt_assets: run `tt db upgrade`.')
    _refuse_unknown(database, found)
    if found != head():
        raise SchemaOlder(
            f'The tables in "{database.masked()}" are at revision {found}, this tt_assets needs {head()}: '
            "run `tt db upgrade`."
        )


def _say_how_long(connection: psycopg.Connection[Any]) -> None:
    """One line where it will take a while to store features and scores by the bar."""
    row = connection.execute(
        "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint, "
        "coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
        "WHERE oid = ANY(ARRAY[to_regclass('tt_features'), to_regclass('tt_signal_scores')])"
    ).fetchone()
    values, size = row or (0, 0)
    if values > MANY_VALUES:
        _words.warning(
            "The upgrade stores %s million features and scores by the bar: about %d minutes, in which nobody else "
            "reads or writes them. It needs %.1f GB free and gives %.1f GB back. Interrupted, it leaves them as they "
            "are.",
            f"{values / 1e6:,.0f}",
            max(1, round(values / VALUES_A_SECOND / 60)),
            size / 4e9,
            size / 1e9,
        )


def _refused(database: Database, error: BaseException | None) -> SchemaError | None:
    """What is to be said of an upgrade that the server refused; None where that is no person's affair."""
    reason = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return SchemaNotAllowed(
            f'The user of "{database.masked()}" may not change the schema ({reason}): run `tt db upgrade` as the '
            f'owner of the database, or have an administrator run ALTER DATABASE "{database.name}" OWNER TO that user.'
        )
    if isinstance(error, psycopg.errors.DuplicateTable | psycopg.errors.DuplicateObject):
        return RelationInTheWay(
            f'The database "{database.name}" has something of somebody else\'s under a name that tt_assets needs '
            f"({reason}): rename it (ALTER TABLE … RENAME TO …), or name a database of its own in TT_DATABASE_URL. "
            "Nothing was changed."
        )
    if isinstance(error, psycopg.errors.DependentObjectsStillExist):
        what = "; ".join((error.diag.message_detail or reason).splitlines())
        return DependedOn(
            f'Something of somebody else\'s in the database "{database.name}" hangs on a table that the upgrade makes '
            f"anew ({what}): keep its definition (pg_dump --schema-only), drop it, upgrade, and make it again. Nothing "
            "was changed."
        )
    return None


def _refuse_unknown(database: Database, found: str | None) -> None:
    if found is not None and found not in revisions():
        raise SchemaNewer(
            f'The tables in "{database.masked()}" are at revision {found}, this tt_assets knows none beyond {head()}: '
            "upgrade tt_assets (pip install --upgrade tt_assets), or name its own database in TT_DATABASE_URL."
        )


def _config(connection: object = None) -> Config:
    """Alembic's configuration; the scripts are named by package, so that any path of an installation will do."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tt_assets.postgres:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
