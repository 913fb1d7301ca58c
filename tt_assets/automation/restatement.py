"""The restatement sensor: what was computed from a bar that has changed since is made again, and nothing else.

The work behind a changed bar is done in three steps, features, then scores, then episodes, and a step is
over when its cells were made by a step that began after what it read had landed. A run that failed, a person who was
faster and a killed daemon are all the same to it. Agents are not trained again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import dagster as dg
import numpy as np

from tt_assets.automation.agents import AgentState
from tt_assets.automation.jobs import MARKET_JOB, ROLL_JOB
from tt_assets.automation.market import FEATURES_TABLE, PRICES, SCORES, MarketState
from tt_assets.automation.partition_states import Mask
from tt_assets.automation.reads import Begun, begun_steps, read_at
from tt_assets.automation.requests import range_requests
from tt_assets.automation.restated_bars import (
    MOST_LOOKED_AT,
    Ids,
    Memory,
    Restated,
    changed_bars,
    changed_since,
    latest_events,
)
from tt_assets.automation.tries import SOURCE_TAG
from tt_assets.grid.lineage import keys_behind
from tt_assets.grid.partitions import Window
from tt_assets.market.calendar import next_session, shift_session
from tt_assets.tables import EPISODE_TABLES

RESTATEMENT = "restatement"
PRIORITY = 3
STEP_OF = {FEATURES_TABLE: FEATURES_TABLE, SCORES: SCORES, "tt_episode": "episodes"}
"""Key of the step that makes each table."""
MOST_COMPARED = 5000
"""Cells whose content before and after is compared for one changed bar; of more, all count as changed."""


@dataclass(frozen=True)
class Lineage:
    """What is younger than what: the newest materialization of every cell, and the reach of a bar."""

    instance: dg.DagsterInstance
    market: MarketState
    agents: AgentState

    @cached_property
    def features(self) -> Ids:
        """Newest event per cell of the features."""
        return latest_events(self.instance, self.market.axes, FEATURES_TABLE)

    @cached_property
    def scores(self) -> Ids:
        """Newest event per cell of the scores."""
        return latest_events(self.instance, self.market.axes, SCORES)

    @cached_property
    def episodes(self) -> Ids:
        """Newest event per window."""
        return latest_events(self.instance, self.agents.cells.axes, "tt_episode")

    @cached_property
    def features_read(self) -> Ids:
        """Per cell of the features the event at which its bars were read."""
        return read_at(self.market.axes, self.features, self._steps[FEATURES_TABLE])

    @cached_property
    def scores_read(self) -> Ids:
        """Per cell of the scores the event at which its bars and features were read."""
        return read_at(self.market.axes, self.scores, self._steps[SCORES])

    @cached_property
    def episodes_read(self) -> Ids:
        """Per window the event at which its panel was read."""
        return read_at(self.agents.cells.axes, self.episodes, self._steps["tt_episode"])

    @cached_property
    def _steps(self) -> dict[str, list[Begun]]:
        return begun_steps(self.instance, STEP_OF)

    @cached_property
    def feature_reach(self) -> int:
        """Date keys after a bar's whose features read it."""
        return self.market.behind(FEATURES_TABLE)

    @cached_property
    def score_reach(self) -> int:
        """Date keys after a bar's whose scores read it, be it through a feature."""
        plan = self.market.plan
        behind = {feature.name: feature.lookback for feature in plan.features}
        longest = max(
            (
                signal.lookback + max((behind.get(name, 0) for name in signal.inputs), default=0)
                for signal in plan.signals
            ),
            default=0,
        )
        return max(keys_behind(longest, self.market.settings.date_grain), self.feature_reach)

    def bars(self, entry: Restated) -> Mask:
        """The changed bars themselves."""
        axes = self.market.axes
        found = axes.none()
        if entry.instrument in axes.instrument_at:
            for first, last in entry.spans:
                found[
                    bisect_left(axes.dates, first) : bisect_right(axes.dates, last),
                    axes.instrument_at[entry.instrument],
                ] = True
        return found

    def changed(self, entry: Restated, table: str, cells: Mask) -> Mask:
        """Those of `cells` whose content in `table` is another one than before the bar changed."""
        axes = self.market.axes
        keys = list(map(str, axes.pairs(cells)))
        if len(keys) > MOST_COMPARED:
            return cells
        return axes.cells(changed_since(self.instance, table, keys, entry.event))

    def windows(self, instrument: str, changed: Mask) -> dict[Window, tuple[int, int]]:
        """The rolled windows of what trades `instrument` whose panel holds one of the `changed` cells."""
        watchlist = self.market.listed.watchlist
        back = self.market.plan.trading.lookback_sessions
        dates = [date.fromisoformat(day) for day in self.market.axes.dates]
        later = [*(day - timedelta(days=1) for day in dates[1:]), date.max]  # last day that belongs to each key
        spans = [(dates[row], later[row]) for row in np.flatnonzero(changed.any(axis=1))]
        found = {}
        for window, place in self.agents.windows().items():
            if window not in self.agents.covered or instrument not in watchlist.members(window.traded):
                continue
            first = shift_session(next_session(window.start, inclusive=True), -back)
            last = window.end - timedelta(days=1)
            if any(begin <= last and end >= first for begin, end in spans):
                found[window] = place
        return found


def ahead(cells: Mask, steps: int) -> Mask:
    """The cells and the `steps` after each of them."""
    count = np.cumsum(cells, axis=0)
    before = np.zeros_like(count)
    before[steps + 1 :] = count[: -(steps + 1)]
    return count > before


