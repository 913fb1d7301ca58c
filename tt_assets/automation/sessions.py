"""The session sensor: what came after the last session of each instrument, through the market tables, once.

There is no "today's session". Whatever lies behind the last cell that was ever asked for is asked for in
one range run, be it one session or the two weeks a machine was switched off.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date

import dagster as dg
import numpy as np

from tt_assets.automation.gaps import open_gaps
from tt_assets.automation.jobs import MARKET_JOB
from tt_assets.automation.market import FEATURES_TABLE, PRICES, SCORES, MarketState, plan
from tt_assets.automation.partition_states import Mask
from tt_assets.automation.requests import range_requests
from tt_assets.automation.tries import SOURCE_TAG

SESSIONS = "sessions"
PRIORITY = 5


def new_sessions(state: MarketState, covered: str | None = None) -> list[dg.RunRequest]:
    """Range runs over the cells behind the last one of each active instrument.

    `covered` is the last session (ISO date) that an earlier tick asked for; only where a partition is a month or year
    does it say which of those that have landed a live source may have more sessions for.
    """
    new, features, scores = (_first(state, table) for table in (PRICES, FEATURES_TABLE, SCORES))
    # The gap sensor makes a feature that failed together with its score.
    tried = state.tries[FEATURES_TABLE].count
    scores &= ~(open_gaps(state, FEATURES_TABLE) & (tried < state.settings.gap_tries))
    plans = plan(state, new & ~state.unknown[None, :], state.axes.none(), features, scores)
    grown = _grown(state, covered)
    if grown.any():
        everything, *_ = plans
        plans = {**plans, everything: plans[everything] | grown}
    return range_requests(
        MARKET_JOB,
        plans,
        state.axes,
        most_cells=state.most_cells,
        sensor=SESSIONS,
        priority=PRIORITY,
        reason=f"sessions up to {state.source.latest}",
        tags={SOURCE_TAG: state.source.fingerprint},
    )


def _first(state: MarketState, table: str) -> Mask:
    return state.missing(table) & state.beyond(table)


def _grown(state: MarketState, covered: str | None) -> Mask:
    """The months and years that have landed and lack sessions that came behind them."""
    latest = state.source.latest
    if latest is None or covered == latest.isoformat():
        return state.axes.none()
    tables = [state.cells[table] for table in (FEATURES_TABLE, SCORES)]
    idle = np.logical_and.reduce([own.done & ~own.in_flight for own in tables])
    since = latest
    with suppress(ValueError, TypeError):  # a cursor that is lost or garbled
        since = date.fromisoformat(covered or "")
    chosen: Mask = state.grown(since) & idle
    return chosen
