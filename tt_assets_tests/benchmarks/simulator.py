"""How fast agents can be stepped and trained: the simulator, TensorTrade's environment, and what others offer.

Everything is measured in CPU seconds of this process, on one thread and in one run, on the same random
bars, so that the ratios hold on a busy machine too. A step is a decision of one account with the observation after it.
A peer that is not installed is reported as absent, with what installs it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator import Simulator
from tt_assets_tests.benchmarks.bars import LOOKBACK, TRADING, actions, random_bars
from tt_assets_tests.benchmarks.figures import say
from tt_assets_tests.benchmarks.peers import PEERS, TENSORTRADE, Peer

SHAPES = ((1, 1), (1, 8), (1, 64), (10, 1), (10, 8), (10, 64), (50, 1), (50, 8), (50, 64))
"""Instruments and accounts."""

TIMES_TENSORTRADE = {(10, 1): 60.0, (10, 64): 4_000.0}
"""What the simulator is to reach, as a multiple of one TensorTrade environment at as many instruments."""

AHEAD_FROM = {"gym-anytrading": 8, "gym-trading-env": 8}
"""Accounts from which the simulator is to be ahead of a peer; of the others with one account already."""

TRAINED_STEPS = 20_000
TRAINING_SECONDS = 8.0
COMPARED_STEPS = 2_048
COMPARED_ACCOUNTS = 32


@dataclass(frozen=True)
class Speed:
    """One figure. `per_second` is account steps per CPU second, or None with the reason in `note`.

    times_tensortrade: its ratio to one TensorTrade environment at as many instruments. simulator_times: how many times
    as fast the simulator is in the same shape. aim: what the figure is held against, and `met` whether it is.
    """

    what: str
    instruments: int
    accounts: int
    per_second: float | None
    times_tensortrade: float | None = None
    simulator_times: float | None = None
    cpu_seconds: float | None = None
    aim: str | None = None
    met: bool | None = None
    note: str = ""

    def rounded(self) -> Speed:
        """With the four digits that a second of measuring is worth."""
        numbers = {name: value for name, value in asdict(self).items() if isinstance(value, float)}
        return replace(self, **{name: float(f"{value:.4g}") for name, value in numbers.items()})  # type: ignore[arg-type]


def measure(seconds: float = 1.0, *, train: bool = True) -> Iterator[Speed]:
    """Every figure, `seconds` of CPU time for each rate, as they come. `train` adds PPO end to end (about a minute)."""
    for speed in _figures(seconds, train):
        yield speed.rounded()


def _figures(seconds: float, train: bool) -> Iterator[Speed]:
    base = {instruments: _rate(TENSORTRADE.step(instruments, 1), 1, seconds) for instruments in TENSORTRADE.instruments}
    for instruments, rate in base.items():
        yield Speed(TENSORTRADE.name, instruments, 1, rate, 1.0)
    rates = {}
    for instruments, accounts in SHAPES:
        rate = rates[instruments, accounts] = _rate(_simulator(instruments, accounts), accounts, seconds)
        times, aim = rate / base[instruments], TIMES_TENSORTRADE.get((instruments, accounts))
        held: dict[str, Any] = {"aim": f"at least {aim:g} times tensortrade", "met": times >= aim} if aim else {}
        yield Speed("simulator", instruments, accounts, rate, times, **held)
    for peer in PEERS:
        for instruments, accounts in SHAPES:
            if instruments in peer.instruments and accounts in (1, 64):
                yield _compared(peer, instruments, accounts, rates, base, seconds)
    for instruments, accounts in SHAPES:
        if accounts == 64:
            yield _compared(TENSORTRADE, instruments, accounts, rates, base, seconds)
    if train:
        say("trainings")
        yield _training()
        yield from _compared_training()


def _compared(
    peer: Peer,
    instruments: int,
    accounts: int,
    rates: dict[tuple[int, int], float],
    base: dict[int, float],
    seconds: float,
) -> Speed:
    """A peer in one shape beside the simulator in the same shape."""
    try:
        step = peer.step(instruments, accounts)
    except ImportError as error:
        return Speed(peer.name, instruments, accounts, None, note=f"absent: {error}; {peer.install}")
    rate = _rate(step, accounts, seconds)
    times, first = rates[instruments, accounts] / rate, AHEAD_FROM.get(peer.name, 1)
    held: dict[str, Any] = {}
    if accounts >= first:
        held = {"aim": f"simulator ahead from {first} account{'s' if first > 1 else ''} on", "met": times > 1.0}
    elif (instruments, first) in rates:
        # One environment is stepped as fast as each of several, so it tells where the simulator passes it.
        ahead = rates[instruments, first] / rate
        held = {"note": f"the simulator with {first} accounts is {ahead:.2f} times as fast"}
    return Speed(peer.name, instruments, accounts, rate, rate / base[instruments], times, **held)


def _rate(step: Callable[[], Any], accounts: int, seconds: float) -> float:
    """Account steps per CPU second: the best of three runs after a short one to warm up."""
    rounds = 1
    while _cpu(step, rounds) < seconds / 20.0:
        rounds *= 2
    rounds = max(int(rounds * seconds / 3.0 / max(_cpu(step, rounds), 1e-6)), 1)
    return accounts * rounds / min(_cpu(step, rounds) for _ in range(3))


def _cpu(step: Callable[[], Any], rounds: int) -> float:
    begun = time.process_time()
    for _ in range(rounds):
        step()
    return time.process_time() - begun


def _simulator(instruments: int, accounts: int) -> Callable[[], None]:
    panel = random_bars(instruments)
    simulator = Simulator(panel, TRADING, Scaler.fit(panel), accounts)
    every, decided, done = np.ones(accounts, dtype=bool), actions(accounts, instruments), 0
    first, last = np.full(accounts, panel.start), len(panel.sessions) - 1

    def step() -> None:
        nonlocal done
        simulator.step(decided[done % 64])
        simulator.observe()
        done += 1
        if done % (last - panel.start) == 0:
            simulator.reset(every, first)

    return step


def _training() -> Speed:
    """CPU seconds of a whole training of the platform on ten instruments, imports left out."""
    from tt_assets.trading.agents.training import ACCOUNTS, train_policy
    from tt_assets.trading.engines import vec_env  # noqa: F401 - torch and Stable-Baselines3 before the clock starts

    panel = random_bars(10, sessions=LOOKBACK + 189)
    begun = time.process_time()
    train_policy(panel, TradingConfig(train_steps=TRAINED_STEPS), seed=0)
    cpu = time.process_time() - begun
    return Speed(
        f"training of {TRAINED_STEPS} steps",
        10,
        ACCOUNTS,
        TRAINED_STEPS / cpu,
        cpu_seconds=cpu,
        aim=f"at most {TRAINING_SECONDS:g} CPU s",
        met=cpu <= TRAINING_SECONDS,
    )


def _compared_training() -> Iterator[Speed]:
    """PPO end to end with the same network, batches and number of accounts on both engines."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

    from tt_assets.trading.agents.training import EPOCHS, HIDDEN, MINIBATCH, one_thread
    from tt_assets.trading.engines.tensortrade_env import session_env
    from tt_assets.trading.engines.vec_env import SimulatorVecEnv

    panel = random_bars(10)
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

    slow = learn(DummyVecEnv([lambda: session_env(panel, TRADING, scaler)] * COMPARED_ACCOUNTS))
    fast = learn(SimulatorVecEnv(Simulator(panel, TRADING, scaler, COMPARED_ACCOUNTS), panel.start))
    for what, cpu in (("PPO on tensortrade", slow), ("PPO on the simulator", fast)):
        yield Speed(what, 10, COMPARED_ACCOUNTS, COMPARED_STEPS / cpu, slow / cpu, cpu / fast, cpu)


def main() -> None:
    """Print every figure as a line of JSON."""
    for speed in measure():
        sys.stdout.write(json.dumps(asdict(speed)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
