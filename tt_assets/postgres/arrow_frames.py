"""Frames out of queries, through ADBC and Arrow: no object is made for a value that is a number.

What ADBC knows of a database's types is asked for once a process: 40 ms of CPU that every connection opened by itself
would spend anew.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from psycopg import sql

from tt_assets.postgres.database import Database
from tt_assets.postgres.patience import patiently, watch_reader

if TYPE_CHECKING:
    from adbc_driver_postgresql import dbapi


Query = sql.Composable | Callable[[Sequence[pa.Table]], sql.Composable]
"""A statement, or what makes one of the results of those before it."""


def read_frame(database: Database, query: sql.Composable) -> pd.DataFrame:
    """The result of a query, through ADBC and Arrow.

    Parameters
    ----------
    database : that is asked.
    query : one statement.

    Returns
    -------
    Timestamps as datetime64[ns] without zone, text as str, NULL as None or NaN.
    """
    return read_frames(database, [query])[0]


def read_frames(
    database: Database, queries: Sequence[sql.Composable], *, categories: Collection[str] = ()
) -> list[pd.DataFrame]:
    """The results of queries, all of one moment.

    Parameters
    ----------
    database : that is asked.
    queries : one statement each.
    categories : columns that become categorical: text of few different values, an object for each of which would cost.

    Returns
    -------
    One frame a query, types as of `read_frame`.
    """
    return [in_pandas(table, categories) for table in read_tables(database, queries)]


def read_tables(database: Database, queries: Sequence[Query]) -> list[pa.Table]:
    """The results of queries as tables of Arrow, all of one moment.

    Parameters
    ----------
    database : that is asked.
    queries : one statement each, or what makes it of the results before it.
    """
    # ADBC tells nobody its socket, so a reader that hears nothing any more is left behind in its thread.
    return patiently(database, lambda: _read_tables(database, queries), abandon=True)


def in_pandas(table: pa.Table, categories: Collection[str] = ()) -> pd.DataFrame:
    """A table of Arrow as a frame, types as of `read_frame`.

    Parameters
    ----------
    table : of a query.
    categories : columns that become categorical.

    Returns
    -------
    Its rows and columns, in order.
    """
    frame: pd.DataFrame = table.to_pandas(
        date_as_object=False,
        coerce_temporal_nanoseconds=True,
        split_blocks=True,
        categories=[name for name in table.column_names if name in categories],
    )
    return frame


def _read_tables(database: Database, queries: Sequence[Query]) -> list[pa.Table]:
    from adbc_driver_postgresql import dbapi

    try:
        opened = _types_of(database.adbc_uri()).adbc_clone()
    except dbapi.Error:
        database.connect().close()  # says in one line what is wrong
        raise
    with opened as connection, connection.cursor() as cursor:
        if len(queries) > 1:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        watch_reader(cursor)
        tables: list[pa.Table] = []
        for query in queries:
            statement = query(tables) if callable(query) else query
            cursor.execute(statement.as_string())
            tables.append(cursor.fetch_arrow_table())
        return tables


@cache
def _types_of(uri: str) -> dbapi.Connection:
    """What ADBC has learned of the types of the database at `uri`: a closed connection that others are cloned from."""
    from adbc_driver_postgresql import dbapi

    asked = dbapi.connect(uri)
    asked.adbc_connection.close()
    atexit.register(asked.close)
    return asked
