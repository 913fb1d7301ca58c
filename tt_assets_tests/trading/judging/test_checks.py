import dataclasses

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.baselines import BASELINES, baseline_config, baseline_episode
from tt_assets.trading.episodes.roll import AgentStrategy, roll, roll_episode
from tt_assets.trading.errors import PolicyMismatch
from tt_assets.trading.judging import checks
from tt_assets.trading.judging.checks import CheckResult
from tt_assets_tests.trading.conftest import PORTFOLIO, build_panel

FIRST, LAST = "2012-07-02", "2012-09-28"
RICH = TradingConfig(
    observation_window=3, train_steps=64, slippage_bps=5.0, commission_minimum=0.5, cost_model="volume_share"
)


def rebuild(bars: pd.DataFrame):
    return build_panel(bars, FIRST, str(bars["timestamp"].max().date()))


def everything(record, bars, panel, policy=None, decide=None, tolerance=0.0) -> dict[str, CheckResult]:
    own = bars[bars["instrument"].isin(PORTFOLIO) & (bars["timestamp"] <= LAST)]
    results = [
        checks.books_balance(record, own),
        checks.cash_follows_orders(record, own),
        checks.fills_change_holdings(record, own),
        checks.weights_sum_to_one(record),
        checks.leverage_within_limit(record),
        checks.rewards_recompute(record),
        checks.metrics_recompute(record),
        checks.engines_agree(record, panel),
    ]
    if policy is not None:
        results.append(checks.replays(record, policy))
    if decide is not None:
        results.append(checks.no_look_ahead(record, own, rebuild, decide, tolerance=tolerance))
    return {result.name: result for result in results}


@pytest.fixture(scope="module")
def record(small_policy, window_panel, small_config):
    return roll_episode(small_policy, window_panel, small_config)


@pytest.mark.parametrize(
    "config",
    [
        RICH,
        RICH.replace(whole_shares=True, reward_scheme="differential_sharpe"),
        RICH.replace(action_scheme="discrete", cost_multiple=2.0, reward_scheme="simple_returns"),
        RICH.replace(allow_shorts=True, borrow_bps=300.0),
        RICH.replace(max_drawdown=0.01),
    ],
)
def test_an_agents_episode_passes_every_check(bundled_bars, training_panel, window_panel, config):
    policy = train_policy(training_panel, config, 0)
    engine = Engine.SIMULATOR if config.allow_shorts else Engine.TENSORTRADE
    record = roll_episode(policy, window_panel, config, engine)
    results = everything(record, bundled_bars, window_panel, policy, checks.agent_decides(policy))
    assert [result for result in results.values() if not result.passed] == []
    assert len(results) == 10


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_a_baselines_episode_passes_every_check(bundled_bars, window_panel, name):
    config = RICH.replace(max_leverage=0.9)
    record = baseline_episode(name, window_panel, config, seed=3)
    decide = checks.baseline_decides(name, baseline_config(config), 3)
    results = everything(record, bundled_bars, window_panel, decide=decide, tolerance=1e-6)
    assert [result for result in results.values() if not result.passed] == []


def test_episodes_over_missing_bars_and_of_one_session_pass(bundled_bars, small_policy, small_config, panel_of):
    gone = (bundled_bars["instrument"] == "IBM") & bundled_bars["timestamp"].between("2012-08-15", "2012-08-20")
    bars = bundled_bars[~gone]
    panel = build_panel(bars, FIRST, LAST)
    for of in (panel, panel_of(FIRST, FIRST)):
        record = roll_episode(small_policy, of, small_config)
        results = everything(record, bars, of, small_policy)
        assert [result for result in results.values() if not result.passed] == []


def test_a_delayed_episode_passes_and_trades_one_session_later(small_policy, window_panel, small_config, bundled_bars):
    prompt, late = (
        roll(
            AgentStrategy(small_policy, window_panel, small_config), window_panel, small_config, Engine.SIMULATOR, delay
        )
        for delay in (0, 1)
    )
    sessions = pd.DatetimeIndex(window_panel.sessions[window_panel.start :])
    assert prompt.order["timestamp"].min() == sessions[1]
    assert late.order["timestamp"].min() == sessions[2]
    first = late.target_weights.set_index(["timestamp", "instrument"])["target_weight"]
    assert first[sessions[0], "CASH"] == 1.0
    results = everything(late, bundled_bars, window_panel, small_policy)
    assert [result for result in results.values() if not result.passed] == []


def changed(record, frame: str, column: str, row: int, by: float):
    rows = getattr(record, frame).copy()
    rows.loc[rows.index[row], column] += by
    return dataclasses.replace(record, **{frame: rows})


