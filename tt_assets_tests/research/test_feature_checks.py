"""Checks of stored features and scores against lies that were planted, and features that cheat."""

import numpy as np
import pandas as pd
import pytest

from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.feature_checks import (
    evenly,
    meta_json_not_an_object,
    scores_out_of_bounds,
    values_not_finite,
    values_out_of_place,
    values_that_differ_on_truncated_bars,
)
from tt_assets.research.registry import Feature, load_features, load_signals

FEATURES = load_features()
SINCE = pd.Timestamp("2012-06-01")
DAY = pd.Timestamp("2012-08-15")


@pytest.fixture
def bars(sample_bars):
    return sample_bars[sample_bars["timestamp"].between("2012-04-02", "2012-09-28")].reset_index(drop=True)


@pytest.fixture
def stored(bars):
    return compute_features(bars, FEATURES).query("timestamp >= @SINCE")


@pytest.fixture
def scores(bars):
    return compute_signals(bars, compute_features(bars, FEATURES), load_signals()).query("timestamp >= @SINCE")


def at(rows, instrument, name, column="feature"):
    return (rows["instrument"] == instrument) & (rows["timestamp"] == DAY) & (rows[column] == name)


def test_what_the_registry_computes_holds(bars, stored, scores):
    assert values_not_finite(stored) == []
    assert values_out_of_place(stored, bars, FEATURES, SINCE) == []
    sampled = evenly(sorted(stored["timestamp"].unique()), 5)
    assert values_that_differ_on_truncated_bars(stored, bars, FEATURES, sampled) == []
    assert scores_out_of_bounds(scores) == []
    assert meta_json_not_an_object(scores) == []
    # Facebook's warm-up lies within the sessions judged, so there was something to excuse.
    assert stored.query("instrument == 'FB' and feature == 'vol_20'")["timestamp"].min() == pd.Timestamp("2012-06-18")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_value_that_is_not_finite_is_named(stored, value):
    stored.loc[at(stored, "IBM", "vol_10"), "value"] = value
    (finding,) = values_not_finite(stored)
    assert (finding.instrument, finding.session, finding.message) == ("IBM", DAY, f"vol_10 is {value}")


def test_a_value_that_is_missing_although_due_is_named(bars, stored):
    gone = stored[~at(stored, "IBM", "vol_10")]
    (finding,) = values_out_of_place(gone, bars, FEATURES, SINCE)
    assert (finding.instrument, finding.session) == ("IBM", DAY)
    assert finding.message.startswith("vol_10 has no value although its look-back of 10 sessions is full")


def test_a_missing_bar_excuses_every_value_that_looks_back_over_it(bars):
    halted = bars[~((bars["instrument"] == "IBM") & (bars["timestamp"] == DAY))]
    stored = compute_features(halted, FEATURES)
    assert values_out_of_place(stored, halted, FEATURES, SINCE) == []


def test_values_whose_bar_is_gone_are_named(bars, stored):
    halted = bars[~((bars["instrument"] == "IBM") & (bars["timestamp"] == DAY))]
    found = values_out_of_place(stored, halted, FEATURES, SINCE)
    said = {finding.message for finding in found if finding.session == DAY}
    assert {finding.instrument for finding in found} == {"IBM"}
    assert "vol_10 has a value although there is no bar to compute it from" in said


def test_a_feature_that_is_undefined_on_bars_that_are_all_there_is_no_finding(bars):
    rising = Feature("rising", 0, "1", lambda panel: panel.close.where(panel.close > panel.open), "")
    stored = compute_features(bars, [rising])
    assert stored["instrument"].value_counts().min() < bars["timestamp"].nunique()
    assert values_out_of_place(stored, bars, [rising], SINCE) == []


def test_what_lies_before_the_sessions_judged_is_not_judged(bars, stored):
    gone = stored[~at(stored, "IBM", "vol_10")]
    assert values_out_of_place(gone, bars, FEATURES, DAY + pd.Timedelta(days=1)) == []


