"""What an agent may and may not find out of sample. Slow: dozens of real trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tt_assets.trading.agents.batch import TrainingJob, train_many
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.baselines import baseline_episode
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.panel import MarketPanel

TRAINED, TRADED, LOOKBACK = 300, 126, 30
CONFIG = TradingConfig(
    observation_window=1,
    embargo_sessions=20,
    validation_sessions=42,
    stoppers=(),
    commission_bps=2.0,
    train_steps=10_000,
)
NOISE = CONFIG.replace(train_steps=6_000)


def market(seed: int, strength: float, instruments: int = 3) -> tuple[MarketPanel, MarketPanel]:
    """Training and traded panels of one random market.

    The channel at the close of t is noise of variance 1; `strength` times it, in standard deviations of 1 %, goes into
    the move from the open to the close of t+1, which is the move that a decision at t earns.
    """
    random = np.random.default_rng(seed)
    sessions = LOOKBACK + TRAINED + TRADED
    hint = random.normal(size=(sessions, instruments))
    moves = random.normal(size=(sessions, instruments)) * math.sqrt(1.0 - strength**2)
    moves[1:] += strength * hint[:-1]
    close = 50.0 * np.exp(np.cumsum(0.01 * moves, axis=0))
    opened = np.vstack([np.full((1, instruments), 50.0), close[:-1]])
    days = np.datetime64("2012-01-02", "ns") + np.arange(sessions).astype("timedelta64[D]")

    def cut(first: int, last: int) -> MarketPanel:
        rows = slice(first - LOOKBACK, last)
        return MarketPanel(
            days[rows], tuple(f"S{n}" for n in range(instruments)), opened[rows],
            np.maximum(opened, close)[rows], np.minimum(opened, close)[rows], close[rows],
            np.full_like(close, 1e6)[rows], hint[rows, :, None], ("hint",), start=LOOKBACK,
        )  # fmt: skip

    return cut(LOOKBACK, LOOKBACK + TRAINED), cut(LOOKBACK + TRAINED, sessions)


def growth(record) -> float:
    """Logarithm of what the account has grown to over the window."""
    equity = record.equity_curve["net_worth"]
    return math.log(equity.iloc[-1] / equity.iloc[0])


def excesses(cases: Sequence[tuple[int, float, int]], config: TradingConfig) -> list[float]:
    """Growth of agents above that of equal weights, restored at every close under the same costs.

    A case is the seed of a market, the strength of its signal, and the seed of the agent. Trained two at a time.
    """
    markets = [market(seed_of_market, strength) for seed_of_market, strength, _ in cases]
    jobs = [
        TrainingJob(str(case), training, config, case[2]) for case, (training, _) in zip(cases, markets, strict=True)
    ]
    found = []
    for result, (_, traded) in zip(train_many(jobs, workers=2), markets, strict=True):
        assert result.policy is not None, result.error
        equal = baseline_episode("equal_weight_rebalanced", traded, config, engine=Engine.SIMULATOR)
        found.append(growth(roll_episode(result.policy, traded, config, Engine.SIMULATOR)) - growth(equal))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["volatility_target", "discrete"])
def test_most_seeds_find_a_planted_signal_out_of_sample(scheme):
    config = CONFIG.replace(action_scheme=scheme, risk_target=0.02)
    found = excesses([(11, 0.35, seed) for seed in range(5)], config)
    assert sum(value > 0.05 for value in found) >= 4, found


@pytest.mark.slow
def test_on_pure_noise_agents_do_not_beat_equal_weights_beyond_chance():
    """Eight markets without a signal, two seeds each; the seeds of a market are averaged, markets are independent."""
    noise = [(100 + number, 0.0, seed) for number in range(8) for seed in range(2)]
    planted = [(100 + number, 0.35, 0) for number in range(8)]
    found = np.array(excesses([*noise, *planted], NOISE))
    per_market = found[: len(noise)].reshape(8, 2).mean(axis=1)
    # One-sided, 7 degrees of freedom: 1.89 is exceeded by chance in 5 % of such sets of markets.
    assert t_statistic(per_market) < 1.89, per_market
    # What is planted in the same markets is found, so the test above could have failed.
    assert t_statistic(found[len(noise) :]) > 1.89, found[len(noise) :]


def t_statistic(values: np.ndarray) -> float:
    return float(values.mean() / (values.std(ddof=1) / math.sqrt(len(values))))
