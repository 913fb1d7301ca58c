"""The figures of the papers, and what has no ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tt_assets.trading.judging.deflated import (
    NoSharpeRatio,
    SharpeRatio,
    best_of_noise,
    deflated,
    fewest_sessions,
    measured,
    probabilistic,
)


def test_the_probabilistic_ratio_of_the_paper_s_fund() -> None:
    # Bailey, López de Prado 2012: 24 months, monthly mean 0.036 and deviation 0.079, skewness -2.448, kurtosis 10.164.
    fund = SharpeRatio(0.036 / 0.079, 24, -2.448, 10.164)
    assert probabilistic(fund) == pytest.approx(0.913, abs=0.001)
    assert probabilistic(SharpeRatio(0.036 / 0.079, 24, 0.0, 3.0)) == pytest.approx(0.982, abs=0.001)


def test_the_track_record_of_the_paper_s_example() -> None:
    # The same: a ratio of 2 a year held against 1, daily and normal, takes 2.73 years.
    fund = SharpeRatio(2.0 / math.sqrt(252), 500, 0.0, 3.0)
    assert fewest_sessions(fund, 1.0 / math.sqrt(252)) / 252 == pytest.approx(2.73, abs=0.005)
    assert math.isinf(fewest_sessions(fund, fund.ratio))


def test_the_deflated_ratio_of_the_paper_s_example() -> None:
    # Bailey, López de Prado 2014: 5 years of 250 sessions, ratio 2.5, skewness -3, kurtosis 10, variance 1/2 a year.
    fund = SharpeRatio(2.5 / math.sqrt(250), 1250, -3.0, 10.0)
    assert best_of_noise(100, 0.5 / 250) == pytest.approx(0.1132, abs=0.0001)
    two_apart = math.sqrt(0.5 / 250 / 2.0)  # two ratios with exactly that variance
    assert deflated(fund, 100, [two_apart, -two_apart]) == pytest.approx(0.9004, abs=0.001)
    assert deflated(fund, 46, [two_apart, -two_apart]) == pytest.approx(0.9505, abs=0.001)


def test_the_best_of_noise_is_what_simulation_says() -> None:
    draws = np.random.default_rng(0).standard_normal((20_000, 20)) * 0.05
    assert best_of_noise(20, 0.05**2) == pytest.approx(draws.max(axis=1).mean(), rel=0.02)


def test_one_trial_is_not_deflated_and_more_are_more() -> None:
    returns = np.random.default_rng(1).standard_normal(1_000) * 0.01 + 0.0008
    found = measured(returns)
    assert deflated(found, 1) == probabilistic(found)
    assert deflated(found, 1) > deflated(found, 2) > deflated(found, 50)


def test_moments_are_those_of_the_returns() -> None:
    returns = np.random.default_rng(2).standard_t(5, 4_000) * 0.01
    found = measured(returns)
    assert found.annual == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(252))
    assert found.kurtosis == pytest.approx(stats.moment(returns, 4) / stats.moment(returns, 2) ** 2)


@pytest.mark.parametrize(
    ("returns", "said"),
    [(np.zeros(50), "do not vary"), (np.array([0.1, 0.2]), "2 returns"), (np.array([0.1, np.nan, 0.0]), "not a num")],
)
def test_what_has_no_ratio_is_a_sentence_not_a_zero(returns, said) -> None:
    with pytest.raises(NoSharpeRatio, match=said):
        measured(returns)
