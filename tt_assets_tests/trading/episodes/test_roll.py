import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from tt_assets.market.watchlist_format import CASH
from tt_assets.tables import TABLES, content_columns
from tt_assets.trading.agents.policy import load_policy, seal
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.roll import EpisodeRecord, roll_episode
from tt_assets.trading.errors import NotFinite, PolicyMismatch
from tt_assets_tests.trading.conftest import build_panel, wide

CHILDREN = (
    "observation",
    "action",
    "target_weights",
    "order",
    "portfolio",
    "holdings",
    "reward",
    "equity_curve",
)


@pytest.fixture(scope="module", params=["next_open", "next_close"])
def costly(request, small_config) -> TradingConfig:
    return small_config.replace(execution=request.param, slippage_bps=7.0, risk_target=0.01)


@pytest.fixture(scope="module")
def record(small_policy, window_panel, costly) -> EpisodeRecord:
    return roll_episode(small_policy, window_panel, costly)


def assert_equal_records(one: EpisodeRecord, other: EpisodeRecord, until: pd.Timestamp | None = None) -> None:
    for name in CHILDREN:
        a, b = getattr(one, name), getattr(other, name)
        if until is not None:
            a, b = a[a["timestamp"] <= until], b[b["timestamp"] <= until]
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_the_frames_have_the_columns_of_their_tables(record):
    for name in CHILDREN:
        columns = content_columns(TABLES[f"tt_{name}"])
        expected = tuple("timestamp" if c == "portfolio_id" else c for c in columns if c != "episode_id")
        assert tuple(getattr(record, name).columns) == expected


def test_rows_stand_at_decisions_fills_and_closes_inside_the_window(record, window_panel):
    sessions = pd.DatetimeIndex(window_panel.sessions[window_panel.start :])
    for name, expected in (
        ("observation", sessions),
        ("reward", sessions[1:]),
        ("portfolio", sessions),
        ("equity_curve", sessions),
    ):
        assert list(getattr(record, name)["timestamp"]) == list(expected)
    for name, expected, rows in (
        ("action", sessions, 5),
        ("target_weights", sessions, 6),
        ("holdings", sessions, 5),
    ):
        frame = getattr(record, name)
        assert list(frame["timestamp"]) == list(np.repeat(expected, rows))
        assert not frame.duplicated(["timestamp", "instrument"]).any()
    assert set(record.order["timestamp"]) <= set(sessions[1:])
    assert not record.order.duplicated(["timestamp", "instrument"]).any()
    assert (record.start_time, record.end_time) == (sessions[0], sessions[-1])
    assert record.stop_reason == "evaluation_complete"
    assert record.portfolio["cash_balance"].iloc[0] == record.portfolio["net_worth"].iloc[0] == 10_000.0


def test_the_books_balance_to_the_cent_against_the_bars_as_delivered(record, bundled_bars, costly):
    bars = bundled_bars.set_index(["timestamp", "instrument"])
    cash = 10_000.0
    held = dict.fromkeys(("AAPL", "GOOG", "IBM", "MSFT", "FB"), 0.0)
    orders = dict(iter(record.order.groupby("timestamp")))
    holdings = record.holdings.set_index(["timestamp", "instrument"])["quantity"]
    assert len(record.order) > 100
    for row in record.portfolio.itertuples():
        for order in orders.get(row.timestamp, record.order.iloc[:0]).itertuples():
            quoted = bars.loc[(row.timestamp, order.instrument), "open" if costly.execution == "next_open" else "close"]
            sign = 1 if order.order_type == "buy" else -1
            assert order.price == pytest.approx(quoted * (1 + sign * 0.0007), rel=1e-12)
            assert order.size > 0
            assert order.commission == pytest.approx(order.size * order.price * 0.001, abs=1e-9)
            held[order.instrument] += sign * order.size
            cash -= sign * order.size * order.price + order.commission
        assert row.cash_balance == pytest.approx(cash, abs=1e-6)
        assert row.cash_balance >= 0.0
        worth = cash
        for instrument, quantity in held.items():
            assert holdings[(row.timestamp, instrument)] == pytest.approx(quantity, abs=1e-9)
            worth += quantity * bars.loc[(row.timestamp, instrument), "close"]
        assert row.net_worth == pytest.approx(worth, abs=1e-5)
    pd.testing.assert_series_equal(record.portfolio["net_worth"], record.equity_curve["net_worth"])


