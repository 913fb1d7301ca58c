"""The agents' sensor: windows are rolled again as their sessions come, and a new window's policies are trained.

What an episode has covered is read off the episode itself. A window whose last bar is later than the end
of an episode that ran to the end of its data is rolled again; one that stopped early has nothing more to say. Nothing
is trained a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import numpy as np

from tt_assets.automation.jobs import AGENTS_JOB, ROLL_JOB
from tt_assets.automation.market import MarketState
from tt_assets.automation.partition_states import Cells, Mask, read_cells
from tt_assets.automation.requests import range_requests
from tt_assets.automation.tries import SOURCE_TAG, Tries, tries_of
from tt_assets.grid.partitions import Window
from tt_assets.market.watchlist import Watchlist
from tt_assets.postgres.database import Database
from tt_assets.settings import DateGrain
from tt_assets.tables import EPISODE_TABLES, HAND, MARKET_TABLES, OLD_AGENT
from tt_assets.trading.config import TrainingSpan

AGENTS = "agents"
ROLL_PRIORITY = -1
TRAIN_PRIORITY = -2
WINDOWS_FOLLOWED = 4
"""The latest windows of a traded key whose agents are trained without anybody asking: a year out of sample."""
TRAINED_AT_ONCE = 8
"""Windows of one training run: what is new meanwhile waits for its end."""


@dataclass(frozen=True)
class Covered:
    """What the episodes of one window hold.

    The end of those that ran to the end of their data, None where all stopped early, and whether one was never closed.
    """

    end: date | None
    unfinished: bool


@dataclass(frozen=True)
class AgentState:
    """The windows at one moment. `last_bars` is the last session with a bar of any of the window's symbols."""

    market: MarketState
    cells: Cells
    tries: Mapping[str, Tries]
    tag: str
    covered: Mapping[Window, Covered]
    last_bars: Mapping[Window, date]

    def windows(self) -> dict[Window, tuple[int, int]]:
        """The windows with a bar of what the watchlist still trades, and where they stand in the grid."""
        axes = self.cells.axes
        return {
            window: (axes.date_at[f"{window.start}"], axes.instrument_at[window.traded])
            for window in self.last_bars
            if f"{window.start}" in axes.date_at and window.traded in axes.instrument_at
        }


def read_agents(instance: dg.DagsterInstance, market: MarketState, database: Database) -> AgentState:
    """The state now."""
    cells = read_cells(instance, market.plan.window_partitions, ("tt_policy", "tt_episode"))
    # A new session or another setting is a new chance for what could not be trained before.
    config = hashlib.blake2b(market.plan.trading.to_json().encode(), digest_size=4).hexdigest()
    tag = f"{market.source.fingerprint}/{market.source.latest}/{config}"
    tries = tries_of(instance, cells.axes, tuple(cells.tables), {SOURCE_TAG: tag}, counted=AGENTS)
    return AgentState(
        market, cells, tries, tag, read_covered(database), last_bars(database, market.listed.watchlist, cells)
    )


def followed(watchlist: Watchlist, trained: Mask, traded: Sequence[str]) -> set[str]:
    """What is kept trained: the portfolios and the symbols that have an agent; every symbol without a portfolio.

    `trained` are the windows with a policy, windows × `traded`.
    """
    has_agent = {name for name, any_window in zip(traded, trained.any(axis=0), strict=True) if any_window}
    return {*watchlist.portfolios, *(has_agent & set(watchlist.symbols))} or set(watchlist.symbols)


def requests(state: AgentState) -> list[dg.RunRequest]:
    """Range runs over the windows to train, and over those to roll again."""
    train, roll = to_train(state), to_roll(state)
    shared = {"axes": state.cells.axes, "sensor": AGENTS, "tags": {SOURCE_TAG: state.tag}}
    latest = state.market.source.latest
    return [
        *range_requests(
            ROLL_JOB,
            {tuple(EPISODE_TABLES): roll},
            priority=ROLL_PRIORITY,
            reason=f"sessions up to {latest}",
            **shared,  # type: ignore[arg-type]
        ),
        *range_requests(
            AGENTS_JOB,
            {("tt_policy", *EPISODE_TABLES): train},
            priority=TRAIN_PRIORITY,
            reason="a window without agents",
            **shared,  # type: ignore[arg-type]
        ),
    ]


