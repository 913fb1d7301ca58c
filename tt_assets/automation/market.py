"""What the market tables should hold and do not: the one view that the sensors share.

Every sensor is level-triggered. A tick compares the wished cells with what has landed and what is being
made, and asks for the difference, so a killed daemon, a week without power or a lost cursor heal by themselves. Which
sensor is in charge of a cell follows from the cell alone, so no two ever ask for the same one:

- an instrument of which no price was ever tried is the watchlist sensor's,
- what lies behind the last tried cell of an instrument is the session sensor's,
- every other missing or failed cell is the gap sensor's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import dagster as dg
import numpy as np
import numpy.typing as npt

from tt_assets.automation.extents import Extents, read_extents
from tt_assets.automation.partition_states import Axes, Cells, Mask, read_cells
from tt_assets.automation.source import SourceState, read_source
from tt_assets.automation.tries import Tries, tries_of
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.lineage import keys_behind
from tt_assets.grid.rectangles import most_cells
from tt_assets.grid.sliding import Numbers, total
from tt_assets.grid.sliding import over_lookback as sum_over
from tt_assets.market.current_watchlist import CurrentWatchlist
from tt_assets.postgres.database import Database
from tt_assets.research.registry import longest_lookback
from tt_assets.runs.queued import market_share
from tt_assets.settings import Settings
from tt_assets.tables import MARKET_TABLES

PRICES, FEATURES_TABLE, SCORES = MARKET_TABLES


@dataclass(frozen=True)
class MarketState:
    """The market tables at one moment.

    Parameters
    ----------
    wished : the cells of active instruments the source can have bars for.
    extents : how far stored bars reach, where a partition is wider than a session; None: not known.
    """

    plan: Blueprint
    source: SourceState
    listed: CurrentWatchlist
    cells: Cells
    tries: Mapping[str, Tries]
    wished: Mask
    now: float
    extents: Extents | None = None

    @property
    def settings(self) -> Settings:
        """What a person set."""
        return self.plan.settings

    @property
    def axes(self) -> Axes:
        """The keys of the grid."""
        return self.cells.axes

    @property
    def first_wait(self) -> float:
        """Wait after the first try of a cell, seconds."""
        return 2.0 * self.settings.sensor_interval

    def most_cells(self, cells: Mask) -> int:
        """How many of `cells` one range run makes; where several machines carry runs out, so that each has some.

        Runs of sensors have no order, so an instrument's history, which looks back over itself, is never cut.
        """
        if not self.settings.several_machines:
            return most_cells(self.settings.date_grain)
        return max(market_share(int(cells.sum()), self.settings), int(cells.sum(axis=0).max(initial=0)))

    def given_up(self, table: str) -> Mask:
        """The wished cells that never landed and were tried as often as the settings say."""
        return self.wished & ~self.cells[table].done & (self.tries[table].count >= self.settings.gap_tries)

    def missing(self, table: str) -> Mask:
        """The wished cells that never landed and are not being made."""
        own = self.cells[table]
        return self.wished & ~own.done & ~own.in_flight

    def grown(self, since: date) -> Mask:
        """The months and years that have landed and lack a session the source has by now, prices not being made.

        Whether a live source has a bar is not known before it is asked: of one only those that reach to `since` count.
        """
        if self.extents is None:
            return self.axes.none()
        own = self.cells[PRICES]
        short = self.extents.short(self.axes, self.settings.date_grain, since)
        return self.wished & short & own.done & ~own.in_flight

    def touched(self, table: str) -> Mask:
        """The cells that have landed, failed, are being made, or were asked for in vain."""
        own = self.cells[table]
        return own.done | own.failed | own.in_flight | (self.tries[table].count > 0)

    def beyond(self, table: str) -> Mask:
        """The cells behind the last touched one of their instrument."""
        later = np.cumsum(self.touched(table)[::-1], axis=0)[::-1]  # touched cells from this one on
        chosen: Mask = later == 0
        return chosen

    @cached_property
    def unknown(self) -> npt.NDArray[np.bool_]:
        """(instruments,) those of which no price was ever touched."""
        chosen: Mask = ~self.touched(PRICES).any(axis=0)
        return chosen

    def settled(self, table: str) -> Mask:
        """The cells whose content is what it is going to be: landed or given up, and not being made."""
        own = self.cells[table]
        return (own.done | self.given_up(table)) & ~own.in_flight

    def stale(self, table: str) -> Mask:
        """The cells of `table` that were computed from other content than what they look back over holds now."""
        return self.cells[table].computed_from_others(self.sums(table))

    def sums(self, table: str) -> Numbers:
        """What each cell of `table` that was computed now would say that it was computed from."""
        steps = self.behind(table)
        read = [PRICES] if table == FEATURES_TABLE else [PRICES, FEATURES_TABLE]
        return total(sum_over(self.cells[name].numbers, steps) for name in read)

    def behind(self, table: str) -> int:
        """How many date keys before its own a cell of `table` reads."""
        registry = self.plan.features if table == FEATURES_TABLE else self.plan.signals
        return keys_behind(longest_lookback(registry), self.settings.date_grain)


def read_market(instance: dg.DagsterInstance, plan: Blueprint, database: Database) -> MarketState:
    """The state now. Raises WatchlistError where there is no watchlist to follow."""
    settings = plan.settings
    listed = followed(settings)
    source = read_source(settings)
    cells = read_cells(instance, database, plan.market_partitions, MARKET_TABLES)
    tries = tries_of(cells, source.fingerprint)
    reached = np.array([key <= source.last_key(settings.date_grain) for key in cells.axes.dates], dtype=bool)
    wished = reached[:, None] & cells.axes.columns(listed.watchlist.symbols)[None, :]
    extents = read_extents(database, settings, cells.axes, source)
    return MarketState(plan, source, listed, cells, tries, wished, time.time(), extents)


def over_lookback(cells: Mask, steps: int) -> Mask:
    """Where a cell and the `steps` before it, clipped at the first, are all in `cells`."""
    lacking = np.cumsum(~cells, axis=0)
    before = np.zeros_like(lacking)
    before[steps + 1 :] = lacking[: -(steps + 1)]
    chosen: Mask = lacking == before
    return chosen


def apart(cells: Mask, steps: int) -> Mask:
    """(1, instruments) where no two runs of `cells` are so near that the later one looks back over the earlier."""
    begins = cells.copy()
    begins[1:] &= ~cells[:-1]
    free = np.ones_like(cells)
    free[1:] = over_lookback(~cells, max(steps - 1, 0))[:-1]
    chosen: Mask = (free | ~begins).all(axis=0)[None, :]
    return chosen


def plan(state: MarketState, new: Mask, again: Mask, features: Mask, scores: Mask) -> dict[tuple[str, ...], Mask]:
    """Which tables to run over which cells, so that no cell is computed before what it looks back over has landed.

    `new` are prices that never landed, `again` prices to fetch once more, `features` and `scores` cells of these tables
    to make; what cannot be made yet is left to a later tick. Runs have no order among each other, so cells that look
    back over one another go into one run, or wait.
    """
    prices_before, scores_before = state.behind(FEATURES_TABLE), state.behind(SCORES)
    prices, computed = state.settled(PRICES), state.settled(FEATURES_TABLE)

    ready = (
        over_lookback(prices | new, max(prices_before, scores_before))
        & over_lookback(computed | new, scores_before)
        & ~state.cells[FEATURES_TABLE].in_flight
        & ~state.cells[SCORES].in_flight
    )
    whole = (ready | ~new).all(axis=0)[None, :] & apart(new, max(prices_before, scores_before))

    prices = prices & ~new
    features = features & ~new & over_lookback(prices, prices_before)
    with_scores = (
        over_lookback(prices, scores_before)
        & over_lookback(computed | features, scores_before)
        & ~state.cells[SCORES].in_flight
    )
    along = (with_scores | ~features).all(axis=0)[None, :] & apart(features, scores_before)

    scores = (
        scores
        & ~new
        & ~features
        & over_lookback(prices, scores_before)
        & over_lookback(computed & ~features & ~new, scores_before)
    )
    return {
        MARKET_TABLES: new & whole,
        (PRICES,): (new & ~whole) | (again & ~new),
        (FEATURES_TABLE, SCORES): features & along,
        (FEATURES_TABLE,): features & ~along,
        (SCORES,): scores,
    }
