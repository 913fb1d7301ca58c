"""Episodes by hand: opened, filled row by row or in bulk, closed.

The same life as that of an episode an agent played. It is plainly unfinished, and no reader sees it,
until `finalize_episode` closes it; only then is its partition reported to Dagster, and it takes no more rows.
Its `strategy` is "hand", so it stands beside the agents and baselines of its window and replaces none of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from psycopg.errors import ForeignKeyViolation, UniqueViolation
from sqlalchemy import Engine

from tt_assets.errors import UserError
from tt_assets.grid.horizon import horizon
from tt_assets.grid.keys import CellKey
from tt_assets.grid.partitions import Window, quarter_of, quarter_partitions
from tt_assets.market.calendar import is_session, nearest_session
from tt_assets.market.watchlist import Watchlist, read_watchlist
from tt_assets.market.watchlist_format import CASH
from tt_assets.notebook import arguments as checks
from tt_assets.notebook.arguments import Rows, RowsRefused, Rule
from tt_assets.notebook.engines import database_of
from tt_assets.notebook.positional import are_weights, looks_like_a_day, named, rows_of_a_session
from tt_assets.notebook.reading import Day, as_day
from tt_assets.notebook.reports_to_dagster import reporting
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_reader import rows_of
from tt_assets.postgres.episode_store import EpisodeStore, EpisodeSummary
from tt_assets.postgres.locks import lock_instruments
from tt_assets.runtime.current import current_settings
from tt_assets.settings import Settings
from tt_assets.tables import HAND, TABLES, content_columns, key_columns
from tt_assets.trading import metrics
from tt_assets.trading.episodes.record import StopReason

SHOWN_CHOICES = 5
WEIGHTS_OFF_BY = 1e-9
"""Largest deviation from 1 of the weights of a session, as in the check of every recorded episode."""


@dataclass(frozen=True)
class OpenEpisode:
    """An episode that takes rows.

    Parameters
    ----------
    window : the quarter that it is of. start : its first session.
    members : instruments it may name, CASH apart.
    """

    window: Window
    start: date
    members: tuple[str, ...]


def create_episode(
    engine: Engine,
    instrument: str | Day | None = None,
    start_time: Day | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    *,
    policy_id: int | None = None,
    seed: int = 0,
) -> int:
    """Open an episode of what is traded from session `start_time` on.

    It belongs to the walk-forward quarter that contains `start_time` and replaces the episode by hand of the same
    window, instrument and seed with all its rows; episodes of agents and baselines stay.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    instrument : a symbol or a portfolio of the watchlist. May be left out, as in `create_episode(engine, start_time)`,
        where the watchlist has one portfolio, or one symbol and no portfolio.
    start_time : first session of the episode, New York.
    config : what there is to say of it, a mapping or a JSON object as text.
    policy_id : the agent in `tt_policy` that acted, if one did.
    seed : tells episodes by hand of one window apart.

    Returns
    -------
    The `episode_id` that the rows of the episode carry.

    Raises
    ------
    UserError : an unknown instrument, a date that is no session, a window that is no partition, text that is no JSON
        object, or a `policy_id` that is not in `tt_policy`.
    """
    settings = current_settings()
    database = database_of(engine)
    if looks_like_a_day(instrument):
        # create_episode(engine, start_time, config): what is traded was left out.
        instrument, start_time, config = None, instrument, config if start_time is None else start_time
    watchlist = read_watchlist(settings.watchlist)
    instrument = _only_traded(watchlist) if instrument is None else str(instrument)
    watchlist.members(instrument)
    start = as_day(start_time, "start_time")  # type: ignore[arg-type]
    if not is_session(start):
        raise UserError(f"start_time {start} is no trading session; the nearest is {nearest_session(start)}.")
    window = Window(quarter_of(start), instrument)
    _require_partition(window, settings)
    config_json = config if isinstance(config, str) else json.dumps(dict(config or {}), sort_keys=True)
    if checks.not_json_objects(pd.Series([config_json]))[0]:
        raise UserError(f"config {config_json[:80]!r} is no JSON object; give a mapping, such as {{'note': 'manual'}}.")
    row = (window.start, instrument, HAND, seed)
    try:
        with database.connect() as connection, connection.transaction():
            lock_instruments(connection, "tt_episode", [instrument])
            connection.execute(
                "DELETE FROM tt_episode WHERE window_start = %s AND instrument = %s AND strategy = %s AND seed = %s",
                row,
            )
            opened = connection.execute(
                "INSERT INTO tt_episode (window_start, instrument, strategy, seed, policy_id, start_time, config_json) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
                [*row, policy_id, datetime.combine(start, time.min), config_json],
            ).fetchone()
    except ForeignKeyViolation:
        raise UserError(f"tt_policy has no row {policy_id}; give the policy_id of a stored agent, or none.") from None
    assert opened is not None  # noqa: S101 - INSERT … RETURNING gives its row
    return int(opened[0])


def insert_action(engine: Engine, rows: Rows | int | None = None, *values: Any, **row: Any) -> int:
    """Append to `tt_action`.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    rows : a frame or a list of mappings with episode_id, timestamp (session of the decision, at its close), instrument,
        action_value (the raw output, unitless; NaN is refused). Or one row by position: the episode_id here and its
        other values behind it, in that order.
    values : the rest of a row that is given by position.
    row : one row by keywords, in place of `rows`.

    Returns
    -------
    How many rows were written.

    Raises
    ------
    RowsRefused : nothing was written; an unknown or finished episode, a timestamp that is no session of its window, an
        instrument it does not trade, or a key that is there already.
    FrameMismatch : nothing was written; a missing column, an undefined or infinite value.
    """
    order = ("episode_id", "timestamp", "instrument", "action_value")
    return _insert(engine, "tt_action", checks.frame_of("tt_action", *named("tt_action", order, rows, values, row)))


def insert_reward(engine: Engine, rows: Rows | int | None = None, *values: Any, **row: Any) -> int:
    """Append to `tt_reward`.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    rows : as of `insert_action`, with episode_id, timestamp (the session at whose close the reward is known),
        reward_value (in the unit of whatever rewards; NaN is refused).
    *values : the rest of a row that is given by position.
    **row : one row by keywords, in place of `rows`.

    Returns
    -------
    How many rows were written.

    Raises
    ------
    RowsRefused, FrameMismatch : as of `insert_action`.
    """
    order = ("episode_id", "timestamp", "reward_value")
    return _insert(engine, "tt_reward", checks.frame_of("tt_reward", *named("tt_reward", order, rows, values, row)))


def insert_target_weights(engine: Engine, rows: Rows | int | None = None, *values: Any, **row: Any) -> int:
    """Append to `tt_target_weights`.

    All weights of a session may be one mapping of instrument to weight: `insert_target_weights(engine, episode_id,
    timestamp, {"AAPL": 0.6})`, strategy and rationale behind it. What they leave of 1 is then CASH.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    rows : as of `insert_action`, with episode_id, timestamp (session of the decision, at its close), instrument (or
        CASH), target_weight (fraction of net worth; `finalize_episode` asks that those of a session sum to 1), strategy
        (the scheme; "hand" where not given), rationale (why, in words; "by hand" where not given).
    *values : the rest of a row that is given by position.
    **row : one row by keywords, in place of `rows`; `weights` for the mapping.

    Returns
    -------
    How many rows were written.

    Raises
    ------
    RowsRefused, FrameMismatch : as of `insert_action`.
    """
    of_session = any(map(are_weights, (*values[1:2], row.get("weights"))))
    what = ("weights",) if of_session else ("instrument", "target_weight")
    order = ("episode_id", "timestamp", *what, "strategy", "rationale")
    many, one = named("tt_target_weights", order, rows, values, row)
    if of_session:
        many, one = rows_of_a_session(one), {}
    frame = checks.frame_of("tt_target_weights", many, one)
    defaults = {"strategy": HAND, "rationale": "by hand"}
    frame = frame.assign(**{name: words for name, words in defaults.items() if name not in frame.columns})
    return _insert(engine, "tt_target_weights", frame)


def insert_equity_point(engine: Engine, rows: Rows | int | None = None, *values: Any, **row: Any) -> int:
    """Append to `tt_equity_curve`.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    rows : as of `insert_action`, with episode_id, timestamp (session), net_worth (USD at its close).
    *values : the rest of a row that is given by position.
    **row : one row by keywords, in place of `rows`.

    Returns
    -------
    How many rows were written.

    Raises
    ------
    RowsRefused, FrameMismatch : as of `insert_action`.
    """
    order = ("episode_id", "timestamp", "net_worth")
    many, one = named("tt_equity_curve", order, rows, values, row)
    return _insert(engine, "tt_equity_curve", checks.frame_of("tt_equity_curve", many, one))


def finalize_episode(
    engine: Engine,
    episode_id: int,
    end_time: Day | None = None,
    stop_reason: str = StopReason.EVALUATION_COMPLETE,
    max_drawdown: float | None = None,
    sharpe_ratio: float | None = None,
    turnover: float | None = None,
    *,
    report: bool = True,
) -> EpisodeSummary:
    """Close an episode and report its partition; what is not given is worked out from its rows (see `trading.metrics`).

    Parameters
    ----------
    engine : as `get_engine` gives it.
    episode_id : an episode that `create_episode` opened.
    end_time : its last session, New York; that of the equity curve.
    stop_reason : one of those that `tt_episode` admits.
    max_drawdown : fraction of the peak, 0 to 1; that of the equity curve.
    sharpe_ratio : mean / std × √252 of close-to-close returns; that of the equity curve, None where it is undefined.
    turnover : mean |Δ weight| over decisions and instruments; that of the target weights.
    report : whether Dagster is told of the partition.

    Returns
    -------
    What is stored.

    Raises
    ------
    UserError : nothing was changed; an unknown or finished episode, one without an equity curve, an unknown stop reason
        or a figure out of its range.
    RowsRefused : nothing was changed; the target weights of a session do not sum to 1.
    NotReported : it is closed, but Dagster did not take the report.
    """
    database = database_of(engine)
    opened = _open_episodes(database, [episode_id]).get(episode_id)
    if opened is None:
        raise UserError(_not_open(database, episode_id))
    reasons = tuple(_stop_reasons())
    if stop_reason not in reasons:
        raise UserError(f"stop_reason {stop_reason!r} is none of {', '.join(reasons)}.")
    curve = rows_of(database, "tt_equity_curve", episode_id)
    if curve.empty:
        raise UserError(f"tt_episode {episode_id} has no equity curve; insert_equity_point gives it one.")
    worth = curve["net_worth"].to_numpy(np.float64)
    weights = _weights(database, episode_id, opened.members)
    end = as_day(curve["timestamp"].iloc[-1] if end_time is None else end_time, "end_time")
    summary = EpisodeSummary(
        episode_id=episode_id,
        end_time=datetime.combine(end, time.min),
        stop_reason=str(stop_reason),
        max_drawdown=metrics.max_drawdown(worth) if max_drawdown is None else float(max_drawdown),
        sharpe_ratio=metrics.sharpe_ratio(worth) if sharpe_ratio is None else float(sharpe_ratio),
        turnover=metrics.turnover(weights) if turnover is None else float(turnover),
    )
    _check_figures(summary, opened)
    with reporting(database, wanted=report) as reporter:
        EpisodeStore(database).finalize([summary])
        if reporter:
            reporter.window(CellKey(f"{opened.window.start}", opened.window.traded))
    return summary


def _insert(engine: Engine, table: str, frame: pd.DataFrame) -> int:
    if frame.empty:
        return 0
    database = database_of(engine)
    columns = content_columns(TABLES[table])
    checks.require(table, frame, columns)
    stamps, rules = checks.timestamps(frame["timestamp"])
    known = pd.to_numeric(frame["episode_id"], errors="coerce")
    # What is no whole number becomes an id that nobody has, and is refused as such.
    whole = known.where(known.mod(1) == 0, -1).astype("int64")
    episodes = _open_episodes(database, sorted(set(whole.tolist())))
    rules.append(Rule("no such episode, or a finished one", ~whole.isin(list(episodes)).to_numpy()))
    for number, episode in episodes.items():
        own = (whole == number).to_numpy()
        inside = (stamps >= pd.Timestamp(episode.start)) & (stamps < pd.Timestamp(episode.window.end))
        span = f"outside the episode, {episode.start} to the day before {episode.window.end}"
        rules.append(Rule(span, own & stamps.notna().to_numpy() & ~inside.to_numpy()))
        if "instrument" in columns:
            allowed = [*episode.members, *([CASH] if table == "tt_target_weights" else [])]
            words = f"instrument is none of {', '.join(allowed)}"
            rules.append(Rule(words, own & ~frame["instrument"].isin(allowed).to_numpy()))
    rows = frame.assign(episode_id=whole, timestamp=stamps)
    rules.append(checks.repeated(rows, key_columns(TABLES[table])))
    checks.refuse(table, frame, rules)
    try:
        return EpisodeStore(database).add(table, rows)
    except UniqueViolation as error:
        detail = (error.diag.message_detail or "").rstrip(".")
    raise RowsRefused(f"{table}: nothing was written. {detail}; leave the row out, or create the episode again.")


def _open_episodes(database: Database, numbers: Sequence[int]) -> dict[int, OpenEpisode]:
    """The unfinished episodes among `numbers`."""
    watchlist = read_watchlist(current_settings().watchlist)
    with database.connect() as connection:
        found = connection.execute(
            "SELECT id, window_start, instrument, start_time FROM tt_episode "
            "WHERE id = ANY(%s::bigint[]) AND end_time IS NULL ORDER BY id",
            [list(numbers)],
        ).fetchall()
    return {
        number: OpenEpisode(Window(window, traded), start.date(), watchlist.members(traded))
        for number, window, traded, start in found
    }


def _not_open(database: Database, number: int) -> str:
    with database.connect() as connection:
        found = connection.execute("SELECT end_time FROM tt_episode WHERE id = %s", [number]).fetchone()
    if found is None:
        return f"tt_episode has no row {number}; create_episode makes one and returns its id."
    return f"tt_episode {number} is finished since its session {found[0]:%Y-%m-%d}; create_episode begins it anew."


def _weights(database: Database, episode: int, members: Sequence[str]) -> npt.NDArray[np.float64]:
    """Target weights (decisions × instruments, without cash); RowsRefused where a session's do not sum to 1."""
    rows = rows_of(database, "tt_target_weights", episode)
    sums = rows.groupby("timestamp")["target_weight"].sum()
    off = sums[(sums - 1.0).abs() > WEIGHTS_OFF_BY]
    if len(off):
        raise RowsRefused(
            f"tt_episode {episode} stays open: the target weights of {len(off)} sessions do not sum to 1, those of "
            f"{off.index[0]:%Y-%m-%d} sum to {off.iloc[0]:g}; insert the missing rows, {CASH} among them."
        )
    wide = rows.pivot(index="timestamp", columns="instrument", values="target_weight")  # noqa: PD010 - never averaged
    weights = wide.reindex(columns=list(members)).fillna(0.0)
    return weights.to_numpy(dtype=np.float64)


