"""What the roles tt_owner, tt_writer and tt_reader may do in both databases, given again whenever it is asked for.

Migrations give the same where they may. An administrator who makes the roles later, a table of Dagster's that came
with an upgrade, or a restored dump are what this is for.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from tt_assets.errors import UserError
from tt_assets.postgres.database import Database
from tt_assets.postgres.views import VIEWS

ROLES = ("tt_owner", "tt_writer", "tt_reader")
_SCHEMA = {"tt_owner": "USAGE, CREATE", "tt_writer": "USAGE", "tt_reader": "USAGE"}
_ROWS = {"tt_owner": "ALL", "tt_writer": "SELECT, INSERT, UPDATE, DELETE", "tt_reader": "SELECT"}
_SEQUENCES = {"tt_owner": "ALL", "tt_writer": "USAGE, SELECT", "tt_reader": "SELECT"}
_READ_ONLY = ("alembic_version", *(view.name for view in VIEWS))
"""Tables that only migrations change, and views."""


class GrantsError(UserError):
    """The rights were not given; nothing was changed."""


def present_roles(database: Database) -> tuple[str, ...]:
    """Which of the three roles the server has. Raises DatabaseUnreachable."""
    with database.connect() as connection:
        found = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    return tuple(role for role in ROLES if role in found)


def grant(database: Database) -> tuple[str, ...]:
    """Give each role its rights in the tables' database and in Dagster's; the roles that are there.

    Roles that are missing are made where the user may, and tt_owner gets the tables where the user loses nothing by
    it. Idempotent, and one transaction in each database.

    Raises
    ------
    GrantsError : no role is there, with the statement that makes them; or the user owns too little.
    DatabaseUnreachable : the server cannot be reached.
    """
    _make_roles(database)
    roles = present_roles(database)
    if not roles:
        raise GrantsError(
            f"The server has none of the roles {', '.join(ROLES)}: have an administrator run "
            f"{' '.join(f'CREATE ROLE {role};' for role in ROLES)}"
        )
    for one in (database, database.dagster()):
        _grant_in(one, roles)
    if "tt_owner" in roles:
        _give_away(database)
    return roles


def _make_roles(database: Database) -> None:
    """Make what is missing of the roles; nothing happens where the user may not."""
    with database.connect(autocommit=True) as connection:
        for role in ROLES:
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                try:
                    connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
                except psycopg.errors.InsufficientPrivilege:
                    return


def _give_away(database: Database) -> None:
    """Tables, views and sequences of ours go to tt_owner, unless the user would lose them by that."""
    with database.connect() as connection:
        if connection.execute("SELECT pg_has_role(current_user, 'tt_owner', 'USAGE')").fetchone() != (True,):
            return
        with suppress(psycopg.errors.InsufficientPrivilege):  # somebody else's already
            for kind, name in connection.execute(_OURS, [[view.name for view in VIEWS]]).fetchall():
                statement = sql.SQL(f"ALTER {kind} {{}} OWNER TO tt_owner")
                connection.execute(statement.format(sql.Identifier("public", name)))


_OURS = """
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.relname FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace
      AND (c.relname LIKE 'tt\\_%%' OR c.relname = 'alembic_version' OR c.relname = ANY(%s))
      AND (c.relkind IN ('r', 'p', 'v') OR c.relkind = 'S' AND NOT EXISTS (
          SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'i'))
    ORDER BY c.relname
"""
"""Tables and views of ours, and sequences that do not belong to a column of one, which follow their table."""


def _grant_in(database: Database, roles: tuple[str, ...]) -> None:
    refused = None
    with database.connect() as connection:
        try:
            for role in roles:
                _grant_to(connection, role, database.name)
        except psycopg.errors.InsufficientPrivilege as error:
            connection.rollback()
            refused = error.diag.message_primary
    if refused:
        raise GrantsError(
            f'The user may not give rights in "{database.name}" ({refused}): run `tt db grants` as the owner of its '
            "tables."
        )


def _grant_to(connection: psycopg.Connection[Any], role: str, database: str) -> None:
    """The rights of one role: on the database, on what is in it, on what comes later."""

    def run(statement: str, **names: str) -> None:
        connection.execute(
            sql.SQL(statement).format(role=sql.Identifier(role), **{k: sql.Identifier(v) for k, v in names.items()})
        )

    run("GRANT CONNECT ON DATABASE {database} TO {role}", database=database)
    run(f"GRANT {_SCHEMA[role]} ON SCHEMA public TO {{role}}")
    run(f"GRANT {_ROWS[role]} ON ALL TABLES IN SCHEMA public TO {{role}}")
    run(f"GRANT {_SEQUENCES[role]} ON ALL SEQUENCES IN SCHEMA public TO {{role}}")
    run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {_ROWS[role]} ON TABLES TO {{role}}")
    run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {_SEQUENCES[role]} ON SEQUENCES TO {{role}}")
    if role == "tt_writer":
        for table in _READ_ONLY:
            if connection.execute("SELECT to_regclass(%s)", [f"public.{table}"]).fetchone() != (None,):
                run("REVOKE INSERT, UPDATE, DELETE ON {table} FROM {role}", table=table)
