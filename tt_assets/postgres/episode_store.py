"""Episodes in their nine tables: opened first, children next, finalized last.

An unfinished episode is plain to see. `open` removes the previous episodes of a partition with all their
rows and inserts the new ones with `end_time` NULL, in one transaction; children follow, one transaction a table;
`finalize` fills `end_time`. A crash in between leaves rows whose `end_time` is NULL, and running the partition again
replaces them. A reader never sees two materializations mixed, because the old rows went when the new ones opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd
from psycopg import sql
from psycopg.errors import ForeignKeyViolation

from tt_assets.errors import UserError
from tt_assets.postgres.copy_format import conform, copy_rows
from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_store import copy_into, lock_instruments, read_frame
from tt_assets.tables import HAND, TABLES, content_columns


class EpisodeReplaced(UserError):
    """Another run opened the same partition while this one was writing."""


@dataclass(frozen=True)
class EpisodeHeader:
    """What is known of an episode before its first step."""

    window_start: date
    instrument: str
    strategy: str
    seed: int
    policy_id: int | None
    start_time: datetime
    config_json: str


@dataclass(frozen=True)
class EpisodeSummary:
    """What is known of an episode after its last step; `sharpe_ratio` is None where it is undefined."""

    episode_id: int
    end_time: datetime
    stop_reason: str
    max_drawdown: float
    sharpe_ratio: float | None
    turnover: float


@dataclass(frozen=True)
class EpisodeStore:
    """Writes episodes; reading them is `read_frame` on their tables."""

    database: Database

    def open(self, partitions: Sequence[tuple[date, str]], headers: Sequence[EpisodeHeader]) -> list[int]:
        """Replace every episode of `partitions` (window start, traded) by unfinished new ones; their ids in order.

        Episodes written by hand stay: nothing of them can be made again.
        """
        with self.database.connect() as connection, connection.transaction():
            lock_instruments(connection, "tt_episode", {traded for _, traded in partitions})
            connection.execute(
                "DELETE FROM tt_episode AS e USING unnest(%s::date[], %s::text[]) AS p(w, i) "
                "WHERE e.window_start = p.w AND e.instrument = p.i AND e.strategy <> %s",
                [[start for start, _ in partitions], [traded for _, traded in partitions], HAND],
            )
            return [
                connection.execute(
                    "INSERT INTO tt_episode "
                    "(window_start, instrument, strategy, seed, policy_id, start_time, config_json) "
                    "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
                    [
                        header.window_start,
                        header.instrument,
                        header.strategy,
                        header.seed,
                        header.policy_id,
                        header.start_time,
                        header.config_json,
                    ],
                ).fetchone()[0]  # type: ignore[index]
                for header in headers
            ]

    def add(self, table: str, rows: pd.DataFrame) -> int:
        """Append children; returns their number.

        `rows` carries `episode_id` and the table's content columns. Holdings carry `episode_id` and `timestamp` in
        place of `portfolio_id`, which is looked up, so `tt_portfolio` comes before them.
        """
        target = TABLES[table]
        if table == "tt_holdings":
            rows = self._with_portfolio_id(rows)
        columns = content_columns(target)
        frame = conform(rows, target, columns)
        keys = [name for name in ("episode_id", "portfolio_id", "timestamp", "instrument") if name in columns]
        frame = frame.sort_values(keys, kind="stable") if keys else frame
        try:
            with self.database.connect() as connection, connection.transaction():
                copy_into(connection, target, frame.columns, copy_rows(frame, target).pieces())
        except ForeignKeyViolation as error:
            raise EpisodeReplaced(_replaced(table)) from error
        return len(frame)

    def finalize(self, summaries: Sequence[EpisodeSummary]) -> None:
        """Close the episodes; `EpisodeReplaced` where one is gone."""
        with self.database.connect() as connection, connection.transaction():
            for summary in summaries:
                closed = connection.execute(
                    "UPDATE tt_episode SET end_time = %s, stop_reason = %s, max_drawdown = %s, sharpe_ratio = %s, "
                    "turnover = %s WHERE id = %s",
                    [
                        summary.end_time,
                        summary.stop_reason,
                        summary.max_drawdown,
                        summary.sharpe_ratio,
                        summary.turnover,
                        summary.episode_id,
                    ],
                ).rowcount
                if closed != 1:
                    raise EpisodeReplaced(
                        f"tt_episode {summary.episode_id}: replaced by another run of the same partition before it was "
                        "finalized; run the partition again if the other one failed."
                    )

    def _with_portfolio_id(self, holdings: pd.DataFrame) -> pd.DataFrame:
        episodes = sorted({int(episode) for episode in holdings["episode_id"]})
        query = sql.SQL(
            "SELECT id AS portfolio_id, episode_id, timestamp FROM tt_portfolio WHERE episode_id = ANY({})"
        ).format(sql.Literal(episodes))
        portfolios = read_frame(self.database, query)
        merged = holdings.merge(portfolios, on=["episode_id", "timestamp"], how="left", validate="many_to_one")
        if merged["portfolio_id"].isna().any():
            self._refuse_replaced("tt_holdings", episodes)
        return merged

    def _refuse_replaced(self, table: str, episodes: list[int]) -> None:
        """Raise EpisodeReplaced unless all `episodes` are still there; their rows went with them."""
        query = sql.SQL("SELECT id FROM tt_episode WHERE id = ANY({})").format(sql.Literal(episodes))
        if set(episodes) - set(read_frame(self.database, query)["id"]):
            raise EpisodeReplaced(_replaced(table))


def _replaced(table: str) -> str:
    return (
        f"{table}: the episode was replaced by another run of the same partition while this one was writing; "
        "nothing of this run remains. Run the partition again if the other one failed."
    )
