"""Episodes in their nine tables: opened first, children next, finalized last.

An unfinished episode is plain to see. `open` removes the previous episodes of a partition with all their
rows and inserts the new ones with `end_time` NULL, in one transaction; children follow, one transaction a table;
`finalize` fills `end_time`. A crash in between leaves rows whose `end_time` is NULL, and running the partition again
replaces them. A reader never sees two materializations mixed, because the old rows went when the new ones opened.
The ledger follows: opening empties the slices of the nine tables, and closing enters what they hold.
An agent that another took the place of keeps its episode under another strategy (`OLD_AGENT`) once the other is rolled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import pandas as pd
from psycopg import Connection, sql
from psycopg.errors import ForeignKeyViolation

from tt_assets.errors import UserError
from tt_assets.postgres.arrow_frames import read_frame
from tt_assets.postgres.copy_format import conform, copy_rows
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import Entry, Provenance, dates_of, draw_fetch, forget_entries, write_entries
from tt_assets.postgres.locks import lock_instruments
from tt_assets.postgres.patience import patient
from tt_assets.postgres.slice_encoding import NOTHING, copy_into
from tt_assets.postgres.slices import Selection
from tt_assets.postgres.standing import standing
from tt_assets.tables import EPISODE_TABLES, HAND, OLD_AGENT, TABLES, content_columns

Closed = Mapping[str, Sequence[Entry]]
"""Episode table → the slice that stands there for each window, in the order they were given."""


class EpisodeReplaced(UserError):
    """Another run opened the same partition while this one was writing."""


@dataclass(frozen=True)
class EpisodeHeader:
    """What is known of an episode before its first step.

    Parameters
    ----------
    window_start : first day of the quarter. instrument : traded symbol or portfolio.
    strategy : who acts. seed : of the agent or of a baseline that draws, else 0.
    policy_id : row of tt_policy; None for who is no agent.
    start_time : first session, market time without zone. config_json : settings, as JSON.
    """

    window_start: date
    instrument: str
    strategy: str
    seed: int
    policy_id: int | None
    start_time: datetime
    config_json: str


@dataclass(frozen=True)
class EpisodeSummary:
    """What is known of an episode after its last step.

    Parameters
    ----------
    episode_id : as `open` gave it.
    end_time : last session, market time without zone. stop_reason : one that tt_episode admits.
    max_drawdown : fraction of the peak. sharpe_ratio : a year's; None where it is undefined.
    turnover : mean |Δ weight| over decisions and instruments, fraction.
    """

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

    @patient
    def open(self, partitions: Sequence[tuple[date, str]], headers: Sequence[EpisodeHeader]) -> list[int]:
        """Replace the episodes of walk-forward windows by unfinished new ones, in one transaction.

        Episodes written by hand stay: nothing of them can be made again. So do the closed ones of superseded agents, as
        those of old agents.

        Parameters
        ----------
        partitions : (window start, traded) whose episodes go.
        headers : the new episodes, of these partitions; timestamps are market time without zone.

        Returns
        -------
        The `episode_id` of each header, in their order.
        """
        chosen = [[start for start, _ in partitions], [traded for _, traded in partitions]]
        with self.database.connect() as connection, connection.transaction():
            lock_episodes(connection, {traded for _, traded in partitions})
            connection.execute(
                "UPDATE tt_episode AS e SET strategy = %s FROM unnest(%s::date[], %s::text[]) AS p(w, i), "
                "tt_policy AS a WHERE e.window_start = p.w AND e.instrument = p.i AND e.strategy <> %s "
                "AND e.end_time IS NOT NULL AND a.id = e.policy_id AND a.superseded_at IS NOT NULL",
                [OLD_AGENT, *chosen, HAND],
            )
            connection.execute(
                "DELETE FROM tt_episode AS e USING unnest(%s::date[], %s::text[]) AS p(w, i) "
                "WHERE e.window_start = p.w AND e.instrument = p.i AND e.strategy <> ALL(%s)",
                [*chosen, [HAND, OLD_AGENT]],
            )
            forget_entries(connection, EPISODE_TABLES, _windows(partitions))
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

    @patient
    def add(self, table: str, rows: pd.DataFrame) -> int:
        """Append rows to one child table, in one transaction.

        Parameters
        ----------
        table : one of the eight children of tt_episode.
        rows : `episode_id` and the table's content columns. Holdings carry `episode_id` and `timestamp` in place of
            `portfolio_id`, which is looked up, so `tt_portfolio` comes before them.

        Returns
        -------
        How many rows were written.

        Raises
        ------
        EpisodeReplaced : nothing was written; another run opened the same partition meanwhile.
        FrameMismatch : nothing was written; a column is missing, of another type, or NaN where the table admits no
            NULL.
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

    @patient
    def finalize(
        self,
        summaries: Sequence[EpisodeSummary],
        windows: Selection | None = None,
        provenance: Provenance | None = None,
        failures: Mapping[str, str] | None = None,
    ) -> Closed:
        """Close the episodes and enter the slices of their windows in the ledger, in one transaction.

        Parameters
        ----------
        summaries : of the episodes to close.
        windows : the partitions of the episodes, also such that none of them is to be closed of; None: those of the
            episodes given.
        provenance : where the rows come from.
        failures : partition key → reason, for the windows that hold less than was wished.

        Returns
        -------
        What the nine tables hold of the windows then.

        Raises
        ------
        EpisodeReplaced : nothing was closed; one of the episodes is gone.
        """
        with self.database.connect() as connection, connection.transaction():
            owned = connection.execute(
                "SELECT window_start, instrument FROM tt_episode WHERE id = ANY(%s)",
                [[summary.episode_id for summary in summaries]],
            ).fetchall()
            windows = _windows(owned) if windows is None else windows
            lock_episodes(connection, windows.instruments)
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
            return _entered(connection, windows, provenance or Provenance(), failures or {})

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


