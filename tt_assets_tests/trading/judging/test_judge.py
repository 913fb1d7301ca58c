import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.agents.ensemble import Ensemble
from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.episodes.baselines import BASELINES, baseline_episode
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.judging.bootstrap import sharpe_interval, stationary_indices
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.checks import replays
from tt_assets.trading.judging.figures import contributions
from tt_assets.trading.judging.judge import SCENARIOS, JudgedWindow, NothingToJudge, Scenario, judge
from tt_assets.trading.panel import BAR_FIELDS
from tt_assets_tests.trading.conftest import wide

QUARTERS = (("2012-07-02", "2012-09-28"), ("2012-10-01", "2012-12-31"))


@pytest.fixture(scope="module")
def policies(training_panel, small_config):
    return tuple(train_policy(training_panel, small_config, seed) for seed in (1, 2, 3))


@pytest.fixture(scope="module")
def windows(panel_of, small_config, policies):
    config = small_config.replace(slippage_bps=5.0)
    return [JudgedWindow(panel_of(*quarter), config, policies) for quarter in QUARTERS]


@pytest.fixture(scope="module")
def judgement(windows):
    return judge(windows[::-1])


def row(judgement, strategy, cost_multiple=1.0, delay=0):
    table = judgement.contestants
    (found,) = table[
        (table["strategy"] == strategy) & (table["cost_multiple"] == cost_multiple) & (table["delay"] == delay)
    ].to_dict("records")
    return found


def curve(judgement, strategy, seed, cost_multiple=1.0, delay=0):
    rows = judgement.curves
    kept = (rows["strategy"] == strategy) & (rows["seed"] == seed) & (rows["cost_multiple"] == cost_multiple)
    return rows[kept & (rows["delay"] == delay)].set_index("timestamp")["wealth"]


def test_curves_chain_the_returns_of_the_recorded_episodes(judgement, windows, policies):
    for seed, policy in enumerate(policies):
        equity = [roll_episode(policy, w.panel, w.config).equity_curve.set_index("timestamp") for w in windows]
        first, second = (frame["net_worth"] / 10_000.0 for frame in equity)
        got = curve(judgement, "agent", seed)
        np.testing.assert_allclose(got[first.index], first, rtol=1e-7)
        np.testing.assert_allclose(got[second.index], first.iloc[-1] * second, rtol=1e-7)
        assert len(got) == len(first) + len(second)


def test_figures_recompute_from_the_episodes(judgement, windows):
    records = [baseline_episode("momentum", w.panel, w.config) for w in windows]
    wealth = curve(judgement, "momentum", 0)
    returns = wealth.pct_change().dropna()
    figures = row(judgement, "momentum")
    assert figures["sessions"] == len(wealth)
    assert figures["total_return"] == pytest.approx(wealth.iloc[-1] - 1)
    assert figures["annual_return"] == pytest.approx(wealth.iloc[-1] ** (252 / len(returns)) - 1)
    assert figures["volatility"] == pytest.approx(returns.std() * 252**0.5)
    assert figures["sharpe"] == pytest.approx(returns.mean() / returns.std() * 252**0.5)
    assert figures["max_drawdown"] == pytest.approx((1 - wealth / wealth.cummax()).max())
    decisions = [len(record.reward) for record in records]
    turnover = np.average([record.turnover for record in records], weights=decisions)
    assert figures["turnover"] == pytest.approx(turnover)
    traded = [
        (record.order["size"] * record.order["price"]).groupby(record.order["timestamp"]).sum()
        / record.portfolio.set_index("timestamp")["net_worth"].shift(1)
        for record in records
    ]
    assert figures["traded"] == pytest.approx(pd.concat([part.iloc[1:].fillna(0.0) for part in traded]).mean() / 2)
    # Slippage is 5 bps of the quote, the recorded price has it inside. Costs are fractions of the net worth before.
    paid = {"commission": 0.0, "slippage": 0.0}
    for record in records:
        before = record.portfolio.set_index("timestamp")["net_worth"].shift(1)
        worth = record.order["timestamp"].map(before)
        part = np.where(record.order["order_type"] == "buy", 0.0005 / 1.0005, 0.0005 / 0.9995)
        paid["commission"] += (record.order["commission"] / worth).sum()
        paid["slippage"] += (record.order["size"] * record.order["price"] * part / worth).sum()
    assert figures["commission_paid"] == pytest.approx(paid["commission"], rel=1e-6)
    assert figures["slippage_paid"] == pytest.approx(paid["slippage"], rel=1e-6)
    assert figures["costs_paid"] == pytest.approx(sum(paid.values()), rel=1e-6)
    assert figures["impact_paid"] == pytest.approx(0.0, abs=1e-12)
    assert figures["borrow_paid"] == 0.0


