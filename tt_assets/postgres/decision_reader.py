"""The targets that agents set, as they are recorded: of the newest close, and of every close of a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from psycopg import sql

from tt_assets.postgres.arrow_frames import read_frame
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_reader import AGENT, ENSEMBLE
from tt_assets.postgres.slices import Selection

ReadFrames = Callable[[Sequence[sql.Composed]], list[pd.DataFrame]]
"""Gives the results of queries, all of one moment: `read_frames` of a database, or a page over its one connection."""


@dataclass(frozen=True, eq=False)
class RecordedDecisions:
    """The latest decisions of the agents of one window.

    Parameters
    ----------
    window : its first day.
    accounts : strategy (`agent` of each seed, `ensemble` of their mean action), seed, sha256 of who
        acted, end_time and stop_reason of each episode, by strategy and seed.
    rows : strategy, seed, timestamp, instrument (CASH too), target_weight and rationale at the newest close that any of
        them decided at and at the one before it, by strategy, seed, time and id.
    """

    window: date
    accounts: pd.DataFrame
    rows: pd.DataFrame


def newest_decisions(read: ReadFrames, traded: str, session: date | None = None) -> RecordedDecisions | None:
    """What the agents in force decided last, in finished episodes of the latest window that had begun.

    Parameters
    ----------
    read : gives the results of both queries, of one moment.
    traded : symbol or portfolio.
    session : nothing after its close counts; None: all that is recorded.

    Returns
    -------
    None where nothing is recorded.
    """
    begun = sql.SQL("AND start_time <= {}::date").format(sql.Literal(session)) if session else sql.SQL("")
    headers, rows = read(
        [
            sql.SQL(
                "WITH own AS (SELECT *, max(window_start) OVER () AS newest FROM tt_episode WHERE strategy IN "
                "({agent}, {ensemble}) AND end_time IS NOT NULL AND instrument = {traded} {begun}) "
                "SELECT window_start, strategy, seed, config_json::json ->> 'policy_sha256' AS sha256, end_time, "
                "stop_reason FROM own WHERE window_start = newest ORDER BY strategy, seed"
            ).format(agent=sql.Literal(AGENT), ensemble=sql.Literal(ENSEMBLE), traded=sql.Literal(traded), begun=begun),
            sql.SQL(
                "WITH own AS (SELECT id, strategy, seed, window_start, max(window_start) OVER () AS newest "
                "FROM tt_episode WHERE strategy IN ({agent}, {ensemble}) AND end_time IS NOT NULL "
                "AND instrument = {traded} {begun}), "
                "told AS (SELECT e.strategy, e.seed, t.timestamp, t.instrument, t.target_weight, t.rationale, t.id, "
                "dense_rank() OVER (ORDER BY t.timestamp DESC) AS place FROM tt_target_weights AS t "
                "JOIN own AS e ON e.id = t.episode_id WHERE e.window_start = e.newest {until}) "
                "SELECT strategy, seed, timestamp, instrument, target_weight, rationale FROM told WHERE place <= 2 "
                "ORDER BY strategy, seed, timestamp, id"
            ).format(
                agent=sql.Literal(AGENT),
                ensemble=sql.Literal(ENSEMBLE),
                traded=sql.Literal(traded),
                begun=begun,
                until=sql.SQL("AND t.timestamp <= {}::date").format(sql.Literal(session)) if session else sql.SQL(""),
            ),
        ],
    )
    # Not of the rows: where every account was stopped there is none, and that is recorded all the same.
    if headers.empty:
        return None
    return RecordedDecisions(pd.Timestamp(headers["window_start"].iloc[0]).date(), headers, rows)


def recorded_targets(database: Database, windows: Selection) -> pd.DataFrame:
    """Every target that the agents of walk-forward windows have set, of finished episodes.

    Parameters
    ----------
    database : where they are recorded.
    windows : (window start, traded) as cells of their quarter.

    Returns
    -------
    window_start, traded, seed, sha256 (of the agent), timestamp, instrument (CASH too), target_weight.
    """
    query = sql.SQL(
        "SELECT e.window_start, e.instrument AS traded, e.seed, e.config_json::json ->> 'policy_sha256' AS sha256, "
        "t.timestamp, t.instrument, t.target_weight FROM tt_target_weights AS t JOIN tt_episode AS e "
        "ON e.id = t.episode_id JOIN unnest({starts}::date[], {traded}::text[]) AS s(w, i) "
        "ON e.window_start = s.w AND e.instrument = s.i WHERE e.end_time IS NOT NULL AND e.strategy = {agent}"
    ).format(
        starts=sql.Literal(np.datetime_as_string(windows.starts, unit="D").tolist()),
        traded=sql.Literal(list(windows.instruments)),
        agent=sql.Literal(AGENT),
    )
    return read_frame(database, query)


def last_bars(read: ReadFrames, symbols: Sequence[str], until: date) -> pd.DataFrame:
    """The last bar of each instrument up to a session.

    Parameters
    ----------
    read : gives the result of the query.
    symbols : instruments; those without a bar have no row.
    until : session, included.

    Returns
    -------
    instrument, timestamp (session), close (USD per share, split-adjusted); by instrument.
    """
    query = sql.SQL(
        "SELECT DISTINCT ON (instrument) instrument, timestamp, close FROM tt_prices WHERE instrument = ANY({symbols}) "
        "AND timestamp <= {until}::date ORDER BY instrument, timestamp DESC"
    ).format(symbols=sql.Literal(list(symbols)), until=sql.Literal(until))
    return read([query])[0]
