"""Frames out of queries, through ADBC and Arrow: no object is made for a value that is a number.

What ADBC knows of a database's types is asked for once a process: 40 ms of CPU that every connection opened by itself
would spend anew.
"""

from __future__ import annotations

import atexit
from collections.abc import Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd
from psycopg import sql

from tt_assets.postgres.database import Database
from tt_assets.postgres.patience import patiently, watch_reader

if TYPE_CHECKING:
    from adbc_driver_postgresql import dbapi


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
    # ADBC tells nobody its socket, so a reader that hears nothing any more is left behind in its thread.
    return patiently(database, lambda: _read_frames(database, queries, categories), abandon=True)


def _read_frames(
    database: Database, queries: Sequence[sql.Composable], categories: Collection[str]
) -> list[pd.DataFrame]:
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
        frames = []
        for query in queries:
            cursor.execute(query.as_string())
            arrow = cursor.fetch_arrow_table()
            frames.append(
                arrow.to_pandas(
                    date_as_object=False,
                    coerce_temporal_nanoseconds=True,
                    split_blocks=True,
                    categories=[name for name in arrow.column_names if name in categories],
                )
            )
        return frames


@cache
def _types_of(uri: str) -> dbapi.Connection:
    """What ADBC has learned of the types of the database at `uri`: a closed connection that others are cloned from."""
    from adbc_driver_postgresql import dbapi

    asked = dbapi.connect(uri)
    asked.adbc_connection.close()
    atexit.register(asked.close)
    return asked
