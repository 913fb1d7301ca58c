"""What must hold of every episode, as Dagster asset checks on `tt_episode`.

One decision: the checks of `trading.checks` run on what was recorded, before a reader can see the episode as finished,
and a failing one blocks what lies downstream. They say which partition, which strategy and how far off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from tt_assets.assets.check_events import PartitionEvaluation
from tt_assets.assets.features import FEATURES
from tt_assets.assets.signals import SIGNALS
from tt_assets.market.calendar import shift_session
from tt_assets.partitions import Window
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import longest_lookback
from tt_assets.storage.market_reader import MarketReader
from tt_assets.trading.panel import MarketPanel
from tt_assets.trading.record import EpisodeRecord

if TYPE_CHECKING:
    from tt_assets.trading.checks import CheckResult
    from tt_assets.trading.policy import TrainedPolicy

CHECKED = "tt_episode"

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
"""The checks by name, in the words of the UI."""

HELD_IN_SINGLE_PRECISION = 1e-6
"""Baselines act on what they hold, which is recorded in single precision."""


def check_specs() -> list[dg.AssetCheckSpec]:
    """The specs of all checks; every one blocks."""
    return [
        dg.AssetCheckSpec(name, asset=CHECKED, description=meaning, blocking=True) for name, meaning in CHECKS.items()
    ]


@dataclass(frozen=True, eq=False)
class BarsBehind:
    """The bars an episode's panel was made of, and as many before as its channels look back over."""

    bars: pd.DataFrame
    symbols: tuple[str, ...]
    panel: MarketPanel
    _known: dict[pd.Timestamp, MarketPanel] = field(default_factory=dict)

    @classmethod
    def of(cls, market: MarketReader, symbols: Sequence[str], panel: MarketPanel) -> BarsBehind:
        """Read from `tt_prices`."""
        reach = longest_lookback(FEATURES) + longest_lookback(SIGNALS)
        first, last = pd.Timestamp(panel.sessions[0]), pd.Timestamp(panel.sessions[-1])
        bars = market.read("tt_prices", symbols, shift_session(first.date(), -reach), last.date())
        return cls(bars, tuple(symbols), panel)

    def panel_until(self, bars: pd.DataFrame) -> MarketPanel:
        """The panel with its channels computed anew from `bars`, ending with their last session."""
        last = bars["timestamp"].max()
        if last not in self._known:
            features = compute_features(bars, FEATURES)
            scores = compute_signals(bars, features, SIGNALS)
            sessions = self.panel.sessions[self.panel.sessions <= last.to_datetime64()]
            start = self.panel.sessions[self.panel.start]
            self._known[last] = MarketPanel.from_frames(bars, features, scores, self.symbols, sessions, start)
        return self._known[last]


def checked(
    record: EpisodeRecord,
    panel: MarketPanel,
    behind: BarsBehind,
    *,
    policy: TrainedPolicy | None = None,
    baseline: str = "",
    seed: int = 0,
) -> tuple[CheckResult, ...]:
    """Every check that applies to an episode of `policy`, or of `baseline` where there is none."""
    from tt_assets.trading import checks
    from tt_assets.trading.config import TradingConfig

    bars = behind.bars
    results = [
        checks.books_balance(record, bars),
        checks.cash_follows_orders(record, bars),
        checks.fills_change_holdings(record, bars),
        checks.weights_sum_to_one(record),
        checks.leverage_within_limit(record),
        checks.rewards_recompute(record),
        checks.metrics_recompute(record),
        checks.engines_agree(record, panel),
    ]
    if policy is not None:
        results.append(checks.replays(record, policy))
        decide, tolerance = checks.agent_decides(policy), checks.EXACT
    else:
        config = TradingConfig.from_mapping(checks.stored_config(record)["trading"])
        decide, tolerance = checks.baseline_decides(baseline, config, seed), HELD_IN_SINGLE_PRECISION
    if len(record.action):
        results.append(checks.no_look_ahead(record, bars, behind.panel_until, decide, tolerance=tolerance))
    return tuple(results)


def check_results(verdicts: Iterable[tuple[Window, str, CheckResult]]) -> Iterator[dg.AssetCheckResult]:
    """One result a check over all episodes of a run; `verdicts` are (window, who acted, result)."""
    by_check: dict[str, list[tuple[Window, str, CheckResult]]] = {name: [] for name in CHECKS}
    for verdict in verdicts:
        by_check[verdict[2].name].append(verdict)
    for name, found in by_check.items():
        bad = [entry for entry in found if not entry[2].passed]
        worst = max((result.worst for _, _, result in found), default=0.0)
        metadata: dict[str, Any] = {"episodes": len(found), "worst_deviation": float(worst)}
        if bad:
            metadata["failing"] = dg.MetadataValue.json(
                [f"{window.key()} {who}: off by {result.worst:.3g} at {result.where}" for window, who, result in bad]
            )
        yield dg.AssetCheckResult(
            passed=not bad,
            check_name=name,
            asset_key=CHECKED,
            metadata=metadata,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{len(bad)} of {len(found)} episodes fail" if bad else f"holds in {len(found)} episodes",
        )


def partition_evaluations(
    verdicts: Iterable[tuple[Window, str, CheckResult]],
) -> Iterator[PartitionEvaluation]:
    """One evaluation for each check and window; it fails where any of the window's episodes does."""
    found: dict[tuple[str, str], list[tuple[str, CheckResult]]] = {}
    for window, who, result in verdicts:
        found.setdefault((result.name, window.key()), []).append((who, result))
    for (name, key), results in found.items():
        said = [f"{who}: off by {result.worst:.3g}" for who, result in results if not result.passed]
        shown = said or [f"holds in {len(results)} episodes"]
        yield PartitionEvaluation(name, key, passed=not said, metadata={"episodes": dg.MetadataValue.json(shown)})
