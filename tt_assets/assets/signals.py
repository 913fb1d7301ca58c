"""`tt_signal_scores`: signal scores in [-1, 1]."""

import dagster as dg
import pandas as pd

from tt_assets.assets.catalog import described
from tt_assets.assets.market_pictures import View, drawn, score_pictures
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.lineage import keys_behind, lookback
from tt_assets.grid.partition_slices import selection_of
from tt_assets.market.bar_checks import Finding
from tt_assets.research.compute import compute_signals
from tt_assets.research.registry import longest_lookback, version_of
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import Slices, refused_cells
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import fetch_of, sums_behind


def signal_scores_asset(plan: Blueprint) -> dg.AssetsDefinition:
    """The asset `tt_signal_scores`."""
    partitions, grain, longest = plan.market_partitions, plan.settings.date_grain, longest_lookback(plan.signals)
    behind, version = keys_behind(longest, grain), version_of(plan.signals)
    mapping = lookback(longest, grain)

    @dg.asset(
        **described("tt_signal_scores"),
        partitions_def=partitions,
        ins={
            "tt_prices": dg.AssetIn(partition_mapping=mapping),
            "tt_features": dg.AssetIn(partition_mapping=mapping),
        },
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="slices",
        code_version="1",
        hooks={name_failed_cells(partitions, "tt_signal_scores")},
    )
    def tt_signal_scores(
        context: dg.AssetExecutionContext,
        tt_prices: pd.DataFrame,
        tt_features: pd.DataFrame,
        market: dg.ResourceParam[MarketReader],
    ) -> Slices:
        """Scores of the run's cells, computed on their bars and features and those of the sessions before."""
        selection = selection_of(partitions, context.partition_keys)
        refused: list[Finding] = []
        scores = compute_signals(tt_prices, tt_features, plan.signals, refused.append)
        failed = refused_cells(selection, refused)
        selection = selection.without(failed)
        scores = selection.keep(scores)
        view = View(selection, market, plan.settings.pictures, context.run.tags)
        shown = drawn(context.log, view, lambda: score_pictures(view, scores))
        return Slices(
            scores,
            failed=failed,
            metadata=shown.metadata,
            of_the_run=shown.of_the_run,
            fetch=fetch_of(tt_prices, tt_features),
            code=version,
            reads=sums_behind(partitions, selection, [(tt_prices, behind), (tt_features, behind)]),
        )

    return tt_signal_scores
