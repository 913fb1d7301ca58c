"""Panels of the bundled bars, with two plain channels, and small trained agents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tt_assets.settings import SAMPLE_BARS
from tt_assets.trading.agents.policy import TrainedPolicy
from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import MarketPanel

PORTFOLIO = ("AAPL", "GOOG", "IBM", "MSFT", "FB")

PanelOf = Callable[..., MarketPanel]


@pytest.fixture(scope="session")
def bundled_bars() -> pd.DataFrame:
    """The bundled daily bars, long."""
    return pd.read_csv(SAMPLE_BARS, parse_dates=["timestamp"])


def wide(frame: pd.DataFrame, values: str) -> pd.DataFrame:
    """A long frame as sessions × instruments."""
    return frame.pivot(index="timestamp", columns="instrument", values=values)  # noqa: PD010 - pivot_table averages


def channels_of(bars: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features return_1 and vol_20 and a score in [-1, 1], long, undefined values left out."""
    close = wide(bars, "close")
    returns = close.pct_change(fill_method=None)

    def long(frame: pd.DataFrame, name: str, value: str) -> pd.DataFrame:
        rows = frame.reset_index().melt("timestamp", var_name="instrument", value_name=value).dropna()
        return rows.assign(**{"feature" if value == "value" else "signal_name": name})

    features = pd.concat([long(returns, "return_1", "value"), long(returns.rolling(20).std(), "vol_20", "value")])
    scores = long(np.tanh(returns.rolling(20).mean() * 252), "momentum", "score")
    return features, scores


def build_panel(
    bars: pd.DataFrame,
    first: str,
    last: str,
    *,
    instruments: tuple[str, ...] = PORTFOLIO,
    lookback: int = 30,
) -> MarketPanel:
    """The span first … last of `bars` with `lookback` sessions before it."""
    features, scores = channels_of(bars)
    sessions = pd.DatetimeIndex(sorted(bars["timestamp"].unique()))
    start, stop = sessions.searchsorted(pd.Timestamp(first)), sessions.searchsorted(pd.Timestamp(last), side="right")
    return MarketPanel.from_frames(
        bars, features, scores, instruments, sessions[max(start - lookback, 0) : stop], start=first
    )


@pytest.fixture(scope="session")
def panel_of(bundled_bars: pd.DataFrame) -> PanelOf:
    """`build_panel` on the bundled bars."""

    def build(first: str, last: str, **kwargs: object) -> MarketPanel:
        return build_panel(bundled_bars, first, last, **kwargs)  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def small_config() -> TradingConfig:
    return TradingConfig(train_steps=64, observation_window=3)


@pytest.fixture(scope="session")
def training_panel(panel_of: PanelOf) -> MarketPanel:
    """Nine months in which FB is not listed for the first seven and a half."""
    return panel_of("2011-10-03", "2012-06-29")


@pytest.fixture(scope="session")
def window_panel(panel_of: PanelOf) -> MarketPanel:
    """The quarter after `training_panel`."""
    return panel_of("2012-07-02", "2012-09-28")


@pytest.fixture(scope="session")
def small_policy(training_panel: MarketPanel, small_config: TradingConfig) -> TrainedPolicy:
    """An agent after a very short training: its actions are arbitrary, its shapes are real."""
    return train_policy(training_panel, small_config, seed=1)
