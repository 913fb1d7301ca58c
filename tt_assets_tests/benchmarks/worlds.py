"""Worlds with a known answer: bars of which it is known what can be earned.

They go through the product's own features and panels. Returns have a standard deviation of 1.5 % a session, three
tenths of their variance common to all instruments. Every session opens at the close before, so what a decision at the
close of t earns is the return of t+1. What can be known of that return at t, its conditional mean, is kept beside the
bars.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.calendar import sessions
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets.trading.agents.policy import TrainedPolicy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.panel import MarketPanel

Floats = npt.NDArray[np.float64]

SIGMA = 0.015
COMMON = 0.3
PERSISTENCE = 0.9
"""Autocorrelation of the planted channel from one session to the next."""
WARM_UP, TRAINED, UNSEEN = 30, 189, 1_500
STAY = 40.0
"""Sessions that a regime lasts on average."""


@dataclass(frozen=True)
class World:
    """Which world, and which draw of it.

    Parameters
    ----------
    kind : planted (a channel that tells `r2` of the variance of the next return), noise (the channel tells nothing),
        momentum (the cross-section of the last 20 sessions' returns tells `r2`), regimes (± `drift` a session for all
        instruments, at 1 % volatility in the good state and 2 % in the bad one).
    trained, unseen : sessions to train on, and after them.
    """

    kind: str
    instruments: int
    r2: float = 0.05
    seed: int = 0
    drift: float = 0.004
    trained: int = TRAINED
    unseen: int = UNSEEN


@dataclass(frozen=True, eq=False)
class Drawn:
    """A world drawn: the panels to train on and to trade, the truth, and the regime of each traded session.

    `mean` is the conditional mean of the next session's return (T × N of the traded panel), `good` whether the state is
    the good one (T; all True where there are no regimes).
    """

    training: MarketPanel
    traded: MarketPanel
    mean: Floats
    good: npt.NDArray[np.bool_]
    bars: pd.DataFrame
    planted: pd.DataFrame


@functools.lru_cache(maxsize=4)
def drawn(world: World) -> Drawn:
    """Draw `world`; the same world gives the same bars."""
    random = np.random.default_rng([world.seed, world.instruments, round(1_000 * world.r2)])
    total = WARM_UP + world.trained + world.unseen
    returns, mean, channel, good = _returns(world, total, random)
    names = [f"S{number:02d}" for number in range(world.instruments)]
    days = sessions(pd.Timestamp("2005-01-03"), pd.Timestamp("2025-12-31"))[:total]
    bars = _bars(returns, days, names, random)
    features = compute_features(bars, load_features())
    scores = compute_signals(bars, features, load_signals())
    planted = _long(days, names, channel)
    full = MarketPanel.from_frames(bars, features, pd.concat([scores, planted]), names, days)
    end = WARM_UP + world.trained
    traded = _span(full, end, total)
    rows = slice(end - traded.start, total)
    return Drawn(_span(full, WARM_UP, end), traded, mean[rows], good[rows], bars, planted)


def _returns(
    world: World, total: int, random: np.random.Generator
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    """Returns, conditional means of the next ones, the channel (T × N each), and whether the state is good (T)."""
    shape = (total, world.instruments)
    shock = math.sqrt(COMMON) * random.normal(size=(total, 1)) + math.sqrt(1.0 - COMMON) * random.normal(size=shape)
    drawn_, hint = random.normal(size=shape), np.zeros(shape)
    hint[0] = drawn_[0]
    for row in range(1, total):
        hint[row] = PERSISTENCE * hint[row - 1] + math.sqrt(1.0 - PERSISTENCE**2) * drawn_[row]
    channel, good = np.tanh(hint), np.ones(total, dtype=bool)
    mean = np.zeros(shape)
    if world.kind == "regimes":
        for row in range(1, total):
            good[row] = good[row - 1] if random.random() > 1.0 / STAY else not good[row - 1]
        state = np.where(good, 1.0, -1.0)[:, None] * np.ones(shape)
        returns = world.drift * state + np.where(good, 0.01, 0.02)[:, None] * shock
        mean[:-1] = world.drift * state[1:]
        return returns, mean, channel, good
    told = 0.0 if world.kind == "noise" else world.r2
    noise = SIGMA * math.sqrt(1.0 - told) * shock
    if world.kind == "planted":
        mean = SIGMA * math.sqrt(told) * hint
    returns = np.zeros(shape)
    for row in range(total):
        if world.kind == "momentum" and row > 21:
            past = np.log1p(returns[row - 20 : row]).sum(axis=0)
            mean[row - 1] = SIGMA * math.sqrt(told) * (past - past.mean()) / (past.std() + 1e-9)
        returns[row] = (mean[row - 1] if row else 0.0) + noise[row]
    return returns, mean, channel, good


def _bars(returns: Floats, days: pd.DatetimeIndex, names: list[str], random: np.random.Generator) -> pd.DataFrame:
    total, number = returns.shape
    close = 50.0 * np.cumprod(1.0 + np.maximum(returns, -0.5), axis=0)
    opened = np.vstack([np.full((1, number), 50.0), close[:-1]])
    wick = 1.0 + np.abs(random.normal(0.0, 0.004, (2, total, number)))
    return pd.DataFrame(
        {
            "instrument": np.tile(np.array(names, dtype=object), total),
            "timestamp": np.repeat(days.to_numpy(), number),
            "open": opened.ravel(),
            "high": (np.maximum(opened, close) * wick[0]).ravel(),
            "low": (np.minimum(opened, close) / wick[1]).ravel(),
            "close": close.ravel(),
            "volume": np.exp(random.normal(14.0, 0.3, total * number)),
        }
    )


def _long(days: pd.DatetimeIndex, names: list[str], channel: Floats) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "instrument": np.tile(np.array(names, dtype=object), len(days)),
            "timestamp": np.repeat(days.to_numpy(), len(names)),
            "signal_name": "planted",
            "score": channel.ravel(),
            "meta_json": "{}",
        }
    )


def _span(full: MarketPanel, first: int, last: int) -> MarketPanel:
    """Rows `first` … `last` − 1 with look-back before them."""
    cut = slice(max(first - WARM_UP, 0), last)
    names = ("sessions", "open", "high", "low", "close", "volume", "features")
    return dataclasses.replace(full, start=first - cut.start, **{name: getattr(full, name)[cut] for name in names})


@dataclass(frozen=True)
class Outcome:
    """How an account did on unseen sessions, after costs.

    growth: log growth, % a year. gross: mean Σ|weight|, in all, and in the good and the bad state (nan without one).
    turnover: mean Σ|Δ target weight| a session.
    """

    growth: float
    gross: float
    good: float
    bad: float
    turnover: float


def traded_by(policy: TrainedPolicy, world: Drawn) -> Outcome:
    """How `policy` does in the world's unseen sessions, without a stopper."""
    config = policy.config.replace(stoppers=())
    simulator = Simulator(world.traded, config, policy.scaler, 1)
    return _rolled(simulator, world, lambda: policy.act(simulator.observe()[0]))


