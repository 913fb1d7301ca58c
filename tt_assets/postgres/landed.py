"""What a request came to, as the ledger has it: how many of its slices are there, and which of them its runs wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tt_assets.postgres.database import Database


@dataclass(frozen=True)
class Landed:
    """Slices of a request.

    Parameters
    ----------
    there : how many are on record as made, be it without a row.
    written : how many of them some runs wrote.
    rows : of those that these wrote.
    """

    there: int
    written: int
    rows: int


def landed(
    database: Database, tables: Sequence[str], dates: Sequence[str], instruments: Sequence[str], runs: Sequence[str]
) -> Landed:
    """How the slices of a request stand.

    Parameters
    ----------
    database : where the ledger is.
    tables : of the request.
    dates : its date keys, ascending, without one left out.
    instruments : its symbols, or what is traded.
    runs : ids of the runs that carried it out.
    """
    if not dates:
        return Landed(0, 0, 0)
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE run_id = ANY(%(runs)s)), "
            "coalesce(sum(rows) FILTER (WHERE run_id = ANY(%(runs)s)), 0) FROM tt_slice "
            "WHERE table_name = ANY(%(tables)s) AND instrument = ANY(%(names)s) AND rows IS NOT NULL "
            "AND date BETWEEN %(first)s::date AND %(last)s::date",
            {
                "runs": list(runs),
                "tables": list(tables),
                "names": list(instruments),
                "first": dates[0],
                "last": dates[-1],
            },
        ).fetchall()
    return Landed(*map(int, rows[0]))
