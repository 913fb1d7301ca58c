"""Filling the tables by hand, from a notebook: the same checks, the same storage, and Dagster knows of it.

    from tt_assets import population as tt

    engine = tt.get_engine()
    tt.upsert_price_bars(engine, bars)
    prices = tt.fetch_prices(engine, ["AAPL", "IBM"], "2012-01-03", "2012-12-31")
    tt.upsert_features(engine, tt.compute_basic_features(prices), ["return_1", "vol_10", "vol_20"])

A call is whole or nothing. Rows are checked before the first is written, one transaction replaces them,
and every cell they touch is then reported to Dagster as materialized ("written by hand"), so lineage stays true. A
later materialization of a cell by Dagster replaces what was written there by hand, as it replaces anything else.
"""

from tt_assets.notebook.arguments import RowsRefused
from tt_assets.notebook.engines import get_engine
from tt_assets.notebook.episodes_by_hand import (
    create_episode,
    finalize_episode,
    insert_action,
    insert_equity_point,
    insert_reward,
    insert_target_weights,
)
from tt_assets.notebook.market_writes import (
    compute_basic_features,
    fetch_prices,
    upsert_features,
    upsert_price_bars,
    upsert_signal_scores,
)
from tt_assets.notebook.replaced_slices import Upserted

__all__ = [
    "RowsRefused",
    "Upserted",
    "compute_basic_features",
    "create_episode",
    "fetch_prices",
    "finalize_episode",
    "get_engine",
    "insert_action",
    "insert_equity_point",
    "insert_reward",
    "insert_target_weights",
    "upsert_features",
    "upsert_price_bars",
    "upsert_signal_scores",
]
