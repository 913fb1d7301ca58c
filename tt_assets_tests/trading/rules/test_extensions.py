import json
import sys

import numpy as np
import pytest

from tt_assets.trading.agents.batch import TrainingJob, train_many
from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.errors import ConfigError, PolicyMismatch
from tt_assets.trading.rules.registry import load_rules
from tt_assets_tests.trading.conftest import wide

OWN = "tt_assets_tests.trading.rules.own_schemes"


@pytest.fixture(scope="module")
def own_config() -> TradingConfig:
    return TradingConfig(
        train_steps=64,
        observation_window=3,
        trading_modules=(OWN,),
        action_scheme="half_invested",
        reward_scheme="only_drawdown",
        cost_model="flat_ticket",
        stoppers=("take_profit",),
    )


@pytest.mark.parametrize("multiple", [1.0, 3.0])
def test_an_agent_trains_and_trades_under_schemes_of_the_users_own(training_panel, panel_of, own_config, multiple):
    policy = train_policy(training_panel, own_config, 0)
    config = own_config.replace(cost_multiple=multiple)
    record = roll_episode(policy, panel_of("2012-01-03", "2012-03-30"), config)
    assert set(record.target_weights["strategy"]) == {"half_invested"}
    assert wide(record.target_weights, "target_weight").drop(columns="CASH").max().max() <= 0.1 + 1e-12
    assert len(record.order)
    np.testing.assert_allclose(record.order["commission"], 2.0 * multiple, atol=1e-9)
    equity = record.equity_curve["net_worth"]
    np.testing.assert_allclose(record.reward["reward_value"], -(1 - equity / equity.cummax())[1:], atol=1e-12)
    assert (record.stop_reason == "terminated") == (equity.iloc[-1] >= 10_400.0)
    assert (equity.iloc[:-1] < 10_400.0).all()
    assert json.loads(record.config_json)["trading"]["trading_modules"] == [OWN]


def test_a_stored_agent_never_decides_which_modules_are_imported(training_panel, own_config, window_panel):
    policy = train_policy(training_panel, own_config, 0)
    with pytest.raises(PolicyMismatch, match="trained with trading_modules"):
        roll_episode(policy, window_panel, TradingConfig(observation_window=3))


@pytest.mark.slow
def test_schemes_of_the_users_own_are_found_in_training_processes(training_panel, own_config):
    jobs = [TrainingJob(str(seed), training_panel, own_config, seed) for seed in (0, 1)]
    results = train_many(jobs, workers=2)
    assert [result.error for result in results] == [None, None]
    assert results[0].policy.sha256 == train_policy(training_panel, own_config, 0).sha256


def test_names_of_own_classes_stand_in_the_list_of_known_ones(own_config, training_panel):
    with pytest.raises(ConfigError, match="known are: discrete, half_invested, long_only_weights, volatility_target"):
        train_policy(training_panel, own_config.replace(action_scheme="x"), 0)
    with pytest.raises(ConfigError, match="stopper 'x' is unknown; known are: max_drawdown, min_net_worth, take_prof"):
        train_policy(training_panel, own_config.replace(stoppers=("x",)), 0)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "defines no action scheme, reward scheme, cost model or stopper"),
        ("from tt_assets_tests.trading.rules.own_schemes import FlatTicket", "defines no action scheme"),
        ("1 / 0", "fails on import: ZeroDivisionError: division by zero"),
        ("import not_there_at_all", "fails on import: ModuleNotFoundError"),
        (
            "from tt_assets.trading.rules.stoppers import DrawdownStopper\nclass Again(DrawdownStopper):\n    pass",
            'stopper "max_drawdown" is in both tt_assets.trading.rules.stoppers and own_',
        ),
    ],
)
def test_a_module_that_cannot_be_used_is_refused_on_one_line(tmp_path, monkeypatch, source, said):
    name = f"own_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=said) as refused:
        load_rules((name,))
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
    sys.modules.pop(name, None)


def test_a_module_that_is_not_there_is_refused_by_name():
    with pytest.raises(ConfigError, match=r'"nowhere.at_all" in TT_TRADING_MODULES cannot be found'):
        load_rules(("nowhere.at_all",))
