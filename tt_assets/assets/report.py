"""`report`: the agents of one traded key against the baselines, out of sample, over every window that was rolled."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg
import pandas as pd

from tt_assets.assets.catalog import OWNERS
from tt_assets.assets.judging import Subject, judgement_of, subject_of
from tt_assets.assets.pictures import picture
from tt_assets.errors import counted
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.keys import INSTRUMENT
from tt_assets.grid.partitions import Window, traded_partitions
from tt_assets.postgres.trials import RegisteredTrial, count, trials_of
from tt_assets.runs import progress
from tt_assets.runs.failures import named
from tt_assets.runs.market_reader import MarketReader
from tt_assets.settings import PriceSourceName, Settings
from tt_assets.tables import Layer
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.details import Details, details_of
from tt_assets.trading.judging.judge import Judgement

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
        code_version="2",
        automation_condition=EPISODES_ROLLED,
    )
    def report(context: dg.AssetExecutionContext, market: dg.ResourceParam[MarketReader]) -> dg.MaterializeResult[None]:
        """Plots and the table of figures in the asset's page, and one self-contained HTML file."""
        traded = context.partition_key
        subject = subject_of(market, traded, plan)
        number, judgement = judgement_of(subject, market)
        details = details_of(
            judgement,
            subject.windows,
            settings.gate.volume,
            cash=CashRate.parse(settings.cash_rate),
            report=lambda done, total, note: progress.tell("report", done, total, note),
        )
        trials = trials_of(market.database, traded)
        weights = market.agent_weights(traded)
        if said := superseded_in(subject.rows):
            context.log.warning(said)
            progress.report(f"{traded}: {said}")
        path = report_file(settings.shown, traded)
        write_files(path, traded, judgement, weights, notes_of(subject, trials), details)
        return dg.MaterializeResult(
            metadata={
                **shown(judgement, weights, path),
                "conditions": dg.MetadataValue.md(conditions_of(subject)),
                "trial": number,
                "trials": dg.MetadataValue.md(markdown_of_trials(trials)),
                "seeds_of_agents": ", ".join(map(str, subject.seeds)),
            }
        )

    return report


def superseded_in(windows: Mapping[Window, pd.DataFrame]) -> str:
    """The windows judged by an agent that was trained again since and not rolled yet, in words; empty without any."""
    old = [f"{window.start}" for window, rows in windows.items() if rows["superseded_at"].notna().any()]
    if not old:
        return ""
    return (
        f"The agents of {named(old)} were trained again since they were rolled: the earlier ones are judged here until "
        "`tt backfill tt_episode`, or the sensors, have rolled the new ones."
    )


def write_files(
    path: Path,
    traded: str,
    judgement: Judgement,
    weights: pd.DataFrame,
    notes: Sequence[str],
    details: Details | None,
) -> None:
    """The HTML file at `path`, everything in it and nothing fetched; its figures as JSON and its curves beside it."""
    from tt_assets.report.as_json import report_json
    from tt_assets.report.html import report_html

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report_html(traded, judgement, weights, notes, details), encoding="utf-8")
    path.with_suffix(".json").write_text(report_json(traded, judgement, details, notes), encoding="utf-8")
    curves = curves_file(path)
    staged = curves.with_suffix(f".{os.getpid()}")
    judgement.curves.drop(columns=["drawdown"]).to_parquet(staged, index=False)
    staged.replace(curves)  # a page may be reading them


def notes_of(subject: Subject, trials: Sequence[RegisteredTrial]) -> list[str]:
    """What was judged and under what, in sentences."""
    starts, end = [window.start for window in subject.rows], max(window.end for window in subject.rows)
    notes = [
        conditions_of(subject),
        f"{counted(len(starts), 'walk-forward window')}, {starts[0]} to {end} (excluded).",
        f"Agents of seed {', '.join(map(str, subject.seeds))} in each window, trained by {learners_of(subject)}.",
        f"{counted(count(trials), 'configuration')} tried on {subject.traded} so far (`tt trials list`).",
    ]
    if said := superseded_in(subject.rows):
        notes.append(said)
    return notes


def learners_of(subject: Subject) -> str:
    """Who trained the agents that are judged, in words."""
    return ", ".join(sorted({policy.config.agent for window in subject.windows for policy in window.policies}))


def conditions_of(subject: Subject) -> str:
    """What the judgement was made under, in one line."""
    from tt_assets.report.conditions import chosen_text, conditions_line

    settings = subject.plan.settings
    listed = followed(settings).watchlist
    members = sorted({name for window in subject.windows for name in window.panel.instruments})
    return conditions_line(
        subject.plan.trading_of(subject.traded),
        total_return=has_dividends(settings),
        cash=CashRate.parse(settings.cash_rate).text,
        benchmark=settings.benchmark,
        members=members,
        chosen=chosen_text(*listed.chosen(subject.traded)),
    )


def has_dividends(settings: Settings) -> bool:
    """Whether dividends are in the closes: total return instead of price return."""
    of_file = settings.price_source is PriceSourceName.FILE
    return bool(settings.bars_adjust) if of_file else settings.ibkr.total_return


def markdown_of_trials(trials: Sequence[RegisteredTrial]) -> str:
    """The last trials on one traded key, newest first, as a table."""
    from tt_assets.report.figures import markdown_table
    from tt_assets.report.trials import trial_rows

    rows = pd.DataFrame(trial_rows(trials)[::-1][:20])
    return f"{counted(count(trials), 'configuration')} counted.\n\n{markdown_table(rows)}"


def shown(judgement: Judgement, weights: pd.DataFrame, path: Path) -> dict[str, dg.MetadataValue]:
    """What the asset's page shows: the plots, the verdict in words and the table of figures."""
    from tt_assets.report.canvas import SCREEN
    from tt_assets.report.figures import details_table, figures_table, markdown_table
    from tt_assets.report.plots import drawdown_plot, equity_plot, turnover_plot, weights_plot
    from tt_assets.report.verdict import conclusion, verdict

    return {
        "equity": picture("Net worth out of sample", equity_plot(judgement, SCREEN._replace(height=3.9))),
        "conclusion": dg.MetadataValue.text(conclusion(judgement)),
        "verdict": dg.MetadataValue.text(verdict(judgement)),
        "drawdown": picture("Drawdown out of sample", drawdown_plot(judgement, SCREEN._replace(height=3.9))),
        "weights": picture("Target weights", weights_plot(weights, SCREEN)),
        "turnover": picture("Turnover and costs", turnover_plot(judgement, SCREEN._replace(height=5.6))),
        "figures": dg.MetadataValue.md(markdown_table(figures_table(judgement))),
        "details": dg.MetadataValue.md(markdown_table(details_table(judgement))),
        "html": dg.MetadataValue.path(path),
    }


def report_file(shown: Path, traded: str) -> Path:
    """Where the HTML file of `traded` lies under the folder `shown`, which no other name has.

    What a file name should not have is replaced; behind a sign that no other name keeps there is then a digest.
    """
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in traded)
    if plain != traded or plain.startswith("."):
        plain = f"{plain.lstrip('.')}~{hashlib.sha256(traded.encode()).hexdigest()[:12]}"
    return shown / "reports" / f"{plain}.html"


def curves_file(report: Path) -> Path:
    """Where the curves of the HTML file `report` lie, one row a strategy, seed, scenario and session.

    strategy, seed, cost_multiple, delay, timestamp (market time, 00:00), wealth (1 at the first close).
    """
    return report.with_suffix(".parquet")
