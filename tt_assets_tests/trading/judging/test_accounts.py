"""Accounts that share a simulator are those that each baseline has alone, to the last bit."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.episodes.baselines import BASELINES, baseline_config
from tt_assets.trading.judging.accounts import account, baseline_accounts
from tt_assets.trading.judging.cash import CashRate
from tt_assets_tests.trading.conftest import build_panel

CONFIGS = {
    "as configured": TradingConfig(),
    "three times the costs": TradingConfig(cost_multiple=3.0, commission_per_share=0.005, slippage_bps=5.0),
    "for size too": TradingConfig(volume_limit=0.001, execution="next_close"),
}
RATE = CashRate.parse("0.05")


@pytest.fixture(scope="module")
def panel(bundled_bars):
    """A quarter in which IBM has no bars any more after a month."""
    gone = (bundled_bars["instrument"] == "IBM") & (bundled_bars["timestamp"] > pd.Timestamp("2012-08-03"))
    return build_panel(bundled_bars[~gone], "2012-07-02", "2012-09-28")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("delay", [0, 1])
def test_baselines_rolled_together_have_the_accounts_that_each_has_alone(panel, config, delay):
    under = baseline_config(config)
    baselines = [baseline(panel, under, 3, delay) for baseline in BASELINES.values()]
    together = baseline_accounts(baselines, panel, under, RATE)
    alone = [account(baseline, panel, under, rate=RATE) for baseline in baselines]
    assert len({own.growth[-1] for own in together}) == len(BASELINES)
    for name, own, other in zip(BASELINES, together, alone, strict=True):
        for field in dataclasses.fields(own):
            np.testing.assert_array_equal(
                getattr(own, field.name), getattr(other, field.name), err_msg=f"{name}: {field.name}"
            )


def test_a_window_of_one_session_has_an_account_that_did_nothing(panel):
    first = dataclasses.replace(
        panel,
        **{
            name: getattr(panel, name)[: panel.start + 1]
            for name in ("sessions", "open", "high", "low", "close", "volume", "features")
        },
    )
    under = baseline_config(TradingConfig())
    (own,) = baseline_accounts([BASELINES["momentum"](first, under)], first, under)
    assert own.growth.tolist() == [1.0]
    assert own.returns.size == own.traded.size == own.costs.size == 0
