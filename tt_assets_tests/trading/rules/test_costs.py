from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.settlement import SearchedSettlement, settlement
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.rules.registry import cost_model

SHARES = arrays(np.float64, (3, 4), elements=st.floats(-50, 500, allow_subnormal=False))
PRICES = arrays(np.float64, (3, 4), elements=st.floats(0.01, 900))
CASH = arrays(np.float64, (3,), elements=st.just(0.0) | st.floats(1e-6, 50_000))


@given(SHARES, PRICES, CASH, st.sampled_from([0, 10, 250]), st.sampled_from([0, 5, 100]))
def test_cash_never_goes_negative_and_books_balance_after_any_fills(wanted, price, cash, commission, slippage):
    config = TradingConfig(commission_bps=commission, slippage_bps=slippage)
    fills = settlement(config).settle(wanted, price, np.ones_like(price), cash)
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
    fills = settlement(TradingConfig(commission_bps=10)).settle(wanted, price, np.ones_like(price), cash)
    for account in range(3):
        buys = wanted[account] > 0
        sold = sum(-w * p * 0.999 for w, p in zip(wanted[account], price[account], strict=True) if w < 0)
        needed = sum(w * p * 1.001 for w, p in zip(wanted[account], price[account], strict=True) if w > 0)
        factor = min(1.0, (cash[account] + sold) / needed) if needed else 1.0
        np.testing.assert_allclose(fills.shares[account][buys], wanted[account][buys] * factor, rtol=1e-9, atol=1e-12)


def test_slippage_is_against_the_trader_on_both_sides():
    fills = settlement(TradingConfig(slippage_bps=50)).settle(
        np.array([[2.0, -3.0]]), np.array([[100.0, 10.0]]), np.ones((1, 2)), np.array([1000.0])
    )
    np.testing.assert_allclose(fills.price, [[100.5, 9.95]], rtol=1e-15)


@pytest.mark.parametrize("shares", ["0.0123", "-0.0123", "17", "-3.3333"])
def test_commission_is_ten_basis_points_to_a_fraction_of_a_cent(shares: str):
    costs = cost_model(TradingConfig(commission_bps=10))
    charged = costs.commission(np.array([float(shares)]), np.array([44.121]))[0]
    assert abs(Decimal(charged) - abs(Decimal(shares)) * Decimal("44.121") / 1000) < Decimal("1e-15")


def test_an_unknown_cost_model_lists_the_known_ones():
    with pytest.raises(ConfigError, match="cost model 'free' is unknown; known are: proportional, volume_share"):
        cost_model(TradingConfig(cost_model="free"))


RICH = st.fixed_dictionaries(
    {
        "cost_model": st.sampled_from(["proportional", "volume_share"]),
        "commission_bps": st.sampled_from([0, 10]),
        "commission_per_share": st.sampled_from([0.0, 0.005, 1.0]),
        "commission_minimum": st.sampled_from([0.0, 1.0, 30.0]),
        "slippage_bps": st.sampled_from([0, 25]),
        "volume_limit": st.sampled_from([0.0, 0.1, 1.0]),
        "whole_shares": st.booleans(),
    }
)
VOLUMES = arrays(np.float64, (3, 4), elements=st.floats(0, 2_000))


def cost_of_one(config, shares: float, quote: float, volume: float) -> tuple[float, float]:
    """Price and commission of one order, written out."""
    side = 1 if shares > 0 else -1
    slip = config.slippage_bps / 10_000
    if config.cost_model == "volume_share":
        slip += config.price_impact * min(abs(shares) / max(volume, 1.0), 1.0) ** 2
    price = quote * (1 + side * slip)
    fee = abs(shares) * price * config.commission_bps / 10_000 + abs(shares) * config.commission_per_share
    return price, max(fee, config.commission_minimum)


