"""Shorts on the simulator: fees, margin, and what a person can recompute."""

import numpy as np
import pytest

from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.errors import UnsupportedOnTensorTrade
from tt_assets.trading.panel import MarketPanel


def one_instrument(closes: list[float]) -> MarketPanel:
    """Opens at the close before; look-back of 21 quiet sessions."""
    quiet = 100.0 + 0.5 * (np.arange(21) % 2)
    close = np.concatenate([quiet, closes])[:, None]
    opened = np.concatenate([close[:1], close[:-1]])
    days = np.datetime64("2020-01-01", "ns") + np.arange(len(close)).astype("timedelta64[D]")
    return MarketPanel(
        days, ("X",), opened, np.maximum(opened, close), np.minimum(opened, close), close,
        np.full_like(close, 1e6), np.zeros((*close.shape, 0)), (), start=21,
    )  # fmt: skip


def shorting(**changes) -> TradingConfig:
    return TradingConfig(
        allow_shorts=True,
        action_scheme="discrete",
        stoppers=(),
        observation_window=1,
        **{"commission_bps": 0, **changes},
    )


def account(panel, config) -> Simulator:
    return Simulator(panel, config, Scaler.fit(panel), 1)


def test_the_borrow_fee_is_charged_at_every_close_on_the_value_held_short():
    panel = one_instrument([100.0, 100.0, 110.0, 90.0])
    simulator = account(panel, shorting(borrow_bps=252.0))
    simulator.step(np.array([[2.0]]))
    assert simulator.quantity[0, 0] == pytest.approx(-100.0)
    fee = 10_000 * 0.0252 / 252
    assert simulator.cash[0] == pytest.approx(20_000 - fee)
    assert simulator.net_worth[0] == pytest.approx(10_000 - fee)
    # Nothing is traded when the target is what is held; the fee follows the price.
    before, quantity = simulator.cash[0], simulator.quantity[0, 0]
    simulator.step(np.array([[2.0]]))
    bought = simulator.quantity[0, 0] - quantity
    expected = before - bought * 100.0 + simulator.quantity[0, 0] * 110.0 * 0.0252 / 252
    assert simulator.cash[0] == pytest.approx(expected)
    assert simulator.borrow_fees[0] == pytest.approx(fee - simulator.quantity[0, 0] * 110.0 * 0.0252 / 252)


def test_longs_pay_no_borrow_fee():
    panel = one_instrument([100.0, 100.0, 110.0])
    simulator = account(panel, shorting(borrow_bps=500.0))
    simulator.step(np.array([[1.0]]))
    assert simulator.borrow_fees[0] == 0.0
    assert simulator.cash[0] == pytest.approx(0.0, abs=1e-6)


def test_below_the_maintenance_margin_shorts_are_covered_whatever_the_agent_asks():
    # Short 100 shares at 100; at 160 net worth is 4,000 against shorts of 16,000: 25 %.
    panel = one_instrument([100.0, 100.0, 160.0, 160.0, 160.0])
    for margin, covered in ((0.3, True), (0.2, False)):
        simulator = account(panel, shorting(borrow_bps=0.0, maintenance_margin=margin))
        simulator.step(np.array([[2.0]]))
        simulator.step(np.array([[2.0]]))
        assert simulator.net_worth[0] == pytest.approx(4_000.0)
        assert simulator.margin_call[0] == covered
        simulator.step(np.array([[2.0]]))
        assert (simulator.quantity[0, 0] == pytest.approx(0.0, abs=1e-9)) == covered
        assert (simulator.target[0, 0] == 0.0) == covered
        assert simulator.net_worth[0] == pytest.approx(4_000.0)
        # The call ends with the cover: the agent may short again.
        simulator.step(np.array([[2.0]]))
        assert simulator.quantity[0, 0] == pytest.approx(-25.0)


def test_an_account_that_lost_more_than_it_had_is_closed_without_any_stopper():
    panel = one_instrument([100.0, 100.0, 250.0, 250.0])
    simulator = account(panel, shorting(maintenance_margin=0.0))
    simulator.step(np.array([[2.0]]))
    step = simulator.step(np.array([[2.0]]))
    assert simulator.net_worth[0] < 0.0
    assert step.terminated[0]


def test_discrete_choices_are_flat_long_and_short_in_equal_parts(panel_of):
    from gymnasium import spaces

    panel = panel_of("2012-07-02", "2012-07-31")
    both, long_only = (account(panel, shorting().replace(allow_shorts=shorts)) for shorts in (True, False))
    assert both.scheme.space(5) == spaces.MultiDiscrete([3] * 5)
    assert long_only.scheme.space(5) == spaces.MultiDiscrete([2] * 5)
    np.testing.assert_allclose(both.weights(np.array([[0, 1, 2, 1, 2]])), [[0, 0.25, -0.25, 0.25, -0.25]])
    np.testing.assert_allclose(long_only.weights(np.array([[0, 1, 0, 1, 0]])), [[0, 0.5, 0, 0.5, 0]])


@pytest.mark.parametrize("shorts", [False, True])
def test_an_agent_of_choices_trains_is_stored_and_rolls(training_panel, window_panel, shorts):
    config = TradingConfig(action_scheme="discrete", allow_shorts=shorts, train_steps=64, observation_window=3)
    policy = train_policy(training_panel, config, 0)
    assert policy.sha256 == train_policy(training_panel, config, 0).sha256
    if shorts:
        with pytest.raises(UnsupportedOnTensorTrade, match="TT_ALLOW_SHORTS"):
            roll_episode(policy, window_panel, config)
    record = roll_episode(policy, window_panel, config, Engine.SIMULATOR if shorts else Engine.TENSORTRADE)
    assert set(record.action["action_value"]) <= {0.0, 1.0, 2.0}
    weights = record.target_weights.merge(record.action, on=["timestamp", "instrument"])
    signs = weights["action_value"].map({0.0: 0.0, 1.0: 1.0, 2.0: -1.0})
    np.testing.assert_array_equal(np.sign(weights["target_weight"]), signs)
    assert weights["rationale"].str.contains("agent's choice").all()
    if shorts:
        assert (signs < 0).any()
        assert (record.holdings["quantity"] < 0).any()
        assert np.isfinite(record.equity_curve["net_worth"]).all()


def test_choices_agree_with_the_network_that_was_trained(training_panel):
    import torch

    from tt_assets.trading.agents.shared_actor import SharedActor

    config = TradingConfig(action_scheme="discrete", allow_shorts=True, train_steps=64, observation_window=3)
    policy = train_policy(training_panel, config, 3)
    observations = np.random.default_rng(0).normal(size=(50, policy.network.inputs)).astype(np.float32)
    actor = SharedActor.loaded(policy.network, policy.tensors)
    with torch.no_grad():
        expected = actor.forward_actor(torch.from_numpy(observations)).numpy().reshape(50, 5, 3).argmax(-1)
    acted = np.array([policy.act(observation) for observation in observations])
    np.testing.assert_array_equal(acted, expected)
    assert {0.0, 1.0, 2.0} >= set(acted.ravel()) > set(acted.ravel()[:1])
