"""Judgements of the bundled bars: small trained agents and every baseline over two quarters."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from tt_assets.settings import SAMPLE_BARS
from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.judging.judge import JudgedWindow, Judgement, judge
from tt_assets_tests.trading.conftest import build_panel

QUARTERS = (("2012-04-02", "2012-06-29"), ("2012-10-01", "2012-12-31"))
"""With the quarter between them left out."""


@pytest.fixture(scope="session")
def judged_windows() -> list[JudgedWindow]:
    bars = pd.read_csv(SAMPLE_BARS, parse_dates=["timestamp"])
    config = TradingConfig(train_steps=64, observation_window=3, slippage_bps=5.0)
    training = build_panel(bars, "2011-07-01", "2012-03-30")
    policies = tuple(train_policy(training, config, seed) for seed in (1, 2, 3))
    return [JudgedWindow(build_panel(bars, *quarter), config, policies) for quarter in QUARTERS]


@pytest.fixture(scope="session")
def judgement(judged_windows: list[JudgedWindow]) -> Judgement:
    return judge(judged_windows)


@pytest.fixture(scope="session")
def baselines_only(judged_windows: list[JudgedWindow]) -> Judgement:
    return judge([dataclasses.replace(window, policies=()) for window in judged_windows])


@pytest.fixture(scope="session")
def costly_baselines(judged_windows: list[JudgedWindow]) -> Judgement:
    """Baselines at 150 bps of slippage, which ruins whoever trades at every close."""
    return judge(
        [
            dataclasses.replace(window, policies=(), config=window.config.replace(slippage_bps=150.0))
            for window in judged_windows
        ]
    )


@pytest.fixture(scope="session")
def weights(judged_windows: list[JudgedWindow]) -> pd.DataFrame:
    """The target weights of every agent's recorded episodes, all seeds below one another."""
    episodes = [
        roll_episode(policy, window.panel, window.config, Engine.SIMULATOR)
        for window in judged_windows
        for policy in window.policies
    ]
    return pd.concat([episode.target_weights for episode in episodes], ignore_index=True)


def renamed(judgement: Judgement, **names: str) -> Judgement:
    """The same strategies under other names, to have an agent whose figures are known to be good or bad."""
    frames = (judgement.curves, judgement.bands, judgement.table)
    return Judgement(*(frame.replace({"strategy": names}) for frame in frames))
