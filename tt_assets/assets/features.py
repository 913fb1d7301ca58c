"""`tt_features`: technical features in long form."""

import dagster as dg
import pandas as pd

from tt_assets.assets.catalog import described
from tt_assets.assets.grids import MARKET, settings
from tt_assets.assets.market_pictures import View, drawn, feature_pictures
from tt_assets.grid.lineage import keys_behind, lookback
from tt_assets.grid.partition_slices import selection_of
from tt_assets.research.compute import compute_features
from tt_assets.research.registry import load_features, longest_lookback, version_of
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import Slices
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import fetch_of, sums_behind
from tt_assets.settings import Settings

FEATURES = load_features(settings.feature_modules)
FEATURES_VERSION = version_of(FEATURES)
BEHIND = keys_behind(longest_lookback(FEATURES), settings.date_grain)
"""Date keys before its own whose bars a cell reads."""


@dg.asset(
    **described("tt_features"),
    partitions_def=MARKET,
    ins={"tt_prices": dg.AssetIn(partition_mapping=lookback(longest_lookback(FEATURES), settings.date_grain))},
    backfill_policy=dg.BackfillPolicy.single_run(),
    io_manager_key="slices",
    code_version="1",
    hooks={name_failed_cells(MARKET, "tt_features")},
)
def tt_features(context: dg.AssetExecutionContext, tt_prices: pd.DataFrame, market: MarketReader) -> Slices:
    """Features of the run's cells, computed on their bars and the sessions before that they look back over."""
    selection = selection_of(MARKET, context.partition_keys)
    values = selection.keep(compute_features(tt_prices, FEATURES))
    view = View(selection, market, Settings())
    shown = drawn(context.log, view, lambda: feature_pictures(view, values, FEATURES))
    return Slices(
        values,
        metadata=shown.metadata,
        of_the_run=shown.of_the_run,
        fetch=fetch_of(tt_prices),
        code=FEATURES_VERSION,
        reads=sums_behind(MARKET, selection, [(tt_prices, BEHIND)]),
    )
