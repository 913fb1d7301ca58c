"""The long form, the calendar grid, and what is no row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.panel import BarPanel, Grid
from tt_assets.research.registry import load_features, load_signals

FEATURES = load_features()
SIGNALS = load_signals()


def test_rows_are_sorted_unique_finite_and_never_undefined(real_bars: pd.DataFrame):
    features = compute_features(real_bars, FEATURES)
    scores = compute_signals(real_bars, features, SIGNALS)
    for long, name, value in ((features, "feature", "value"), (scores, "signal_name", "score")):
        key = ["instrument", "timestamp", name]
        pd.testing.assert_frame_equal(long, long.sort_values(key, ignore_index=True), check_exact=True)
        assert not long.duplicated(key).any()
        assert np.isfinite(long[value]).all()
        assert long["timestamp"].dtype == np.dtype("datetime64[ns]")
    assert features.columns.tolist() == ["instrument", "timestamp", "feature", "value"]
    assert scores.columns.tolist() == ["instrument", "timestamp", "signal_name", "score", "meta_json"]
    assert scores["score"].between(-1, 1).all()


def test_warm_up_has_no_rows(real_bars: pd.DataFrame):
    features = compute_features(real_bars, FEATURES)
    facebook = features[features["instrument"] == "FB"]
    first = facebook.groupby("feature")["timestamp"].min()
    sessions = real_bars[real_bars["instrument"] == "FB"]["timestamp"].tolist()
    assert first["return_1"] == sessions[1]
    assert first["vol_10"] == sessions[10]
    assert first["vol_20"] == sessions[20]


def test_the_order_and_the_instruments_beside_it_do_not_change_a_value(real_bars: pd.DataFrame):
    whole = compute_features(real_bars, FEATURES)
    shuffled = compute_features(real_bars.sample(frac=1, random_state=1), FEATURES[::-1])
    pd.testing.assert_frame_equal(shuffled, whole, check_exact=True)
    alone = compute_features(real_bars[real_bars["instrument"] == "IBM"], FEATURES)
    pd.testing.assert_frame_equal(alone, whole[whole["instrument"] == "IBM"].reset_index(drop=True), check_exact=True)
    scores = compute_signals(real_bars, whole, SIGNALS)
    mixed = compute_signals(real_bars[::-1], whole.sample(frac=1, random_state=2), SIGNALS[::-1])
    pd.testing.assert_frame_equal(mixed, scores, check_exact=True)


def test_a_missing_bar_is_a_row_of_its_own_and_is_not_bridged(real_bars: pd.DataFrame):
    gone = pd.Timestamp("2010-06-16")
    ibm = real_bars["instrument"] == "IBM"
    features = compute_features(real_bars[~(ibm & (real_bars["timestamp"] == gone))], FEATURES)
    returns = features[(features["instrument"] == "IBM") & (features["feature"] == "return_1")]
    near = pd.to_datetime(["2010-06-15", "2010-06-16", "2010-06-17", "2010-06-18"])
    assert near.isin(returns["timestamp"]).tolist() == [True, False, False, True]
    vol = features[(features["instrument"] == "IBM") & (features["feature"] == "vol_10")]["timestamp"]
    assert vol[vol > gone].min() == pd.Timestamp("2010-07-01")  # ten returns after the gap: 18 June to 1 July


def test_a_session_that_no_instrument_has_keeps_its_row(real_bars: pd.DataFrame):
    gone = pd.Timestamp("2010-06-16")
    panel = BarPanel.from_prices(real_bars[real_bars["timestamp"] != gone])
    assert gone in panel.sessions
    assert panel.close.loc[gone].isna().all()
    assert (
        panel.close.loc["2010-06-15", "IBM"]
        == real_bars.set_index(["instrument", "timestamp"])["close"]["IBM", "2010-06-15"]
    )


def test_a_price_that_never_moves_has_no_score_that_needs_a_scale():
    sessions = pd.bdate_range("2012-01-03", "2012-03-30").difference(pd.to_datetime(["2012-01-16", "2012-02-20"]))
    still = pd.DataFrame(
        {"instrument": "A", "timestamp": sessions, "open": 0.1, "high": 0.1, "low": 0.1, "close": 0.1, "volume": 0.0}
    )
    features = compute_features(still, FEATURES)
    assert set(features["feature"]) == {
        *("return_1", "return_5", "return_20", "overnight_return", "vol_10", "vol_20"),
        *("atr_14", "willr_14", "aroonosc_14"),
    }
    scores = compute_signals(still, features, SIGNALS)
    assert set(scores["signal_name"]) == {"momentum_20d"}
    assert (scores["score"] == 0).all()


def test_nothing_in_is_nothing_out(real_bars: pd.DataFrame):
    features = compute_features(real_bars.head(0), FEATURES)
    scores = compute_signals(real_bars.head(0), features, SIGNALS)
    assert features.columns.tolist() == ["instrument", "timestamp", "feature", "value"]
    assert (len(features), len(scores)) == (0, 0)
    assert compute_features(real_bars, []).empty
    lonely = real_bars[real_bars["timestamp"] == pd.Timestamp("2010-06-16")]
    assert compute_features(lonely, FEATURES).empty


def test_categories_microseconds_and_strings_read_the_same(real_bars: pd.DataFrame):
    whole = compute_features(real_bars, FEATURES)
    other = real_bars.assign(
        instrument=real_bars["instrument"].astype("category"),
        timestamp=real_bars["timestamp"].astype("datetime64[us]"),
    )
    pd.testing.assert_frame_equal(compute_features(other, FEATURES), whole, check_exact=True)
    as_read = whole.assign(feature=whole["feature"].astype("category"))
    pd.testing.assert_frame_equal(
        compute_signals(other, as_read, SIGNALS), compute_signals(real_bars, whole, SIGNALS), check_exact=True
    )


def test_a_bar_off_the_calendar_or_there_twice_is_refused(real_bars: pd.DataFrame):
    some = real_bars.head(5)
    with pytest.raises(ValueError, match=r"AAPL 2005-03-01 .* is there twice"):
        BarPanel.from_prices(pd.concat([some, some.head(1)]))
    saturday = some.assign(timestamp=some["timestamp"].where(some.index != 3, pd.Timestamp("2005-03-05")))
    with pytest.raises(ValueError, match=r"AAPL 2005-03-05 .* is no session"):
        BarPanel.from_prices(saturday)
    features = compute_features(real_bars.head(50), FEATURES)
    with pytest.raises(ValueError, match="is there twice"):
        compute_signals(real_bars.head(50), pd.concat([features, features]), SIGNALS)


def test_the_grid_spans_bars_and_features(real_bars: pd.DataFrame):
    bars = real_bars[real_bars["instrument"] == "IBM"].head(5)
    later = pd.DataFrame({"instrument": ["A"], "timestamp": [pd.Timestamp("2005-03-14")]})
    grid = Grid.spanning(bars, later)
    assert grid.instruments.tolist() == ["A", "IBM"]
    assert grid.shape == (10, 2)
