"""Every built-in feature and signal against its formula written a second time in plain Python."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from tt_assets.market.calendar import sessions
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets_tests.research import second_formulas

FIRST = pd.Timestamp("2012-03-01")


@pytest.fixture(scope="module")
def gappy_bars(real_bars: pd.DataFrame) -> pd.DataFrame:
    """A year of real bars with FB's listing inside and three bars of IBM taken out."""
    bars = real_bars[real_bars["timestamp"] >= FIRST]
    gone = bars["timestamp"].isin(pd.to_datetime(["2012-07-02", "2012-07-05", "2012-11-15"]))
    return bars[~((bars["instrument"] == "IBM") & gone)].reset_index(drop=True)


@pytest.fixture(scope="module")
def grid(gappy_bars: pd.DataFrame) -> pd.DatetimeIndex:
    return sessions(gappy_bars["timestamp"].min(), gappy_bars["timestamp"].max())


@pytest.fixture(scope="module")
def plain_bars(gappy_bars: pd.DataFrame, grid: pd.DatetimeIndex) -> dict[str, second_formulas.Bars]:
    found = {}
    for instrument, rows in gappy_bars.groupby("instrument"):
        on_grid = rows.set_index("timestamp").reindex(grid)
        columns = (on_grid[name].tolist() for name in ("open", "high", "low", "close", "volume"))
        found[str(instrument)] = second_formulas.Bars(
            *([None if math.isnan(value) else value for value in column] for column in columns)
        )
    return found


def assert_same(long: pd.DataFrame, value: str, formula, plain_bars, grid: pd.DatetimeIndex) -> None:
    computed = {(i, t): v for i, t, v in zip(long["instrument"], long["timestamp"], long[value], strict=True)}
    expected = {
        (instrument, session): found
        for instrument, bars in plain_bars.items()
        for t, session in enumerate(grid)
        if (found := formula(bars, t)) is not None
    }
    assert len(expected) > 700
    assert computed.keys() == expected.keys()
    for cell, found in expected.items():
        assert computed[cell] == pytest.approx(found, rel=1e-9, abs=1e-12), cell


def test_there_is_a_second_formula_for_every_built_in():
    assert {item.name for item in load_features()} == second_formulas.FEATURES.keys()
    assert {item.name for item in load_signals()} == second_formulas.SIGNALS.keys()


@pytest.mark.parametrize("name", second_formulas.FEATURES)
def test_a_feature_equals_its_formula_in_plain_python(name: str, gappy_bars, plain_bars, grid):
    long = compute_features(gappy_bars, load_features())
    assert_same(long[long["feature"] == name], "value", second_formulas.FEATURES[name], plain_bars, grid)


@pytest.mark.parametrize("name", second_formulas.SIGNALS)
def test_a_signal_equals_its_formula_in_plain_python(name: str, gappy_bars, plain_bars, grid):
    features = compute_features(gappy_bars, load_features())
    long = compute_signals(gappy_bars, features, load_signals())
    assert_same(long[long["signal_name"] == name], "score", second_formulas.SIGNALS[name], plain_bars, grid)


def test_the_three_named_features_equal_pandas_on_an_unbroken_history(real_bars: pd.DataFrame):
    close = real_bars.pivot_table(index="timestamp", columns="instrument", values="close")[["AAPL", "IBM"]]
    returns = close.pct_change()
    long = compute_features(real_bars[real_bars["instrument"].isin(["AAPL", "IBM"])], load_features())
    wide = long.pivot_table(index="timestamp", columns=["feature", "instrument"], values="value")
    pd.testing.assert_frame_equal(wide["return_1"], returns.iloc[1:], check_exact=True, check_freq=False)
    for name, count in (("vol_10", 10), ("vol_20", 20)):
        expected = returns.rolling(count).std()
        pd.testing.assert_frame_equal(wide[name], expected.loc[wide.index], rtol=1e-8, check_freq=False)
