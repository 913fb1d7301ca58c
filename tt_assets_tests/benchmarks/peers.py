"""Trading environments of others over the benchmark's bars, each as a step to be timed.

A peer is optional. Each is imported where it is made and is never needed by the product; the way to get
one is in `PEERS`, without its dependencies where they would change the platform's. Several accounts are as many
environments stepped one after the other, which is what Stable-Baselines3's `DummyVecEnv` does, without its own costs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.panel import MarketPanel
from tt_assets_tests.benchmarks.bars import CHANNELS, LOOKBACK, TRADING, actions, random_bars

Step = Callable[[], Any]


@dataclass(frozen=True)
class Peer:
    """One environment: what makes one over so many instruments, which it can trade, and how it is installed."""

    name: str
    make: Callable[[int], Step]
    instruments: tuple[int, ...]
    install: str = ""

    def step(self, instruments: int, accounts: int) -> Step:
        """One step of each of `accounts` environments. Raises ImportError where the peer is not installed."""
        steps = [self.make(instruments) for _ in range(accounts)]

        def every() -> None:
            for step in steps:
                step()

        return steps[0] if accounts == 1 else every


def _stepped(env: Any, chosen: npt.NDArray) -> Step:
    """Steps of an environment with Gymnasium's `reset` and `step`, reset whenever it ends."""
    env.reset()
    done = 0

    def step() -> None:
        nonlocal done
        _, _, terminated, truncated, _ = env.step(chosen[done % len(chosen)])
        done += 1
        if terminated or truncated:
            env.reset()

    return step


def _tensortrade(instruments: int) -> Step:
    from tt_assets.trading.engines.tensortrade_env import session_env

    panel = random_bars(instruments)
    return _stepped(session_env(panel, TRADING, Scaler.fit(panel)), actions(instruments))


def _frame(panel: MarketPanel, column: int) -> pd.DataFrame:
    fields = {field: getattr(panel, field)[:, column] for field in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(fields, index=pd.DatetimeIndex(panel.sessions))


def _choices() -> npt.NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, 2, 64)


def _anytrading(instruments: int) -> Step:
    from gym_anytrading.envs import StocksEnv

    frame = _frame(random_bars(instruments), 0).rename(columns=str.capitalize)
    return _stepped(StocksEnv(df=frame, window_size=10, frame_bound=(LOOKBACK, len(frame))), _choices())


def _trading_env(instruments: int) -> Step:
    from gym_trading_env.environments import TradingEnv

    panel = random_bars(instruments)
    channels = {f"feature_{name}": panel.features[:, 0, place] for place, name in enumerate(CHANNELS)}
    env = TradingEnv(
        df=_frame(panel, 0).assign(**channels),
        positions=[0, 1],
        windows=10,
        trading_fees=0.001,
        portfolio_initial_value=10_000,
        verbose=0,
    )
    return _stepped(env, _choices())


def _finrl_environment() -> Any:
    """FinRL's StockTradingEnv out of its own file: the package around it imports clients of brokers first."""
    package = importlib.util.find_spec("finrl")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'finrl'")
    path = Path(package.submodule_search_locations[0], "meta", "env_stock_trading", "env_stocktrading.py")
    spec = importlib.util.spec_from_file_location("finrl_env_stocktrading", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.StockTradingEnv


def _finrl(instruments: int) -> Step:
    environment = _finrl_environment()
    panel = random_bars(instruments)
    frames = [
        _frame(panel, column).assign(
            date=np.datetime_as_string(panel.sessions, unit="D"),
            tic=name,
            **{channel: panel.features[:, column, place] for place, channel in enumerate(CHANNELS)},
        )
        for column, name in enumerate(panel.instruments)
    ]
    frame = pd.concat(frames).sort_values(["date", "tic"], ignore_index=True)
    if instruments > 1:
        # With several instruments it looks a session up by an index that all its rows share.
        frame.index = pd.Index(pd.factorize(frame["date"])[0])
    env = environment(
        df=frame,
        stock_dim=instruments,
        hmax=100,
        initial_amount=10_000,
        num_stock_shares=[0] * instruments,
        buy_cost_pct=[0.001] * instruments,
        sell_cost_pct=[0.001] * instruments,
        reward_scaling=1.0,
        state_space=1 + (2 + len(CHANNELS)) * instruments,
        action_space=instruments,
        tech_indicator_list=list(CHANNELS),
        print_verbosity=10**9,
    )
    # Its actions are from -1 to 1: buy and sell.
    return _stepped(env, 2.0 * actions(instruments) - 1.0)


TENSORTRADE = Peer("tensortrade", _tensortrade, (1, 10, 50))
"""The platform's own environment on TensorTrade: what the ratios are to."""

PEERS: tuple[Peer, ...] = (
    Peer("gym-anytrading", _anytrading, (1,), "pip install gym-anytrading"),
    Peer("gym-trading-env", _trading_env, (1,), "pip install --no-deps gym-trading-env"),
    Peer("finrl", _finrl, (1, 10, 50), "pip install --no-deps finrl"),
)
"""Single-asset ones trade the first instrument."""
