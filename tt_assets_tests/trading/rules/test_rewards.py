import numpy as np
import pytest

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.rules.registry import action_scheme, reward_scheme
from tt_assets.trading.rules.rewards import RiskAware


def test_risk_aware_recomputes_from_each_accounts_own_returns_across_restarts():
    random = np.random.default_rng(5)
    accounts = 4
    scheme = reward_scheme(TradingConfig(), accounts)
    past: list[list[float]] = [[] for _ in range(accounts)]
    for _ in range(400):
        restart = random.random(accounts) < 0.02
        if restart.any():
            scheme.reset(restart)
            for account in np.flatnonzero(restart):
                past[account] = []
        returns = random.normal(0, 0.01, accounts) * (random.random(accounts) < 0.9)
        drawdown, turnover = random.random(accounts) * 0.2, random.random(accounts)
        got = scheme.reward(returns, drawdown, turnover)
        for account in range(accounts):
            past[account].append(returns[account])
            sigma = max(float(np.std(past[account][-64:])), 0.001)
            expected = returns[account] / sigma - 2.5 * drawdown[account] - 0.05 * turnover[account]
            assert abs(got[account] - min(max(expected, -5.0), 5.0)) < 1e-9


def test_risk_aware_is_clipped_at_five():
    scheme = RiskAware(2)
    reward = scheme.reward(np.array([0.5, -0.5]), np.zeros(2), np.zeros(2))
    np.testing.assert_array_equal(reward, [5.0, -5.0])


def test_simple_returns_are_the_returns():
    returns = np.array([0.01, -0.02])
    scheme = reward_scheme(TradingConfig(reward_scheme="simple_returns"), 2)
    np.testing.assert_array_equal(scheme.reward(returns, np.ones(2), np.ones(2)), returns)


def test_volatility_target_weighs_by_inverse_volatility_up_to_the_leverage_limit(window_panel):
    scheme = action_scheme(TradingConfig(risk_target=0.01, max_leverage=0.8))
    row = window_panel.start + 5
    scale = scheme.scale(window_panel)[row]
    np.testing.assert_allclose(scale, [min(0.8, 0.01 / sigma) for sigma in window_panel.sigma[row]], rtol=1e-15)
    half = scheme.weights(np.full((1, 5), 0.1), scale)[0]
    np.testing.assert_allclose(half, 0.1 * scale, rtol=1e-12)
    full = scheme.weights(np.full((1, 5), 1.0), scale)[0]
    np.testing.assert_allclose(full, scale * 0.8 / scale.sum(), rtol=1e-12)


def test_without_shorts_a_negative_action_is_no_position_and_with_shorts_a_short_one(window_panel):
    action = np.array([[-0.5, 0.0, 0.2, 3.0, -2.0]])
    row = window_panel.start
    long_only, both = action_scheme(TradingConfig()), action_scheme(TradingConfig(allow_shorts=True))
    weights = long_only.weights(action, long_only.scale(window_panel)[row])[0]
    assert (weights >= 0.0).all()
    assert weights[0] == weights[4] == 0.0
    weights = both.weights(action, both.scale(window_panel)[row])[0]
    assert weights[0] < 0.0
    assert weights[4] < 0.0
    assert np.abs(weights).sum() <= 1.0 + 1e-12


def test_long_only_weights_are_the_action_up_to_the_limit(window_panel):
    scheme = action_scheme(TradingConfig(action_scheme="long_only_weights"))
    scale = scheme.scale(window_panel)[window_panel.start]
    np.testing.assert_allclose(scheme.weights(np.full((1, 5), 0.1), scale)[0], 0.1)
    np.testing.assert_allclose(scheme.weights(np.ones((1, 5)), scale)[0], 0.2)


def test_differential_sharpe_is_the_derivative_of_the_exponential_sharpe_ratio():
    """D is dS/dη at η = 0, where S is the ratio after moving both means a step of η towards the new return."""
    random = np.random.default_rng(6)
    scheme = reward_scheme(TradingConfig(reward_scheme="differential_sharpe"), 1)
    returns = random.normal(0.001, 0.01, 200)
    mean = square = 0.0
    for step, value in enumerate(returns):
        got = scheme.reward(np.array([value]), np.zeros(1), np.zeros(1))[0]

        def sharpe(eta, value=value, mean=mean, square=square):
            a, b = mean + eta * (value - mean), square + eta * (value**2 - square)
            return a / np.sqrt(b - a * a)

        if step > 20:
            derivative = (sharpe(1e-6) - sharpe(-1e-6)) / 2e-6
            assert got == pytest.approx(np.clip(derivative, -5, 5), rel=1e-4, abs=1e-6)
        mean, square = mean + (value - mean) / 64, square + (value**2 - square) / 64


def test_differential_sharpe_forgets_only_the_accounts_that_start_again():
    scheme = reward_scheme(TradingConfig(reward_scheme="differential_sharpe"), 2)
    for value in (0.01, -0.004, 0.02, 0.003):
        last = scheme.reward(np.full(2, value), np.zeros(2), np.zeros(2))
    assert last[0] == last[1] != 0.0
    scheme.reset(np.array([True, False]))
    after = scheme.reward(np.full(2, 0.01), np.zeros(2), np.zeros(2))
    assert after[0] == 0.0 != after[1]
