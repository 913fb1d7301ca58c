"""Capacity and attribution of agents whose truth is known, and the details of a judgement together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.judging.attribution import attribution
from tt_assets.trading.judging.capacity import capacity
from tt_assets.trading.judging.details import details_of
from tt_assets.trading.judging.figures import contributions, drawdown_table
from tt_assets.trading.judging.judge import JudgedWindow, Scenario, chain_of, judge

LIMIT = 0.01


@pytest.fixture(scope="module")
def windows(panel_of, training_panel, small_config):
    policies = tuple(train_policy(training_panel, small_config, seed) for seed in (1, 2))
    quarters = (("2012-07-02", "2012-09-28"), ("2012-10-01", "2012-12-31"))
    return [JudgedWindow(panel_of(*quarter), small_config, policies) for quarter in quarters]


@pytest.fixture(scope="module")
def foreseeing(panel_of, training_panel, small_config):
    """A window whose channel `oracle` is the return that the next decision earns, and ridge that learned it."""

    def told(panel):
        ahead = np.full(panel.close.shape, np.nan)
        ahead[:-2] = panel.open[2:] / panel.open[1:-1] - 1.0
        noise = np.random.default_rng(3).standard_normal(panel.close.shape)
        features = np.stack([ahead, noise], axis=2)
        return dataclasses.replace(panel, features=features, feature_names=("oracle", "noise"))

    config = small_config.replace(agent="ridge", observation_window=1, stoppers=())
    panel = told(panel_of("2012-07-02", "2012-12-31"))
    return JudgedWindow(panel, config, (train_policy(told(training_panel), config, 0),))


def test_a_channel_that_earns_is_told_from_one_that_is_noise(foreseeing):
    found = attribution([foreseeing], "agent").set_index("channel")
    assert found.index[0] == "oracle"
    assert found.loc["oracle", "low"] > 0.5  # of log growth a year
    assert abs(found.loc["noise", "effect"]) < 0.2 * found.loc["oracle", "effect"]
    assert (found["low"] <= found["effect"]).all()
    assert (found["effect"] <= found["high"]).all()


def test_the_effect_is_the_growth_that_a_shuffle_by_hand_costs(foreseeing):
    panel = foreseeing.panel
    rows = np.arange(len(panel.sessions))
    rows[panel.start :] = np.random.default_rng([5, 0, 0]).permutation(rows[panel.start :])
    features = panel.features.copy()
    features[:, :, 0] = features[rows, :, 0]
    shuffled = dataclasses.replace(foreseeing, panel=dataclasses.replace(panel, features=features))
    before, after = (chain_of("agent", 0, [own], Scenario()).wealth[-1] for own in (foreseeing, shuffled))
    years = (len(panel.sessions) - panel.start - 1) / 252
    found = attribution([foreseeing], "agent", draws=1, seed=5).set_index("channel")
    assert found.loc["oracle", "effect"] == pytest.approx(np.log(before / after) / years)
    # The bars and the window that was given are as they were.
    assert not np.array_equal(features[:, :, 0], panel.features[:, :, 0], equal_nan=True)


def test_equal_seeds_give_equal_attributions(windows):
    pd.testing.assert_frame_equal(attribution(windows, "ensemble", draws=1), attribution(windows, "ensemble", draws=1))


def test_capacity_is_the_return_of_the_report_until_orders_are_cut(windows):
    judged = judge(windows, [Scenario()], baselines=("cash",))
    curve = capacity(windows, "ensemble", LIMIT, multiples=(1.0, 1e3, 1e7))
    (figures,) = judged.table[judged.table["strategy"] == "ensemble"].to_dict("records")
    assert curve["annual_return"].iloc[0] == pytest.approx(figures["annual_return"])
    assert curve["exposure"].iloc[0] == pytest.approx(figures["exposure"])
    assert list(curve["capital"]) == [1e4, 1e7, 1e11]
    # 1 % of the volume of five names is far less than 100 billion: nearly all of it stays cash.
    assert curve["exposure"].iloc[-1] < 0.2 * curve["exposure"].iloc[0]


def test_orders_larger_than_the_limit_are_cut_to_it(windows):
    large = [dataclasses.replace(w, config=w.config.replace(initial_cash=1e9, volume_limit=LIMIT)) for w in windows]
    curve = capacity(windows, "equal_weight_hold", LIMIT, multiples=(1e5,))
    chain = chain_of("equal_weight_hold", 0, large, Scenario())
    assert curve["exposure"].iloc[0] == pytest.approx(chain.joined("gross").mean())


def test_details_are_of_the_subject_over_all_windows(windows):
    judged = judge(windows, [Scenario()], baselines=("cash", "equal_weight_hold"))
    said = []
    found = details_of(judged, windows[::-1], LIMIT, report=lambda *told: said.append(told))
    assert found.strategy == "ensemble"
    chain = judged.chains["ensemble", 0]
    pd.testing.assert_frame_equal(found.contributions, contributions(chain))
    pd.testing.assert_frame_equal(found.drawdowns, drawdown_table(chain))
    assert found.months.loc[2012, [7, 8, 9, 10, 11, 12]].notna().all()
    assert set(found.rolling) == {"ensemble", "equal_weight_hold"}
    assert found.volume_limit == LIMIT
    assert set(found.attribution["channel"]) == {"return_1", "vol_20", "momentum"}
    assert [done for done, *_ in said] == [0, 1]


def test_without_an_agent_there_are_no_details(windows):
    bare = [dataclasses.replace(window, policies=()) for window in windows]
    assert details_of(judge(bare, [Scenario()]), bare, LIMIT) is None
