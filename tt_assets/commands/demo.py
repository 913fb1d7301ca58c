"""`tt demo`: from nothing to thirteen filled tables, out of the bars at hand."""

from __future__ import annotations

import dagster as dg

from tt_assets.commands.backfill import backfill, train, window_starts
from tt_assets.commands.report import Written, reportable, write_reports
from tt_assets.grid.horizon import bars_span, horizon, latest_session
from tt_assets.runs.bulk import Outcome
from tt_assets.runtime.platform import Platform
from tt_assets.runtime.selection import Span, session_span
from tt_assets.settings import PriceSourceName
from tt_assets.tables import MARKET_TABLES

WINDOWS_SHOWN = 4
SYMBOLS_TRADED = 3


def demo_span(platform: Platform) -> Span:
    """The sessions the bars cover, within the horizon."""
    whole = session_span(None, None, horizon(platform.settings), latest_session())
    if platform.settings.price_source is not PriceSourceName.FILE:
        return whole
    covered = bars_span(platform.settings)
    return Span(max(whole.first, covered[0]), min(whole.last, covered[1])) if covered else whole


def demo_traded(platform: Platform) -> list[str]:
    """What the demo trains: the portfolios, or the first symbols of a watchlist without any."""
    return list(platform.watchlist.portfolios) or list(platform.watchlist.symbols[:SYMBOLS_TRADED])


def demo(platform: Platform, instance: dg.DagsterInstance) -> tuple[Outcome, list[Written]]:
    """Fill the market tables, train the agents of the last windows with bars, roll and judge them.

    Returns what became of the partitions, and the reports.
    """
    span = demo_span(platform)
    outcome = backfill(platform, instance, list(MARKET_TABLES), span, platform.watchlist.symbols)
    if outcome.errors:
        return outcome, []
    windows = [window for window in window_starts(platform.settings, instance) if window <= span.last][-WINDOWS_SHOWN:]
    if not windows:
        outcome.errors.append(
            f"tt_policy: no walk-forward window is in {span.first} to {span.last}; one needs "
            f"{platform.settings.train_windows} whole quarters before it (TT_TRAIN_WINDOWS)."
        )
        return outcome, []
    traded = demo_traded(platform)
    outcome.add(train(platform, instance, Span(windows[0], span.last), traded))
    judged, written = write_reports(platform, instance, [name for name in reportable(platform) if name in traded])
    outcome.add(judged)
    return outcome, written