@pytest.mark.parametrize(
    ("frame", "column", "by", "fails"),
    [
        ("portfolio", "cash_balance", 0.01, {"books_balance", "cash_follows_orders"}),
        ("portfolio", "net_worth", 0.01, {"books_balance"}),
        (
            "equity_curve",
            "net_worth",
            0.01,
            {"books_balance", "engines_agree", "rewards_recompute", "metrics_recompute"},
        ),
        ("holdings", "quantity", 0.01, {"books_balance", "fills_change_holdings"}),
        ("order", "size", 0.01, {"cash_follows_orders", "fills_change_holdings"}),
        ("order", "price", 0.01, {"cash_follows_orders"}),
        ("order", "commission", 0.01, {"cash_follows_orders"}),
        ("target_weights", "target_weight", -0.01, {"weights_sum_to_one", "rewards_recompute", "metrics_recompute"}),
        ("reward", "reward_value", 1e-4, {"rewards_recompute"}),
        ("action", "action_value", -0.05, {"engines_agree", "replays", "no_look_ahead"}),
    ],
)
def test_a_changed_value_fails_the_checks_that_it_breaks_and_no_other(
    record, bundled_bars, window_panel, small_policy, frame, column, by, fails
):
    # A row of the deciding session 31 of 63, which is among those that look-ahead is tried at.
    rows = getattr(record, frame)
    row = int(np.flatnonzero(rows["timestamp"] >= window_panel.sessions[window_panel.start + 31])[0])
    broken = changed(record, frame, column, row, by)
    results = everything(broken, bundled_bars, window_panel, small_policy, checks.agent_decides(small_policy))
    assert {name for name, result in results.items() if not result.passed} == fails
    for name in fails - {"metrics_recompute"}:
        assert results[name].where.startswith("2012-08"), results[name]
        assert results[name].worst > results[name].tolerance


def test_figures_of_the_episode_that_do_not_follow_are_named(record):
    broken = dataclasses.replace(record, sharpe_ratio=record.sharpe_ratio + 0.01)
    result = checks.metrics_recompute(broken)
    assert (result.passed, result.where) == (False, "sharpe_ratio")
    assert not checks.metrics_recompute(dataclasses.replace(record, sharpe_ratio=None)).passed


def test_leverage_above_the_limit_is_named_with_its_session(record):
    weights = record.target_weights.copy()
    weights.loc[weights.index[6 * 7 : 6 * 7 + 5], "target_weight"] += 0.3
    result = checks.leverage_within_limit(dataclasses.replace(record, target_weights=weights))
    assert not result.passed
    assert result.where == str(weights["timestamp"].iloc[42].date())


def test_a_value_that_is_not_a_number_never_passes(record, bundled_bars):
    for frame, column, check in (
        ("portfolio", "net_worth", lambda r: checks.books_balance(r, bundled_bars)),
        ("portfolio", "cash_balance", lambda r: checks.cash_follows_orders(r, bundled_bars)),
        ("holdings", "quantity", lambda r: checks.fills_change_holdings(r, bundled_bars)),
        ("reward", "reward_value", checks.rewards_recompute),
    ):
        result = check(changed(record, frame, column, 12, np.nan))
        assert not result.passed
        assert result.worst == np.inf


def test_an_episode_is_not_replayed_against_another_policy(record, training_panel, small_config):
    with pytest.raises(PolicyMismatch, match="was acted by policy"):
        checks.replays(record, train_policy(training_panel, small_config, 9))


def test_a_channel_that_knows_tomorrow_makes_the_canary_fire(bundled_bars, training_panel, small_config):
    """Tomorrow's return as a feature: right on whole bars, unknown on bars cut at the decision."""

    def oracle(bars: pd.DataFrame, first: str, last: str):
        panel = build_panel(bars, first, last)
        tomorrow = np.full(panel.close.shape, np.nan)
        tomorrow[:-1] = panel.close[1:] / panel.close[:-1] - 1
        features = np.concatenate([panel.features, tomorrow[..., None]], axis=2)
        return dataclasses.replace(panel, features=features, feature_names=(*panel.feature_names, "tomorrow"))

    policy = train_policy(oracle(bundled_bars, "2011-10-03", "2012-06-29"), small_config, 0)
    record = roll_episode(policy, oracle(bundled_bars, FIRST, LAST), small_config)
    bars = bundled_bars[bundled_bars["timestamp"] <= LAST]
    result = checks.no_look_ahead(
        record, bars, lambda cut: oracle(cut, FIRST, str(cut["timestamp"].max().date())), checks.agent_decides(policy)
    )
    assert not result.passed
    assert result.worst > 1e-3
