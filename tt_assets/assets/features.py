"""`tt_features`: technical features in long form."""

import dagster as dg
import pandas as pd

from tt_assets.assets.catalog import described
from tt_assets.assets.market_pictures import View, drawn, feature_pictures
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.lineage import keys_behind, lookback
from tt_assets.grid.partition_slices import selection_of
from tt_assets.market.bar_checks import Finding
from tt_assets.research.compute import compute_features
from tt_assets.research.registry import longest_lookback, version_of
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import Slices, refused_cells
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import fetch_of, sums_behind


def features_asset(plan: Blueprint) -> dg.AssetsDefinition:
    """The asset `tt_features`."""
    partitions, grain, longest = plan.market_partitions, plan.settings.date_grain, longest_lookback(plan.features)
    behind, version = keys_behind(longest, grain), version_of(plan.features)

    @dg.asset(
        **described("tt_features"),
        partitions_def=partitions,
        ins={"tt_prices": dg.AssetIn(partition_mapping=lookback(longest, grain))},
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="slices",
        code_version="1",
        hooks={name_failed_cells(partitions, "tt_features")},
    )
    def tt_features(
        context: dg.AssetExecutionContext, tt_prices: pd.DataFrame, market: dg.ResourceParam[MarketReader]
    ) -> Slices:
        """Features of the run's cells, computed on their bars and the sessions before that they look back over."""
        selection = selection_of(partitions, context.partition_keys)
        refused: list[Finding] = []
        values = compute_features(tt_prices, plan.features, refused.append)
        failed = refused_cells(selection, refused)
        selection = selection.without(failed)
        values = selection.keep(values)
        view = View(selection, market, plan.settings.pictures, context.run.tags)
        shown = drawn(context.log, view, lambda: feature_pictures(view, values, plan.features))
        return Slices(
            values,
            failed=failed,
            metadata=shown.metadata,
            of_the_run=shown.of_the_run,
            fetch=fetch_of(tt_prices),
            code=version,
            reads=sums_behind(partitions, selection, [(tt_prices, behind)]),
        )

    return tt_features
