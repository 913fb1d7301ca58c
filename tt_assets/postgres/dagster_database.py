"""Dagster's own database: named after the tables' one, so that two homes on one server never share a history.

Tables in `tt` have `dagster`, tables in any other X have `X_dagster`. Whose it is stands in the database's
comment, where an administrator sees it and where it can be read without entering it. A version before this one kept the
history of every X in `dagster`; the first upgrade renames it.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

from tt_assets.errors import UserError
from tt_assets.postgres.database_url import DAGSTER_DATABASE, dagster_name

_MARK = "Dagster's storage of the tt_assets tables in database "
_MARKED = re.compile(re.escape(_MARK) + '"(.*)"', re.DOTALL)
_SHARED_BEFORE = """
    SELECT to_regclass('public.asset_keys') IS NOT NULL
       AND to_regclass('public.runs') IS NOT NULL
       AND EXISTS (SELECT FROM public.asset_keys WHERE asset_key = '["tt_prices"]')
"""


class DagsterDatabaseTaken(UserError):
    """The database for Dagster's storage belongs to the tables of another database."""


def refuse_taken(connection: psycopg.Connection[Any], tables: str) -> None:
    """Refuse a database of Dagster's whose comment names the tables of another one.

    Parameters
    ----------
    connection : to any database of the server.
    tables : name of the tables' database.

    Raises
    ------
    DagsterDatabaseTaken : names both, and how they are told apart.
    """
    name = dagster_name(tables)
    owner = _owner(connection, name)
    if owner not in (None, tables):
        raise DagsterDatabaseTaken(
            f'The database "{name}" holds Dagster\'s storage of the tables in "{owner}", not of those in "{tables}": '
            f'name "{owner}" in TT_DATABASE_URL, or with everything stopped have an administrator run '
            f'ALTER DATABASE "{name}" RENAME TO "{dagster_name(str(owner))}".'
        )


def mark(connection: psycopg.Connection[Any], tables: str) -> None:
    """Note in Dagster's database whose it is; left alone where it has a comment or is somebody else's.

    Parameters
    ----------
    connection : to any database of the server, in autocommit.
    tables : name of the tables' database.
    """
    name = dagster_name(tables)
    if _comment(connection, name):
        return
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(f'{_MARK}"{tables}"'))
    try:
        connection.execute(statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InternalError):
        return  # made by an administrator, or marked by another process at the same moment


def is_of_older_version(inside: psycopg.Connection[Any]) -> bool:
    """Whether the unmarked database `dagster`, which `inside` is connected to, has a history of our tables."""
    try:
        row = inside.execute(_SHARED_BEFORE).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
        return False
    return bool(row and row[0])


def rename_older(connection: psycopg.Connection[Any], tables: str) -> None:
    """Give the `dagster` of an older version the name it has now.

    Parameters
    ----------
    connection : to another database of the server, in autocommit.
    tables : name of the tables' database.

    Raises
    ------
    DagsterDatabaseTaken : somebody is connected to it, or the user may not rename it.
    """
    name = dagster_name(tables)
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(DAGSTER_DATABASE), sql.Identifier(name))
    try:
        connection.execute(statement)
    except (psycopg.errors.InvalidCatalogName, psycopg.errors.DuplicateDatabase):
        return  # another process was faster
    except psycopg.errors.ObjectInUse:
        remedy = "somebody is connected to it: stop everything that uses it, then run this command again"
    except psycopg.errors.InsufficientPrivilege:
        remedy = f"have an administrator run {statement.as_string(connection)} with everything stopped"
    else:
        return
    raise DagsterDatabaseTaken(
        f'The database "{DAGSTER_DATABASE}" of an older tt_assets has to become "{name}", beside the tables in '
        f'"{tables}"; {remedy}.'
    )


def may_be_of_older_version(connection: psycopg.Connection[Any], tables: str, present: set[str]) -> bool:
    """Whether `dagster` could be the storage that an older version made: no other database claims it.

    Parameters
    ----------
    connection : to any database of the server.
    tables : name of the tables' database.
    present : names of all databases of the server.
    """
    return (
        dagster_name(tables) != DAGSTER_DATABASE
        and dagster_name(tables) not in present
        and tables in present
        and DAGSTER_DATABASE in present
        and not any(dagster_name(other) == DAGSTER_DATABASE for other in present)
        and _comment(connection, DAGSTER_DATABASE) is None
    )


def _owner(connection: psycopg.Connection[Any], name: str) -> str | None:
    found = _MARKED.fullmatch(_comment(connection, name) or "")
    return found[1] if found else None


def _comment(connection: psycopg.Connection[Any], name: str) -> str | None:
    row = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]
    ).fetchone()
    return row[0] if row else None
