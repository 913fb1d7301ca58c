import itertools
import math
import statistics

import numpy as np
import pytest

from tt_assets.trading.metrics import max_drawdown, sharpe_ratio, turnover


def test_sharpe_is_mean_over_sample_deviation_of_returns_annualised():
    equity = [100.0, 101.0, 99.5, 102.0, 101.0]
    returns = [b / a - 1 for a, b in itertools.pairwise(equity)]
    expected = statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(252)
    assert sharpe_ratio(np.array(equity)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("equity", [[100.0], [100.0, 101.0], [100.0, 100.0, 100.0]])
def test_sharpe_is_undefined_for_returns_that_do_not_vary(equity):
    assert sharpe_ratio(np.array(equity)) is None


def test_drawdown_is_the_largest_fall_from_the_peak_so_far():
    assert max_drawdown(np.array([100.0, 120.0, 90.0, 130.0, 110.0])) == pytest.approx(0.25)
    assert max_drawdown(np.array([100.0])) == 0.0
    assert max_drawdown(np.array([1.0, 2.0, 3.0])) == 0.0


def test_turnover_is_the_mean_absolute_change_of_target_weight_from_cash_on():
    weights = np.array([[0.5, 0.0], [0.5, 0.2], [0.1, 0.2]])
    assert turnover(weights) == pytest.approx((0.5 + 0.0 + 0.0 + 0.2 + 0.4 + 0.0) / 6)
    assert turnover(np.zeros((0, 2))) == 0.0
