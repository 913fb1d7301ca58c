"""`tt_features`: technical features in long form."""

import dagster as dg
import pandas as pd

from tt_assets.assets.catalog import described
from tt_assets.assets.grids import MARKET, settings
from tt_assets.lineage import lookback
from tt_assets.research.compute import compute_features
from tt_assets.research.registry import load_features, longest_lookback
from tt_assets.storage.io_managers import selection_of

FEATURES = load_features(settings.feature_modules)


@dg.asset(
    **described("tt_features"),
    partitions_def=MARKET,
    ins={"tt_prices": dg.AssetIn(partition_mapping=lookback(longest_lookback(FEATURES), settings.date_grain))},
    backfill_policy=dg.BackfillPolicy.single_run(),
    io_manager_key="slices",
    code_version="1",
)
def tt_features(context: dg.AssetExecutionContext, tt_prices: pd.DataFrame) -> pd.DataFrame:
    """Features of the run's cells, computed on their bars and the sessions before that they look back over."""
    return selection_of(MARKET, context.partition_keys).keep(compute_features(tt_prices, FEATURES))
