"""A name that has no bars any more: closed at its last close after the sessions set, in both engines and every book."""

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.config import BEFORE_DELISTINGS, TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.baselines import BASELINES, baseline_episode
from tt_assets.trading.episodes.roll import roll, roll_episode
from tt_assets.trading.judging import checks
from tt_assets.trading.judging.judge import JudgedWindow, judge
from tt_assets_tests.trading.conftest import build_panel, wide

LAST_BAR = pd.Timestamp("2012-08-03")
STALE = 5
KNOWN, CLOSED = pd.Timestamp("2012-08-10"), pd.Timestamp("2012-08-13")
"""The fifth session without a bar, at whose close IBM counts as delisted, and the session after it."""


@pytest.fixture(scope="module")
def bars(bundled_bars):
    return bundled_bars[(bundled_bars["instrument"] != "IBM") | (bundled_bars["timestamp"] <= LAST_BAR)]


@pytest.fixture(scope="module")
def panel(bars):
    return build_panel(bars, "2012-07-02", "2012-09-28")


@pytest.fixture(scope="module")
def config(small_config):
    return small_config.replace(stale_sessions=STALE, action_scheme="volatility_target", stoppers=())


def close_of(bars) -> float:
    return float(bars[(bars["instrument"] == "IBM") & (bars["timestamp"] == LAST_BAR)]["close"].iloc[0])


def assert_closed(record, bars) -> None:
    own = record.order[record.order["instrument"] == "IBM"].set_index("timestamp")
    held = wide(record.holdings, "quantity")["IBM"]
    assert list(own[own["order_type"] == "delisted_sell"].index) == [CLOSED]
    order = own.loc[CLOSED]
    # Nothing else of it was traded once it had no bars.
    assert own.index[own.index > LAST_BAR].tolist() == [CLOSED]
    assert order["size"] == pytest.approx(held[KNOWN], rel=1e-9)
    assert (order["price"], order["commission"]) == (pytest.approx(close_of(bars)), 0.0)
    assert (held[LAST_BAR:KNOWN] == held[LAST_BAR]).all()
    assert (held[CLOSED:] == 0.0).all()
    weights = wide(record.target_weights, "target_weight")["IBM"]
    assert (weights[KNOWN:] == 0.0).all()


def assert_books(record, panel, bars, policy=None) -> None:
    found = [
        checks.books_balance(record, bars),
        checks.cash_follows_orders(record, bars),
        checks.fills_change_holdings(record, bars),
        checks.weights_sum_to_one(record),
        checks.rewards_recompute(record),
        checks.metrics_recompute(record),
        checks.engines_agree(record, panel),
    ]
    assert [result for result in found if not result.passed] == []


@pytest.mark.parametrize("engine", list(Engine))
def test_an_agent_is_paid_out_at_the_last_close_and_its_books_hold(small_policy, panel, config, bars, engine):
    record = roll_episode(small_policy, panel, config, engine)
    assert_closed(record, bars)
    assert_books(record, panel, bars)
    reason = record.target_weights.set_index(["timestamp", "instrument"])["rationale"]
    assert "no bar for 5 sessions or more and counts as delisted" in reason[KNOWN, "IBM"]


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("name", ["equal_weight_hold", "equal_weight_rebalanced"])
def test_baselines_follow_the_same_rule(panel, config, bars, name, engine):
    record = baseline_episode(name, panel, config, engine=engine)
    assert_closed(record, bars)
    assert_books(record, panel, bars)


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"cash"}))
def test_no_baseline_asks_for_it_any_more(panel, config, name):
    weights = wide(baseline_episode(name, panel, config, engine=Engine.SIMULATOR).target_weights, "target_weight")
    assert (weights.loc[KNOWN:, "IBM"] == 0.0).all()


def test_what_is_rebalanced_puts_the_cash_to_work_and_what_is_held_does_not(panel, config):
    weights = wide(
        baseline_episode("equal_weight_rebalanced", panel, config, engine=Engine.SIMULATOR).target_weights,
        "target_weight",
    )
    np.testing.assert_allclose(weights.loc[KNOWN, ["AAPL", "FB", "GOOG", "MSFT"]], 0.25)
    record = baseline_episode("equal_weight_hold", panel, config, engine=Engine.SIMULATOR)
    cash = record.portfolio.set_index("timestamp")["cash_balance"]
    paid = record.order.query("order_type == 'delisted_sell'").eval("size * price").iloc[0]
    assert cash[CLOSED] - cash[KNOWN] == pytest.approx(paid, abs=0.01)


class Short:
    """Half a position short in everything, always."""

    name = "short"

    def __init__(self, panel) -> None:
        self.scaler = Scaler.unscaled(panel)

    def act(self, trader, observation):
        return np.full(len(trader.quantity), -0.5)

    def reasons(self, session, action, target):
        return ["short"] * (len(target) + 1)

    def entries(self):
        return {"policy_sha256": None, "policy_seed": None}


def test_a_short_is_bought_back_at_the_last_close(panel, small_config, bars):
    config = small_config.replace(allow_shorts=True, stale_sessions=STALE, stoppers=())
    record = roll(Short(panel), panel, config, Engine.SIMULATOR)
    held = wide(record.holdings, "quantity")["IBM"]
    assert held[KNOWN] < 0.0
    order = record.order.query("instrument == 'IBM' and timestamp == @CLOSED").iloc[0]
    assert (order["order_type"], order["size"]) == ("delisted_buy", pytest.approx(-held[KNOWN]))
    assert_books(record, panel, bars)


def test_a_halt_that_is_shorter_changes_nothing_and_a_bar_that_comes_back_is_traded(bundled_bars, small_policy, config):
    halted = (bundled_bars["instrument"] == "IBM") & bundled_bars["timestamp"].between("2012-08-06", "2012-08-10")
    back = build_panel(bundled_bars[~halted], "2012-07-02", "2012-09-28")
    for stale, types in ((6, {"buy", "sell"}), (4, {"buy", "sell", "delisted_sell"})):
        record = roll_episode(small_policy, back, config.replace(stale_sessions=stale), Engine.SIMULATOR)
        own = record.order[record.order["instrument"] == "IBM"]
        assert set(own["order_type"]) == types
        assert own["timestamp"].max() > pd.Timestamp("2012-08-13")
    # At the close of the last session of the halt it counts as delisted, but it trades in the next: an ordinary sale.
    record = roll_episode(small_policy, back, config.replace(stale_sessions=5), Engine.SIMULATOR)
    own = record.order[record.order["instrument"] == "IBM"].set_index("timestamp")["order_type"]
    assert own[pd.Timestamp("2012-08-13")] == "sell"


def test_zero_sessions_holds_for_ever_as_before(small_policy, panel, config):
    record = roll_episode(small_policy, panel, config.replace(stale_sessions=0), Engine.SIMULATOR)
    assert set(record.order["order_type"]) == {"buy", "sell"}
    assert wide(record.holdings, "quantity")["IBM"].iloc[-1] > 0.0


def test_a_judgement_counts_no_cost_for_a_payout(small_policy, panel, config):
    table = judge([JudgedWindow(panel, config, (small_policy,))], baselines=("equal_weight_hold",)).table
    assert np.isfinite(table["costs_paid"]).all()


def test_an_older_config_never_counts_anything_as_delisted():
    stored = TradingConfig().model_dump()
    del stored["stale_sessions"]
    assert TradingConfig.from_mapping(stored).stale_sessions == BEFORE_DELISTINGS["stale_sessions"] == 0
