"""The simulator against TensorTrade: the same decisions give the same books."""

import dataclasses

import numpy as np
import pytest

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.engines.tensortrade_env import session_env
from tt_assets.trading.errors import NotFinite, UnsupportedOnTensorTrade
from tt_assets_tests.trading.conftest import build_panel

AGREEMENT = 1e-7
CROSSED = {"AAPL": "MSFT", "GOOG": "T", "IBM": "A", "MSFT": "AA", "FB": "F"}


def compare(panel, config, actions) -> tuple[list[float], str]:
    """Step both engines with `actions`, hold each against the other, and return the equity path and how it ended."""
    scaler = Scaler.fit(panel)
    env, simulator = session_env(panel, config, scaler), Simulator(panel, config, scaler, 1)
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(observation, simulator.observe()[0], rtol=1e-5, atol=1e-6)
    equity = [env.net_worth]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        step = simulator.step(action[None])
        assert abs(env.net_worth / simulator.net_worth[0] - 1.0) < AGREEMENT
        assert info["cash"] >= 0.0
        assert abs(info["cash"] - simulator.cash[0]) < AGREEMENT * config.initial_cash
        np.testing.assert_allclose(env.account.quantity, simulator.quantity[0], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(observation, simulator.observe()[0], rtol=1e-5, atol=1e-6)
        assert reward == pytest.approx(step.reward[0], rel=1e-6, abs=1e-9)
        assert (terminated, truncated) == (step.terminated[0], step.truncated[0])
        equity.append(env.net_worth)
        if terminated or truncated:
            return equity, "terminated" if terminated else "truncated"
    return equity, "still running"


@pytest.mark.parametrize("execution", ["next_open", "next_close"])
@pytest.mark.parametrize("slippage", [0.0, 30.0])
def test_equity_paths_agree_for_random_actions_and_names_that_end_in_each_other(bundled_bars, execution, slippage):
    bars = bundled_bars.assign(instrument=bundled_bars["instrument"].map(CROSSED))
    panel = build_panel(bars, "2012-04-02", "2012-12-31", instruments=("MSFT", "T", "A", "AA", "F"))
    config = TradingConfig(execution=execution, slippage_bps=slippage, risk_target=0.05, max_drawdown=1.0)
    sessions = len(panel.sessions) - panel.start
    random = np.random.default_rng(17)
    # Cubed and now and then zero, so that positions are opened, cut down, closed and fully invested.
    actions = random.random((sessions - 1, 5)) ** 3 * (random.random((sessions - 1, 5)) < 0.8)
    equity, end = compare(panel, config, actions)
    assert end == "truncated"
    assert len(equity) == sessions
    assert len(set(equity)) > sessions * 0.9


@pytest.mark.parametrize(
    "costs",
    [
        {"commission_per_share": 0.005, "commission_minimum": 1.0, "commission_bps": 0.0},
        {"cost_model": "volume_share", "price_impact": 0.3, "volume_limit": 2e-6},
        {"whole_shares": True, "commission_minimum": 1.0},
        {"whole_shares": True, "minimum_trade": 250.0, "slippage_bps": 5.0},
        {"cost_model": "volume_share", "volume_limit": 1e-6, "whole_shares": True, "execution": "next_close"},
    ],
)
def test_equity_paths_agree_under_every_kind_of_cost(panel_of, costs):
    panel = panel_of("2012-04-02", "2012-12-31")
    config = TradingConfig(risk_target=0.05, max_drawdown=1.0, initial_cash=25_000.0, **costs)
    random = np.random.default_rng(23)
    sessions = len(panel.sessions) - panel.start
    actions = random.random((sessions - 1, 5)) ** 3 * (random.random((sessions - 1, 5)) < 0.8)
    equity, end = compare(panel, config, actions)
    assert end == "truncated"
    assert len(set(equity)) > sessions * 0.9


def test_orders_cut_to_the_volume_are_counted_alike(panel_of):
    panel = panel_of("2012-07-02", "2012-07-31")
    config = TradingConfig(volume_limit=1e-7)
    env, simulator = (make(panel, config) for make in (lambda p, c: session_env(p, c, Scaler.fit(p)), one_account))
    env.reset()
    cut = 0
    for action in np.random.default_rng(1).random((10, 5)):
        env.step(action)
        simulator.step(action[None])
        cut += simulator.unfilled()[1]
    assert env.cut_by_volume == cut > 10


def one_account(panel, config) -> Simulator:
    return Simulator(panel, config, Scaler.fit(panel), 1)


def test_equity_paths_agree_over_missing_bars_and_sessions_without_volume(bundled_bars):
    random = np.random.default_rng(3)
    bars = bundled_bars[bundled_bars["timestamp"] >= "2012-01-01"].copy()
    bars.loc[random.random(len(bars)) < 0.05, "volume"] = 0.0
    bars = bars[random.random(len(bars)) > 0.08]
    panel = build_panel(bars, "2012-06-01", "2012-12-31")
    actions = random.random((len(panel.sessions) - panel.start - 1, 5))
    assert np.isnan(panel.close[panel.start :]).any()
    assert compare(panel, TradingConfig(max_drawdown=1.0), actions)[1] == "truncated"


def test_both_stop_at_the_same_drawdown(panel_of):
    panel = panel_of("2008-07-01", "2008-12-31", instruments=("AAPL", "GOOG", "IBM", "MSFT"))
    config = TradingConfig(action_scheme="long_only_weights", max_drawdown=0.15)
    equity, end = compare(panel, config, np.ones((len(panel.sessions), 4)))
    assert end == "terminated"
    assert 1.0 - equity[-1] / max(equity) >= 0.15
    assert all(1.0 - worth / max(equity[: day + 1]) < 0.15 for day, worth in enumerate(equity[:-1]))


def test_both_stop_at_the_net_worth_floor(panel_of):
    panel = panel_of("2008-07-01", "2008-12-31", instruments=("AAPL", "GOOG"))
    config = TradingConfig(action_scheme="long_only_weights", max_drawdown=1.0, min_net_worth=9_000.0)
    equity, end = compare(panel, config, np.ones((len(panel.sessions), 2)))
    assert end == "terminated"
    assert equity[-1] <= 9_000.0 < min(equity[:-1])


def test_an_episode_on_tensortrade_can_be_reset_and_gives_the_same_path_again(window_panel):
    env = session_env(window_panel, TradingConfig(), Scaler.fit(window_panel))
    actions = np.random.default_rng(0).random((20, 5))
    paths = []
    for _ in range(2):
        env.reset()
        paths.append([env.step(action)[1] for action in actions] + [env.net_worth])
    assert paths[0] == paths[1]


def test_two_environments_at_once_do_not_disturb_each_other(window_panel):
    scaler = Scaler.fit(window_panel)
    actions = np.random.default_rng(0).random((10, 5))
    alone = session_env(window_panel, TradingConfig(), scaler)
    alone.reset()
    expected = [alone.step(action)[1] for action in actions]
    first, second = (session_env(window_panel, TradingConfig(), scaler) for _ in range(2))
    first.reset()
    second.reset()
    got = []
    for action in actions:
        got.append(first.step(action)[1])
        second.step(1.0 - action)
    assert got == expected


def test_no_order_lasts_longer_than_its_session(window_panel):
    env = session_env(window_panel, TradingConfig(), Scaler.fit(window_panel))
    env.reset()
    for action in np.random.default_rng(1).random((30, 5)):
        env.step(action)
        assert not env.action_scheme.broker.unexecuted
        assert all(wallet.locked_balance.size == 0 for wallet in env.account.portfolio.wallets)
        assert not env.account.ledger.transactions


def test_shorts_on_tensortrade_are_refused_and_run_on_the_simulator(window_panel):
    config = TradingConfig(allow_shorts=True)
    scaler = Scaler.fit(window_panel)
    with pytest.raises(UnsupportedOnTensorTrade, match="TT_ALLOW_SHORTS"):
        session_env(window_panel, config, scaler)
    simulator = Simulator(window_panel, config, scaler, 1)
    simulator.step(np.full((1, 5), -1.0))
    assert (simulator.quantity < 0.0).all()
    assert simulator.cash[0] > config.initial_cash


@pytest.mark.parametrize("engine", ["simulator", "tensortrade"])
def test_an_action_that_is_not_a_number_stops_with_step_instrument_and_value(window_panel, engine):
    scaler, config = Scaler.fit(window_panel), TradingConfig()
    action = np.array([0.1, 0.2, np.nan, 0.1, 0.1])
    good = np.full(5, 0.1)
    if engine == "simulator":
        simulator = Simulator(window_panel, config, scaler, 2)
        step, first, second = simulator.step, np.array([good, good]), np.array([good, action])
    else:
        env = session_env(window_panel, config, scaler)
        env.reset()
        step, first, second = env.step, good, action
    step(first)
    with pytest.raises(NotFinite, match=r"target weight of IBM became nan at step 1 \(2012-07-03\)"):
        step(second)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("scheme", ["risk_aware", "simple_returns"])
def test_a_net_worth_that_is_not_finite_stops_with_its_session(window_panel, scheme):
    close = window_panel.close.copy()
    close[window_panel.start + 3, 1] = 1e308
    panel = dataclasses.replace(window_panel, close=close)
    simulator = Simulator(panel, TradingConfig(reward_scheme=scheme), Scaler.fit(panel), 1)
    for _ in range(2):
        simulator.step(np.ones((1, 5)))
    with pytest.raises(NotFinite, match=r"net worth became inf at step 2"):
        simulator.step(np.ones((1, 5)))


def test_accounts_of_one_simulator_do_not_disturb_each_other(window_panel):
    scaler, config = Scaler.fit(window_panel), TradingConfig()
    actions = np.random.default_rng(2).random((30, 4, 5))
    together = Simulator(window_panel, config, scaler, 4)
    starts = np.array([0, 3, 7, 20]) + window_panel.start
    together.reset(np.ones(4, dtype=bool), starts)
    alone = [Simulator(window_panel, config, scaler, 1) for _ in range(4)]
    for simulator, start in zip(alone, starts, strict=True):
        simulator.reset(np.ones(1, dtype=bool), np.array([start]))
    for step in actions:
        together.step(step)
        for account, simulator in enumerate(alone):
            simulator.step(step[account][None])
            assert simulator.net_worth[0] == pytest.approx(together.net_worth[account], rel=1e-12)
            np.testing.assert_allclose(simulator.observe()[0], together.observe()[account], rtol=1e-5, atol=1e-6)
