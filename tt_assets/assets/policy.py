"""`tt_policy`: one trained agent per walk-forward window, traded key and seed."""

import dagster as dg
import pandas as pd

from tt_assets.assets.agent_pictures import learning_pictures
from tt_assets.assets.catalog import described
from tt_assets.assets.spans import training_panel, versions_of_trading, windows_of_lookback
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.lineage import windows_behind
from tt_assets.grid.partitions import Window, windows_of
from tt_assets.market.watchlist import Watchlist
from tt_assets.runs import progress
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import Slices
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import Noting
from tt_assets.settings import Settings
from tt_assets.tables import MARKET_TABLES
from tt_assets.trading.config import TrainingSpan

EVERY_WINDOW = 400
"""A century of quarters."""

POLICY_COLUMNS = ["window_start", "instrument", "seed", "weights", "config_json", "sha256"]


def policy_asset(plan: Blueprint) -> dg.AssetsDefinition:
    """The asset `tt_policy`."""
    partitions, behind = plan.window_partitions, -_windows_read(plan.settings)

    @dg.asset(
        **described("tt_policy"),
        partitions_def=partitions,
        deps=[dg.AssetDep(table, partition_mapping=windows_behind(behind, -1)) for table in MARKET_TABLES],
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="slices",
        pool="training",
        code_version="2",
        hooks={name_failed_cells(partitions, "tt_policy")},
    )
    def tt_policy(context: dg.AssetExecutionContext, market: dg.ResourceParam[MarketReader]) -> Slices:
        """Agents trained on the quarters before their window."""
        watchlist = followed(plan.settings).watchlist
        return trained(windows_of(context.partition_keys), watchlist, market, plan, context.log)

    return tt_policy


def _windows_read(settings: Settings) -> int:
    """Windows behind its own that a policy reads: those it trains on and the look-back before them.

    An anchored span reads them all, clipped at the first.
    """
    if settings.trading.training_span is TrainingSpan.ANCHORED:
        return EVERY_WINDOW
    return settings.train_windows + windows_of_lookback(settings.trading)


def trained(
    windows: list[Window], watchlist: Watchlist, market: MarketReader, plan: Blueprint, log: dg.DagsterLogManager
) -> Slices:
    """Rows of `tt_policy` for `windows`, trained side by side; a window whose training fails is named with the reason.

    Weights are reproducible bit for bit for the same bars, settings and seed, however many trainings run beside them.
    """
    from tt_assets.trading.agents.batch import TrainingJob, train_many

    settings = plan.settings
    fetch = market.next_fetch()
    reads: dict[str, int] = {}
    failed: dict[str, str] = {}
    jobs: list[TrainingJob] = []
    owners: list[Window] = []
    for window in windows:
        noting = Noting(market)
        panel = training_panel(noting, window, watchlist.members(window.traded, window.start), settings)
        reads[window.key()] = noting.reads()
        for seed in range(settings.seeds):
            jobs.append(TrainingJob(f"{window.key()} seed {seed}", panel, plan.trading_of(window.traded), seed))
            owners.append(window)

    def report(done: int, total: int, name: str) -> None:
        log.info(f"trained {done} of {total}: {name}")
        progress.tell("tt_policy", done, total, name)

    rows = []
    for window, job, result in zip(
        owners, jobs, train_many(jobs, settings.train_workers, report, apart=True), strict=True
    ):
        if result.policy is None:
            failed[window.key()] = str(result.error)
            if result.traceback:
                log.error(f"{result.name}: {result.traceback}")
            continue
        policy = result.policy
        rows.append(
            (pd.Timestamp(window.start), window.traded, job.seed, policy.weights, policy.config_json, policy.sha256)
        )
    kept = [row for row in rows if Window(row[0].date(), row[1]).key() not in failed]
    configs: dict[str, list[str]] = {}
    for start, traded, _, _, config_json, _ in kept:
        configs.setdefault(Window(start.date(), traded).key(), []).append(config_json)
    shown = learning_pictures(configs, settings.pictures, log)
    return Slices(
        pd.DataFrame(kept, columns=POLICY_COLUMNS),
        failed,
        metadata=shown.metadata,
        of_the_run=shown.of_the_run,
        fetch=fetch,
        code=versions_of_trading(plan, [window.traded for window in windows]),
        reads=reads,
    )
