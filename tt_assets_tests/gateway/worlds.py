"""Bars and clocks for tests over the wire: a market that closed on a known Friday."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime

import numpy as np
import pandas as pd

from tt_assets.market.bars import BAR_COLUMNS
from tt_assets.market.calendar import NEW_YORK, sessions
from tt_assets.market.ibkr import IbkrConfig, StoredBars
from tt_assets.market.sources import BarRequest

FRIDAY = date(2024, 3, 1)
EVENING = datetime(2024, 3, 1, 20, 0, tzinfo=NEW_YORK)
NOON = datetime(2024, 3, 1, 12, 0, tzinfo=NEW_YORK)
FIRST = date(2024, 1, 16)


def walk(symbols: Iterable[str], first: date = FIRST, last: date = FRIDAY, seed: int = 0) -> pd.DataFrame:
    """Random daily bars in cents with BAR_COLUMNS that keep the bar contract."""
    draws = np.random.default_rng(seed)
    stamps = sessions(first, last)
    frames = []
    for symbol in symbols:
        close = np.round(100 * np.exp(np.cumsum(draws.normal(0, 0.02, len(stamps)))), 2)
        opened = np.round(close * np.exp(draws.normal(0, 0.01, len(stamps))), 2)
        frames.append(
            pd.DataFrame(
                {
                    "instrument": symbol,
                    "timestamp": stamps,
                    "open": opened,
                    "high": np.maximum(opened, close) + np.round(draws.uniform(0, 2, len(stamps)), 2),
                    "low": np.minimum(opened, close) - np.round(draws.uniform(0, 2, len(stamps)), 2),
                    "close": close,
                    "volume": draws.integers(100_000, 5_000_000, len(stamps)).astype(float),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)[list(BAR_COLUMNS)]


def quick(port: int, **changes: object) -> IbkrConfig:
    """A config whose waits are short, so that a scenario takes a second and not minutes."""
    waits: dict[str, object] = {
        "client_ids": (81, 82, 83),
        "timeout": 20.0,
        "connect_timeout": 15.0,
        "min_interval": 0.0,
        "repeat_interval": 0.05,
        "pacing_pause": 0.1,
        "backoff": 0.02,
        "longest_backoff": 0.2,
        "reconnect_for": 30.0,
        "alive_timeout": 5.0,
    }
    return IbkrConfig(port=port, **(waits | changes))  # type: ignore[arg-type]


def ask(*symbols: str, first: date = FIRST, last: date = FRIDAY) -> list[BarRequest]:
    """One request per symbol."""
    return [BarRequest(symbol, first, last) for symbol in symbols]


def stored(bars: pd.DataFrame) -> Callable[[Sequence[str], date, date], StoredBars]:
    """A reader over bars that are stored already."""

    def read(instruments: Sequence[str], first: date, last: date) -> StoredBars:
        rows = bars[
            bars["instrument"].isin(instruments) & bars["timestamp"].between(pd.Timestamp(first), pd.Timestamp(last))
        ]
        return StoredBars(rows.reset_index(drop=True))

    return read


def of(bars: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """The bars of one symbol, with an index from 0."""
    return bars[bars["instrument"] == symbol].reset_index(drop=True)
