"""Features and signals of one instrument written a second time, row by row in plain Python.

Nothing here is shared with the product: lists, loops, `statistics` and `math`. A list index before the first bar, or a
None in a window, gives None.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bars:
    """Bars of one instrument, one entry per session, None where there is no bar."""

    open: list[float | None]
    high: list[float | None]
    low: list[float | None]
    close: list[float | None]
    volume: list[float | None]


Value = float | None


def window(values: list[Value], t: int, sessions: int) -> list[float] | None:
    if t - sessions + 1 < 0:
        return None
    found = values[t - sessions + 1 : t + 1]
    return None if any(value is None for value in found) else list(found)


def change(bars: Bars, t: int, sessions: int = 1) -> Value:
    if t < sessions or bars.close[t] is None or bars.close[t - sessions] is None:
        return None
    return bars.close[t] / bars.close[t - sessions] - 1


def volatility(bars: Bars, t: int, sessions: int) -> Value:
    returns = window([change(bars, u) for u in range(t + 1)], t, sessions)
    return None if returns is None else statistics.stdev(returns)


def rsi(bars: Bars, t: int) -> Value:
    closes = window(bars.close, t, 15)
    if closes is None:
        return None
    moves = [after - before for before, after in itertools.pairwise(closes)]
    gains = sum(move for move in moves if move > 0)
    losses = sum(-move for move in moves if move < 0)
    if gains + losses == 0:
        return None
    return 100.0 if losses == 0 else 100 - 100 / (1 + gains / losses)


def atr(bars: Bars, t: int) -> Value:
    highs, lows, closes = window(bars.high, t, 14), window(bars.low, t, 14), window(bars.close, t, 15)
    if highs is None or lows is None or closes is None:
        return None
    ranges = [
        max(high - low, abs(high - before), abs(low - before))
        for high, low, before in zip(highs, lows, closes, strict=False)
    ]
    return statistics.fmean(ranges) / closes[-1]


def williams(bars: Bars, t: int) -> Value:
    highs, lows, closes = window(bars.high, t, 14), window(bars.low, t, 14), window(bars.close, t, 14)
    if highs is None or lows is None or closes is None:
        return None
    spread = max(highs) - min(lows)
    return 0.0 if spread == 0 else -100 * (max(highs) - closes[-1]) / spread


def aroon_oscillator(bars: Bars, t: int) -> Value:
    highs, lows, closes = window(bars.high, t, 15), window(bars.low, t, 15), window(bars.close, t, 15)
    if highs is None or lows is None or closes is None:
        return None
    youngest_high = max(range(15), key=lambda k: (highs[k], k))
    youngest_low = min(range(15), key=lambda k: (lows[k], -k))
    return 100 * (youngest_high - youngest_low) / 14


def volume_ratio(bars: Bars, t: int) -> Value:
    volumes = window(bars.volume, t, 20)
    return None if volumes is None or sum(volumes) == 0 else volumes[-1] / statistics.fmean(volumes)


def overnight(bars: Bars, t: int) -> Value:
    if t < 1 or bars.open[t] is None or bars.close[t - 1] is None:
        return None
    return bars.open[t] / bars.close[t - 1] - 1


FEATURES: dict[str, Callable[[Bars, int], Value]] = {
    "return_1": change,
    "return_5": lambda bars, t: change(bars, t, 5),
    "return_20": lambda bars, t: change(bars, t, 20),
    "overnight_return": overnight,
    "vol_10": lambda bars, t: volatility(bars, t, 10),
    "vol_20": lambda bars, t: volatility(bars, t, 20),
    "rsi_14": rsi,
    "atr_14": atr,
    "willr_14": williams,
    "aroonosc_14": aroon_oscillator,
    "volume_ratio_20": volume_ratio,
}


def momentum(bars: Bars, t: int) -> Value:
    returns = window([change(bars, u) for u in range(t + 1)], t, 20)
    return None if returns is None else math.tanh(statistics.fmean(returns) * 252)


def mean_reversion(bars: Bars, t: int) -> Value:
    closes, vol = window(bars.close, t, 20), volatility(bars, t, 20)
    if closes is None or not vol:
        return None
    return -math.tanh((closes[-1] / statistics.fmean(closes) - 1) / vol)


def breakout(bars: Bars, t: int) -> Value:
    highs, lows = window(bars.high, t, 20), window(bars.low, t, 20)
    if highs is None or lows is None or max(highs) == min(lows):
        return None
    return (2 * bars.close[t] - max(highs) - min(lows)) / (max(highs) - min(lows))


def rsi_reversal(bars: Bars, t: int) -> Value:
    found = rsi(bars, t)
    return None if found is None else 1 - found / 50


def trend(bars: Bars, t: int) -> Value:
    fast, slow, vol = window(bars.close, t, 5), window(bars.close, t, 20), volatility(bars, t, 20)
    if fast is None or slow is None or not vol:
        return None
    return math.tanh((statistics.fmean(fast) / statistics.fmean(slow) - 1) / vol)


SIGNALS: dict[str, Callable[[Bars, int], Value]] = {
    "momentum_20d": momentum,
    "mean_reversion_20d": mean_reversion,
    "breakout_20d": breakout,
    "rsi_reversal_14d": rsi_reversal,
    "trend_5_20d": trend,
}
