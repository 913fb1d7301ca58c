"""The Python on the pages does what the page says of it."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pandas as pd
import pytest

from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.judging.checks import books_balance, cash_follows_orders
from tt_assets.trading.rules.registry import action_scheme, cost_model, load_rules, reward_scheme, stoppers
from tt_assets_tests.dagster_runs import stored
from tt_assets_tests.docs.pages import DOCS, TOP, Page, living_pages

EXTENDING = Page(DOCS / "extending.md")
NOTEBOOK = Page(DOCS / "notebook.md")
RULES = ("half_invested", "fall_penalty", "flat_ticket", "take_profit")


def block(page: Page, having: str) -> str:
    (found,) = [body for body in page.python if having in body]
    return found


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the blocks of extending.md that have the given words into a module, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name: str, *having: str) -> str:
        (tmp_path / f"{name}.py").write_text("\n\n".join(block(EXTENDING, words) for words in having))
        importlib.invalidate_caches()
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_the_feature_is_the_open_over_the_close_two_sessions_before(module, sample_bars):
    features = load_features([module("docs_features", "@feature")])
    assert features[-1].description == "Open over the close two sessions before, less one."
    computed = compute_features(sample_bars, features[-1:])
    bars = sample_bars[sample_bars["instrument"] == "IBM"].reset_index(drop=True)
    values = computed[computed["instrument"] == "IBM"]["value"].tolist()
    assert values == [bars["open"][t] / bars["close"][t - 2] - 1 for t in range(2, len(bars))]


def test_the_readme_shows_the_same_feature():
    assert block(Page(TOP / "README.md"), "@feature") == block(EXTENDING, "@feature")


def test_the_signal_is_near_one_while_it_is_calm(module, sample_bars):
    features = load_features()
    signals = load_signals([module("docs_signals", "@signal")], features)
    long = compute_features(sample_bars, features)
    scores = compute_signals(sample_bars, long, signals[-1:]).set_index(["instrument", "timestamp"])["score"]
    vol = long[long["feature"] == "vol_20"].set_index(["instrument", "timestamp"])["value"]
    assert len(scores) == len(vol)
    assert scores[vol[vol < 0.005].index].min() > 0.5
    assert scores[vol[vol > 0.04].index].max() < -0.9


@pytest.fixture
def config(module) -> TradingConfig:
    name = module("docs_trading", "(ActionScheme)", "(RewardScheme)", "(CostModel)", "(Stopper)")
    scheme, reward, costs, stopper = RULES
    return TradingConfig(
        trading_modules=(name,),
        action_scheme=scheme,
        reward_scheme=reward,
        cost_model=costs,
        stoppers=("max_drawdown", stopper),
    )


def test_every_rule_is_found_under_its_name(config):
    found, built_in = load_rules(config.trading_modules), load_rules()
    own = [set(vars(found)[kind]) - set(vars(built_in)[kind]) for kind in vars(found)]
    assert own == [{name} for name in RULES]


def test_the_rules_do_what_they_say(config):
    shares, quote = np.array([[3.0, 0.0, -2.0]]), np.array([[10.0, 20.0, 30.0]])
    costs = cost_model(config)
    np.testing.assert_array_equal(costs.fill_price(shares, quote, quote), quote)
    np.testing.assert_array_equal(costs.commission(shares, quote), [[2.0, 0.0, 2.0]])
    reward = reward_scheme(config, 2).reward(np.array([0.01, 0.02]), np.array([0.0, 0.1]), np.zeros(2))
    np.testing.assert_allclose(reward, [0.01, -0.03], atol=1e-15)
    _, take_profit = stoppers(config)
    assert take_profit.stops(np.array([10_999.0, 11_000.0]), np.zeros(2)).tolist() == [False, True]
    weights = action_scheme(config).weights(np.array([[1.0, 0.5]]), np.array([[0.25, 0.25]]))
    np.testing.assert_allclose(weights, [[0.25, 0.125]])


def test_the_learner_stores_an_agent_that_acts_as_it_says(module):
    from tt_assets_tests.trading.conftest import build_panel

    bars = pd.read_csv(TOP / "tt_assets/sample/daily_bars_2005_2013.csv", parse_dates=["timestamp"])
    name = module("docs_learners", "(Learner)")
    panel = build_panel(bars, "2011-10-03", "2012-06-29", instruments=("AAPL", "IBM"))
    policy = train_policy(panel, TradingConfig(agent="always_half", learner_modules=(name,)), 0)
    np.testing.assert_array_equal(policy.act(np.ones(policy.network.inputs, np.float32)), [0.5, 0.5])


def test_the_notebook_reads_and_writes(connected, sample_bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = sample_bars["timestamp"].between("2012-04-02", "2012-06-29")
    sample_bars[inside & sample_bars["instrument"].isin(["AAPL", "IBM"])].to_csv("bars.csv", index=False)
    exec(block(NOTEBOOK, "population"), {})
    assert len(stored(connected, "tt_prices")) == 2 * 63
    assert {row[2] for row in stored(connected, "tt_features")} == {"return_1", "vol_10", "vol_20"}
    for page in (NOTEBOOK, Page(TOP / "README.md")):
        names: dict = {}
        exec(block(page, "tt_assets.read("), names)
        assert isinstance(names["bars"], pd.DataFrame)
        assert names["bars"]["instrument"].unique().tolist() == ["AAPL"]


def test_no_page_has_python_that_is_not_run_here():
    assert {str(page): len(page.python) for page in living_pages() if page.python} == {
        "README.md": 2,
        "docs/extending.md": 7,
        "docs/gymnasium.md": 1,
        "docs/notebook.md": 2,
        "docs/price-sources.md": 2,  # in market/test_own_source.py
    }


def test_the_agent_of_another_library_is_trained_and_rolled_through_the_books(capsys):
    (code,) = Page(DOCS / "gymnasium.md").python
    found: dict = {}
    exec(compile(code, "gymnasium.md", "exec"), found)
    record, bars = found["record"], found["bars"]
    assert len(record.equity_curve) == 63
    assert len(record.action) == 63 * 4
    assert books_balance(record, bars).passed
    assert cash_follows_orders(record, bars).passed
    assert "net_worth" in capsys.readouterr().out
