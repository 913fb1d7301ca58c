"""Recorded episodes as they are stored: a row of tt_episode with the rows of its eight children.

Everybody who wants rows of episodes asks here, but for `tt_assets.read`, whose frames have columns of their own.
All nine tables are read in one snapshot, so an episode that is rolled again meanwhile is seen as it was
before or as it is after, never half of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from psycopg import sql

from tt_assets.postgres.arrow_frames import read_frame, read_frames
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_rows import (
    alias_of,
    by_code_point,
    column_of,
    joined_source,
    own_columns,
    session_order,
)
from tt_assets.postgres.slices import Selection
from tt_assets.tables import EPISODE_TABLES, HAND, OLD_AGENT, TABLES, content_columns

AGENT = "agent"
"""`tt_episode.strategy` of the agents that are current."""

ENSEMBLE = "ensemble"
"""`tt_episode.strategy` of the agents of a window acting together."""


@dataclass(frozen=True, eq=False)
class StoredEpisode:
    """One episode.

    Parameters
    ----------
    header : its row of tt_episode.
    rows : child table → its rows in the order of time: content columns without `episode_id`; those of tt_holdings have
        `timestamp` in place of `portfolio_id`.
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
    """The episodes that were rolled over one window, unfinished ones too; none of superseded agents.

    Parameters
    ----------
    database : where they are recorded.
    window_start : first day of the quarter.
    traded : symbol or portfolio.

    Returns
    -------
    By strategy and seed, all of one moment.
    """
    chosen = sql.SQL(
        "SELECT id FROM tt_episode WHERE window_start = {start} AND instrument = {traded} AND strategy <> ALL({others})"
    ).format(start=sql.Literal(window_start), traded=sql.Literal(traded), others=sql.Literal([HAND, OLD_AGENT]))
    # All nine in one snapshot: an episode that is replaced meanwhile is whole in it, or not there.
    headers, *children = read_frames(database, [_of_episodes(table, chosen) for table in EPISODE_TABLES])
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


def finished_rows(database: Database, table: str, windows: Selection) -> pd.DataFrame:
    """Rows of the finished episodes of walk-forward windows, those of old agents left out.

    Parameters
    ----------
    database : where the table is.
    table : one of the nine episode tables.
    windows : (window start, traded) as cells of their quarter.

    Returns
    -------
    `window_start`, `traded`, `id` and the table's content columns, sorted by window, what is traded and `id`; types as
    of `read_frame`.
    """
    shown = ["id", *content_columns(TABLES[table])]
    if table == "tt_episode":
        shown = [name for name in shown if name not in ("window_start", "instrument")]
    query = sql.SQL(
        "SELECT e.window_start, e.instrument AS traded, {columns} FROM {source} "
        "JOIN unnest({starts}::date[], {traded}::text[]) AS s(w, i) ON e.window_start = s.w AND e.instrument = s.i "
        "WHERE e.end_time IS NOT NULL AND e.strategy <> {old} ORDER BY e.window_start, e.instrument, {id}"
    ).format(
        columns=sql.SQL(", ").join(sql.Identifier(alias_of(table), name) for name in shown),
        source=joined_source(table),
        starts=sql.Literal(np.datetime_as_string(windows.starts, unit="D").tolist()),
        traded=sql.Literal(list(windows.instruments)),
        old=sql.Literal(OLD_AGENT),
        id=sql.Identifier(alias_of(table), "id"),
    )
    return read_frame(database, query)


def rows_of(database: Database, table: str, episode: int) -> pd.DataFrame:
    """Rows of one episode, open or finished.

    Parameters
    ----------
    database : where they are recorded.
    table : one of the nine episode tables.
    episode : its `episode_id`.

    Returns
    -------
    The columns of `own_columns`, by session and instrument; types as of `read_frame`.
    """
    names = own_columns(table)
    query = sql.SQL("SELECT {columns} FROM {source} WHERE e.id = {episode} ORDER BY {order}").format(
        columns=sql.SQL(", ").join(column_of(table, name) for name in names),
        source=joined_source(table),
        episode=sql.Literal(episode),
        order=sql.SQL(", ").join(session_order(table)),
    )
    return read_frame(database, query)


def subject_weights(database: Database, traded: str) -> pd.DataFrame:
    """Recorded target weights of who is judged: the ensemble, the first seed's agent in windows that have none.

    Parameters
    ----------
    database : where they are recorded.
    traded : symbol or portfolio.

    Returns
    -------
    timestamp (session at whose close was decided), instrument (CASH too), target_weight (fraction of net worth).
    """
    query = sql.SQL(
        "SELECT t.timestamp, t.instrument, t.target_weight FROM {source} WHERE e.instrument = {traded} "
        "AND e.end_time IS NOT NULL AND (e.strategy = {ensemble} OR (e.strategy = {agent} AND e.seed = 0 "
        "AND NOT EXISTS (SELECT FROM tt_episode AS o WHERE o.window_start = e.window_start "
        "AND o.instrument = e.instrument AND o.strategy = {ensemble} AND o.end_time IS NOT NULL))) ORDER BY {order}"
    ).format(
        source=joined_source("tt_target_weights"),
        traded=sql.Literal(traded),
        agent=sql.Literal(AGENT),
        ensemble=sql.Literal(ENSEMBLE),
        order=sql.SQL(", ").join(session_order("tt_target_weights")),
    )
    return read_frame(database, query)


def rolled_policies(database: Database, traded: str) -> pd.DataFrame:
    """The agents that have a finished episode; one that is superseded until the one in its place is rolled.

    Parameters
    ----------
    database : where they are recorded.
    traded : symbol or portfolio.

    Returns
    -------
    Rows of `tt_policy` with `id`, by window and seed.
    """
    query = sql.SQL(
        "SELECT {columns} FROM tt_policy AS a JOIN tt_episode AS e ON e.policy_id = a.id WHERE a.instrument = {traded} "
        "AND e.end_time IS NOT NULL AND e.strategy = {agent} ORDER BY a.window_start, a.seed"
    ).format(
        columns=sql.SQL(", ").join(sql.Identifier("a", own.name) for own in TABLES["tt_policy"].columns),
        traded=sql.Literal(traded),
        agent=sql.Literal(AGENT),
    )
    return read_frame(database, query)


def _of_episodes(table: str, chosen: sql.Composable) -> sql.Composed:
    """The rows of `table` that belong to the episodes `chosen`, each with the id of its episode."""
    key = ["id"] if table == "tt_episode" else ["episode_id"]
    names = [*key, *(["timestamp"] if table == "tt_holdings" else []), *own_columns(table)]
    order = session_order(table) or [by_code_point(TABLES[table], name) for name in ("strategy", "seed")]
    return sql.SQL("SELECT {columns} FROM {source} WHERE e.id IN ({chosen}) ORDER BY {order}").format(
        columns=sql.SQL(", ").join(column_of(table, name) for name in names),
        source=joined_source(table),
        chosen=chosen,
        order=sql.SQL(", ").join(order),
    )
