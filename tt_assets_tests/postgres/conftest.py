"""Databases of a test's own on the session's server."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from psycopg import sql

from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer


@pytest.fixture
def new_database(embedded_server: EmbeddedServer) -> Iterator[Database]:
    """An empty database."""
    yield from _new_database(embedded_server)


@pytest.fixture
def second_database(embedded_server: EmbeddedServer) -> Iterator[Database]:
    """Another one."""
    yield from _new_database(embedded_server)


def _new_database(server: EmbeddedServer) -> Iterator[Database]:
    database = Database.on(server, f"test_{uuid4().hex[:12]}")
    database.create_databases()
    yield database
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))
