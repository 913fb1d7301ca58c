"""What a sweep varies: settings there are, within their bounds, around what is set now."""

from __future__ import annotations

import pytest

from tt_assets.settings.variables import variables
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.judging.search import setting_lines, tried, varied_of

LEARNERS = ("ppo", "gradient", "ridge", "sb3:A2C", "one_of_my_own")


@pytest.mark.parametrize("agent", LEARNERS)
def test_whatever_is_tried_is_a_setting_within_its_bounds(agent):
    config, known = TradingConfig(agent=agent), {variable.name for variable in variables()}
    varied = varied_of(config)
    assert varied
    for one in varied:
        assert one.variable in known
        for value in one.choices or (one.low, one.high, (one.low + one.high) / 2):
            config.replace(**{one.name: value})


@pytest.mark.parametrize("agent", LEARNERS)
def test_what_is_set_now_is_within_what_is_tried(agent):
    config = TradingConfig(
        agent=agent, learning_rate=0.1, weight_decay=0.0, hidden_units=24, observation_window=3, risk_target=0.1
    )
    for one in varied_of(config):
        current = getattr(config, one.name)
        assert current in one.choices if one.choices else one.low <= current <= one.high
        assert one.low > 0.0 or not one.log


def test_only_what_is_named_is_varied_whichever_way_it_is_written():
    assert [one.name for one in varied_of(TradingConfig(), ("TT_DISCOUNT", "learning_rate"))] == [
        "learning_rate",
        "discount",
    ]
    with pytest.raises(ConfigError, match="a sweep of agent ridge does not vary 'discount'; it varies: risk_target"):
        varied_of(TradingConfig(agent="ridge"), ("discount",))


def test_costs_and_stoppers_are_no_matter_of_taste():
    names = {one.name for agent in LEARNERS for one in varied_of(TradingConfig(agent=agent))}
    assert not names & {"commission_bps", "slippage_bps", "max_drawdown", "stoppers", "cost_model", "execution"}


def test_what_is_printed_is_what_was_tried():
    (rate,) = varied_of(TradingConfig(), ("learning_rate",))
    value = tried(rate, lambda _: 0.00123456789)
    (line,) = setting_lines({"learning_rate": value})
    assert line == "TT_LEARNING_RATE=0.00123"
    assert TradingConfig(learning_rate=line.partition("=")[2]).learning_rate == value