@given(RICH, SHARES, PRICES, VOLUMES, CASH)
def test_any_mix_of_costs_balances_keeps_to_its_limits_and_never_overdraws(settings, wanted, price, volume, cash):
    config = TradingConfig(**settings)
    fills = settlement(config).settle(wanted, price, volume, cash)
    assert (fills.cash >= 0.0).all()
    assert (np.abs(fills.shares) <= np.abs(wanted) + 1e-6).all()
    assert (fills.shares * wanted >= 0.0).all()
    if config.volume_limit:
        assert (np.abs(fills.shares) <= config.volume_limit * volume + 1e-6).all()
    if config.whole_shares:
        np.testing.assert_array_equal(fills.shares, np.round(fills.shares))
    for account in range(3):
        left = cash[account]
        scale = 1.0 + left
        for shares, filled_at, quote, traded in zip(
            fills.shares[account], fills.price[account], price[account], volume[account], strict=True
        ):
            if shares:
                expected, fee = cost_of_one(config, shares, quote, traded)
                assert filled_at == pytest.approx(expected, rel=1e-12)
                assert fee < abs(shares) * filled_at * (1 + 1e-9)
                left -= shares * filled_at + fee
                scale += abs(shares) * filled_at
        assert fills.cash[account] == pytest.approx(left, abs=1e-11 * scale + 1e-9)


@given(SHARES, PRICES, CASH)
def test_the_search_finds_the_factor_that_linear_costs_have_in_closed_form(wanted, price, cash):
    config = TradingConfig(commission_bps=10, slippage_bps=5)
    linear = settlement(config)
    searched = SearchedSettlement(linear.costs, whole_shares=False, volume_limit=0.0)
    ones = np.ones_like(price)
    one, other = linear.settle(wanted, price, ones, cash), searched.settle(wanted, price, ones, cash)
    np.testing.assert_allclose(one.shares, other.shares, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.cash, other.cash, rtol=1e-9, atol=1e-7)
    traded = (one.shares != 0.0) & (other.shares != 0.0)
    np.testing.assert_allclose(one.price[traded], other.price[traded], rtol=1e-12)


def test_commission_is_the_larger_of_the_minimum_and_the_sum_of_its_parts():
    costs = cost_model(TradingConfig(commission_bps=10, commission_per_share=0.01, commission_minimum=1.0))
    charged = costs.commission(np.array([1_000.0, -2.0, 0.0]), np.array([50.0, 50.0, 50.0]))
    np.testing.assert_allclose(charged, [50.0 + 10.0, 1.0, 0.0], rtol=1e-14)


def test_impact_is_the_square_of_the_share_of_volume_against_the_trader():
    costs = cost_model(TradingConfig(cost_model="volume_share", price_impact=0.1, slippage_bps=0))
    price = costs.fill_price(np.array([250.0, -500.0, 10.0]), np.full(3, 40.0), np.full(3, 1_000.0))
    np.testing.assert_allclose(price, [40 * (1 + 0.1 / 16), 40 * (1 - 0.1 / 4), 40 * (1 + 1e-5)], rtol=1e-14)


def test_the_volume_limit_fills_its_share_and_leaves_the_rest():
    settle = settlement(TradingConfig(volume_limit=0.025, commission_bps=0)).settle
    fills = settle(np.array([[100.0, -10.0]]), np.array([[10.0, 10.0]]), np.array([[1_000.0, 1e6]]), np.array([5e3]))
    np.testing.assert_allclose(fills.shares, [[25.0, -10.0]])


def test_an_order_that_would_not_pay_its_own_commission_is_not_sent():
    settle = settlement(TradingConfig(commission_minimum=5.0)).settle
    fills = settle(np.array([[0.4, -0.4, 1.0]]), np.full((1, 3), 10.0), np.ones((1, 3)), np.array([100.0]))
    np.testing.assert_allclose(fills.shares, [[0.0, 0.0, 1.0]])
    assert fills.cash[0] == pytest.approx(85.0)
