"""`report`: the agents of one traded key against the baselines, out of sample, over every window that was rolled."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import cast

import dagster as dg
import pandas as pd

from tt_assets.assets.catalog import OWNERS
from tt_assets.assets.pictures import picture
from tt_assets.assets.rolling import in_force, load_policies
from tt_assets.assets.spans import episode_panel, training_panel
from tt_assets.errors import UserError
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.horizon import horizon
from tt_assets.grid.keys import INSTRUMENT
from tt_assets.grid.partitions import Window, traded_partitions
from tt_assets.runs import progress
from tt_assets.runs.failures import named
from tt_assets.runs.market_reader import MarketReader
from tt_assets.tables import Layer
from tt_assets.trading.agents.policy import TrainedPolicy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.judging.judge import RIDGE, JudgedWindow, Judgement, judge
from tt_assets.trading.panel import MarketPanel

EPISODES_ROLLED = (
    dg.AutomationCondition.any_deps_updated()
    .allow(dg.AssetSelection.assets("tt_episode"))
    .since(dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated())
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("its episodes were rolled again")
"""`tt_episode` closes the episodes and is written last, so it alone says that there is something new to judge."""


def report_asset(plan: Blueprint) -> dg.AssetsDefinition:
    """The asset `report`."""
    settings = plan.settings

    @dg.asset(
        partitions_def=traded_partitions,
        deps=[
            dg.AssetDep(table, partition_mapping=dg.MultiToSingleDimensionPartitionMapping(INSTRUMENT))
            for table in ("tt_episode", "tt_policy", "tt_target_weights")
        ],
        group_name=Layer.REPORT.value,
        kinds={"matplotlib"},
        owners=OWNERS,
        description="Agents against baselines out of sample: equity, drawdown, turnover, weights, and what costs do.",
        code_version="1",
        automation_condition=EPISODES_ROLLED,
    )
    def report(context: dg.AssetExecutionContext, market: dg.ResourceParam[MarketReader]) -> dg.MaterializeResult[None]:
        """Plots and the table of figures in the asset's page, and one self-contained HTML file."""
        traded = context.partition_key
        windows = finished_windows(market, traded, settings.seeds)
        judgement = judged(market, windows, traded, plan)
        weights = market.agent_weights(traded)
        if said := superseded_in(windows):
            context.log.warning(said)
            progress.report(f"{traded}: {said}")
        path = report_file(settings.home, traded)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(traded, judgement, weights, windows), encoding="utf-8")
        return dg.MaterializeResult(metadata={**shown(judgement, weights, path), "seeds_of_agents": seeds_of(windows)})

    return report


def finished_windows(market: MarketReader, traded: str, seeds: int) -> Mapping[Window, pd.DataFrame]:
    """The windows of `traded` with finished episodes of agents, and their rows of `tt_policy`, in time order.

    Of the seeds below `seeds` only, and of those the ones that every window has: TT_SEEDS may have been changed since
    some of them were trained.
    """
    rows = in_force(market.rolled_policies(traded), seeds)
    if rows.empty:
        raise UserError(f"No finished episode of {traded}; run `tt train --instruments {traded}` first.")
    windows_of_seed = rows.groupby("seed")["window_start"].nunique()
    everywhere = windows_of_seed.index[windows_of_seed == rows["window_start"].nunique()]
    if everywhere.empty:
        raise UserError(
            f"The windows of {traded} have no seed in common; run `tt train --instruments {traded}` over all of them."
        )
    rows = rows[rows["seed"].isin(everywhere)]
    by_window = rows.groupby(rows["window_start"].dt.date, sort=True)
    return {Window(cast("date", start), traded): own for start, own in by_window}


def seeds_of(windows: Mapping[Window, pd.DataFrame]) -> str:
    """The seeds of the agents judged, for people."""
    return ", ".join(map(str, sorted({int(seed) for rows in windows.values() for seed in rows["seed"]})))


