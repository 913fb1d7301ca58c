"""The gap sensor: cells that should have landed and have not are asked for again, ever more rarely, and given up.

A gap has a cause, and only some causes are worth asking again. A closed day has no partition and an
instrument that was not listed yet has no bar; a session inside the history without a bar may be a trading halt or a
vendor who is late, so a live source is asked again, while a file says so itself by changing.
"""

from __future__ import annotations

import dagster as dg
import numpy as np

from tt_assets.automation.jobs import MARKET_JOB
from tt_assets.automation.market import FEATURES_TABLE, PRICES, SCORES, MarketState, plan
from tt_assets.automation.partition_states import Mask
from tt_assets.automation.requests import range_requests
from tt_assets.automation.tries import SOURCE_TAG
from tt_assets.settings import DateGrain, PriceSourceName
from tt_assets.tables import MARKET_TABLES

GAPS = "gaps"
PRIORITY = 2
MOST_RUNS = 10
"""Runs of this sensor that wait or go on at one time: gaps never crowd out what is new."""


def gaps(state: MarketState, absent: Mask, running: int) -> list[dg.RunRequest]:
    """Range runs over the gaps whose wait is over; `absent` are landed cells whose bar is expected and not there.

    `running` is how many runs of this sensor have not ended. Prices that landed once are fetched alone: what is behind
    them is made again only if they change.
    """
    new, features, scores = (open_gaps(state, table) & _due(state, table) for table in (PRICES, FEATURES_TABLE, SCORES))
    landed = state.cells[PRICES].done
    plans = plan(state, new & ~landed, (new | (absent & _due(state, PRICES))) & landed, features, scores)
    return range_requests(
        MARKET_JOB,
        plans,
        state.axes,
        most_cells=state.most_cells,
        sensor=GAPS,
        priority=PRIORITY,
        reason="partitions that are missing, failed or without their bar",
        tags={SOURCE_TAG: state.source.fingerprint},
        most_runs=max(0, MOST_RUNS - running),
    )


def open_gaps(state: MarketState, table: str) -> Mask:
    """The wished cells of `table` that are missing or failed, not being made, and no other sensor's."""
    own = state.cells[table]
    first = state.beyond(table) | (state.unknown[None, :] if table == PRICES else False)
    return state.wished & (~own.done | own.failed) & ~own.in_flight & ~first


def absent_bars(state: MarketState) -> Mask:
    """The landed cells of a live source, since the listing of their instrument, that hold no bar.

    Empty for a file, which is compared as a whole whenever it changes, and for months, which hold many sessions.
    """
    if state.settings.price_source is PriceSourceName.FILE or state.settings.date_grain is not DateGrain.SESSION:
        return state.axes.none()
    own = state.cells[PRICES]
    bars = own.filled
    chosen: Mask = state.wished & own.done & ~own.in_flight & np.maximum.accumulate(bars, axis=0) & ~bars
    return chosen


def in_words(state: MarketState, absent: Mask) -> str:
    """What there is of gaps, for the line of a tick that asks for nothing."""
    words = []
    for table in MARKET_TABLES:
        waiting, given_up = open_gaps(state, table), state.given_up(table)
        for what, cells in (("wait", waiting & ~given_up), ("are given up", given_up)):
            if count := int(cells.sum()):
                words.append(f"{table}: {count} partitions {what}")
    if count := int(absent.sum()):
        words.append(f"{count} sessions have no bar in the source")
    return "; ".join(words) or "No gaps."


def _due(state: MarketState, table: str) -> Mask:
    tries = state.tries[table]
    return (tries.count < state.settings.gap_tries) & tries.due(state.now, state.first_wait)