def test_every_account_has_a_row_in_every_scenario_and_none_mixes_seeds(judgement):
    assert set(judgement.table["strategy"]) == {"ensemble", "agent", *BASELINES}
    assert len(judgement.table) == (1 + 3 + 6) * len(SCENARIOS)
    assert len(judgement.contestants) == 7 * len(SCENARIOS)
    assert judgement.subject == "ensemble"
    assert not judgement.table.duplicated(["strategy", "seed", "cost_multiple", "delay"]).any()
    bands = judgement.bands[(judgement.bands["strategy"] == "ensemble") & (judgement.bands["delay"] == 1)]
    seeds = np.stack([curve(judgement, "agent", seed, delay=1) for seed in range(3)], axis=1)
    np.testing.assert_array_equal(bands["wealth"], curve(judgement, "ensemble", 0, delay=1))
    np.testing.assert_array_equal(bands["low"], seeds.min(axis=1))
    np.testing.assert_array_equal(bands["high"], seeds.max(axis=1))
    assert judgement.table[judgement.table["strategy"] == "cash"]["sharpe"].isna().all()


def test_the_ensemble_is_the_episode_of_the_mean_action(judgement, windows, policies):
    records = [roll_episode(Ensemble(policies), window.panel, window.config) for window in windows]
    first = records[0].equity_curve.set_index("timestamp")["net_worth"] / 10_000.0
    np.testing.assert_allclose(curve(judgement, "ensemble", 0)[first.index], first, rtol=1e-7)
    for record in records:
        assert replays(record, Ensemble(policies)).passed
        singles = np.array([policy.act(seen) for policy in policies for seen in _seen(record)[:1]])
        acted = record.action[record.action["timestamp"] == record.action["timestamp"].min()]["action_value"]
        np.testing.assert_array_equal(acted, singles.mean(axis=0))


def test_contributions_and_interest_are_the_returns_whatever_costs_there_are(windows):
    costly = {"cost_model": "volume_share", "slippage_bps": 3.0, "price_impact": 0.5, "initial_cash": 1e8}
    priced = [
        dataclasses.replace(w, config=w.config.replace(**costly, allow_shorts=True, borrow_bps=300.0), policies=())
        for w in windows
    ]
    judged = judge(priced, [Scenario()], cash=CashRate.parse("0.05"))
    for (name, _), chain in judged.chains.items():
        for part in chain.accounts:
            interest = part.cash_share[:-1] * part.cash_returns
            np.testing.assert_allclose(part.contribution.sum(axis=1) + interest, part.returns, atol=1e-12)
        assert contributions(chain)["contribution"].sum() == pytest.approx(chain.returns.sum()), name
    figures = row(judged, "momentum")
    assert figures["impact_paid"] > figures["slippage_paid"] > 0.0
    assert figures["costs_paid"] == pytest.approx(
        sum(figures[f"{part}_paid"] for part in ("commission", "slippage", "impact", "borrow"))
    )


