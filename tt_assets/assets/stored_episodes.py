"""Stored episodes, and what the checks say of them: the rows of a window back into the records they were made of.

An episode is judged by what it says of itself, its own settings and instruments, never by the settings
of today, and on the bars there are now. Bars that changed since are a reason to fail: the episode must be rolled again.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tt_assets.assets.episode_rules import CHECKS, BarsBehind, checked
from tt_assets.assets.rolling import load_policies
from tt_assets.assets.spans import episode_panel
from tt_assets.errors import UserError
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.horizon import horizon
from tt_assets.grid.partitions import Window
from tt_assets.market.watchlist_format import CASH
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_reader import StoredEpisode, stored_episodes
from tt_assets.runs.market_reader import MarketReader
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.episodes.record import EpisodeRecord
from tt_assets.trading.judging.checks import CheckResult, stored_config
from tt_assets.trading.judging.judge import AGENT, ENSEMBLE
from tt_assets.trading.panel import MarketPanel

if TYPE_CHECKING:
    from tt_assets.trading.agents.ensemble import Actor
    from tt_assets.trading.agents.policy import TrainedPolicy

FINISHED = "finished"
"""The check that an episode was closed, which only stored ones can fail."""

WEIGHT = " weight"
"""How the entries of an observation end that say what is held of each instrument, in the order of the agent's."""

NEVER_CLOSED = "never closed: its checks failed when it was rolled, or the run ended before; roll its window again"


def judged(
    window: Window, database: Database, market: MarketReader, plan: Blueprint
) -> Iterator[tuple[StoredEpisode, tuple[CheckResult, ...]]]:
    """Every episode that was rolled over `window`, and what each check that applies says of it.

    An episode that was not closed has no figures to recompute; everything else of it is judged.
    """
    grounds = _Grounds(window, market, plan)
    for episode in stored_episodes(database, window.start, window.traded):
        verdicts = _verdicts(episode, grounds)
        if episode.finished:
            yield episode, (CheckResult(FINISHED, True, 0.0, 0.0, ""), *verdicts)
        else:
            others = (verdict for verdict in verdicts if verdict.name != "metrics_recompute")
            yield episode, (CheckResult.not_made(FINISHED, NEVER_CLOSED), *others)


def record_of(episode: StoredEpisode, symbols: Sequence[str]) -> EpisodeRecord:
    """The record an episode over `symbols` was stored from; figures of one that was never closed are not numbers."""
    header = episode.header
    place = {name: number for number, name in enumerate((*symbols, CASH))}
    return EpisodeRecord(
        start_time=header["start_time"],
        end_time=header["end_time"],
        stop_reason=header["stop_reason"],
        max_drawdown=header["max_drawdown"],
        turnover=header["turnover"],
        sharpe_ratio=None if pd.isna(header["sharpe_ratio"]) else float(header["sharpe_ratio"]),
        config_json=header["config_json"],
        **{table.removeprefix("tt_"): _in_order(rows, place) for table, rows in episode.rows.items()},
    )


def symbols_of(episode: StoredEpisode) -> tuple[str, ...]:
    """The instruments in the order the agent had them, which its observations tell and stored rows do not."""
    observations = episode.rows["tt_observation"]
    if len(observations):
        seen = json.loads(observations["features"].iloc[0])
        return tuple(name.removesuffix(WEIGHT) for name in seen if name.endswith(WEIGHT))
    return tuple(dict.fromkeys(episode.rows["tt_holdings"]["instrument"]))


def _in_order(rows: pd.DataFrame, place: Mapping[str, int]) -> pd.DataFrame:
    """`rows` with the instruments of each session in the order of `place`."""
    if "instrument" not in rows.columns:
        return rows
    order = np.lexsort((rows["instrument"].map(place).to_numpy(), rows["timestamp"].to_numpy()))
    ordered: pd.DataFrame = rows.iloc[order]
    return ordered.reset_index(drop=True)


