import json
import pickle

import pytest
from pydantic import ValidationError, create_model

from tt_assets.errors import UserError
from tt_assets.grid.blueprint import blueprint
from tt_assets.settings import Settings
from tt_assets.settings.variables import variables
from tt_assets.trading.config import Execution, TradingConfig, TrainingSpan
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.rules.registry import action_scheme, reward_scheme


def test_a_config_reads_back_exactly_from_its_json():
    config = TradingConfig(commission_bps=0.1 + 0.2, execution=Execution.NEXT_CLOSE, train_steps=7, allow_shorts=True)
    assert TradingConfig.from_json(config.to_json()) == config


def test_equal_settings_give_the_same_json_whatever_their_number_type():
    assert TradingConfig(initial_cash=10_000, max_leverage=1).to_json() == TradingConfig().to_json()


def test_the_defaults_are_those_of_the_platform_settings():
    settings = Settings(_env_file=None)
    names = set(TradingConfig.model_fields)
    declared = {variable.path[-1] for variable in variables() if variable.path[0] == "trading"}
    assert names - declared == TradingConfig.NOT_SETTINGS
    assert settings.trading.model_fields_set == set()
    assert settings.trading == blueprint(settings).trading == TradingConfig()


OTHER_THAN_DEFAULT = {
    "initial_cash": 500.0,
    "cost_model": "volume_share",
    "commission_bps": 1.5,
    "commission_per_share": 0.25,
    "commission_minimum": 1.25,
    "slippage_bps": 3.5,
    "price_impact": 0.25,
    "volume_limit": 0.5,
    "minimum_trade": 2.5,
    "stale_sessions": 3,
    "whole_shares": True,
    "execution": Execution.NEXT_CLOSE,
    "observation_window": 7,
    "action_scheme": "long_only_weights",
    "reward_scheme": "simple_returns",
    "stoppers": ("min_net_worth",),
    "max_drawdown": 0.5,
    "min_net_worth": 5.0,
    "risk_target": 0.02,
    "max_leverage": 0.5,
    "allow_shorts": True,
    "borrow_bps": 75.0,
    "maintenance_margin": 0.5,
    "train_steps": 77,
    "training_span": TrainingSpan.ANCHORED,
    "agent": "gradient",
    "network": "separate",
    "hidden_units": 8,
    "train_accounts": 64,
    "account_group": 8,
    "rollout_sessions": 8,
    "minibatch": 64,
    "epochs": 3,
    "learning_rate": 0.01,
    "weight_decay": 0.5,
    "clip_range": 0.1,
    "discount": 0.5,
    "gae_lambda": 0.75,
    "entropy_bonus": 0.01,
    "exploration": 0.5,
    "common_exploration": 0.25,
    "input_noise": 0.125,
    "learner_modules": ("tt_assets.trading.agents.ridge",),
    "validation_sessions": 21,
    "embargo_sessions": 40,
    "trading_modules": ("tt_assets_tests.trading.rules.own_schemes",),
}


def test_every_setting_of_trading_reaches_the_config(monkeypatch):
    assert set(OTHER_THAN_DEFAULT) == set(TradingConfig.model_fields) - TradingConfig.NOT_SETTINGS
    for name, value in OTHER_THAN_DEFAULT.items():
        monkeypatch.setenv(f"TT_{name.upper()}", ",".join(value) if isinstance(value, tuple) else str(value))
    config = blueprint(Settings(_env_file=None)).trading
    for name, value in OTHER_THAN_DEFAULT.items():
        assert getattr(config, name) == value != getattr(TradingConfig(), name), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "not JSON"),
        ("[1]", "JSON object"),
        (json.dumps({**json.loads(TradingConfig().to_json()), "leverage": 2}), "unknown trading setting leverage"),
        (json.dumps({"initial_cash": 1.0}), "lacks account_group, action_scheme"),
    ],
)
def test_json_that_is_not_exactly_a_config_is_refused(text: str, said: str):
    with pytest.raises(ConfigError, match=said):
        TradingConfig.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_cash", 0),
        ("initial_cash", float("nan")),
        ("commission_bps", -1),
        ("slippage_bps", 10_000),
        ("observation_window", 0),
        ("observation_window", 2.5),
        ("max_drawdown", 1.5),
        ("min_net_worth", 10_000),
        ("risk_target", 0),
        ("max_leverage", 2),
        ("train_steps", "many"),
        ("allow_shorts", 1),
        ("execution", "same_open"),
        ("commission_minimum", -1),
        ("commission_per_share", float("inf")),
        ("volume_limit", 1.5),
        ("minimum_trade", 0),
        ("whole_shares", "perhaps"),
        ("commission_bps", True),
        ("train_steps", True),
        ("price_impact", 1),
        ("borrow_bps", -5),
        ("maintenance_margin", 2),
        ("validation_sessions", -1),
        ("embargo_sessions", 0.5),
        ("training_span", "growing"),
        ("stoppers", 3),
        ("trading_modules", [1]),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name_and_value_on_one_line(name: str, value: object):
    with pytest.raises(UserError) as refused:
        TradingConfig(**{name: value})
    assert name in str(refused.value)
    assert str(value) in str(refused.value)
    assert "\n" not in str(refused.value)