def lock_episodes(connection: Connection[Any], traded: Iterable[str]) -> None:
    """Hold the locks of all nine tables until the transaction ends.

    Parameters
    ----------
    connection : in a transaction.
    traded : symbols and portfolios.
    """
    names = set(traded)
    for table in EPISODE_TABLES:
        lock_instruments(connection, table, names)


def _windows(partitions: Iterable[tuple[date, str]]) -> Selection:
    """Walk-forward windows (first day, traded) as cells of their quarter."""
    cells = {}
    for start, traded in sorted({*partitions}):
        # 95 days from the first of a quarter lie in the first month of the next, however long its months are.
        end = (start.replace(day=1) + timedelta(days=95)).replace(day=1)
        cells[f"{start} {traded}"] = (traded, datetime.combine(start, time.min), datetime.combine(end, time.min))
    return Selection.of(cells)


def _entered(
    connection: Connection[Any], windows: Selection, provenance: Provenance, failures: Mapping[str, str]
) -> Closed:
    """Enter in the ledger what the nine tables hold of the windows now."""
    fetch = draw_fetch(connection) if provenance.fetch is None else provenance.fetch
    found: dict[str, list[Entry]] = {}
    for table in EPISODE_TABLES:
        stored = standing(connection, table, windows)
        own = {(day, traded): (rows, digest) for day, traded, rows, digest in stored}
        places = zip(dates_of(windows), windows.instruments, windows.keys, strict=True)
        entries = [Entry(key, *own.get((day, traded), (0, NOTHING))) for day, traded, key in places]
        write_entries(
            connection,
            table,
            windows,
            [entry.rows for entry in entries],
            [entry.digest for entry in entries],
            fetch,
            provenance,
            failures=failures if table == "tt_episode" else {},
        )
        found[table] = entries
    return found


def _replaced(table: str) -> str:
    return (
        f"{table}: the episode was replaced by another run of the same partition while this one was writing; "
        "nothing of this run remains. Run the partition again if the other one failed."
    )