def test_cash_earns_its_rate_and_what_is_invested_does_not(windows, judgement):
    judged = judge(windows, [Scenario()], cash=CashRate.parse("0.05"))
    sessions = sum(len(window.panel.sessions) - window.panel.start for window in windows)
    assert row(judged, "cash")["total_return"] == pytest.approx(1.05 ** ((sessions - 2) / 252) - 1)
    assert math.isnan(row(judged, "cash")["sharpe"])
    held, before = (row(one, "equal_weight_hold")["total_return"] for one in (judged, judgement))
    assert before < held < before + 0.001  # a session in cash at the start of each window


def test_held_trades_less_than_rebalanced(judgement):
    held, rebalanced = (row(judgement, f"equal_weight_{name}")["traded"] for name in ("hold", "rebalanced"))
    assert held < rebalanced
    # Bought once a window, half of which is one way; nothing after.
    decisions = row(judgement, "equal_weight_hold")["sessions"] - len(QUARTERS)
    assert held == pytest.approx(0.5 * len(QUARTERS) / decisions, rel=0.02)


def test_a_benchmark_is_bought_and_held_and_not_traded(windows, panel_of):
    symbol = windows[0].panel.instruments[0]
    bought = [dataclasses.replace(w, benchmark=_alone(w.panel, symbol)) for w in windows]
    judged = judge(bought, [Scenario()], baselines=("cash",))
    alone = judge([dataclasses.replace(w, panel=w.benchmark, policies=()) for w in bought], [Scenario()])
    pd.testing.assert_series_equal(
        curve(judged, "benchmark", 0), curve(alone, "equal_weight_hold", 0), check_exact=True
    )
    assert not math.isnan(row(judged, "ensemble")["beta"])


def _alone(panel, symbol):
    column = [panel.instruments.index(symbol)]
    rows = {name: getattr(panel, name)[:, column] for name in (*BAR_FIELDS, "features")}
    return dataclasses.replace(panel, instruments=(symbol,), **rows)


def _seen(record):
    return [np.array(list(json.loads(text).values()), np.float32) for text in record.observation["features"]]


def test_more_costs_cost_more_and_a_delay_changes_what_is_earned(judgement):
    for strategy in ("ensemble", "equal_weight_hold", "momentum", "random"):
        once, twice, thrice = (row(judgement, strategy, multiple) for multiple in (1.0, 2.0, 3.0))
        assert once["total_return"] > twice["total_return"] > thrice["total_return"]
        assert once["costs_paid"] < twice["costs_paid"] < thrice["costs_paid"]
        assert row(judgement, strategy, delay=1)["total_return"] != once["total_return"]
    assert row(judgement, "cash", 3.0)["total_return"] == row(judgement, "cash")["costs_paid"] == 0.0


def test_equal_weight_held_and_a_session_late_is_bought_once_a_session_later(judgement, windows, bundled_bars):
    names = list(windows[0].panel.instruments)
    opens, closes = (wide(bundled_bars, field)[names] for field in ("open", "close"))
    level, costs = 1.0, 0.0
    for window in windows:
        _, asked, bought, *_, last = pd.DatetimeIndex(window.panel.sessions[window.panel.start :])
        # Sized at the close after the first, one session late; filled at the open after that, at 5 bps of slippage.
        wanted = 10_000 / 5 / closes.loc[asked]
        price = opens.loc[bought] * 1.0005
        shares = wanted * min(1.0, 10_000 / (wanted * price).sum() / 1.001)
        paid = (shares * price).sum()
        costs += (shares * opens.loc[bought]).sum() * 0.0005 / 10_000 + paid * 0.001 / 10_000
        level *= (10_000 - paid * 1.001 + (shares * closes.loc[last]).sum()) / 10_000
    figures = row(judgement, "equal_weight_hold", delay=1)
    assert figures["total_return"] == pytest.approx(level - 1.0, rel=1e-9)
    assert figures["costs_paid"] == pytest.approx(costs, rel=1e-9)  # net worth is the starting cash until then
    prompt = row(judgement, "equal_weight_hold")
    assert figures["costs_paid"] == pytest.approx(prompt["costs_paid"], rel=0.02)


