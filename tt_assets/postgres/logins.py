"""The logins with which the platform works on the embedded server: a mere tt_writer, and the owner of Dagster's tables.

The superuser only makes roles and databases, migrates, dumps and restores. So a statement gone wrong, ours or one that
somebody smuggled into ours, cannot change the schema, read a password or a file, or run a program.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

PLATFORM_LOGIN = "tt_platform"
"""Works on the tables, with the rights of tt_writer."""
DAGSTER_LOGIN = "tt_dagster"
"""Owns Dagster's database and all that is in it: Dagster, and Optuna beside it, make their tables themselves."""

_LOCK = 0x74745F6C6F67696E
"""Key of the advisory lock: the bytes of `tt_login`."""
_GIVEN = (
    ("tt_writer", PLATFORM_LOGIN),
    # So that whoever waits for a lock can say who holds it.
    ("pg_read_all_stats", PLATFORM_LOGIN),
    ("pg_read_all_stats", DAGSTER_LOGIN),
)
"""Role → who is a member of it."""
_MADE = {"tt_writer": "NOLOGIN", "tt_reader": "NOLOGIN", PLATFORM_LOGIN: "LOGIN", DAGSTER_LOGIN: "LOGIN"}
_MEMBERS = """
    SELECT role.rolname, login.rolname FROM pg_auth_members AS given
    JOIN pg_roles AS role ON role.oid = given.roleid JOIN pg_roles AS login ON login.oid = given.member
"""
# The schema public belongs to whoever owns the database, as PostgreSQL itself has it; the sequence of a column and the
# type of a table follow their table.
_OF_OTHERS = """
    WITH own AS (
        SELECT oid, nspname, nspowner FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
    ), dagster AS (SELECT oid FROM pg_roles WHERE rolname = %(login)s)
    SELECT 0, format('ALTER SCHEMA %%I OWNER TO %%I', nspname, keeper.rolname)
    FROM own JOIN pg_roles AS keeper
        ON keeper.rolname = CASE nspname WHEN 'public' THEN 'pg_database_owner' ELSE %(login)s END
    WHERE nspowner <> keeper.oid
    UNION ALL
    SELECT 1, format('ALTER %%s %%I.%%I OWNER TO %%I',
        CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
        nspname, relname, %(login)s)
    FROM pg_class AS c JOIN own ON own.oid = relnamespace, dagster
    WHERE relowner <> dagster.oid AND (relkind IN ('r', 'p', 'v', 'm') OR relkind = 'S' AND NOT EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
    UNION ALL
    SELECT 2, format('ALTER TYPE %%I.%%I OWNER TO %%I', nspname, typname, %(login)s)
    FROM pg_type JOIN own ON own.oid = typnamespace, dagster
    WHERE typowner <> dagster.oid AND typtype IN ('e', 'd')
    UNION ALL
    SELECT 3, format('ALTER DATABASE %%I OWNER TO %%I', datname, %(login)s) FROM pg_database, dagster
    WHERE datname = current_database() AND datdba <> dagster.oid
    ORDER BY 1
"""


def make_logins(connection: psycopg.Connection[Any]) -> None:
    """Have the two logins there, members of what they need; any number of processes may do it at once.

    Parameters
    ----------
    connection : to any database of the embedded server as its superuser, in a transaction.
    """
    if set(_GIVEN) <= set(connection.execute(_MEMBERS).fetchall()):
        return
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    for role, kind in _MADE.items():
        try:
            with connection.transaction():
                connection.execute(sql.SQL(f"CREATE ROLE {{}} {kind}").format(sql.Identifier(role)))
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            continue
    for role, login in _GIVEN:
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(login)))


def hand_over(connection: psycopg.Connection[Any]) -> None:
    """Give DAGSTER_LOGIN Dagster's database with all that is in it; what tt_writer and tt_reader may there stays.

    Parameters
    ----------
    connection : to Dagster's database on the embedded server as its superuser, in a transaction; after `make_logins`.
    """
    login = {"login": DAGSTER_LOGIN}
    if not connection.execute(_OF_OTHERS, login).fetchall():
        return
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    for _, statement in connection.execute(_OF_OTHERS, login).fetchall():
        connection.execute(statement)
    # An address of the tables that is given as TT_DATABASE_URL is that of a plain member of tt_writer, here too.
    for role, rows, sequences in (
        ("tt_writer", "SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT"),
        ("tt_reader", "SELECT", "SELECT"),
    ):
        connection.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        for what, rights in (("TABLES", rows), ("SEQUENCES", sequences)):
            connection.execute(f"GRANT {rights} ON ALL {what} IN SCHEMA public TO {role}")
            connection.execute(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {DAGSTER_LOGIN} IN SCHEMA public GRANT {rights} ON {what} TO {role}"
            )