def to_train(state: AgentState) -> Mask:
    """The latest windows of what is followed that have no policy; none while a training goes on."""
    policies = state.cells["tt_policy"]
    chosen = state.cells.axes.none()
    if policies.in_flight.any():
        return chosen
    lacking = [
        (window, place)
        for window, place in _latest(state)
        if not policies.done[place] and _may_try(state, "tt_policy")[place] and _inputs_settled(state, window)
    ]
    for _, place in sorted(lacking, key=lambda item: item[0].start, reverse=True)[:TRAINED_AT_ONCE]:
        chosen[place] = True
    return chosen


def to_roll(state: AgentState) -> Mask:
    """The windows with agents whose episodes are missing, were never closed, or end before the window's last bar."""
    policies, episodes = state.cells["tt_policy"], state.cells["tt_episode"]
    chosen = state.cells.axes.none()
    may_try = _may_try(state, "tt_episode")
    for window, place in [*_latest(state), *_rolled(state)]:
        busy = policies.in_flight[place] or episodes.in_flight[place]
        if policies.done[place] and not busy and may_try[place] and _is_behind(state, window, place):
            chosen[place] = _inputs_settled(state, window)
    return chosen


def read_covered(database: Database) -> dict[Window, Covered]:
    """What the episodes of every window hold, those written by hand left out."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT window_start, instrument, max(end_time) FILTER (WHERE stop_reason = 'evaluation_complete')::date, "
            "bool_or(end_time IS NULL) FROM tt_episode WHERE strategy <> ALL(%s) GROUP BY window_start, instrument",
            [[HAND, OLD_AGENT]],
        ).fetchall()
    return {Window(start, traded): Covered(end, unfinished) for start, traded, end, unfinished in rows}


def last_bars(database: Database, watchlist: Watchlist, cells: Cells) -> dict[Window, date]:
    """The last session with a bar of any symbol of each window of the grid; windows without one are left out."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT date_trunc('quarter', timestamp)::date, instrument, max(timestamp)::date FROM tt_prices "
            "WHERE instrument = ANY(%s) GROUP BY 1, 2",
            [list(watchlist.symbols)],
        ).fetchall()
    by_quarter: dict[date, dict[str, date]] = {}
    for quarter, instrument, last in rows:
        by_quarter.setdefault(quarter, {})[instrument] = last
    found = {}
    for key in cells.axes.dates:
        ends = by_quarter.get(date.fromisoformat(key), {})
        for traded in watchlist.traded:
            members = [ends[symbol] for symbol in watchlist.members(traded) if symbol in ends]
            if members:
                found[Window(date.fromisoformat(key), traded)] = max(members)
    return found


def _latest(state: AgentState) -> list[tuple[Window, tuple[int, int]]]:
    """The latest windows with bars of each followed key."""
    axes = state.cells.axes
    keys = followed(state.market.listed.watchlist, state.cells["tt_policy"].done, axes.instruments)
    own: dict[str, list[tuple[Window, tuple[int, int]]]] = {}
    for window, place in sorted(state.windows().items(), key=lambda item: item[0].start):
        if window.traded in keys:
            own.setdefault(window.traded, []).append((window, place))
    return [entry for entries in own.values() for entry in entries[-WINDOWS_FOLLOWED:]]


def _rolled(state: AgentState) -> list[tuple[Window, tuple[int, int]]]:
    return [(window, place) for window, place in state.windows().items() if window in state.covered]


def _is_behind(state: AgentState, window: Window, place: tuple[int, int]) -> bool:
    episodes, held = state.cells["tt_episode"], state.covered.get(window)
    if held is None or held.unfinished or episodes.failed[place] or not episodes.done[place]:
        return True
    return held.end is not None and held.end < state.last_bars[window]


def _may_try(state: AgentState, table: str) -> Mask:
    tries, market = state.tries[table], state.market
    return (tries.count < market.settings.gap_tries) & tries.due(market.now, market.first_wait)


def _inputs_settled(state: AgentState, window: Window) -> bool:
    """Whether no cell that the window trains or rolls on is still to come."""
    market = state.market
    settings, axes = market.settings, market.axes
    anchored = settings.trading.training_span is TrainingSpan.ANCHORED
    first = "" if anchored else window.training_start(settings.train_windows).isoformat()
    last = (window.end - timedelta(days=1)).isoformat()
    if settings.date_grain is DateGrain.MONTH:
        first = f"{first[:7]}-01" if first else first
    rows = np.array([first <= key <= last for key in axes.dates], dtype=bool)
    columns = axes.columns(market.listed.watchlist.members(window.traded))
    asked = market.wished & rows[:, None] & columns[None, :]
    return not any((asked & ~market.settled(table)).any() for table in MARKET_TABLES)