def test_target_weights_sum_to_one_with_cash_and_keep_to_the_limit(record, small_config):
    weights = wide(record.target_weights, "target_weight")
    assert (weights.sum(axis=1) - 1.0).abs().max() < 1e-12
    assert weights.drop(columns=CASH).abs().sum(axis=1).max() <= small_config.max_leverage + 1e-12
    assert set(record.target_weights["strategy"]) == {"volatility_target"}


def test_target_weights_recompute_from_actions_and_closes_up_to_the_decision(record, bundled_bars):
    close = wide(bundled_bars, "close")
    sigma = close.pct_change(fill_method=None).rolling(20).std()
    actions = wide(record.action, "action_value")
    weights = wide(record.target_weights, "target_weight")
    raw = actions * np.minimum(1.0, 0.01 / sigma.loc[actions.index, actions.columns])
    expected = raw.div(np.maximum(raw.sum(axis=1), 1.0), axis=0)
    np.testing.assert_allclose(weights[actions.columns], expected, rtol=1e-8)


def test_rewards_and_figures_recompute_from_the_equity_curve(record):
    equity = record.equity_curve["net_worth"].to_numpy()
    returns = equity[1:] / equity[:-1] - 1
    weights = wide(record.target_weights, "target_weight")
    # The decision at the last close is not filled inside the window, so it has no part in the figures.
    changes = weights.drop(columns=CASH).diff().fillna(weights.drop(columns=CASH)).abs().iloc[:-1]
    peak = np.maximum.accumulate(equity)
    for step, reward in enumerate(record.reward["reward_value"]):
        sigma = max(np.std(returns[max(0, step - 63) : step + 1]), 1e-3)
        expected = (
            returns[step] / sigma - 2.5 * (1 - equity[step + 1] / peak[step + 1]) - 0.05 * changes.iloc[step].sum()
        )
        assert reward == pytest.approx(np.clip(expected, -5, 5), abs=1e-7)
    assert record.max_drawdown == pytest.approx((1 - equity / peak).max())
    assert record.sharpe_ratio == pytest.approx(returns.mean() / returns.std(ddof=1) * 252**0.5)
    assert record.turnover == pytest.approx(changes.to_numpy().mean())


def test_the_recorded_observations_replay_the_recorded_actions_bit_for_bit(record, small_policy):
    policy = load_policy(small_policy.weights, small_policy.config_json, small_policy.sha256)
    actions = wide(record.action, "action_value")
    for row in record.observation.itertuples():
        seen = np.array(list(json.loads(row.features).values()), dtype=np.float32)
        expected = actions.loc[row.timestamp, list(policy.instruments)].to_numpy()
        np.testing.assert_array_equal(policy.act(seen), expected)


def test_the_same_episode_twice_is_the_same_bit_for_bit(record, small_policy, window_panel, costly):
    assert_equal_records(record, roll_episode(small_policy, window_panel, costly))


def test_future_bars_do_not_change_what_was_seen_done_and_held_before(bundled_bars, small_policy, small_config):
    cut = pd.Timestamp("2012-08-14")
    changed = bundled_bars.copy()
    later = changed["timestamp"] > cut
    noise = np.exp(np.random.default_rng(8).normal(0, 0.05, int(later.sum())))
    changed.loc[later, ["open", "high", "low", "close"]] = changed.loc[later, ["open", "high", "low", "close"]].mul(
        noise, axis=0
    )
    records = [
        roll_episode(small_policy, build_panel(bars, "2012-07-02", "2012-09-28"), small_config)
        for bars in (bundled_bars, changed)
    ]
    assert_equal_records(*records, until=cut)
    assert not records[0].equity_curve.equals(records[1].equity_curve)


