"""How fast agents can be stepped and trained: the simulator, TensorTrade's environment, and what others offer.

One decision: everything is measured in CPU seconds of this process, on one thread and in one run, on the same random
bars, so that the ratios hold on a busy machine too. A step is a decision of one account with the observation after it.
The peers (gym-anytrading, gym-trading-env, finrl) are never needed by the product: one that is not installed is
reported as absent. Each trades the bars in its own way, the single-asset ones the first instrument.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.observation import Scaler
from tt_assets.trading.panel import MarketPanel
from tt_assets.trading.simulator import Simulator

SHAPES = ((1, 1), (1, 8), (1, 64), (10, 1), (10, 8), (10, 64), (50, 1), (50, 64))
"""Instruments and accounts of the simulator."""

TENSORTRADE_INSTRUMENTS = (1, 10, 50)

CHANNELS = ("return_1", "vol_20", "momentum_20d")
SESSIONS = 1_000
LOOKBACK = 30

TRAINED_STEPS = 20_000
COMPARED_STEPS = 2_048
COMPARED_ACCOUNTS = 32


@dataclass(frozen=True)
class Speed:
    """One figure. `per_second` is steps per CPU second, or None with the reason in `note`.

    `times_tensortrade` is its ratio to TensorTrade's environment at as many instruments.
    """

    what: str
    instruments: int
    accounts: int
    per_second: float | None
    times_tensortrade: float | None = None
    cpu_seconds: float | None = None
    note: str = ""


def measure(seconds: float = 1.0, *, train: bool = True) -> Iterator[Speed]:
    """Every figure, `seconds` of CPU time for each rate, as they come. `train` adds PPO end to end (about a minute)."""
    base: dict[int, float] = {}
    for instruments in TENSORTRADE_INSTRUMENTS:
        base[instruments] = _rate(_tensortrade(instruments), 1, seconds)
        yield Speed("tensortrade", instruments, 1, base[instruments], 1.0)
    for instruments, accounts in SHAPES:
        rate = _rate(_simulator(instruments, accounts), accounts, seconds)
        yield Speed("simulator", instruments, accounts, rate, rate / base[instruments])
    for name, instruments, peer in PEERS:
        try:
            step = peer(instruments)
        except ImportError as error:
            yield Speed(name, instruments, 1, None, note=f"absent: {error}")
            continue
        rate = _rate(step, 1, seconds)
        yield Speed(name, instruments, 1, rate, rate / base[instruments])
    if train:
        yield _training()
        yield from _compared_training()


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


def _rate(step: Callable[[], None], accounts: int, seconds: float) -> float:
    """Account steps per CPU second: the best of three runs after a short one to warm up."""
    rounds = 8
    while _cpu(step, rounds) < seconds / 20.0:
        rounds *= 2
    rounds = max(int(rounds * seconds / 3.0 / max(_cpu(step, rounds), 1e-6)), 8)
    return accounts * rounds / min(_cpu(step, rounds) for _ in range(3))


def _cpu(step: Callable[[], None], rounds: int) -> float:
    begun = time.process_time()
    for _ in range(rounds):
        step()
    return time.process_time() - begun


def _actions(*shape: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(1).random((64, *shape))


def _config() -> TradingConfig:
    return TradingConfig(max_drawdown=1.0)


def _simulator(instruments: int, accounts: int) -> Callable[[], None]:
    panel, config = random_bars(instruments), _config()
    simulator = Simulator(panel, config, Scaler.fit(panel), accounts)
    every, actions, done = np.ones(accounts, dtype=bool), _actions(accounts, instruments), 0
    first, last = np.full(accounts, panel.start), len(panel.sessions) - 1

    def step() -> None:
        nonlocal done
        simulator.step(actions[done % 64])
        simulator.observe()
        done += 1
        if panel.start + done % (last - panel.start) == panel.start:
            simulator.reset(every, first)

    return step


def _tensortrade(instruments: int) -> Callable[[], None]:
    from tt_assets.trading.tensortrade_env import session_env

    panel = random_bars(instruments)
    return _gymnasium(session_env(panel, _config(), Scaler.fit(panel)), _actions(instruments))


def _gymnasium(env: object, actions: npt.NDArray | list) -> Callable[[], None]:
    """Steps of an environment with Gymnasium's `reset` and `step`, reset whenever it ends."""
    env.reset()  # type: ignore[attr-defined]
    done = 0

    def step() -> None:
        nonlocal done
        _, _, terminated, truncated, _ = env.step(actions[done % len(actions)])  # type: ignore[attr-defined]
        done += 1
        if terminated or truncated:
            env.reset()  # type: ignore[attr-defined]

    return step


