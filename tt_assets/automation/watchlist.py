"""The watchlist sensor: what is new on the list becomes partition keys, and its whole history is asked for at once."""

from __future__ import annotations

import dagster as dg

from tt_assets.automation.jobs import MARKET_JOB
from tt_assets.automation.market import MarketState, plan
from tt_assets.automation.requests import range_requests
from tt_assets.automation.tries import SOURCE_TAG
from tt_assets.grid.partitions import instrument_partitions, traded_partitions
from tt_assets.market.watchlist import Watchlist

WATCHLIST = "watchlist"
PRIORITY = 4


def add_keys(instance: dg.DagsterInstance, watchlist: Watchlist) -> list[str]:
    """Make partition keys of what is new on the list; returns the new keys. Nothing is ever removed."""
    added = []
    for dimension, names in ((instrument_partitions, watchlist.symbols), (traded_partitions, watchlist.traded)):
        known = set(instance.get_dynamic_partitions(str(dimension.name)))
        new = [name for name in names if name not in known]
        if new:
            instance.add_dynamic_partitions(str(dimension.name), new)
        added += [name for name in new if name not in added]
    return added


def histories(state: MarketState) -> list[dg.RunRequest]:
    """The whole history of the instruments of which no price was ever asked for, through the three market tables."""
    none = state.axes.none()
    whole = state.wished & state.unknown[None, :]
    names = [state.axes.instruments[column] for column in whole.any(axis=0).nonzero()[0]]
    return range_requests(
        MARKET_JOB,
        plan(state, whole, none, none, none),
        state.axes,
        most_cells=state.most_cells,
        sensor=WATCHLIST,
        priority=PRIORITY,
        reason=f"new on the watchlist: {', '.join(names)}",
        tags={SOURCE_TAG: state.source.fingerprint},
    )
