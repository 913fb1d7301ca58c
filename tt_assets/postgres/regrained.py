"""The ledger of the market tables at another grain: what it says is read, and put back, some instruments at a time.

The rows of the tables are not touched. Whoever moves a ledger holds the tables, so that nobody writes a slice of the
old grain in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from psycopg import Connection, sql

from tt_assets.postgres.ledger import NOW
from tt_assets.tables import EPISODE_TABLES, LEDGER, MARKET_TABLES

ENTRY = (
    "date", "instrument", "rows", "digest", "reads", "code", "fetch", "run_id", "written_at", "outcome", "changed",
    "failure", "source", "tries", "tried_at",
)  # fmt: skip
"""What is moved of an entry: date keys as ISO text, JSON as text; NULL is None."""

_TYPES = dict(
    zip(ENTRY, ("date", "text", "bigint", "text", "bigint", "text", "bigint", "text", "timestamptz", "text", "json",
                "json", "text", "integer", "timestamptz"), strict=True)
)  # fmt: skip


def hold_market(connection: Connection[Any]) -> None:
    """Keep everybody from writing the market tables and the ledger until the transaction ends."""
    for table in (*MARKET_TABLES, LEDGER.name):
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table)))


def instruments_on_record(connection: Connection[Any]) -> list[str]:
    """The instruments of which the ledger has a slice of a market table, ascending."""
    rows = connection.execute(
        "SELECT DISTINCT instrument FROM tt_slice WHERE table_name = ANY(%s) ORDER BY 1", [list(MARKET_TABLES)]
    ).fetchall()
    return [name for (name,) in rows]


def entries(connection: Connection[Any], table: str, instruments: Sequence[str]) -> pd.DataFrame:
    """The entries of some instruments of a table.

    Parameters
    ----------
    connection : in a transaction.
    table : of the slices.
    instruments : symbols.

    Returns
    -------
    Columns ENTRY, of type object; sorted by instrument, then date.
    """
    columns = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name))
        if name in ("date", "changed", "failure")
        else sql.Identifier(name)
        for name in ENTRY
    )
    rows = connection.execute(
        sql.SQL(
            "SELECT {} FROM tt_slice WHERE table_name = %s AND instrument = ANY(%s) ORDER BY instrument, date"
        ).format(columns),
        [table, list(instruments)],
    ).fetchall()
    return pd.DataFrame(rows, columns=list(ENTRY), dtype=object)


def replace_entries(connection: Connection[Any], table: str, instruments: Sequence[str], new: pd.DataFrame) -> None:
    """Put `new` in the place of all entries of some instruments; Dagster is still to be told of those with content.

    Parameters
    ----------
    connection : in a transaction that holds the tables.
    table, instruments : of the slices.
    new : columns ENTRY.
    """
    connection.execute(
        "DELETE FROM tt_slice WHERE table_name = %s AND instrument = ANY(%s)", [table, list(instruments)]
    )
    names = sql.SQL(", ").join(map(sql.Identifier, ENTRY))
    given = sql.SQL(", ").join(
        sql.SQL("%s::{}[]").format(sql.SQL("text" if kind == "json" else kind)) for kind in _TYPES.values()
    )
    values = sql.SQL(", ").join(
        sql.SQL("n.{}::{}").format(sql.Identifier(name), sql.SQL(_TYPES[name])) for name in ENTRY
    )
    columns = [[None if pd.isna(value) else _plain(value, _TYPES[name]) for value in new[name]] for name in ENTRY]
    connection.execute(
        sql.SQL(
            "INSERT INTO tt_slice (table_name, {names}, told, written_in) "
            "SELECT %s, {values}, n.digest IS NULL, {now} FROM unnest({given}) AS n({names})"
        ).format(names=names, values=values, given=given, now=sql.SQL(NOW)),
        [table, *columns],
    )


def _plain(value: Any, kind: str) -> Any:
    """A value as psycopg takes it: pandas keeps whole numbers beside a NULL as fractions."""
    return int(value) if kind in ("bigint", "integer") else value


def replace_window_reads(
    connection: Connection[Any], dates: Sequence[str], traded: Sequence[str], sums: Sequence[int]
) -> None:
    """Enter what the episodes of windows were rolled on, as sums over slices of the new grain.

    Parameters
    ----------
    connection : in a transaction.
    dates, traded, sums : window, what is traded in it, and the sum, beside each other.
    """
    connection.execute(
        f"UPDATE tt_slice AS s SET reads = k.n, written_in = {NOW} "
        "FROM unnest(%s::date[], %s::text[], %s::bigint[]) AS k(d, i, n) "
        "WHERE s.table_name = ANY(%s) AND s.date = k.d AND s.instrument = k.i AND s.reads IS NOT NULL",
        [list(dates), list(traded), list(sums), list(EPISODE_TABLES)],
    )


def tell_market_anew(connection: Connection[Any]) -> None:
    """Have Dagster be told of every slice of the market tables again."""
    connection.execute(
        "UPDATE tt_slice SET told = false WHERE table_name = ANY(%s) AND digest IS NOT NULL AND told",
        [list(MARKET_TABLES)],
    )
