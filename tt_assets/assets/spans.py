"""What a walk-forward window reads: its sessions, its instruments, and the panel they make."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import pandas as pd

from tt_assets.errors import UserError
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.horizon import Horizon, horizon
from tt_assets.grid.partitions import Window
from tt_assets.market.calendar import next_session, sessions, shift_session
from tt_assets.runs.slices_read import Reads
from tt_assets.settings import Settings
from tt_assets.trading.config import TradingConfig, TrainingSpan
from tt_assets.trading.panel import MarketPanel

FEWEST_SESSIONS_IN_A_QUARTER = 58


class NoBars(UserError):
    """A window has no session with a bar of what it trades."""


def version_of_trading(config: TradingConfig) -> str:
    """A short text that is another one when how agents trade and are trained is."""
    return hashlib.blake2b(config.to_json().encode(), digest_size=8).hexdigest()


def versions_of_trading(plan: Blueprint, traded: Iterable[str]) -> str:
    """`version_of_trading` of all of `traded`; where some have a learner of their own, a digest of them all."""
    found = sorted({version_of_trading(plan.trading_of(name)) for name in set(traded)}) or [
        version_of_trading(plan.trading)
    ]
    return found[0] if len(found) == 1 else hashlib.blake2b(" ".join(found).encode(), digest_size=8).hexdigest()


def windows_of_lookback(config: TradingConfig) -> int:
    """How many windows before its own an episode reads, so that nothing warms up inside it."""
    return math.ceil(config.lookback_sessions / FEWEST_SESSIONS_IN_A_QUARTER)


def training_panel(reader: Reads, window: Window, symbols: Sequence[str], settings: Settings) -> MarketPanel:
    """Bars and channels of the training span, the quarters before the window, with the look-back before them.

    The look-back is stored, so no session of the span is spent on warming up; it ends at the first date of the market
    partitions. The span is clipped by date at both ends: no session of the window itself is ever read.
    """
    earliest, anchored = horizon(settings).first, settings.trading.training_span is TrainingSpan.ANCHORED
    first = next_session(earliest if anchored else window.training_start(settings.train_windows), inclusive=True)
    known = max(shift_session(first, -settings.trading.lookback_sessions), earliest)
    return _panel(reader, symbols, sessions(known, window.start - timedelta(days=1)), start=first)


def episode_panel(
    reader: Reads, window: Window, symbols: Sequence[str], config: TradingConfig, dates: Horizon
) -> MarketPanel:
    """Bars and channels of the window's sessions with the agent's look-back before them.

    `dates` are those of the market partitions. Sessions after the last bar of any of the symbols are left out: the open
    window ends where its bars end. Raises `NoBars` where no session of the window has one.
    """
    opening = next_session(window.start, inclusive=True)
    last = min(window.end - timedelta(days=1), dates.last_or_today())
    span = sessions(shift_session(opening, -config.lookback_sessions), last)
    prices = reader.read("tt_prices", symbols, span[0].date(), last) if len(span) else pd.DataFrame()
    if prices.empty or prices["timestamp"].max() < pd.Timestamp(opening):
        raise NoBars(
            f"{window.key()}: tt_prices has no bar of {', '.join(symbols)} from {opening} to {last}; "
            "materialize tt_prices for these sessions first."
        )
    return _panel(reader, symbols, span[span <= prices["timestamp"].max()], start=opening, prices=prices, last=last)


def _panel(
    reader: Reads,
    symbols: Sequence[str],
    span: pd.DatetimeIndex,
    start: date | None,
    prices: pd.DataFrame | None = None,
    last: date | None = None,
) -> MarketPanel:
    """The panel of `span`; channels are read up to `last`, where given, so that all three tables are over one span."""
    first, last = span[0].date(), last or span[-1].date()
    if prices is None:
        prices = reader.read("tt_prices", symbols, first, last)
    features = reader.read("tt_features", symbols, first, last)
    scores = reader.read("tt_signal_scores", symbols, first, last)
    return MarketPanel.from_frames(prices, features, scores, symbols, span, start)
