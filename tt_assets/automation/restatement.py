"""The restatement sensor: what was computed from a bar that has changed since is made again, and nothing else.

The ledger says of every slice what it was computed from. Where that is not what there is now, features are made again,
then the scores that look back over those that came out otherwise; windows are the agents' sensor's. A run that failed,
a person who was faster and a killed daemon are all the same to it. Agents are not trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from tt_assets.automation.jobs import MARKET_JOB
from tt_assets.automation.market import FEATURES_TABLE, SCORES, MarketState, plan
from tt_assets.automation.partition_states import Mask
from tt_assets.automation.requests import range_requests
from tt_assets.automation.tries import SOURCE_TAG
from tt_assets.postgres.database import Database

RESTATEMENT = "restatement"
PRIORITY = 3
SHOWN = 3


def requests(state: MarketState, reason: str) -> list[dg.RunRequest]:
    """Range runs over the features and scores that are out of date and that nobody is making."""
    features, scores = (_due(state, table) for table in (FEATURES_TABLE, SCORES))
    none = state.axes.none()
    plans = plan(state, none, none, features, scores)
    return range_requests(
        MARKET_JOB,
        plans,
        state.axes,
        most_cells=state.most_cells,
        sensor=RESTATEMENT,
        priority=PRIORITY,
        reason=f"changed bar: {reason}",
        tags={SOURCE_TAG: state.source.fingerprint},
    )


def out_of_date(state: MarketState) -> str:
    """How much is computed from other content than there is, in words; empty where nothing is."""
    counts = {table: int(state.stale(table).sum()) for table in (FEATURES_TABLE, SCORES)}
    return "; ".join(f"{table}: {count:,} partitions are out of date" for table, count in counts.items() if count)


def latest_changes(database: Database) -> str:
    """The bars that changed last, in words."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT date::text, instrument, changed FROM tt_slice WHERE table_name = 'tt_prices' "
            "AND changed IS NOT NULL ORDER BY written_at DESC, date, instrument LIMIT %s",
            [SHOWN],
        ).fetchall()
    return ". ".join(_in_words(f"{day} {name}", told) for day, name, told in rows) or "a bar where none was"


def _due(state: MarketState, table: str) -> Mask:
    own, tries = state.cells[table], state.tries[table]
    may_try = (tries.count < state.settings.gap_tries) & tries.due(state.now, state.first_wait)
    # What failed is the gap sensor's.
    chosen: Mask = state.stale(table) & ~own.failed & ~own.in_flight & (may_try | (own.done & (tries.count == 0)))
    return chosen


def _in_words(where: str, told: Mapping[str, Any]) -> str:
    was, now = told.get("was") or {}, told.get("now") or {}
    moved = [f"{name} was {was[name]:g}, is {_shown(now.get(name))}" for name in was if was[name] != now.get(name)]
    return f"{where}: {'; '.join(moved[:2])} ({told.get('cause', 'changed')})"


def _shown(value: float | None) -> str:
    return "absent" if value is None else f"{value:g}"
