"""Connections that can only look: the pages of the dashboard ask the tables through these.

On the embedded server they are a login of its own with the rights of `tt_reader`; `SET ROLE` within a stronger login
would be no wall, since whoever gets to say a statement could set it back. On a server of the user's the login is the
one that is named, and every transaction is read-only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from tt_assets.postgres.database import Database

READER = "tt_dashboard"
"""The login on the embedded server."""

STATEMENT_LIMIT, LOCK_LIMIT = 5_000, 1_000
"""Milliseconds that a statement may take, and may wait for a lock."""


def prepared_reader(database: Database) -> Database:
    """`database` for a login that only reads, made where it is absent; `database` itself on a server of the user's.

    Where the embedded server asks for passwords (on Windows) the login is the owner's, too.
    """
    if not database.embedded or database.secrets:
        return database
    with database.connect(autocommit=True) as connection:
        present = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER]).fetchone()
        if present is None:
            role = sql.Identifier(READER)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE tt_reader").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(role))
    return replace(database, parameters=tuple((dict(database.parameters) | {"user": READER}).items()))


@contextmanager
def looking(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """One connection for one page: everything it reads is of one moment, and nothing can be written.

    Raises DatabaseUnreachable; `psycopg.errors.QueryCanceled` where a statement takes longer than STATEMENT_LIMIT.
    """
    with database.connect() as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute(
            f"SET LOCAL statement_timeout = {STATEMENT_LIMIT}; SET LOCAL lock_timeout = {LOCK_LIMIT}; "
            "SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0"
        )
        yield connection
