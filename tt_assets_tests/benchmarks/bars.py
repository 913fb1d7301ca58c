"""The bars and decisions that every environment of the benchmark `simulator` is stepped on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Floats, MarketPanel

CHANNELS = ("return_1", "vol_20", "momentum_20d")
SESSIONS = 1_000
LOOKBACK = 30

TRADING = TradingConfig(max_drawdown=1.0)
"""As the platform trades, but never stopped: a reset is not what is measured."""


def random_bars(instruments: int, sessions: int = SESSIONS, seed: int = 0) -> MarketPanel:
    """Random walks of 1 % a day with three channels of noise; the first `LOOKBACK` sessions are look-back."""
    random = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, (sessions, instruments)), axis=0))
    opened = close * np.exp(random.normal(0.0, 0.003, close.shape))
    days = pd.bdate_range("2010-01-04", periods=sessions).to_numpy()
    return MarketPanel(
        sessions=days,
        instruments=tuple(f"S{number:03d}" for number in range(instruments)),
        open=opened,
        high=np.maximum(opened, close) * 1.001,
        low=np.minimum(opened, close) * 0.999,
        close=close,
        volume=np.full(close.shape, 1e6),
        features=random.normal(size=(*close.shape, len(CHANNELS))),
        feature_names=CHANNELS,
        start=LOOKBACK,
    )


def actions(*shape: int) -> Floats:
    """64 decisions of `shape`, uniform in [0, 1)."""
    drawn: npt.NDArray[np.float64] = np.random.default_rng(1).random((64, *shape))
    return drawn