class _Grounds:
    """What the episodes of a window are judged on; those that share instruments and settings share it."""

    def __init__(self, window: Window, market: MarketReader, plan: Blueprint) -> None:
        self._window, self._market, self.plan = window, market, plan
        self._panel = functools.cache(self._read_panel)
        self.of = functools.cache(self._read)
        self.policy = functools.cache(self._load_policy)
        self.ensemble = functools.cache(self._load_ensemble)

    def _read_panel(self, symbols: tuple[str, ...], config: TradingConfig) -> MarketPanel:
        return episode_panel(self._market, self._window, symbols, config, horizon(self.plan.settings))

    def _read(
        self, symbols: tuple[str, ...], config: TradingConfig, last: pd.Timestamp
    ) -> tuple[MarketPanel, BarsBehind]:
        """The panel of an episode that ends with session `last`, and the bars behind it."""
        panel = self._panel(symbols, config)
        own = panel.until(int(panel.sessions.searchsorted(last.to_datetime64(), side="right")))
        return own, BarsBehind.of(self._market, symbols, own, self.plan)

    def _load_policy(self, number: int) -> TrainedPolicy:
        """The agent of row `number` of tt_policy, in force or not."""
        ((_, _, policy),) = load_policies(self._window, self._market.policy(number))
        return policy

    def _load_ensemble(self, members: str) -> Actor:
        """The agents with these digests (commas between) as the ensemble they were rolled as."""
        from tt_assets.trading.agents.ensemble import Ensemble

        found = load_policies(self._window, self._market.policies_of(members.split(",")))
        by_digest = {policy.sha256: policy for _, _, policy in found}
        if lacking := [digest for digest in members.split(",") if digest not in by_digest]:
            raise UserError(f"its agent {lacking[0][:12]}… is no longer in tt_policy; roll its window again.")
        return Ensemble(tuple(by_digest[digest] for digest in members.split(",")))

    def actor(self, header: Mapping[str, Any]) -> Actor:
        """Who acted in an episode of an agent or of an ensemble."""
        if header["strategy"] == ENSEMBLE:
            return self.ensemble(str(json.loads(header["config_json"])["members"]))
        return self.policy(int(header["policy_id"]))


def _verdicts(episode: StoredEpisode, grounds: _Grounds) -> tuple[CheckResult, ...]:
    header = episode.header
    acted = header["strategy"] in (AGENT, ENSEMBLE)
    try:
        symbols = symbols_of(episode)
        record = record_of(episode, symbols)
        panel, behind = grounds.of(symbols, _config(record, grounds.plan), record.portfolio["timestamp"].max())
    except UserError as error:
        reason = str(error)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = f"its rows make no episode, {type(error).__name__}: {error}"
    else:
        if acted:
            seen = _seen_by(panel, grounds, header)
            return checked(record, seen, behind.on(seen), policy=lambda: grounds.actor(header))
        return checked(record, panel, behind, baseline=header["strategy"], seed=header["seed"])
    return tuple(CheckResult.not_made(name, reason) for name in CHECKS if acted or name != "replays")


def _seen_by(panel: MarketPanel, grounds: _Grounds, header: Mapping[str, Any]) -> MarketPanel:
    """The channels the agent was trained with; all of them where it cannot be loaded, which its checks will say."""
    try:
        return panel.with_channels(grounds.actor(header).channels)
    except UserError:
        return panel


def _config(record: EpisodeRecord, plan: Blueprint) -> TradingConfig:
    """The settings an episode was rolled with; a stored row never decides which modules are imported."""
    config = TradingConfig.from_mapping(stored_config(record)["trading"])
    ours = plan.trading.trading_modules
    if config.trading_modules != ours:
        theirs, now = (", ".join(modules) or "none" for modules in (config.trading_modules, ours))
        raise UserError(f"it was rolled with TT_TRADING_MODULES {theirs}, which is {now} now; roll its window again.")
    return config