def test_only_the_baselines_asked_for_are_judged(windows, judgement):
    judged = judge(windows, [Scenario()], baselines=("momentum", "cash"))
    assert list(judged.table["strategy"]) == ["ensemble", *["agent"] * 3, "momentum", "cash"]
    figures = set(row(judged, "momentum")) - {"beta", "tracking_error", "information_ratio"}
    assert {name: row(judged, "momentum")[name] for name in figures} == {
        name: row(judgement, "momentum")[name] for name in figures
    }
    with pytest.raises(ConfigError, match="baseline 'luck' is unknown; known are: cash"):
        judge(windows, [Scenario()], baselines=("luck",))


def test_sharpe_lies_inside_its_interval(judgement):
    table = judgement.table[judgement.table["strategy"] != "cash"]
    assert (table["sharpe_low"] < table["sharpe"]).all()
    assert (table["sharpe"] < table["sharpe_high"]).all()


def test_an_account_that_is_stopped_keeps_its_last_net_worth_until_the_window_ends(windows):
    stopped = [dataclasses.replace(w, config=w.config.replace(max_drawdown=0.01)) for w in windows]
    judged = judge(stopped, [Scenario()])
    wealth = curve(judged, "agent", 0)
    assert len(wealth) == len(curve(judged, "cash", 0))
    first = wealth[: QUARTERS[0][1]]
    assert (first.iloc[-5:] == first.iloc[-1]).all()
    assert (1 - first / first.cummax()).max() >= 0.01
    assert wealth.iloc[-1] != first.iloc[-1]


def test_the_same_windows_give_the_same_frames(windows, judgement):
    again = judge(windows)
    for name in ("curves", "bands", "table"):
        assert getattr(again, name).equals(getattr(judgement, name))


def test_windows_with_different_numbers_of_agents_are_refused(windows):
    fewer = dataclasses.replace(windows[0], policies=windows[0].policies[:1])
    with pytest.raises(NothingToJudge, match="agents per window: 1, 3"):
        judge([fewer, windows[1]])
    with pytest.raises(NothingToJudge, match="no window"):
        judge([])


def test_baselines_are_judged_where_no_agent_is(windows):
    judged = judge([dataclasses.replace(window, policies=()) for window in windows], [Scenario()])
    assert set(judged.table["strategy"]) == set(BASELINES)


def test_blocks_are_runs_of_sessions_of_the_mean_length_that_wrap_around():
    rows = stationary_indices(500, 400, 10.0, 0)
    assert (rows >= 0).all()
    assert (rows < 500).all()
    steps = np.diff(rows, axis=1) % 500
    assert (steps != 1).mean() == pytest.approx(0.1 * 499 / 500, abs=0.003)
    assert np.bincount(rows.ravel(), minlength=500).std() / 400 < 0.25


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    truth = 0.05 * 252**0.5
    covered = 0
    for trial in range(200):
        returns = random.normal(0.05, 1.0, (400, 1)) * 0.01
        low, high = sharpe_interval(returns, draws=300, mean_block=2, seed=trial)
        covered += low <= truth <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_returns_that_do_not_vary_have_no_interval():
    assert sharpe_interval(np.zeros((50, 1))) is None
    assert sharpe_interval(np.zeros((1, 3))) is None


def test_ridge_on_the_same_observation_is_judged_beside_the_agents(windows, training_panel, small_config):
    ridge = train_policy(training_panel, small_config.replace(agent="ridge", slippage_bps=5.0), 0)
    beside = [dataclasses.replace(window, learned={"ridge": ridge}) for window in windows]
    found = judge(beside, (Scenario(),), baselines=("cash",))
    # Rolled on TensorTrade without a stopper, window by window.
    growth = 1.0
    for window in windows:
        record = roll_episode(ridge, window.panel, window.config.replace(stoppers=()))
        growth *= record.equity_curve["net_worth"].iloc[-1] / 10_000.0
    assert row(found, "ridge")["total_return"] == pytest.approx(growth - 1.0, rel=1e-6)
    assert "ridge" not in set(judge([beside[0], windows[1]], (Scenario(),), baselines=("cash",)).table["strategy"])
