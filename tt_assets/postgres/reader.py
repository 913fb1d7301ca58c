"""Connections that can only look: the pages of the dashboard, and BI tools, ask the tables through these.

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

from tt_assets.errors import UserError
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.address import LOOPBACK
from tt_assets.postgres.server.cluster import READER_LOGIN

READER = "tt_dashboard"
"""The login on the embedded server."""

OF_READ_ONLY = {
    "default_transaction_read_only": "on",
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "temp_file_limit": "2GB",
    "max_parallel_workers_per_gather": "1",
    "search_path": "public",
}
"""Settings of the login that BI tools have. A session may change the times for itself, never what it may touch."""
MOST_CONNECTIONS = 20
_CLOSED_FUNCTIONS = ("lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid, bytea)")
"""What writes without a right to any table: large objects."""

STATEMENT_LIMIT, LOCK_LIMIT = 5_000, 1_000
"""Milliseconds that a statement may take, and may wait for a lock."""


def prepared_reader(database: Database) -> Database:
    """`database` for a login that only reads, made where it is absent; `database` itself on a server of the user's.

    `database` is the superuser's on the embedded server.
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


def read_only_login(database: Database, password: str, port: int | None) -> Database:
    """The embedded server's database for the login of BI tools, which has the rights of tt_reader.

    Parameters
    ----------
    database : the tables, as the superuser.
    password : that the login has from now on.
    port : where on 127.0.0.1 it is asked; None: over the socket, or wherever `database` is where that is TCP.

    Raises
    ------
    UserError : the running server does not listen on `port`.
    """
    role = sql.Identifier(READER_LOGIN)
    with database.connect(autocommit=True) as connection:
        listens = connection.execute("SELECT current_setting('listen_addresses'), current_setting('port')").fetchone()
        if port is not None and listens != (LOOPBACK, str(port)):
            raise UserError(
                f"The embedded server was started without TT_PG_PORT {port}: `tt db stop` (or `tt down`), then this "
                "command again."
            )
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER_LOGIN]).fetchone() is None:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN IN ROLE tt_reader CONNECTION LIMIT {}").format(
                    role, sql.Literal(MOST_CONNECTIONS)
                )
            )
        # Only what the server keeps anyway goes over the wire and into its log.
        verifier = connection.pgconn.encrypt_password(password.encode(), READER_LOGIN.encode(), b"scram-sha-256")
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier.decode())))
        for name, value in OF_READ_ONLY.items():
            connection.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), sql.Literal(value))
            )
        for statement in ("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", "GRANT TEMPORARY ON DATABASE {} TO tt_writer"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(database.name)))
        for function in _CLOSED_FUNCTIONS:
            connection.execute(sql.SQL(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
    changed = {"user": READER_LOGIN}
    if port is not None:
        changed |= {"host": LOOPBACK, "port": str(port)}
    parameters = dict(database.parameters) | changed
    if port is not None or database.secrets:
        parameters["password"] = password
    return Database.of(parameters)


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