def always(weight: float, world: Drawn, config: TradingConfig) -> Outcome:
    """An account that restores the same `weight` of every instrument at every close."""
    number = len(world.traded.instruments)
    config = config.replace(stoppers=(), action_scheme="long_only_weights")
    simulator = Simulator(world.traded, config, Scaler.unscaled(world.traded), 1)
    return _rolled(simulator, world, lambda: np.full(number, weight))


def truth(world: Drawn, config: TradingConfig) -> Outcome:
    """Who knows the conditional mean: a full position above the cost of a trade, none below its negative."""
    config = config.replace(stoppers=())
    simulator = Simulator(world.traded, config, Scaler.unscaled(world.traded), 1)
    cost = config.commission_bps * 1e-4
    position = np.zeros(len(world.traded.instruments))

    def act() -> Floats:
        nonlocal position
        mean = world.mean[simulator.session[0]]
        position = np.where(mean > cost, 1.0, np.where(mean < -cost, 0.0, position))
        return position

    return _rolled(simulator, world, act)


def _rolled(simulator: Simulator, world: Drawn, act) -> Outcome:
    panel = simulator.panel
    simulator.reset(np.ones(1, dtype=bool), np.array([panel.start]))
    started, gross, turnover, states = float(simulator.net_worth[0]), [], [], []
    while simulator.session[0] < len(panel.sessions) - 1:
        before = simulator.target[0].copy()
        states.append(world.good[simulator.session[0]])
        weights = simulator.step(np.asarray(act())[None]).weights[0]
        gross.append(float(np.abs(weights).sum()))
        turnover.append(float(np.abs(weights - before).sum()))
    held, state = np.array(gross), np.array(states)
    years = len(held) / 252.0
    return Outcome(
        growth=100.0 * math.log(float(simulator.net_worth[0]) / started) / years,
        gross=float(held.mean()),
        good=float(held[state].mean()) if state.any() else math.nan,
        bad=float(held[~state].mean()) if (~state).any() else math.nan,
        turnover=float(np.mean(turnover)),
    )