def test_cutting_the_window_short_leaves_the_earlier_rows_as_they_were(bundled_bars, small_policy, small_config):
    whole = roll_episode(small_policy, build_panel(bundled_bars, "2012-07-02", "2012-09-28"), small_config)
    short = roll_episode(small_policy, build_panel(bundled_bars, "2012-07-02", "2012-08-14"), small_config)
    until = pd.Timestamp("2012-08-13")
    assert_equal_records(whole, short, until)
    assert short.end_time == pd.Timestamp("2012-08-14")


def test_a_window_of_one_session_has_an_equity_row_and_no_fill(panel_of, small_policy, small_config):
    record = roll_episode(small_policy, panel_of("2012-07-02", "2012-07-02"), small_config)
    assert record.stop_reason == "evaluation_complete"
    assert record.sharpe_ratio is None
    assert (record.max_drawdown, record.turnover) == (0.0, 0.0)
    assert list(record.equity_curve["net_worth"]) == [10_000.0]
    assert len(record.holdings) == 5
    assert [len(getattr(record, name)) for name in ("observation", "action", "target_weights")] == [1, 5, 6]
    for name in ("order", "reward"):
        assert getattr(record, name).empty
        assert pd.api.types.is_datetime64_any_dtype(getattr(record, name)["timestamp"])


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("last", ["2012-07-02", "2012-07-03", "2012-08-14", "2012-09-27"])
def test_what_was_decided_on_the_newest_close_is_confirmed_bit_for_bit_when_its_fill_comes(
    bundled_bars, small_policy, small_config, last, engine
):
    # The bars that came later are not there when the shorter window is rolled.
    then = bundled_bars[bundled_bars["timestamp"] <= last]
    before = roll_episode(small_policy, build_panel(then, "2012-07-02", last), small_config, engine)
    after = roll_episode(small_policy, build_panel(bundled_bars, "2012-07-02", "2012-09-28"), small_config, engine)
    for name in ("observation", "action", "target_weights"):
        told, confirmed = (getattr(record, name) for record in (before, after))
        assert told["timestamp"].iloc[-1] == pd.Timestamp(last)
        confirmed = confirmed[confirmed["timestamp"] <= last]
        pd.testing.assert_frame_equal(told, confirmed, check_exact=True)


def test_both_engines_decide_the_same_on_the_newest_close(small_policy, window_panel, small_config):
    records = [roll_episode(small_policy, window_panel, small_config, engine) for engine in Engine]
    newest = [record.target_weights.tail(6)["target_weight"].to_numpy() for record in records]
    np.testing.assert_allclose(*newest, atol=1e-7)


def test_a_drawdown_stop_ends_the_episode_at_the_close_that_breaks_it(small_policy, window_panel, small_config):
    record = roll_episode(small_policy, window_panel, small_config.replace(max_drawdown=0.01))
    assert record.stop_reason == "terminated"
    assert record.max_drawdown >= 0.01
    equity = record.equity_curve["net_worth"]
    assert (1 - equity / equity.cummax()).iloc[:-1].max() < 0.01
    assert record.end_time == record.equity_curve["timestamp"].iloc[-1] < pd.Timestamp("2012-09-28")
    assert len(record.reward) == len(record.observation) == len(equity) - 1


def test_an_instrument_is_not_held_before_its_volatility_is_known(panel_of, small_policy, small_config):
    record = roll_episode(small_policy, panel_of("2012-05-01", "2012-06-29"), small_config)
    fb = record.target_weights[record.target_weights["instrument"] == "FB"].set_index("timestamp")
    before, new, known = fb[:"2012-05-17"], fb["2012-05-18":"2012-06-15"], fb["2012-06-18":]
    assert len(before)
    assert before["rationale"].str.contains("has no price yet").all()
    assert new["rationale"].str.contains("fewer than 20 returns").all()
    assert (before["target_weight"] == 0.0).all()
    assert (new["target_weight"] == 0.0).all()
    assert (known["target_weight"] > 0.0).all()
    orders = record.order[record.order["instrument"] == "FB"]
    assert orders["timestamp"].min() >= pd.Timestamp("2012-06-19")


