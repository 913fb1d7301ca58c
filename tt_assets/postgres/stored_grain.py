"""Of which grain the stored partitions may be.

Apart from what moves them, because every command asks and needs no pandas for it.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, sql

from tt_assets.grain import DateGrain

WIDEST = {DateGrain.SESSION: 1, DateGrain.MONTH: 31, DateGrain.YEAR: 366}
"""Bars a partition can hold at most."""
LOOKED_AT = 2_000
"""Slices with rows that are looked at to tell the grain of a ledger."""


def fits(connection: Connection[Any], grain: DateGrain) -> bool:
    """Whether the newest slices of bars may be of partitions so wide; so may those of an empty ledger.

    Parameters
    ----------
    connection : to the tables.
    grain : that is asked about. A slice that does not begin with a partition, or has more bars than one can hold, is
        of another.
    """
    found = connection.execute(
        sql.SQL(
            "SELECT bool_and(s.date = date_trunc({width}, s.date)::date AND s.rows <= {most}) FROM ("
            "SELECT date, rows FROM tt_slice WHERE table_name = 'tt_prices' AND rows > 0 ORDER BY date DESC LIMIT {n}"
            ") AS s"
        ).format(width=sql.Literal(grain.field), most=sql.Literal(WIDEST[grain]), n=sql.Literal(LOOKED_AT))
    ).fetchone()
    return found is None or found[0] is not False
