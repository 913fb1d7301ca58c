from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.costs import cost_model
from tt_assets.trading.errors import ConfigError

SHARES = arrays(np.float64, (3, 4), elements=st.floats(-50, 500, allow_subnormal=False))
PRICES = arrays(np.float64, (3, 4), elements=st.floats(0.01, 900))
CASH = arrays(np.float64, (3,), elements=st.just(0.0) | st.floats(1e-6, 50_000))


@given(SHARES, PRICES, CASH, st.sampled_from([0, 10, 250]), st.sampled_from([0, 5, 100]))
def test_cash_never_goes_negative_and_books_balance_after_any_fills(wanted, price, cash, commission, slippage):
    costs = cost_model(TradingConfig(commission_bps=commission, slippage_bps=slippage))
    fills = costs.settle(wanted, price, cash)
    assert (fills.cash >= 0.0).all()
    notional = fills.shares * fills.price
    fee = np.abs(notional) * commission / 10_000
    scale = np.abs(notional).sum(axis=1) + cash
    np.testing.assert_array_less(
        np.abs(fills.cash - (cash - notional.sum(axis=1) - fee.sum(axis=1))), 1e-9 + 1e-11 * scale
    )
    np.testing.assert_array_equal(np.where(wanted < 0, wanted, 0), np.where(fills.shares < 0, fills.shares, 0))
    assert (np.abs(fills.shares) <= np.abs(wanted)).all()


@given(SHARES, PRICES, CASH)
def test_buys_are_scaled_by_one_factor_and_only_when_the_cash_does_not_reach(wanted, price, cash):
    costs = cost_model(TradingConfig(commission_bps=10))
    fills = costs.settle(wanted, price, cash)
    for account in range(3):
        buys = wanted[account] > 0
        sold = sum(-w * p * 0.999 for w, p in zip(wanted[account], price[account], strict=True) if w < 0)
        needed = sum(w * p * 1.001 for w, p in zip(wanted[account], price[account], strict=True) if w > 0)
        factor = min(1.0, (cash[account] + sold) / needed) if needed else 1.0
        np.testing.assert_allclose(fills.shares[account][buys], wanted[account][buys] * factor, rtol=1e-9, atol=1e-12)


def test_slippage_is_against_the_trader_on_both_sides():
    fills = cost_model(TradingConfig(slippage_bps=50)).settle(
        np.array([[2.0, -3.0]]), np.array([[100.0, 10.0]]), np.array([1000.0])
    )
    np.testing.assert_allclose(fills.price, [[100.5, 9.95]], rtol=1e-15)


@pytest.mark.parametrize("shares", ["0.0123", "-0.0123", "17", "-3.3333"])
def test_commission_is_ten_basis_points_to_a_fraction_of_a_cent(shares: str):
    costs = cost_model(TradingConfig(commission_bps=10))
    charged = costs.commission(np.array([float(shares)]), np.array([44.121]))[0]
    assert abs(Decimal(charged) - abs(Decimal(shares)) * Decimal("44.121") / 1000) < Decimal("1e-15")


def test_an_unknown_cost_model_lists_the_known_ones():
    with pytest.raises(ConfigError, match="cost model 'free' is unknown; known are: proportional"):
        cost_model(TradingConfig(), "free")