def test_a_missing_bar_is_counted_and_nothing_is_traded_in_it(bundled_bars, small_policy, small_config):
    gone = (bundled_bars["instrument"] == "IBM") & bundled_bars["timestamp"].isin(
        pd.to_datetime(["2012-08-15", "2012-08-16"])
    )
    panel = build_panel(bundled_bars[~gone], "2012-07-02", "2012-09-28")
    record = roll_episode(small_policy, panel, small_config)
    counted = json.loads(record.config_json)
    assert counted["missing_bars"] == 2
    assert 1 <= counted["orders_not_filled"] <= 2
    ibm = record.order[record.order["instrument"] == "IBM"]["timestamp"]
    assert not ibm.isin(pd.to_datetime(["2012-08-15", "2012-08-16"])).any()
    last = bundled_bars.set_index(["instrument", "timestamp"])["close"]["IBM", "2012-08-14"]
    held = record.holdings.set_index(["timestamp", "instrument"])["quantity"]
    day = pd.Timestamp("2012-08-16")
    others = sum(
        held[day, name] * bundled_bars.set_index(["instrument", "timestamp"])["close"][name, day]
        for name in ("AAPL", "GOOG", "MSFT", "FB")
    )
    row = record.portfolio.set_index("timestamp").loc[day]
    assert row["net_worth"] == pytest.approx(row["cash_balance"] + others + held[day, "IBM"] * last, abs=0.005)


def test_the_rationale_gives_the_figures_behind_the_weight(record, window_panel):
    row = record.target_weights.iloc[0]
    column = window_panel.instruments.index(row["instrument"])
    sigma = window_panel.sigma[window_panel.start, column]
    action = record.action.iloc[0]["action_value"]
    assert row["rationale"].startswith(f"{row['target_weight']:.1%}: agent's output {action:+.3f}")
    assert f"20-session volatility is {sigma:.2%} a day" in row["rationale"]
    assert "strongest input" in row["rationale"]
    assert "stays in cash" in record.target_weights.iloc[5]["rationale"]


def test_the_config_names_the_agent_and_every_setting(record, small_policy, costly):
    stored = json.loads(record.config_json)
    assert stored["policy_sha256"] == small_policy.sha256
    assert TradingConfig.from_mapping(stored["trading"]) == costly


def test_an_agent_whose_weights_are_not_numbers_stops_the_episode(small_policy, window_panel, small_config):
    from safetensors.numpy import save

    tensors = dict(small_policy.tensors)
    bias = np.full_like(tensors["head.2.bias"], np.nan)
    broken = seal(save(tensors | {"head.2.bias": bias}), small_policy.config_json)
    with pytest.raises(NotFinite, match=r"target weight of AAPL became nan at step 0 \(2012-07-02\)"):
        roll_episode(broken, window_panel, small_config)


def test_a_window_with_other_channels_or_instruments_is_refused_naming_the_difference(
    panel_of, window_panel, small_policy, small_config
):
    with pytest.raises(PolicyMismatch, match=r"instruments differ .* it lacks FB"):
        roll_episode(small_policy, panel_of("2012-07-02", "2012-09-28", instruments=("AAPL", "GOOG", "IBM", "MSFT")),
                     small_config)  # fmt: skip
    renamed = dataclasses.replace(window_panel, feature_names=("momentum", "return_1", "vol_30"))
    with pytest.raises(PolicyMismatch, match=r"channels differ .* it lacks vol_20; adds vol_30"):
        roll_episode(small_policy, renamed, small_config)
    with pytest.raises(PolicyMismatch, match="trained with observation_window 3, the episode asks for 4"):
        roll_episode(small_policy, window_panel, small_config.replace(observation_window=4))
