"""The connections of a process to Dagster's database: one pool for runs, events and schedules.

Dagster connects anew for every question it asks, a hundred and fifty times in the run of one partition. Here a few
connections stay open between questions, as many more are opened as are needed at once, and each is looked at before it
is handed out, so that nobody notices a server that was restarted in between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial

from dagster_postgres.utils import retry_pg_connection_fn
from sqlalchemy import Connection, Engine, create_engine

type Connecting = AbstractContextManager[Connection]

KEPT = 1
"""Connections that stay open; questions are rarely asked at once."""


@cache
def engine_of(url: str) -> Engine:
    """The pool of this process for the database at `url`."""
    # No limit above what is kept: Dagster has none, and a question must not wait for another thread's.
    engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_size=KEPT, max_overflow=-1, pool_pre_ping=True)
    # A child's copy of a connection is the parent's: it may be neither used nor closed there.
    os.register_at_fork(after_in_child=partial(engine.dispose, close=False))
    return engine


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection of the pool; where none can be had it is tried again, as Dagster does."""
    connection = retry_pg_connection_fn(engine_of(url).connect)
    try:
        yield connection
    finally:
        connection.close()


class Pooled:
    """Which pool a storage asks over: that of the process, or a webserver's, which Dagster makes with a time limit."""

    postgres_url: str
    _of_webserver = False

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Use Dagster's own pool from now on."""
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)  # type: ignore[misc]
        self._of_webserver = True

    def over(self, dagsters: Callable[[], Connecting]) -> Connecting:
        """A connection of the pool in use; `dagsters` gives one of Dagster's."""
        return dagsters() if self._of_webserver else connected(self.postgres_url)