def _frame(panel: MarketPanel, column: int) -> pd.DataFrame:
    fields = {field: getattr(panel, field)[:, column] for field in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(fields, index=pd.DatetimeIndex(panel.sessions))


def _anytrading(instruments: int) -> Callable[[], None]:
    from gym_anytrading.envs import StocksEnv

    frame = _frame(random_bars(instruments), 0).rename(columns=str.capitalize)
    env = StocksEnv(df=frame, window_size=10, frame_bound=(LOOKBACK, len(frame)))
    return _gymnasium(env, np.random.default_rng(1).integers(0, 2, 64))


def _trading_env(instruments: int) -> Callable[[], None]:
    from gym_trading_env.environments import TradingEnv

    panel = random_bars(instruments)
    channels = {f"feature_{name}": panel.features[:, 0, place] for place, name in enumerate(CHANNELS)}
    frame = _frame(panel, 0).assign(**channels)
    env = TradingEnv(
        df=frame, positions=[0, 1], windows=10, trading_fees=0.001, portfolio_initial_value=10_000, verbose=0
    )
    return _gymnasium(env, np.random.default_rng(1).integers(0, 2, 64))


def _finrl(instruments: int) -> Callable[[], None]:
    from finrl.meta.env_stock_trading.env_stocktrading import StockTradingEnv

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
    # FinRL looks a session up by an index that all its rows share.
    frame.index = pd.Index(pd.factorize(frame["date"])[0])
    env = StockTradingEnv(
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
    return _gymnasium(env, _actions(instruments))


PEERS: tuple[tuple[str, int, Callable[[int], Callable[[], None]]], ...] = (
    ("gym-anytrading", 1, _anytrading),
    ("gym-trading-env", 1, _trading_env),
    ("finrl", 10, _finrl),
)
"""Name, instruments, and what makes one step."""


def _training() -> Speed:
    """CPU seconds of a whole training of the platform on ten instruments, imports left out."""
    from tt_assets.trading import checkpoint, vec_env  # noqa: F401 - torch and Stable-Baselines3 before the clock starts
    from tt_assets.trading.training import ACCOUNTS, train_policy

    panel = random_bars(10, sessions=LOOKBACK + 189)
    begun = time.process_time()
    train_policy(panel, TradingConfig(train_steps=TRAINED_STEPS), seed=0)
    cpu = time.process_time() - begun
    return Speed("training on the simulator", 10, ACCOUNTS, TRAINED_STEPS / cpu, cpu_seconds=cpu)


def _compared_training() -> Iterator[Speed]:
    """PPO end to end with the same network, batches and number of accounts on both engines."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

    from tt_assets.trading.tensortrade_env import session_env
    from tt_assets.trading.training import EPOCHS, HIDDEN, MINIBATCH, one_thread
    from tt_assets.trading.vec_env import SimulatorVecEnv

    panel, config = random_bars(10), _config()
    scaler = Scaler.fit(panel)

    def learn(env: VecEnv) -> float:
        with one_thread():
            model = PPO(
                "MlpPolicy",
                env,
                n_steps=COMPARED_STEPS // COMPARED_ACCOUNTS // 2,
                batch_size=MINIBATCH,
                n_epochs=EPOCHS,
                policy_kwargs={"net_arch": list(HIDDEN)},
                seed=0,
                device="cpu",
            )
            begun = time.process_time()
            model.learn(total_timesteps=COMPARED_STEPS)
            return time.process_time() - begun

    slow = learn(DummyVecEnv([lambda: session_env(panel, config, scaler)] * COMPARED_ACCOUNTS))
    fast = learn(SimulatorVecEnv(Simulator(panel, config, scaler, COMPARED_ACCOUNTS), panel.start))
    for what, cpu in (("PPO on tensortrade", slow), ("PPO on the simulator", fast)):
        yield Speed(what, 10, COMPARED_ACCOUNTS, COMPARED_STEPS / cpu, slow / cpu, cpu)


def main() -> None:
    """Print every figure as a line of JSON."""
    for speed in measure():
        sys.stdout.write(json.dumps(asdict(speed)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
