"""Any of the thirteen tables as a typed frame, for a notebook.

A frame stands on its own. Rows of an episode carry the window, what was traded, the strategy and the
seed, surrogate keys bear the names their children use (`policy_id`, `episode_id`, `portfolio_id`), and an unfinished
episode is not shown: nobody knows yet how it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache

import pandas as pd
from psycopg import sql
from sqlalchemy import BigInteger, Integer, Table

from tt_assets.errors import UserError
from tt_assets.postgres import schema
from tt_assets.postgres.arrow_frames import read_frame
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_rows import alias_of, by_code_point, column_of, joined_source, session_order
from tt_assets.runtime import in_use
from tt_assets.runtime.current import current_settings
from tt_assets.runtime.selection import known_instruments, known_tables
from tt_assets.settings import database_of
from tt_assets.tables import EPISODE_TABLES, HAND, MARKET_TABLES, OLD_AGENT, TABLES, key_columns

Day = date | datetime | str
"""A session: a date, a datetime at midnight or ISO text."""

ID_NAMES = {"tt_policy": "policy_id", "tt_episode": "episode_id", "tt_portfolio": "portfolio_id"}
"""Tables that others point at, and the name of their `id` in those others."""

ACTION_SCHEME = "action_scheme"
"""The `strategy` of `tt_target_weights` in a frame, where `strategy` is the episode's."""

EPISODE_COLUMNS = ("window_start", "traded", "strategy", "seed")

_STRATEGY = sql.SQL(
    "CASE WHEN e.policy_id IN (SELECT id FROM tt_policy WHERE superseded_at IS NOT NULL) AND e.strategy <> {hand} "
    "THEN {old} ELSE e.strategy END AS strategy"
).format(hand=sql.Literal(HAND), old=sql.Literal(OLD_AGENT))
"""Who acted; an agent that is not in force any more is an old one, also before the one in its place is rolled."""


def read(
    table: str,
    instruments: Sequence[str] | str | None = None,
    start: Day | None = None,
    end: Day | None = None,
) -> pd.DataFrame:
    """Rows of one table from the database of the settings, sorted by the table's key.

    Parameters
    ----------
    table : name of a table; the `tt_` may be left out.
    instruments : symbols for the market tables, and what is traded (a symbol or a portfolio) for `tt_policy` and the
        episode tables; None means all.
    start, end : first and last session, both included: dates, datetimes at midnight or ISO text, without time zone.
        They bound `timestamp`; of `tt_policy` and `tt_episode` they choose the windows (quarters) that touch the span.
        None leaves that end open.

    Returns
    -------
    A frame of the table's own columns without `id`, units as there; without rows an empty one of the same columns.
    Timestamps are datetime64[ns] market time (New York session at 00:00, no zone), numbers float64 (NULL is NaN), keys
    and seeds int64 (Int64 where the column may be NULL), text str (NULL is None). A row of `timestamp` t is known at
    the close of session t. Of the episode tables it has finished episodes only, with `window_start`, `traded`,
    `strategy` and `seed` in front; the strategy of an agent that another took the place of is "old agent", and its row
    of `tt_policy` says since when (`superseded_at`, UTC). `tt_holdings` also has the `episode_id` and `timestamp` of
    its portfolio row, and the `strategy` of `tt_target_weights` itself is called `action_scheme`. `tt_policy`,
    `tt_episode` and `tt_portfolio` have their `id` under the name their children use.

    Raises
    ------
    UserError : an unknown table, an instrument that is neither in the table nor on the watchlist, a date that cannot be
        read, or a reversed span.
    DatabaseUnreachable, SchemaError : as of every command.
    """
    settings = current_settings()
    in_use.hold(settings)
    database = database_of(settings, start=True)
    _check_schema(database)
    return read_from(database, table, instruments, start, end)


def read_from(
    database: Database,
    table: str,
    instruments: Sequence[str] | str | None = None,
    start: Day | None = None,
    end: Day | None = None,
) -> pd.DataFrame:
    """As `read`, from a given database.

    Parameters
    ----------
    database : whose schema is known to be right.
    table, instruments, start, end : as of `read`.

    Returns
    -------
    As of `read`.

    Raises
    ------
    UserError : as of `read`.
    """
    (name,) = known_tables([table])
    wanted = [instruments] if isinstance(instruments, str) else None if instruments is None else list(instruments)
    rows = _typed(read_frame(database, _query(TABLES[name], wanted, *_span(start, end))), TABLES[name])
    _refuse_unknown(name, wanted, rows)
    return rows


def as_day(value: Day, name: str) -> date:
    """The calendar day of a date, a datetime at midnight, or ISO text.

    Parameters
    ----------
    value : without time zone and time of day.
    name : of the argument, for the error.

    Raises
    ------
    UserError : it is none of these.
    """
    try:
        moment = pd.Timestamp(datetime.fromisoformat(value) if isinstance(value, str) else value)
        if moment.tzinfo is None and moment == moment.normalize():
            return moment.date()
    except (TypeError, ValueError):
        pass
    raise UserError(f"{name} {value!r} is no session date; give a date without time or zone, such as 2012-05-18.")


