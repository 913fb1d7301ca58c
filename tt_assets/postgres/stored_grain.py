"""Of which grain the stored partitions may be.

Apart from what moves them, because every command asks and needs no pandas for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import Connection, sql

from tt_assets.grain import DateGrain

WIDEST = {DateGrain.SESSION: 1, DateGrain.MONTH: 31, DateGrain.YEAR: 366}
"""Bars a partition can hold at most."""
DATES, OF_EACH = 100, 5
"""The newest dates of the ledger, and slices of each, that are looked at to tell its grain."""


def fits(connection: Connection[Any], grain: DateGrain) -> bool:
    """Whether the stored slices of bars may be of partitions so wide; so may those of an empty ledger.

    A few slices of many dates are looked at: of thousands of names in January, all fit a month as well as a year.

    Parameters
    ----------
    connection : to the tables.
    grain : that is asked about. A slice that does not begin with a partition, or has more bars than one can hold, is
        of another.
    """
    found = connection.execute(
        sql.SQL(
            "WITH RECURSIVE newest (date, place) AS ((SELECT date, 1 {filled} ORDER BY date DESC LIMIT 1) UNION ALL "
            "SELECT (SELECT date {filled} AND date < newest.date ORDER BY date DESC LIMIT 1), place + 1 FROM newest "
            "WHERE date IS NOT NULL AND place < {dates}) "
            "SELECT bool_and(s.date = date_trunc({width}, s.date)::date AND s.rows <= {most}) FROM newest "
            "CROSS JOIN LATERAL (SELECT date, rows {filled} AND date = newest.date LIMIT {of_each}) AS s"
        ).format(
            filled=sql.SQL("FROM tt_slice WHERE table_name = 'tt_prices' AND rows > 0"),
            dates=sql.Literal(DATES),
            of_each=sql.Literal(OF_EACH),
            width=sql.Literal(grain.field),
            most=sql.Literal(WIDEST[grain]),
        )
    ).fetchone()
    return found is None or found[0] is not False


def grain_of(connection: Connection[Any], likely: Iterable[DateGrain]) -> DateGrain | None:
    """Which grain the stored slices have.

    Parameters
    ----------
    connection : to the database of the slices.
    likely : grains, the likeliest first.

    Returns
    -------
    The first of `likely` that `fits`; None where none does.
    """
    return next((grain for grain in likely if fits(connection, grain)), None)
