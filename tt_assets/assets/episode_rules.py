"""What must hold of an episode, and whether it does.

The same ten checks are made twice. When an episode is rolled they decide whether it is closed, so that a
reader never sees one that lies as finished; and `episode_checks` makes them of the rows that are stored, whenever
somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tt_assets.errors import UserError
from tt_assets.grid.blueprint import Blueprint
from tt_assets.market.calendar import shift_session
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import Feature, Signal, longest_lookback
from tt_assets.runs.market_reader import MarketReader
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.episodes.record import EpisodeRecord
from tt_assets.trading.judging import checks
from tt_assets.trading.judging.checks import CheckResult
from tt_assets.trading.panel import MarketPanel

if TYPE_CHECKING:
    from tt_assets.trading.agents.ensemble import Actor

CHECKS: Mapping[str, str] = {
    "books_balance": "Cash + Σ quantity × close = net worth at every session.",
    "cash_follows_orders": "Δcash = −Σ signed notional − commission − borrow fee at every session.",
    "fills_change_holdings": "Fills are the changes in holdings.",
    "weights_sum_to_one": "Target weights of a session, CASH included, sum to 1.",
    "leverage_within_limit": "Σ |weight| is no more than TT_MAX_LEVERAGE.",
    "rewards_recompute": "Rewards follow from the equity curve and the target weights.",
    "metrics_recompute": "Sharpe ratio, drawdown and turnover follow from the equity curve and the target weights.",
    "engines_agree": "The same actions on the other engine give the same equity curve to 1e-7.",
    "replays": "The stored policy, shown the recorded observations, gives the recorded actions bit for bit.",
    "no_look_ahead": "Actions decided on bars that end with the deciding session are the recorded ones.",
}
"""The checks of an episode by name, in the words of the UI."""

HELD_IN_SINGLE_PRECISION = 1e-6
"""Baselines act on what they hold, which is recorded in single precision."""


@dataclass(frozen=True, eq=False)
class BarsBehind:
    """The bars an episode's panel was made of, and as many before as its channels look back over."""

    bars: pd.DataFrame
    symbols: tuple[str, ...]
    panel: MarketPanel
    features: Sequence[Feature]
    signals: Sequence[Signal]
    _known: dict[pd.Timestamp, MarketPanel] = field(default_factory=dict)

    @classmethod
    def of(cls, market: MarketReader, symbols: Sequence[str], panel: MarketPanel, plan: Blueprint) -> BarsBehind:
        """Read from `tt_prices`."""
        reach = longest_lookback(plan.features) + longest_lookback(plan.signals)
        first, last = pd.Timestamp(panel.sessions[0]), pd.Timestamp(panel.sessions[-1])
        bars = market.read("tt_prices", symbols, shift_session(first.date(), -reach), last.date())
        return cls(bars, tuple(symbols), panel, plan.features, plan.signals)

    def on(self, panel: MarketPanel) -> BarsBehind:
        """The same bars behind a panel of other channels."""
        return self if panel is self.panel else BarsBehind(self.bars, self.symbols, panel, self.features, self.signals)

    @cached_property
    def imported(self) -> pd.DataFrame:
        """Scores of imported signals, which nobody computes here: instrument, timestamp, signal_name, score.

        A score is known at the close of its session, so those up to a session are what was known then.
        """
        computed = {one.name for one in self.features} | {one.name for one in self.signals}
        found = [
            pd.DataFrame(
                {
                    "instrument": np.tile(self.panel.instruments, len(self.panel.sessions)),
                    "timestamp": np.repeat(self.panel.sessions, len(self.panel.instruments)),
                    "signal_name": name,
                    "score": self.panel.features[:, :, layer].ravel(),
                }
            )
            for layer, name in enumerate(self.panel.feature_names)
            if name not in computed
        ]
        columns = ["instrument", "timestamp", "signal_name", "score"]
        return pd.concat(found).dropna() if found else pd.DataFrame(columns=columns)

    def panel_until(self, bars: pd.DataFrame) -> MarketPanel:
        """The panel with its channels computed anew from `bars`, ending with their last session."""
        last = bars["timestamp"].max()
        if last not in self._known:
            features = compute_features(bars, self.features)
            scores = compute_signals(bars, features, self.signals)
            if len(self.imported):
                scores = pd.concat([scores, self.imported[self.imported["timestamp"] <= last]])
            sessions = self.panel.sessions[self.panel.sessions <= last.to_datetime64()]
            start = self.panel.sessions[self.panel.start]
            computed = MarketPanel.from_frames(bars, features, scores, self.symbols, sessions, start)
            self._known[last] = computed.with_channels(self.panel.feature_names)
        return self._known[last]


def checked(
    record: EpisodeRecord,
    panel: MarketPanel,
    behind: BarsBehind,
    *,
    policy: Callable[[], Actor] | None = None,
    baseline: str = "",
    seed: int = 0,
) -> tuple[CheckResult, ...]:
    """Every check that applies to an episode of `policy`, or of `baseline` where there is none.

    A check that raises fails with what it raised: what is stored may be anything, and one bad row hides no other.
    """

    def looks_ahead() -> CheckResult:
        if policy is not None:
            decide, tolerance = checks.agent_decides(policy()), checks.EXACT
        else:
            config = TradingConfig.from_mapping(checks.stored_config(record)["trading"])
            decide, tolerance = checks.baseline_decides(baseline, config, seed), HELD_IN_SINGLE_PRECISION
        return checks.no_look_ahead(record, behind.bars, behind.panel_until, decide, tolerance=tolerance)

    judges: dict[str, Callable[[], CheckResult]] = {
        "books_balance": lambda: checks.books_balance(record, behind.bars),
        "cash_follows_orders": lambda: checks.cash_follows_orders(record, behind.bars),
        "fills_change_holdings": lambda: checks.fills_change_holdings(record, behind.bars),
        "weights_sum_to_one": lambda: checks.weights_sum_to_one(record),
        "leverage_within_limit": lambda: checks.leverage_within_limit(record),
        "rewards_recompute": lambda: checks.rewards_recompute(record),
        "metrics_recompute": lambda: checks.metrics_recompute(record),
        "engines_agree": lambda: checks.engines_agree(record, panel),
    }
    if policy is not None:
        judges["replays"] = lambda: checks.replays(record, policy())
    if len(record.action):
        judges["no_look_ahead"] = looks_ahead
    return tuple(_made(name, judge) for name, judge in judges.items())


def given(policy: Actor) -> Callable[[], Actor]:
    """`policy` as `checked` takes one that may be damaged where it is stored."""
    return lambda: policy


def _made(name: str, judge: Callable[[], CheckResult]) -> CheckResult:
    try:
        return judge()
    except UserError as error:
        return CheckResult.not_made(name, str(error))
    except Exception as error:  # noqa: BLE001 - see `checked`
        return CheckResult.not_made(name, f"its rows cannot be judged, {type(error).__name__}: {error}")
