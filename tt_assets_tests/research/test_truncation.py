"""Nothing at t reads past t or before its look-back, bit for bit, whatever else is in the frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import Feature, Signal, feature, load_features, load_signals, longest_lookback
from tt_assets_tests.research.random_bars import SESSIONS, long_bars

FEATURES = load_features()
SIGNALS = load_signals()


def at(long: pd.DataFrame, session: pd.Timestamp) -> list[tuple]:
    """The rows of one session; floats as their bits."""
    rows = long[long["timestamp"] == session]
    return [
        tuple(np.float64(cell).tobytes() if isinstance(cell, float) else cell for cell in row)
        for row in rows.itertuples(index=False)
    ]


def between(long: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Rows of the sessions numbered `first` … `last`."""
    return long[long["timestamp"].between(SESSIONS[max(first, 0)], SESSIONS[last])]


def assert_feature_reads_only_its_lookback(item: Feature, bars: pd.DataFrame, t: int) -> None:
    whole = at(compute_features(bars, [item]), SESSIONS[t])
    assert at(compute_features(between(bars, 0, t), [item]), SESSIONS[t]) == whole, "reads the future"
    assert at(compute_features(between(bars, t - item.lookback, t), [item]), SESSIONS[t]) == whole, "reads too far back"


def assert_on_every_session(item: Feature, bars: pd.DataFrame) -> None:
    for t in range(20, 60):
        assert_feature_reads_only_its_lookback(item, bars, t)


def assert_signal_reads_only_its_lookback(item: Signal, bars: pd.DataFrame, t: int) -> None:
    features = compute_features(bars, FEATURES)
    whole = at(compute_signals(bars, features, [item]), SESSIONS[t])
    for first in (0, t - item.lookback):
        cut = compute_signals(between(bars, first, t), between(features, first, t), [item])
        assert at(cut, SESSIONS[t]) == whole, f"differs when the history starts at {first}"


@settings(max_examples=60, deadline=None)
@given(long_bars(), st.integers(0, 59))
def test_a_feature_is_the_same_bits_from_the_past_alone_and_from_its_lookback_alone(bars: pd.DataFrame, t: int):
    for item in FEATURES:
        assert_feature_reads_only_its_lookback(item, bars, t)


@settings(max_examples=60, deadline=None)
@given(long_bars(), st.integers(0, 59))
def test_a_signal_is_the_same_bits_from_the_past_alone_and_from_its_lookback_alone(bars: pd.DataFrame, t: int):
    for item in SIGNALS:
        assert_signal_reads_only_its_lookback(item, bars, t)


@settings(max_examples=30, deadline=None)
@given(long_bars(), st.integers(0, 59))
def test_one_cell_computed_as_a_run_of_one_partition_equals_the_bulk_run(bars: pd.DataFrame, t: int):
    """One instrument, the longest look-back of all: what a single-partition run sees."""
    features = compute_features(bars, FEATURES)
    scores = compute_signals(bars, features, SIGNALS)
    for instrument in ("A", "B"):
        own_bars, own_features, own_scores = (
            long[long["instrument"] == instrument] for long in (bars, features, scores)
        )
        seen = between(own_bars, t - longest_lookback(FEATURES), t)
        assert at(compute_features(seen, FEATURES), SESSIONS[t]) == at(own_features, SESSIONS[t])
        first = t - longest_lookback(SIGNALS)
        cell = compute_signals(between(own_bars, first, t), between(own_features, first, t), SIGNALS)
        assert at(cell, SESSIONS[t]) == at(own_scores, SESSIONS[t])


def test_real_bars_give_the_same_bits_from_the_lookback_alone(real_bars: pd.DataFrame):
    grid = pd.DatetimeIndex(sorted(real_bars["timestamp"].unique()))
    features = compute_features(real_bars, FEATURES)
    scores = compute_signals(real_bars, features, SIGNALS)
    for t in range(40, len(grid), 97):
        seen = real_bars[real_bars["timestamp"].between(grid[t - longest_lookback(FEATURES)], grid[t])]
        assert at(compute_features(seen, FEATURES), grid[t]) == at(features, grid[t])
        first = grid[t - longest_lookback(SIGNALS)]
        cut = compute_signals(
            real_bars[real_bars["timestamp"].between(first, grid[t])],
            features[features["timestamp"].between(first, grid[t])],
            SIGNALS,
        )
        assert at(cut, grid[t]) == at(scores, grid[t])


def test_this_test_finds_a_feature_that_peeks_or_remembers(real_bars: pd.DataFrame):
    """The check itself can fail: the future, an expanding mean, and pandas' running sums are all caught."""
    bars = real_bars[real_bars["timestamp"].isin(SESSIONS)]

    @feature(name="peek", lookback=5, unit="USD")
    def peek(panel):
        return panel.close.shift(-1)

    @feature(name="memory", lookback=5, unit="USD")
    def memory(panel):
        return panel.close.ewm(span=5).mean()

    @feature(name="running", lookback=19, unit="USD")
    def running(panel):
        return (panel.close / 7).rolling(20).mean()

    for item in (peek, memory, running):
        with pytest.raises(AssertionError, match="reads"):
            assert_on_every_session(item, bars)


def test_the_longest_lookbacks_fit_the_lineage():
    assert longest_lookback(FEATURES) == 20
    assert longest_lookback(SIGNALS) == 19
    assert longest_lookback(()) == 0
