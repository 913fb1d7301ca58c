"""`tt_signal_scores`: signal scores in [-1, 1]."""

import dagster as dg
import pandas as pd

from tt_assets.assets.catalog import described
from tt_assets.assets.features import FEATURES
from tt_assets.assets.grids import MARKET, settings
from tt_assets.assets.market_pictures import View, drawn, score_pictures
from tt_assets.grid.lineage import keys_behind, lookback
from tt_assets.grid.partition_slices import selection_of
from tt_assets.research.compute import compute_signals
from tt_assets.research.registry import load_signals, longest_lookback, version_of
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import Slices
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import fetch_of, sums_behind
from tt_assets.settings import Settings

SIGNALS = load_signals(settings.signal_modules, FEATURES)
SIGNALS_VERSION = version_of(SIGNALS)
BEHIND = keys_behind(longest_lookback(SIGNALS), settings.date_grain)
"""Date keys before its own whose bars and features a cell reads."""
_BEHIND = lookback(longest_lookback(SIGNALS), settings.date_grain)


@dg.asset(
    **described("tt_signal_scores"),
    partitions_def=MARKET,
    ins={
        "tt_prices": dg.AssetIn(partition_mapping=_BEHIND),
        "tt_features": dg.AssetIn(partition_mapping=_BEHIND),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
    io_manager_key="slices",
    code_version="1",
    hooks={name_failed_cells(MARKET, "tt_signal_scores")},
)
def tt_signal_scores(
    context: dg.AssetExecutionContext, tt_prices: pd.DataFrame, tt_features: pd.DataFrame, market: MarketReader
) -> Slices:
    """Scores of the run's cells, computed on their bars and features and those of the sessions before."""
    selection = selection_of(MARKET, context.partition_keys)
    scores = selection.keep(compute_signals(tt_prices, tt_features, SIGNALS))
    view = View(selection, market, Settings())
    shown = drawn(context.log, view, lambda: score_pictures(view, scores))
    return Slices(
        scores,
        metadata=shown.metadata,
        of_the_run=shown.of_the_run,
        fetch=fetch_of(tt_prices, tt_features),
        code=SIGNALS_VERSION,
        reads=sums_behind(MARKET, selection, [(tt_prices, BEHIND), (tt_features, BEHIND)]),
    )