def test_a_value_that_was_changed_is_found_at_a_sampled_session_and_only_there(bars, stored):
    stored.loc[at(stored, "AAPL", "return_5"), "value"] += 1e-6
    (finding,) = values_that_differ_on_truncated_bars(stored, bars, FEATURES, [DAY])
    assert (finding.instrument, finding.session) == ("AAPL", DAY)
    assert finding.message.startswith("return_5 is ")
    assert values_that_differ_on_truncated_bars(stored, bars, FEATURES, [DAY + pd.Timedelta(days=1)]) == []


def test_a_feature_that_sees_the_next_close_is_caught(bars):
    cheat = Feature("cheat", 1, "1", lambda panel: panel.close.shift(-1) / panel.close, "")
    found = values_that_differ_on_truncated_bars(compute_features(bars, [cheat]), bars, [cheat], [DAY])
    assert {finding.instrument for finding in found} == set(bars["instrument"])
    assert all("bars up to this session give no value" in finding.message for finding in found)


def test_a_feature_scaled_by_the_whole_history_is_caught(bars):
    cheat = Feature("cheat", 1, "1", lambda panel: panel.close / panel.close.max(), "")
    found = values_that_differ_on_truncated_bars(compute_features(bars, [cheat]), bars, [cheat], [DAY])
    assert {"IBM", "AAPL"} <= {finding.instrument for finding in found}


def test_a_look_back_that_is_longer_than_declared_is_caught(bars):
    cheat = Feature("cheat", 2, "1", lambda panel: panel.close / panel.close.shift(9), "")
    found = values_that_differ_on_truncated_bars(compute_features(bars, [cheat]), bars, [cheat], [DAY])
    assert len(found) == bars["instrument"].nunique()


def test_each_feature_is_judged_on_its_own_look_back_and_not_the_longest(bars):
    short = Feature("short_lb", 2, "1", lambda panel: panel.close / panel.close.rolling(10).mean() - 1, "")
    features = [*FEATURES, short]
    assert max(item.lookback for item in FEATURES) > 9
    found = values_that_differ_on_truncated_bars(compute_features(bars, features), bars, features, [DAY])
    assert {finding.instrument for finding in found} == set(bars["instrument"])
    said = "short_lb reads more than the 2 sessions before that it declares: it is "
    assert all(finding.message.startswith(said) for finding in found)


def test_values_of_features_nobody_registered_are_left_alone(bars, stored):
    foreign = stored[at(stored, "IBM", "vol_10")].assign(feature="elsewhere", value=7.0)
    both = pd.concat([stored, foreign])
    assert values_out_of_place(both, bars, FEATURES, SINCE) == []
    assert values_that_differ_on_truncated_bars(both, bars, FEATURES, [DAY]) == []


@pytest.mark.parametrize("score", [1.0001, -2.0, np.nan])
def test_a_score_out_of_bounds_is_named(scores, score):
    scores.loc[at(scores, "FB", "momentum_20d", "signal_name"), "score"] = score
    (finding,) = scores_out_of_bounds(scores)
    assert finding == ("FB", DAY, f"momentum_20d is {score}")


@pytest.mark.parametrize(
    ("text", "why"), [("{lookback: 20}", "no JSON"), ("[20]", "a JSON list, not an object"), ("", "no JSON")]
)
def test_meta_json_that_is_no_object_is_named(scores, text, why):
    scores.loc[at(scores, "FB", "momentum_20d", "signal_name"), "meta_json"] = text
    (finding,) = meta_json_not_an_object(scores)
    assert (finding.instrument, finding.session) == ("FB", DAY)
    assert finding.message.startswith(f"meta_json of momentum_20d is {why}")


def test_empty_tables_have_nothing_to_find(bars, stored, scores):
    nothing = bars.iloc[:0]
    assert values_out_of_place(stored.iloc[:0], nothing, FEATURES, SINCE) == []
    assert values_that_differ_on_truncated_bars(stored.iloc[:0], nothing, FEATURES, [DAY]) == []
    assert values_not_finite(stored.iloc[:0]) == scores_out_of_bounds(scores.iloc[:0]) == []
    assert meta_json_not_an_object(scores.iloc[:0]) == []


def test_a_sample_is_spread_evenly_and_holds_both_ends():
    assert evenly(list(range(10)), 4) == [0, 3, 6, 9]
    assert evenly([1, 2], 5) == [1, 2]
    assert evenly([], 5) == []