STORED = (
    '{"action_scheme":"volatility_target","allow_shorts":false,"borrow_bps":50.0,"commission_bps":10.0,'
    '"commission_minimum":0.0,"commission_per_share":0.0,"cost_model":"proportional","cost_multiple":1.0,'
    '"embargo_sessions":29,"execution":"next_open","initial_cash":10000.0,"maintenance_margin":0.3,'
    '"max_drawdown":0.2,"max_leverage":1.0,"min_net_worth":0.0,"minimum_trade":0.01,"observation_window":10,'
    '"price_impact":0.1,"reward_scheme":"risk_aware","risk_target":0.01,"slippage_bps":0.0,'
    '"stoppers":["max_drawdown","min_net_worth"],"trading_modules":[],"train_steps":20000,'
    '"training_span":"rolling","validation_sessions":42,"volume_limit":0.0,"whole_shares":false}'
)
"""What `to_json` wrote in the first version."""


def test_configs_stored_before_there_was_a_choice_of_learners_say_how_it_was_then():
    stored = TradingConfig.from_json(STORED)
    assert (stored.agent, stored.network, stored.learning_rate, stored.discount) == ("ppo", "separate", 3e-4, 0.95)
    assert json.loads(STORED).items() <= json.loads(stored.to_json()).items()
    assert TradingConfig.from_json(stored.to_json()) == stored
    lacking = json.loads(stored.to_json())
    del lacking["discount"]
    with pytest.raises(ConfigError, match="lacks discount"):
        TradingConfig.from_mapping(lacking)


def test_a_config_is_a_value():
    one, other = TradingConfig(stoppers=["max_drawdown"]), TradingConfig(stoppers=("max_drawdown",))
    assert one == other != TradingConfig()
    assert {one: "kept"}[other] == "kept"
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.replace(train_steps=7).train_steps == 7
    with pytest.raises(ConfigError, match=r"epochs is 0; give a whole number of at least 1\."):
        one.replace(epochs=0)
    with pytest.raises(ConfigError, match="unknown trading setting leverage"):
        one.replace(leverage=2)


def test_values_may_be_written_as_environment_variables_write_them():
    told = TradingConfig(commission_bps="2.5", train_steps="7", whole_shares="true", stoppers="max_drawdown, own,")
    assert told == TradingConfig(commission_bps=2.5, train_steps=7, whole_shares=True, stoppers=("max_drawdown", "own"))


def test_every_field_says_what_it_is():
    for name, field in TradingConfig.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_a_wrong_value_inside_another_model_is_an_error_of_that_model_with_its_place():
    outer = create_model("Outer", trading=TradingConfig, seeds=int)
    with pytest.raises(ValidationError) as refused:
        outer(trading={"commission_bps": -1, "epochs": 0}, seeds="x")
    assert [error["loc"] for error in refused.value.errors()] == [
        ("trading", "commission_bps"),
        ("trading", "epochs"),
        ("seeds",),
    ]


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"commission_bps": -1}, "commission_bps is -1; give a finite number of at least 0 and below 10000."),
        ({"max_drawdown": 0.0}, "max_drawdown is 0.0; give a finite number above 0 and of at most 1."),
        (
            {"initial_cash": 5.0, "min_net_worth": 5.0},
            "min_net_worth is 5.0; give a finite number of at least 0 and below initial_cash.",
        ),
        ({"execution": "now"}, "execution is 'now'; give one of next_open, next_close."),
        ({"allow_shorts": 1}, "allow_shorts is 1; give true or false."),
        ({"stoppers": ["own", 3]}, "stoppers is ['own', 3]; give a list of names."),
        ({"cost_model": None}, "cost_model is None; give a name."),
    ],
)
def test_a_refusal_says_what_may_be_given(change: dict[str, object], allowed: str):
    with pytest.raises(ConfigError) as refused:
        TradingConfig(**change)
    assert str(refused.value) == allowed


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"action scheme 'x' is unknown; known are: .*volatility_target"):
        action_scheme(TradingConfig(action_scheme="x"))
    with pytest.raises(
        ConfigError,
        match=r"reward scheme 'x' is unknown; known are: differential_sharpe, drawdown_rise, log_growth, risk_aware",
    ):
        reward_scheme(TradingConfig(reward_scheme="x"), 1)
