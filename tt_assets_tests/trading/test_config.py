import dataclasses
import json

import pytest

from tt_assets.assets.spans import trading_config
from tt_assets.errors import UserError
from tt_assets.settings import Settings
from tt_assets.trading.config import Execution, TradingConfig, TrainingSpan
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.rules.rewards import reward_scheme
from tt_assets.trading.rules.schemes import action_scheme


def test_a_config_reads_back_exactly_from_its_json():
    config = TradingConfig(commission_bps=0.1 + 0.2, execution=Execution.NEXT_CLOSE, train_steps=7, allow_shorts=True)
    assert TradingConfig.from_json(config.to_json()) == config


def test_equal_settings_give_the_same_json_whatever_their_number_type():
    assert TradingConfig(initial_cash=10_000, max_leverage=1).to_json() == TradingConfig().to_json()


NOT_A_SETTING = {"cost_multiple"}
"""A knob of judging alone: the report turns it, nobody trades under it."""


def test_the_defaults_are_those_of_the_platform_settings():
    settings = Settings(_env_file=None)
    names = {field.name for field in dataclasses.fields(TradingConfig)}
    assert names - set(Settings.model_fields) == NOT_A_SETTING
    # The embargo follows from the look-backs of the registered features and signals: 10 - 1 + 20 sessions.
    assert settings.embargo_sessions is None
    assert trading_config(settings) == TradingConfig()
    for name in names - NOT_A_SETTING - {"embargo_sessions"}:
        assert getattr(settings, name) == getattr(TradingConfig(), name), name


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
    "validation_sessions": 21,
    "embargo_sessions": 40,
    "trading_modules": ("tt_assets_tests.trading.rules.own_schemes",),
}


def test_every_setting_of_trading_reaches_the_config(monkeypatch):
    assert set(OTHER_THAN_DEFAULT) == {field.name for field in dataclasses.fields(TradingConfig)} - NOT_A_SETTING
    for name, value in OTHER_THAN_DEFAULT.items():
        monkeypatch.setenv(f"TT_{name.upper()}", ",".join(value) if isinstance(value, tuple) else str(value))
    config = trading_config(Settings(_env_file=None))
    for name, value in OTHER_THAN_DEFAULT.items():
        assert getattr(config, name) == value != getattr(TradingConfig(), name), name


def test_the_embargo_grows_with_what_an_observation_reads_back(monkeypatch):
    monkeypatch.setenv("TT_OBSERVATION_WINDOW", "15")
    assert trading_config(Settings(_env_file=None)).embargo_sessions == TradingConfig().embargo_sessions + 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "not JSON"),
        ("[1]", "JSON object"),
        (json.dumps({**json.loads(TradingConfig().to_json()), "leverage": 2}), "unknown trading setting leverage"),
        (json.dumps({"initial_cash": 1.0}), "lacks action_scheme"),
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
        ("whole_shares", "yes"),
        ("price_impact", 1),
        ("borrow_bps", -5),
        ("maintenance_margin", 2),
        ("validation_sessions", -1),
        ("embargo_sessions", 0.5),
        ("training_span", "growing"),
        ("stoppers", "max_drawdown"),
        ("trading_modules", [1]),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name_and_value_on_one_line(name: str, value: object):
    with pytest.raises(UserError) as refused:
        TradingConfig(**{name: value})
    assert name in str(refused.value)
    assert str(value) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"action scheme 'x' is unknown; known are: .*volatility_target"):
        action_scheme(TradingConfig(action_scheme="x"))
    with pytest.raises(
        ConfigError, match=r"reward scheme 'x' is unknown; known are: differential_sharpe, risk_aware, simple_returns"
    ):
        reward_scheme(TradingConfig(reward_scheme="x"), 1)