def superseded_in(windows: Mapping[Window, pd.DataFrame]) -> str:
    """The windows judged by an agent that was trained again since and not rolled yet, in words; empty without any."""
    old = [f"{window.start}" for window, rows in windows.items() if rows["superseded_at"].notna().any()]
    if not old:
        return ""
    return (
        f"The agents of {named(old)} were trained again since they were rolled: the earlier ones are judged here until "
        "`tt backfill tt_episode`, or the sensors, have rolled the new ones."
    )


def judged(market: MarketReader, windows: Mapping[Window, pd.DataFrame], traded: str, plan: Blueprint) -> Judgement:
    """Agents and baselines rolled anew over `windows` in every scenario of costs and delay, and chained."""
    settings, config = plan.settings, plan.trading
    symbols = followed(settings).watchlist.members(traded)
    entries = [
        _judged_window(
            episode_panel(market, window, symbols, config, horizon(settings)),
            training_panel(market, window, symbols, settings),
            window,
            rows,
            config,
        )
        for window, rows in windows.items()
    ]
    return judge(
        entries,
        baselines=settings.baselines,
        report=lambda done, total, note: progress.tell("report", done, total, note),
    )


def _judged_window(
    panel: MarketPanel, trained_on: MarketPanel, window: Window, rows: pd.DataFrame, config: TradingConfig
) -> JudgedWindow:
    """A window on the channels its agents were trained with: what came later is nothing to them."""
    policies = tuple(policy for _, _, policy in load_policies(window, rows))
    seen, learned = (own.with_channels(policies[0].channels) for own in (panel, trained_on))
    same = seen.feature_names == learned.feature_names
    return JudgedWindow(seen, config, policies, _ridge(learned, config) if same else None)


def _ridge(trained_on: MarketPanel, config: TradingConfig) -> TrainedPolicy | None:
    """Ridge regression on what the agents were trained on; None where that is too little for it."""
    from tt_assets.trading.agents.training import train_policy

    try:
        return train_policy(trained_on, config.replace(agent=RIDGE), seed=0)
    except UserError:
        return None


def page(traded: str, judgement: Judgement, weights: pd.DataFrame, windows: Mapping[Window, pd.DataFrame]) -> str:
    """The HTML file: everything in it, nothing fetched."""
    from tt_assets.report.html import report_html

    starts = [window.start for window in windows]
    notes = [
        f"{len(starts)} walk-forward windows, {starts[0]} to {max(window.end for window in windows)} (excluded).",
        f"Agents of seed {seeds_of(windows)} in each window.",
    ]
    if said := superseded_in(windows):
        notes.append(said)
    return report_html(traded, judgement, weights, notes)


def shown(judgement: Judgement, weights: pd.DataFrame, path: Path) -> dict[str, dg.MetadataValue]:
    """What the asset's page shows: the plots, the verdict in words and the table of figures."""
    from tt_assets.report.canvas import SCREEN
    from tt_assets.report.figures import figures_table, markdown_table
    from tt_assets.report.plots import drawdown_plot, equity_plot, turnover_plot, weights_plot
    from tt_assets.report.verdict import verdict

    return {
        "equity": picture("Net worth out of sample", equity_plot(judgement, SCREEN._replace(height=3.9))),
        "verdict": dg.MetadataValue.md(verdict(judgement)),
        "drawdown": picture("Drawdown out of sample", drawdown_plot(judgement, SCREEN._replace(height=3.9))),
        "weights": picture("Target weights", weights_plot(weights, SCREEN)),
        "turnover": picture("Turnover and costs", turnover_plot(judgement, SCREEN._replace(height=5.6))),
        "figures": dg.MetadataValue.md(markdown_table(figures_table(judgement))),
        "html": dg.MetadataValue.path(path),
    }


def report_file(home: Path, traded: str) -> Path:
    """Where the HTML file of `traded` lies; characters a file name should not have are replaced."""
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in traded)
    return home / "reports" / f"{plain}.html"
