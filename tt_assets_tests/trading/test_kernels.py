"""The compiled arithmetic: the same as NumPy's, and the same bits whoever trades beside."""

import numba
import numpy as np
import pytest

from tt_assets.trading import kernels
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator import Simulator


def test_weights_are_convictions_times_scale_shrunk_to_the_limit():
    random = np.random.default_rng(1)
    convictions, scale = random.uniform(-1, 1, (50, 7)), random.random((50, 7)) * 0.4
    gross = np.abs(convictions * scale).sum(axis=1, keepdims=True)
    assert 5 < (gross > 0.7).sum() < 45
    expected = convictions * scale * np.minimum(1.0, 0.7 / gross)
    np.testing.assert_allclose(kernels.weights_within(convictions, scale, 0.7), expected, rtol=1e-14)


def test_one_action_that_is_not_a_number_spreads_to_its_account_and_to_no_other():
    convictions = np.array([[0.5, np.nan], [0.5, 0.5]])
    weights = kernels.weights_within(kernels.clipped(convictions, 0.0, 1.0), np.ones((2, 2)), 1.0)
    assert np.isnan(weights[0]).all()
    np.testing.assert_array_equal(weights[1], [0.5, 0.5])


def test_buys_never_overdraw_and_sells_pay_for_them():
    """Against the same rule as sums over whole arrays."""
    random = np.random.default_rng(2)
    wanted, quote = random.normal(0, 40, (200, 6)), random.uniform(5, 50, (200, 6))
    cash = random.uniform(0, 4_000, 200)
    fee, slip = 0.001, 0.0005
    shares, price, left = kernels.settle_linear(wanted, quote, cash, fee, slip)
    np.testing.assert_allclose(price, quote * (1 + slip * np.sign(wanted)), rtol=1e-15)
    sold = (np.maximum(-wanted, 0) * price).sum(axis=1) * (1 - fee)
    needed = (np.maximum(wanted, 0) * price).sum(axis=1) * (1 + fee)
    part = np.minimum(1.0, (cash + sold) / np.maximum(needed, 1e-9))
    assert 20 < (part < 1.0).sum() < 180
    np.testing.assert_allclose(shares, np.where(wanted > 0, wanted * part[:, None], wanted), rtol=1e-11)
    np.testing.assert_allclose(left, cash + sold - needed * part, atol=1e-7)
    assert (left >= 0.0).all()


@pytest.mark.parametrize("config", [TradingConfig(), TradingConfig(allow_shorts=True, max_drawdown=1.0)])
def test_an_account_has_the_same_bits_alone_and_beside_others(window_panel, config):
    scaler, actions = Scaler.fit(window_panel), np.random.default_rng(2).uniform(-1, 1, (30, 4, 5))
    starts = window_panel.start + np.array([0, 3, 7, 20])
    together = Simulator(window_panel, config, scaler, 4)
    together.reset(np.ones(4, dtype=bool), starts)
    alone = [Simulator(window_panel, config, scaler, 1) for _ in starts]
    for simulator, start in zip(alone, starts, strict=True):
        simulator.reset(np.ones(1, dtype=bool), np.array([start]))
    for step in actions:
        whole = together.step(step)
        for account, simulator in enumerate(alone):
            own = simulator.step(step[account][None])
            assert own.reward[0] == whole.reward[account]
            assert simulator.net_worth[0] == together.net_worth[account]
            np.testing.assert_array_equal(simulator.quantity[0], together.quantity[account])
            np.testing.assert_array_equal(simulator.observe()[0], together.observe()[account])


def test_where_machine_code_cannot_be_kept_it_is_compiled_all_the_same(monkeypatch):
    asked = []

    def njit(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'twice': no locator available for file 'kernels.py'")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert kernels._compiled(len)([1, 2]) == 2
    assert [options.get("cache", False) for options in asked] == [True, False]
