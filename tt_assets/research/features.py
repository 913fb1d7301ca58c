"""The built-in features.

Prices enter as split-adjusted USD; every feature is a pure number unless its unit says otherwise, is known at the close
of its session, and is NaN where a bar it needs is missing. All have a finite memory (see `windows`).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from tt_assets.research.indicators import by_stretch
from tt_assets.research.panel import BarPanel
from tt_assets.research.registry import feature
from tt_assets.research.windows import rolling_mean, rolling_std


def _returns(bars: BarPanel, sessions: int) -> pd.DataFrame:
    """close_t / close_{t-sessions} - 1. `fill_method=None`: a missing close is not bridged."""
    return bars.close.pct_change(sessions, fill_method=None)


@feature(name="return_1", lookback=1, unit="fraction")
def return_1(bars: BarPanel) -> pd.DataFrame:
    """Simple return of the close over 1 session: close.pct_change()."""
    return _returns(bars, 1)


@feature(name="return_5", lookback=5, unit="fraction")
def return_5(bars: BarPanel) -> pd.DataFrame:
    """Simple return of the close over 5 sessions."""
    return _returns(bars, 5)


@feature(name="return_20", lookback=20, unit="fraction")
def return_20(bars: BarPanel) -> pd.DataFrame:
    """Simple return of the close over 20 sessions."""
    return _returns(bars, 20)


@feature(name="overnight_return", lookback=1, unit="fraction")
def overnight_return(bars: BarPanel) -> pd.DataFrame:
    """Open over the close of the session before, less one."""
    return bars.open / bars.close.shift(1) - 1


@feature(name="vol_10", lookback=10, unit="standard deviation of daily returns")
def vol_10(bars: BarPanel) -> pd.DataFrame:
    """Sample standard deviation (ddof 1) of return_1 over 10 sessions, not annualised."""
    return rolling_std(_returns(bars, 1), 10)


@feature(name="vol_20", lookback=20, unit="standard deviation of daily returns")
def vol_20(bars: BarPanel) -> pd.DataFrame:
    """Sample standard deviation (ddof 1) of return_1 over 20 sessions, not annualised."""
    return rolling_std(_returns(bars, 1), 20)


@feature(name="rsi_14", lookback=14, unit="0 to 100")
def rsi_14(bars: BarPanel) -> pd.DataFrame:
    """Relative strength index over 14 changes of the close, Cutler's form: simple means of gains and losses.

    100 × gains / (gains + losses), which is 100 - 100 / (1 + gains / losses). Not Wilder's smoothing (TA-Lib's RSI),
    whose value depends on how far back the history goes. NaN when the close did not move in 14 sessions.
    """
    change = bars.close.diff()
    gains = rolling_mean(change.clip(lower=0), 14)
    losses = rolling_mean(-change.clip(upper=0), 14)
    # A sum of the same gains in another order may round to less than the gains themselves.
    return (100 * gains / (gains + losses)).clip(0, 100)


@feature(name="atr_14", lookback=14, unit="fraction of the close")
def atr_14(bars: BarPanel) -> pd.DataFrame:
    """Mean true range (TA-Lib's TRANGE) over 14 sessions, as a fraction of the close; a simple mean, not Wilder's."""
    import talib

    return rolling_mean(by_stretch(talib.TRANGE, bars.high, bars.low, bars.close), 14) / bars.close


@feature(name="willr_14", lookback=13, unit="-100 to 0")
def willr_14(bars: BarPanel) -> pd.DataFrame:
    """Williams %R over 14 sessions, TA-Lib's WILLR: -100 is a close at the low of the range, 0 at its high."""
    import talib

    return by_stretch(partial(talib.WILLR, timeperiod=14), bars.high, bars.low, bars.close)


@feature(name="aroonosc_14", lookback=14, unit="-100 to 100")
def aroonosc_14(bars: BarPanel) -> pd.DataFrame:
    """Aroon oscillator over 14 sessions, TA-Lib's AROONOSC: how much younger the last high is than the last low."""
    import talib

    return by_stretch(partial(talib.AROONOSC, timeperiod=14), bars.high, bars.low)


@feature(name="volume_ratio_20", lookback=19, unit="multiple of the mean")
def volume_ratio_20(bars: BarPanel) -> pd.DataFrame:
    """Volume over its mean of the trailing 20 sessions, this one included. NaN when none of them traded."""
    mean = rolling_mean(bars.volume, 20)
    return bars.volume / mean.where(mean > 0, np.nan)
