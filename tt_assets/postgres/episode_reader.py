"""Recorded episodes as they are stored: a row of tt_episode with the rows of its eight children.

All nine tables are read in one snapshot, so an episode that is rolled again meanwhile is seen as it was
before or as it is after, never half of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from psycopg import sql

from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_store import read_frames
from tt_assets.tables import EPISODE_TABLES, HAND, OLD_AGENT, TABLES, content_columns


@dataclass(frozen=True, eq=False)
class StoredEpisode:
    """One episode; `header` is its row of tt_episode, `rows` maps each child table to its rows in the order of time.

    The rows have the content columns of their table without `episode_id`; those of tt_holdings have `timestamp` in
    place of `portfolio_id`.
    """

    header: Mapping[str, Any]
    rows: Mapping[str, pd.DataFrame]

    @property
    def finished(self) -> bool:
        """Whether it was closed."""
        return not pd.isna(self.header["end_time"])


def windows_with_episodes(database: Database) -> list[tuple[date, str]]:
    """(window start, traded) of every window that was rolled, in this order."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT window_start, instrument FROM tt_episode WHERE strategy <> ALL(%s) ORDER BY 1, 2",
            [[HAND, OLD_AGENT]],
        ).fetchall()
    return [(start, traded) for start, traded in rows]


def stored_episodes(database: Database, window_start: date, traded: str) -> list[StoredEpisode]:
    """The episodes that were rolled over one window, unfinished ones too, by strategy and seed.

    None of an agent in whose place another was rolled.
    """
    chosen = sql.SQL(
        "SELECT id FROM tt_episode WHERE window_start = {start} AND instrument = {traded} AND strategy <> ALL({others})"
    ).format(start=sql.Literal(window_start), traded=sql.Literal(traded), others=sql.Literal([HAND, OLD_AGENT]))
    headers, *children = read_frames(database, [_query(table, chosen) for table in EPISODE_TABLES])
    grouped = [dict(list(child.groupby("episode_id", sort=False))) for child in children]
    nothing = [child.iloc[:0] for child in children]
    return [
        StoredEpisode(
            {str(name): value for name, value in header.items()},
            {
                table: own.get(header["id"], none).drop(columns="episode_id").reset_index(drop=True)
                for table, own, none in zip(EPISODE_TABLES[1:], grouped, nothing, strict=True)
            },
        )
        for header in headers.to_dict("records")
    ]


def _query(table: str, chosen: sql.Composable) -> sql.Composable:
    """The rows of `table` that belong to the episodes `chosen`."""
    names = [name for name in content_columns(TABLES[table]) if name not in ("episode_id", "portfolio_id")]
    source, columns = sql.Identifier(table), sql.SQL(", ").join(sql.Identifier("t", name) for name in names)
    if table == "tt_episode":
        text = "SELECT t.id, {columns} FROM {source} AS t WHERE t.id IN ({chosen}) ORDER BY t.strategy, t.seed"
    elif table == "tt_holdings":
        text = (
            "SELECT p.episode_id, p.timestamp, {columns} FROM {source} AS t JOIN tt_portfolio AS p "
            "ON p.id = t.portfolio_id WHERE p.episode_id IN ({chosen}) ORDER BY p.timestamp, t.instrument"
        )
    else:
        within = ", t.instrument" if "instrument" in names else ""
        text = (
            "SELECT t.episode_id, {columns} FROM {source} AS t WHERE t.episode_id IN ({chosen}) "
            f"ORDER BY t.timestamp{within}"
        )
    return sql.SQL(text).format(columns=columns, source=source, chosen=chosen)
