"""How often the paired test claims what is not there, how often it sees what is, and what judging costs.

Worlds are random and their truth is known. A false claim is a p of at most the level from a subject that is no better;
over 1,000 worlds its rate is known to ± 0.7 points (one standard error). Time is CPU seconds of this process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.judging.judge import JudgedWindow, judge
from tt_assets.trading.judging.paired import LEVEL, compare
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets_tests.benchmarks.figures import load, say

WORLDS = 1_000
POWER_WORLDS = 200
DRAWS = 500
SIGMA = 0.01
"""Standard deviation of a strategy's daily returns."""

TIME_AIM = 30.0
YEARS, PORTFOLIOS, INSTRUMENTS = 10, 3, 5


def measure(worlds: int = WORLDS, power_worlds: int = POWER_WORLDS, years: int = YEARS) -> Iterator[dict[str, Any]]:
    """Calibration, power and time, as they come."""
    for correlation in (-0.5, 0.0, 0.5, 0.9):
        yield _false_claims(f"correlation {correlation:g}", worlds, 504, correlation=correlation)
    yield _false_claims("correlation 0.9, ten years", worlds // 2, 2_520, correlation=0.9)
    yield _false_claims("correlation 0.9, tails of t(4)", worlds, 504, correlation=0.9, freedom=4)
    yield _false_claims("correlation 0.9, differences with memory 0.2", worlds, 504, correlation=0.9, memory=0.2)
    yield _false_claims("five yardsticks, one as good and four far behind", worlds, 504, correlation=0.9, behind=4)
    yield _false_claims("five yardsticks, all as good", worlds, 504, correlation=0.9, equals=5)
    for correlation in (0.0, 0.9):
        for edge in (0.5, 1.0):
            for length in (1, 2, 5, 10):
                yield _power(power_worlds, length, edge, correlation)
    yield from _time(years)


def world(
    random: np.random.Generator,
    sessions: int,
    *,
    edge: float = 0.0,
    correlation: float = 0.0,
    equals: int = 1,
    behind: int = 0,
    freedom: int = 0,
    memory: float = 0.0,
) -> tuple[Floats, Floats]:
    """A subject (T) and yardsticks (T × K) of the same volatility, each with `correlation` to the subject.

    `edge` is the difference of annual Sharpe ratios. `equals` yardsticks are as good but for the edge, `behind` more
    are a ratio of 3 worse. Returns have tails of t(`freedom`), normal for 0, and remember `memory` of the day before.
    """
    count = 1 + equals + behind
    draws = random.standard_t(freedom, (sessions, count)) if freedom else random.standard_normal((sessions, count))
    if freedom:
        draws /= math.sqrt(freedom / (freedom - 2.0))
    for row in range(1, sessions) if memory else ():
        draws[row] = memory * draws[row - 1] + math.sqrt(1.0 - memory**2) * draws[row]
    own = draws[:, :1]
    others = correlation * own + math.sqrt(1.0 - correlation**2) * draws[:, 1:]
    drift = np.zeros(count - 1)
    drift[equals:] = -3.0 * SIGMA / math.sqrt(252.0)
    subject = SIGMA * own[:, 0] + edge * SIGMA / math.sqrt(252.0)
    return np.expm1(subject), np.expm1(SIGMA * others + drift)


def _false_claims(name: str, worlds: int, sessions: int, **kind: Any) -> dict[str, Any]:
    say(f"false claims: {name}")
    claims = [
        compare(*world(np.random.default_rng([7, number]), sessions, **kind), draws=DRAWS, seed=number).p_all <= LEVEL
        for number in range(worlds)
    ]
    rate = 100.0 * float(np.mean(claims))
    exact = kind.get("equals", 1) == 1
    return {
        "what": "false claims",
        "world": name,
        "worlds": worlds,
        "sessions": sessions,
        "percent": round(rate, 2),
        "level": 100.0 * LEVEL,
        # Where all are as good, every one of them has to be beaten by luck: the claim is rarer than its level.
        "aim": "within 1 point of the level" if exact else "at most the level",
        "met": abs(rate - 100.0 * LEVEL) <= 1.0 if exact else rate <= 100.0 * LEVEL + 1.0,
    }


def _power(worlds: int, years: int, edge: float, correlation: float) -> dict[str, Any]:
    say(f"power: {years} years, edge {edge}, correlation {correlation}")
    seen = [
        compare(
            *world(np.random.default_rng([11, number]), 252 * years, edge=edge, correlation=correlation),
            draws=DRAWS,
            seed=number,
        ).p_all
        <= LEVEL
        for number in range(worlds)
    ]
    return {
        "what": "power",
        "years": years,
        "edge_of_sharpe": edge,
        "correlation": correlation,
        "worlds": worlds,
        "percent": round(100.0 * float(np.mean(seen)), 1),
    }


def _time(years: int) -> Iterator[dict[str, Any]]:
    """Ten strategies (six baselines and four more of them) over quarters of three portfolios, in four scenarios."""
    names = ("cash", "equal_weight_hold", "equal_weight_rebalanced", "inverse_volatility", "momentum", "random")
    strategies = (*names, *names[1:5])
    judge([_window(0, 0)], baselines=names)  # what is compiled or imported once is no part of it
    began = time.process_time()
    sessions = 0
    for portfolio in range(PORTFOLIOS):
        windows = [_window(portfolio, quarter) for quarter in range(4 * years)]
        # Names are judged once each, so the last four are a second judgement.
        for part in (strategies[:6], strategies[6:]):
            judgement = judge(windows, baselines=part)
            sessions += len(judgement.curves)
    spent = time.process_time() - began
    yield {
        "what": "time to judge",
        "years": years,
        "portfolios": PORTFOLIOS,
        "strategies": len(strategies),
        "scenarios": 4,
        "cpu_seconds": round(spent, 1),
        "account_sessions_per_cpu_second": round(sessions / spent),
        "aim": f"at most {TIME_AIM:g}",
        "met": spent <= TIME_AIM,
        "load": load(),
    }


def _window(portfolio: int, quarter: int) -> JudgedWindow:
    random = np.random.default_rng([portfolio, quarter])
    sessions = pd.bdate_range(pd.Timestamp("2005-01-03") + pd.Timedelta(days=91 * quarter), periods=83)
    close = 50.0 * np.exp(np.cumsum(SIGMA * random.standard_normal((83, INSTRUMENTS)), axis=0))
    panel = MarketPanel(
        sessions=sessions.to_numpy(),
        instruments=tuple("ABCDE"),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=np.full(close.shape, 1e7),
        features=np.zeros((83, INSTRUMENTS, 0)),
        feature_names=(),
        start=20,
    )
    return JudgedWindow(panel, TradingConfig(), ())