def look_for_changes(lineage: Lineage, memory: Memory) -> Memory:
    """The memory with the bars that changed since, as far as one tick looks."""
    axes = lineage.market.axes
    new = latest_events(lineage.instance, axes, PRICES, memory.event)
    if not new.any():
        return memory
    target = memory.target or int(new.max())
    computed, traded = _computed_before(lineage, new), _traded_before(lineage, new)
    suspects = sorted(map(str, axes.pairs(computed | traded)))
    left = [key for key in suspects if key > memory.position]
    looked_at = left[:MOST_LOOKED_AT]
    behind = set(map(str, axes.pairs(computed)))
    found = changed_bars(lineage.instance, axes, looked_at, memory.event, behind) if looked_at else []
    pending = (*memory.pending, *found)
    if len(looked_at) < len(left):
        return Memory(memory.event, target, looked_at[-1], pending)
    return Memory(target, pending=pending)


def _computed_before(lineage: Lineage, new: Ids) -> Mask:
    """The cells with a new event that older features or scores look back over."""
    found = np.zeros(new.shape, dtype=bool)
    for ids, reach in ((lineage.features_read, lineage.feature_reach), (lineage.scores_read, lineage.score_reach)):
        present = np.where(ids > 0, ids, np.iinfo(np.int64).max)
        for step in range(min(reach + 1, len(ids))):
            found[: len(ids) - step] |= present[step:] < new[: len(ids) - step]
    return found & (new > 0)


def _traded_before(lineage: Lineage, new: Ids) -> Mask:
    """The cells with a new event of instruments that some older episode traded."""
    found = np.zeros(new.shape, dtype=bool)
    oldest: dict[str, int] = {}
    for window, place in lineage.agents.windows().items():
        read = int(lineage.episodes_read[place])
        if window in lineage.agents.covered and read:
            for symbol in lineage.market.listed.watchlist.members(window.traded):
                oldest[symbol] = min(oldest.get(symbol, read), read)
    for symbol, event in oldest.items():
        column = lineage.market.axes.instrument_at.get(symbol)
        if column is not None:
            found[:, column] = new[:, column] > event
    return found


def requests(lineage: Lineage, memory: Memory) -> tuple[list[dg.RunRequest], Memory]:
    """The next step of every changed bar, and the memory without those that nothing is left of."""
    market, windows = lineage.market, lineage.agents.cells.axes
    plans: dict[tuple[str, ...], Mask] = {
        (FEATURES_TABLE, SCORES): market.axes.none(),
        (SCORES,): market.axes.none(),
    }
    rolled = windows.none()
    kept: list[Restated] = []
    reasons: list[str] = []
    for entry in memory.pending:
        step = _next_step(lineage, entry)
        if step is None:
            continue
        tables, cells = step
        current = entry.at(tables[0])
        if not cells.any() or market.now < current.after:
            kept.append(current)  # its cells are being made, or were asked for a moment ago
            continue
        if current.tries >= market.settings.gap_tries:
            continue  # given up; the runs that failed say why
        reasons.append(entry.why)
        kept.append(current.tried(market.now, market.first_wait))
        if tables == tuple(EPISODE_TABLES):
            rolled |= cells
        else:
            plans[tables] |= cells
    reason = f"changed bar: {'. '.join(reasons)}"
    shared = {"sensor": RESTATEMENT, "priority": PRIORITY, "reason": reason}
    tags = {SOURCE_TAG: market.source.fingerprint}
    return [
        *range_requests(MARKET_JOB, plans, market.axes, tags=tags, **shared),  # type: ignore[arg-type]
        *range_requests(ROLL_JOB, {tuple(EPISODE_TABLES): rolled}, windows, tags=tags, **shared),  # type: ignore[arg-type]
    ], replace(memory, pending=tuple(kept))


def _next_step(lineage: Lineage, entry: Restated) -> tuple[tuple[str, ...], Mask] | None:
    """The tables and cells to make next for a changed bar: none of them while they are being made; None at the end."""
    market, agents = lineage.market, lineage.agents
    nothing = market.axes.none()

    bars = lineage.bars(entry)
    features = ahead(bars, lineage.feature_reach) & (lineage.features_read > 0)
    if (features & market.cells[FEATURES_TABLE].in_flight).any():
        return (FEATURES_TABLE, SCORES), nothing
    stale = features & (lineage.features_read < entry.event)
    if stale.any():
        return (FEATURES_TABLE, SCORES), stale

    # A score looks back over the bars and over the features that came out otherwise.
    moved = bars | lineage.changed(entry, FEATURES_TABLE, features)
    scores = ahead(moved, market.behind(SCORES)) & (lineage.scores_read > 0)
    if (scores & market.cells[SCORES].in_flight).any():
        return (SCORES,), nothing
    youngest = max(entry.event, int(lineage.features[features].max(initial=0)))
    stale = scores & (lineage.scores_read < youngest)
    if stale.any():
        return (SCORES,), stale

    youngest = max(youngest, int(lineage.scores[scores].max(initial=0)))
    moved |= lineage.changed(entry, SCORES, scores)
    episodes, policies = agents.cells["tt_episode"], agents.cells["tt_policy"]
    rolled, busy = agents.cells.axes.none(), False
    for place in lineage.windows(entry.instrument, moved).values():
        busy |= bool(episodes.in_flight[place] or policies.in_flight[place])
        rolled[place] = bool(policies.done[place]) and lineage.episodes_read[place] < youngest
    if busy:
        return tuple(EPISODE_TABLES), agents.cells.axes.none()
    return (tuple(EPISODE_TABLES), rolled) if rolled.any() else None