def _only_traded(watchlist: Watchlist) -> str:
    """What an episode trades that does not say: the only portfolio, else the only symbol."""
    portfolios = [name for name in watchlist.traded if name not in watchlist.symbols]
    choice = portfolios or list(watchlist.symbols)
    if len(choice) == 1:
        return choice[0]
    raise UserError(
        f"create_episode does not know what is traded: the watchlist has {', '.join(choice[:SHOWN_CHOICES])}"
        f'{", …" if len(choice) > SHOWN_CHOICES else ""}; name it, as in create_episode(engine, "{choice[0]}", t).'
    )


def _stop_reasons() -> list[str]:
    """The reasons the table admits, read off its constraint."""
    (rule,) = (str(c.sqltext) for c in TABLES["tt_episode"].constraints if str(c.name).endswith("stop_reason_check"))  # type: ignore[attr-defined]
    return rule.split("'")[1::2]


def _check_figures(summary: EpisodeSummary, episode: OpenEpisode) -> None:
    end = summary.end_time.date()
    if not (is_session(end) and episode.start <= end < episode.window.end):
        raise UserError(f"end_time {end} is no session from {episode.start} to the day before {episode.window.end}.")
    if not 0 <= summary.max_drawdown <= 1:
        raise UserError(f"max_drawdown {summary.max_drawdown} is no fraction of the peak; give a number in [0, 1].")
    if not 0 <= summary.turnover < np.inf:
        raise UserError(f"turnover {summary.turnover} is no mean of absolute changes; give a number of at least 0.")
    if summary.sharpe_ratio is not None and not np.isfinite(summary.sharpe_ratio):
        raise UserError(f"sharpe_ratio {summary.sharpe_ratio} is not finite; leave it out to have it worked out.")


def _require_partition(window: Window, settings: Settings) -> None:
    keys = quarter_partitions(horizon(settings), settings.train_windows).get_partition_keys()
    if f"{window.start:%Y-%m-%d}" not in keys:
        raise UserError(
            f"The quarter from {window.start} is no walk-forward window; the windows begin {keys[0]} to {keys[-1]}."
            if keys
            else f"The quarter from {window.start} is no walk-forward window; TT_START_DATE and TT_END_DATE leave none."
        )
