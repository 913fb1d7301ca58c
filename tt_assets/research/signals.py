"""The built-in signals: scores in [-1, 1], negative short, positive long, 0 no view.

Each is known at the close of its session and NaN where an input is. A volatility of zero leaves a score undefined: a
price that never moved has no unit to measure a deviation in, and dividing rounding by zero would shout ±1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tt_assets.research.panel import BarPanel
from tt_assets.research.registry import signal
from tt_assets.research.windows import rolling_max, rolling_mean, rolling_min

SESSIONS_A_YEAR = 252

_Features = Mapping[str, pd.DataFrame]


@signal(
    name="momentum_20d",
    lookback=19,
    inputs=("return_1",),
    method="tanh(mean of 20 return_1 * 252)",
)
def momentum_20d(bars: BarPanel, features: _Features) -> pd.DataFrame:
    """Mean daily return of 20 sessions, annualised, squashed."""
    return _squashed(rolling_mean(features["return_1"], 20) * SESSIONS_A_YEAR)


@signal(
    name="mean_reversion_20d",
    lookback=19,
    inputs=("close", "vol_20"),
    method="-tanh((close / mean of 20 close - 1) / vol_20)",
)
def mean_reversion_20d(bars: BarPanel, features: _Features) -> pd.DataFrame:
    """Deviation of the close from its 20-session mean in units of daily volatility, against it."""
    return -_squashed((bars.close / rolling_mean(bars.close, 20) - 1) / _moving(features["vol_20"]))


@signal(
    name="breakout_20d",
    lookback=19,
    inputs=("high", "low", "close"),
    method="2 * (close - min of 20 low) / (max of 20 high - min of 20 low) - 1",
)
def breakout_20d(bars: BarPanel, features: _Features) -> pd.DataFrame:
    """Where the close stands in the 20-session range (Donchian channel): -1 at its low, 1 at its high."""
    lowest, highest = rolling_min(bars.low, 20), rolling_max(bars.high, 20)
    return _bounded(2 * (bars.close - lowest) / _moving(highest - lowest) - 1)


@signal(
    name="rsi_reversal_14d",
    lookback=0,
    inputs=("rsi_14",),
    method="(50 - rsi_14) / 50",
)
def rsi_reversal_14d(bars: BarPanel, features: _Features) -> pd.DataFrame:
    """Against an overbought (RSI high) or with an oversold (RSI low) instrument."""
    return _bounded((50 - features["rsi_14"]) / 50)


@signal(
    name="trend_5_20d",
    lookback=19,
    inputs=("close", "vol_20"),
    method="tanh((mean of 5 close / mean of 20 close - 1) / vol_20)",
)
def trend_5_20d(bars: BarPanel, features: _Features) -> pd.DataFrame:
    """Fast over slow moving average in units of daily volatility."""
    return _squashed((rolling_mean(bars.close, 5) / rolling_mean(bars.close, 20) - 1) / _moving(features["vol_20"]))


def _moving(scale: pd.DataFrame) -> pd.DataFrame:
    """`scale` where it is above zero, NaN where nothing moved."""
    return scale.where(scale > 0, np.nan)


def _bounded(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores that are in [-1, 1] but for the rounding of their own arithmetic, at the bound where it carries over."""
    return scores.clip(-1, 1)


def _squashed(frame: pd.DataFrame) -> pd.DataFrame:
    """tanh of every value."""
    return pd.DataFrame(np.tanh(frame.to_numpy(dtype=np.float64)), index=frame.index, columns=frame.columns)
