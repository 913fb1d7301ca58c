"""The agents' sensor: windows are rolled again as their sessions come, and a new window's policies are trained.

The ledger says what an episode was rolled on: bars, features, scores and agents. A window where that is not what there
is now is rolled again. Nothing is trained a second time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import chain

import dagster as dg
import numpy as np

from tt_assets.assets.spans import versions_of_trading
from tt_assets.automation.jobs import AGENTS_JOB, ROLL_JOB
from tt_assets.automation.market import FEATURES_TABLE, PRICES, SCORES, MarketState
from tt_assets.automation.partition_states import Cells, Mask, read_cells
from tt_assets.automation.requests import range_requests
from tt_assets.automation.tries import SOURCE_TAG, Tries, tries_of
from tt_assets.grid.partitions import Window
from tt_assets.grid.rectangles import MOST_CELLS
from tt_assets.grid.sliding import Numbers, running, total
from tt_assets.market.calendar import next_session, shift_session
from tt_assets.market.watchlist import Watchlist, WatchlistError
from tt_assets.postgres.database import Database
from tt_assets.runs.queued import agents_share
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES
from tt_assets.trading.config import TrainingSpan

AGENTS = "agents"
ROLL_PRIORITY = -1
TRAIN_PRIORITY = -2
WINDOWS_FOLLOWED = 4
"""The latest windows of a traded key whose agents are trained without anybody asking: a year out of sample."""
TRAINED_AT_ONCE = 8
"""Windows of one training run: what is new meanwhile waits for its end."""


@dataclass(frozen=True)
class AgentState:
    """The windows at one moment."""

    market: MarketState
    cells: Cells
    tries: Mapping[str, Tries]
    tag: str

    @cached_property
    def windows(self) -> Mapping[Window, tuple[int, int]]:
        """The windows with a bar of what the watchlist still trades, and where they stand in the grid."""
        axes, bars, extents = self.cells.axes, self.market.cells[PRICES].filled, self.market.extents
        found = {}
        for row, (_, first, last) in enumerate(self._spans):
            listed = bars[first:last].any(axis=0)
            if extents is not None:  # a year with bars may have none in this quarter of it
                window = Window(date.fromisoformat(axes.dates[row]), "")
                listed &= extents.trades(window.start, window.end - timedelta(days=1))
            for column, name in enumerate(axes.instruments):
                if listed[self._members.get((axes.dates[row], name), [])].any():
                    found[Window(date.fromisoformat(axes.dates[row]), name)] = (row, column)
        return found

    @cached_property
    def behind(self) -> Mask:
        """The windows with agents whose episodes are missing, failed, or were rolled on other content than there is.

        Bars, features and scores that landed or changed since are other content, and so is an agent trained again.
        """
        policies, episodes = self.cells["tt_policy"], self.cells["tt_episode"]
        stale = episodes.computed_from_others(self.sums)
        return policies.done & (~episodes.done | episodes.failed | stale)

    @cached_property
    def _members(self) -> Mapping[tuple[str, str], list[int]]:
        """(window, what is traded) → columns of its members then among the market's instruments."""
        place, watchlist = self.market.axes.instrument_at, self.market.listed.watchlist
        found: dict[tuple[str, str], list[int]] = {}
        for name in watchlist.traded:
            always = watchlist.members(name)
            for day in self.cells.axes.dates:
                symbols = always
                if name in watchlist.portfolios:
                    try:
                        symbols = watchlist.members(name, date.fromisoformat(day))
                    except WatchlistError:
                        symbols = ()
                found[day, name] = [place[symbol] for symbol in symbols if symbol in place]
        return found

    @cached_property
    def _spans(self) -> list[tuple[int, int, int]]:
        """Of each window, half-open rows of the market's dates: where its panel begins, its own first, and its end."""
        back = self.market.plan.trading.lookback_sessions
        spans = []
        for key in self.cells.axes.dates:
            start = date.fromisoformat(key)
            opening = next_session(start, inclusive=True)
            spans.append(
                (
                    self._row_of(shift_session(opening, -back)),
                    self._row_of(start),
                    self._row_behind(Window(start, "")),
                )
            )
        return spans

    def _row_of(self, day: date) -> int:
        """The first row of the market's dates at or after `day`; of months and years the one that holds it."""
        return bisect_left(self.market.axes.dates, self.market.settings.date_grain.key_of(day).isoformat())

    def _row_behind(self, window: Window) -> int:
        """The row of the market's dates behind the last that holds a day of the window."""
        last = self.market.settings.date_grain.key_of(window.end - timedelta(days=1))
        return bisect_right(self.market.axes.dates, last.isoformat())

    @cached_property
    def sums(self) -> Numbers:
        """(windows) what an episode that was rolled now would say that it was rolled on."""
        axes = self.cells.axes
        totals = running(total(self.market.cells[table].numbers for table in MARKET_TABLES))
        sums = self.cells["tt_policy"].numbers.copy()
        for row, (first, _, last) in enumerate(self._spans):
            members = [self._members.get((axes.dates[row], name), []) for name in axes.instruments]
            owners = np.repeat(np.arange(len(members)), [len(each) for each in members])
            columns = np.fromiter(chain.from_iterable(members), dtype=np.int64)
            np.add.at(sums[row], owners, (totals[last] - totals[first])[columns])
        return sums

    @cached_property
    def unsettled(self) -> Numbers:
        """(dates + 1, instruments) running count of the market's cells whose content is still going to change."""
        market = self.market
        open_cells = np.logical_or.reduce([market.wished & ~market.settled(table) for table in MARKET_TABLES])
        for table in (FEATURES_TABLE, SCORES):
            hopeless = market.tries[table].count >= market.settings.gap_tries
            open_cells = open_cells | (market.stale(table) & ~hopeless)
        return running(open_cells.astype(np.int64))

    def may_train(self, window: Window) -> bool:
        """Whether no cell that the window trains or rolls on is still to come."""
        anchored = self.market.settings.trading.training_span is TrainingSpan.ANCHORED
        first = 0 if anchored else self._row_of(window.training_start(self.market.settings.train_windows))
        return self._settled(window, first, self._row_behind(window))

    def may_roll(self, window: Window, row: int) -> bool:
        """Whether no cell of the panel of the window, the grid's date `row`, is still to come."""
        first, _, last = self._spans[row]
        return self._settled(window, first, last)

    def _settled(self, window: Window, first: int, last: int) -> bool:
        counted = self.unsettled[last] - self.unsettled[first]
        return not counted[self._members.get((f"{window.start}", window.traded), [])].any()


