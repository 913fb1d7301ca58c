"""Rolling statistics against the statistics module, and TA-Lib over gaps."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tt_assets.research.indicators import by_stretch
from tt_assets.research.windows import rolling_max, rolling_mean, rolling_min, rolling_std, rolling_sum

values = st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan")))
columns = arrays(np.float64, st.integers(1, 30), elements=values)


@pytest.mark.parametrize(
    ("rolling", "plain"),
    [
        (rolling_sum, sum),
        (rolling_mean, statistics.fmean),
        (rolling_std, statistics.stdev),
        (rolling_max, max),
        (rolling_min, min),
    ],
)
@given(column=columns, sessions=st.integers(2, 8))
def test_a_window_equals_the_plain_function_of_its_values(rolling, plain, column: np.ndarray, sessions: int):
    found = rolling(pd.DataFrame({"A": column}), sessions)["A"].tolist()
    for t, value in enumerate(found):
        window = column[max(0, t - sessions + 1) : t + 1].tolist()
        if len(window) < sessions or np.isnan(window).any():
            assert np.isnan(value)
        else:
            assert value == pytest.approx(plain(window), rel=1e-9, abs=1e-6)


@given(column=columns, cut=st.integers(0, 29), sessions=st.integers(2, 8))
def test_a_window_is_the_same_bits_wherever_the_history_starts(column: np.ndarray, cut: int, sessions: int):
    frame = pd.DataFrame({"A": column, "B": column[::-1]})
    for rolling in (rolling_sum, rolling_mean, rolling_std, rolling_max, rolling_min):
        whole = rolling(frame, sessions).to_numpy()
        start = min(cut, len(column) - 1)
        part = rolling(frame[start:], sessions).to_numpy()[sessions - 1 :]
        assert part.tobytes() == whole[start + sessions - 1 :].tobytes()


def test_the_input_is_left_as_it_was_and_the_axes_are_kept():
    frame = pd.DataFrame({"A": [1.0, 2.0, 3.0]}, index=pd.bdate_range("2012-01-03", periods=3))
    before = frame.copy()
    assert rolling_max(frame, 2).index.equals(frame.index)
    rolling_std(frame, 2)
    pd.testing.assert_frame_equal(frame, before)


def test_a_window_longer_than_the_history_is_undefined_and_an_empty_one_is_refused():
    frame = pd.DataFrame({"A": [1.0, 2.0]})
    assert rolling_mean(frame, 3)["A"].isna().all()
    with pytest.raises(ValueError, match="1 session or more"):
        rolling_mean(frame, 0)
    with pytest.raises(ValueError, match="2 sessions or more"):
        rolling_std(frame, 1)


def test_talib_starts_anew_after_a_gap_and_sees_each_stretch_alone():
    column = np.array([3.0, 1.0, 2.0, np.nan, 5.0, 4.0, 9.0, 7.0])
    found = by_stretch(lambda values: talib.MAX(values, timeperiod=2), pd.DataFrame({"A": column, "B": column[::-1]}))
    np.testing.assert_equal(found["A"].to_numpy(), [np.nan, 3, 2, np.nan, np.nan, 5, 9, 9])
    np.testing.assert_equal(found["B"].to_numpy(), [np.nan, 9, 9, 5, np.nan, np.nan, 2, 3])


def test_talib_quirk_an_inner_nan_poisons_its_running_sums_to_the_end():
    """Why TA-Lib is called per stretch: the day this fails, `by_stretch` can go."""
    column = np.r_[np.arange(1.0, 6.0), np.nan, np.arange(1.0, 20.0)]
    assert np.isnan(talib.SMA(column, timeperiod=3)[6:]).all()
