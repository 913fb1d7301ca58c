import dataclasses
import json

import pytest

from tt_assets.errors import UserError
from tt_assets.settings import Settings
from tt_assets.trading.config import Execution, TradingConfig
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.rewards import reward_scheme
from tt_assets.trading.schemes import action_scheme


def test_a_config_reads_back_exactly_from_its_json():
    config = TradingConfig(commission_bps=0.1 + 0.2, execution=Execution.NEXT_CLOSE, train_steps=7, allow_shorts=True)
    assert TradingConfig.from_json(config.to_json()) == config


def test_equal_settings_give_the_same_json_whatever_their_number_type():
    assert TradingConfig(initial_cash=10_000, max_leverage=1).to_json() == TradingConfig().to_json()


def test_the_defaults_are_those_of_the_platform_settings():
    settings = Settings(_env_file=None)
    defaults = TradingConfig()
    shared = {field.name for field in dataclasses.fields(defaults)} & set(Settings.model_fields)
    assert len(shared) >= 13
    for name in shared:
        assert getattr(settings, name) == getattr(defaults, name), name


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