def read_agents(instance: dg.DagsterInstance, market: MarketState, database: Database) -> AgentState:
    """The state now."""
    cells = read_cells(instance, database, market.plan.window_partitions, ("tt_policy", "tt_episode"))
    # A new session or another setting is a new chance for what could not be trained before.
    config = versions_of_trading(market.plan, cells.axes.instruments)[:8]
    tag = f"{market.source.fingerprint}/{market.source.latest}/{config}"
    return AgentState(market, cells, tries_of(cells, tag), tag)


def followed(watchlist: Watchlist, trained: Mask, traded: Sequence[str]) -> set[str]:
    """What is kept trained: the portfolios and the symbols that have an agent; every symbol without a portfolio.

    `trained` are the windows with a policy, windows × `traded`.
    """
    has_agent = {name for name, any_window in zip(traded, trained.any(axis=0), strict=True) if any_window}
    return {*watchlist.portfolios, *(has_agent & set(watchlist.symbols))} or set(watchlist.symbols)


def requests(state: AgentState) -> list[dg.RunRequest]:
    """Range runs over the windows to train, and over those to roll again."""
    train, roll = to_train(state), to_roll(state)
    settings = state.market.settings

    def most_cells(windows: Mask) -> int:
        # A window a run where there are machines to share them out to.
        return agents_share(int(windows.sum()), settings) if settings.several_machines else MOST_CELLS

    shared = {"axes": state.cells.axes, "sensor": AGENTS, "tags": {SOURCE_TAG: state.tag}}
    latest = state.market.source.latest
    return [
        *range_requests(
            ROLL_JOB,
            {tuple(EPISODE_TABLES): roll},
            priority=ROLL_PRIORITY,
            reason=f"behind their bars, up to {latest}, or their agents",
            **shared,  # type: ignore[arg-type]
        ),
        *range_requests(
            AGENTS_JOB,
            {("tt_policy", *EPISODE_TABLES): train},
            priority=TRAIN_PRIORITY,
            reason="a window without agents",
            most_cells=most_cells,
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
        if not policies.done[place] and _may_try(state, "tt_policy")[place] and state.may_train(window)
    ]
    for _, place in sorted(lacking, key=lambda item: item[0].start, reverse=True)[:TRAINED_AT_ONCE]:
        chosen[place] = True
    return chosen


def to_roll(state: AgentState) -> Mask:
    """The windows that are behind and that nobody is making; of those whose bars are still to come none."""
    policies, episodes = state.cells["tt_policy"], state.cells["tt_episode"]
    wanted = state.behind & ~policies.in_flight & ~episodes.in_flight & _may_try(state, "tt_episode")
    chosen = state.cells.axes.none()
    for window, place in state.windows.items():
        if wanted[place]:
            chosen[place] = state.may_roll(window, place[0])
    return chosen


def _latest(state: AgentState) -> list[tuple[Window, tuple[int, int]]]:
    """The latest windows with bars of each followed key."""
    axes = state.cells.axes
    keys = followed(state.market.listed.watchlist, state.cells["tt_policy"].done, axes.instruments)
    own: dict[str, list[tuple[Window, tuple[int, int]]]] = {}
    for window, place in sorted(state.windows.items(), key=lambda item: item[0].start):
        if window.traded in keys:
            own.setdefault(window.traded, []).append((window, place))
    return [entry for entries in own.values() for entry in entries[-WINDOWS_FOLLOWED:]]


def _may_try(state: AgentState, table: str) -> Mask:
    tries, market = state.tries[table], state.market
    return (tries.count < market.settings.gap_tries) & tries.due(market.now, market.first_wait)
