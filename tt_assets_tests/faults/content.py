"""What every table holds, as digests that the server takes of its rows: nothing of the product has a hand in them."""

from __future__ import annotations

from tt_assets.postgres.database import Database
from tt_assets.tables import EPISODE_TABLES, OLD_AGENT, TABLES, content_columns

Content = dict[str, tuple[int, int]]
"""Table → rows, and the order-free sum of the hashes of their texts."""


def content(database: Database, *tables: str) -> Content:
    """The rows of `tables` (all thirteen) without surrogate ids, those of agents and episodes out of force left out."""
    found: Content = {}
    with database.connect() as connection:
        for table in tables or TABLES:
            ((rows, number),) = connection.execute(
                f"SELECT count(*), coalesce(sum(hashtextextended(r::text, 0)), 0) FROM ({_rows(table)}) AS r"
            ).fetchall()
            found[table] = int(rows), int(number)
    return found


def _rows(table: str) -> str:
    own = ", ".join(f"t.{name}" for name in content_columns(TABLES[table]) if not name.endswith("_id"))
    if table not in EPISODE_TABLES:
        return f"SELECT {own} FROM {table} AS t{' WHERE superseded_at IS NULL' if table == 'tt_policy' else ''}"
    joined = {
        "tt_episode": "tt_episode AS t JOIN tt_episode AS e USING (id)",
        "tt_holdings": "tt_holdings AS t JOIN tt_portfolio AS p ON p.id = t.portfolio_id "
        "JOIN tt_episode AS e ON e.id = p.episode_id",
    }.get(table, f"{table} AS t JOIN tt_episode AS e ON e.id = t.episode_id")
    session = ", p.timestamp AS session" if table == "tt_holdings" else ""
    return (
        f"SELECT e.window_start AS w, e.instrument AS traded, e.strategy AS s, e.seed AS n{session}, {own} "
        f"FROM {joined} WHERE e.strategy <> '{OLD_AGENT}'"
    )
