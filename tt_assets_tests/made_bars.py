"""Bars out of a seed, for platforms whose file changes under them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def made_bars(names: Sequence[str], days: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    """Bars of each instrument on each of `days`, as in tt_prices; the same seed makes the same bars."""
    draws = np.random.default_rng(seed)
    frames = []
    for name in names:
        close = 50 * np.exp(np.cumsum(draws.normal(0.0003, 0.01, len(days))))
        opening = close * np.exp(draws.normal(0, 0.003, len(days)))
        frames.append(
            pd.DataFrame(
                {
                    "instrument": name,
                    "timestamp": days,
                    "open": opening,
                    "high": np.maximum(opening, close) * 1.002,
                    "low": np.minimum(opening, close) / 1.002,
                    "close": close,
                    "volume": draws.integers(10_000, 1_000_000, len(days)).astype(float),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