@cache
def _check_schema(database: Database) -> None:
    schema.check(database)


def _span(start: Day | None, end: Day | None) -> tuple[date | None, date | None]:
    first = None if start is None else as_day(start, "start")
    last = None if end is None else as_day(end, "end")
    if first and last and last < first:
        raise UserError(f"start {first} is after end {last}; did you mean {last} to {first}?")
    return first, last


def _query(table: Table, instruments: Sequence[str] | None, first: date | None, last: date | None) -> sql.Composed:
    in_episode = table.name in EPISODE_TABLES
    owner = "e" if in_episode else "t"
    by_window = "timestamp" not in table.columns and table.name != "tt_holdings"
    moment = column_of(table.name, "window_start" if by_window else "timestamp")
    conditions: list[sql.Composable] = [sql.SQL("e.end_time IS NOT NULL")] if in_episode else []
    if instruments is not None:
        conditions.append(
            sql.SQL("{} = ANY({}::text[])").format(sql.Identifier(owner, "instrument"), sql.Literal(instruments))
        )
    if first is not None:
        # A window is a quarter: it touches the span while its end is not before the first day.
        whole = sql.SQL("{} + interval '3 months' > {}::date") if by_window else sql.SQL("{} >= {}::date")
        conditions.append(whole.format(moment, sql.Literal(first)))
    if last is not None:
        conditions.append(sql.SQL("{} < {}::date").format(moment, sql.Literal(last + timedelta(days=1))))
    return sql.SQL("SELECT {columns} FROM {source} WHERE {conditions} ORDER BY {order}").format(
        columns=sql.SQL(", ").join(_columns(table)),
        source=joined_source(table.name),
        conditions=sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true"),
        order=sql.SQL(", ").join(_order(table)),
    )


def _columns(table: Table) -> list[sql.Composable]:
    own = alias_of(table.name)
    columns: list[sql.Composable] = []
    if table.name in EPISODE_TABLES:
        columns += [
            {"traded": sql.SQL("e.instrument AS traded"), "strategy": _STRATEGY}.get(name, sql.Identifier("e", name))
            for name in EPISODE_COLUMNS
        ]
    if table.name in ID_NAMES:
        columns.append(sql.SQL("{} AS {}").format(sql.Identifier(own, "id"), sql.Identifier(ID_NAMES[table.name])))
    if table.name == "tt_holdings":
        columns += [sql.Identifier("p", "episode_id"), sql.Identifier("p", "timestamp")]
    in_front = {*EPISODE_COLUMNS, "instrument"} if table.name == "tt_episode" else set()
    shown = [column.name for column in table.columns if column.name != "id"]
    columns += [_renamed(table, own, name) for name in shown if name not in in_front]
    return columns


def _renamed(table: Table, own: str, name: str) -> sql.Composable:
    if table.name == "tt_target_weights" and name == "strategy":
        return sql.SQL("t.strategy AS {}").format(sql.Identifier(ACTION_SCHEME))
    return sql.Identifier(own, name)


def _order(table: Table) -> list[sql.Composable]:
    if table.name not in EPISODE_TABLES:
        in_force_first = [sql.SQL("t.superseded_at DESC NULLS FIRST")] if "superseded_at" in table.columns else []
        return [*(by_code_point(table, name) for name in key_columns(table)), *in_force_first]
    episodes = TABLES["tt_episode"]
    return [*(by_code_point(episodes, name) for name in key_columns(episodes)), *session_order(table.name)]


def _typed(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    owned = {column.name: column for source in (TABLES["tt_episode"], table) for column in source.columns}
    kinds: dict[str, str] = dict.fromkeys(ID_NAMES.values(), "int64")
    for name, column in owned.items():
        if isinstance(column.type, Integer | BigInteger):
            kinds[name] = "Int64" if column.nullable else "int64"
    return rows.astype({name: kind for name, kind in kinds.items() if name in rows.columns})


def _refuse_unknown(table: str, wanted: Sequence[str] | None, rows: pd.DataFrame) -> None:
    """A typing error must not look like an instrument without rows."""
    column = "traded" if table in EPISODE_TABLES else "instrument"
    absent = [name for name in wanted or () if name not in set(rows[column].unique())]
    if absent:
        from tt_assets.market.watchlist import read_watchlist

        watchlist = read_watchlist(current_settings().watchlist)
        symbols = watchlist.symbols if table in MARKET_TABLES else watchlist.traded
        for name in absent:
            known_instruments(name, symbols, "instrument" if table in MARKET_TABLES else "instrument or portfolio")
