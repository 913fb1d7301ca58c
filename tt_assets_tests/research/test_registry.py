"""A user's module adds features and signals; what is wrong with it is said on one line."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tt_assets.errors import UserError
from tt_assets.research.compute import FeatureError, SignalError, compute_features, compute_signals, meta_json
from tt_assets.research.registry import RegistryError, feature, load_features, load_signals, longest_lookback, signal

Write = Callable[[str, str], str]


@pytest.fixture
def module(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Writes an importable module and gives its name; forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


GAP = """
    from tt_assets.research.features import return_1  # imported, not of its own
    from tt_assets.research.registry import feature, signal

    @feature(name="gap_2", lookback=2, unit="fraction")
    def gap_2(bars):
        "Open over the close two sessions before, less one."
        return bars.open / bars.close.shift(2) - 1

    @signal(name="against_gap", lookback=0, inputs=("gap_2",), method="-sign(gap_2)")
    def against_gap(bars, features):
        return -features["gap_2"] / features["gap_2"].abs()
"""


def test_a_users_module_adds_a_feature_and_a_signal_after_the_built_in_ones(module: Write, real_bars: pd.DataFrame):
    name = module("my_gap", GAP)
    features = load_features([name])
    assert [item.name for item in features] == [*(item.name for item in load_features()), "gap_2"]
    assert features[-1].description == "Open over the close two sessions before, less one."
    signals = load_signals([name], features)
    long = compute_features(real_bars, features)
    apple = real_bars[real_bars["instrument"] == "AAPL"].reset_index(drop=True)
    gaps = long[(long["feature"] == "gap_2") & (long["instrument"] == "AAPL")]["value"].tolist()
    assert gaps == [apple["open"][t] / apple["close"][t - 2] - 1 for t in range(2, len(apple))]
    scores = compute_signals(real_bars, long, signals)
    own = scores[(scores["signal_name"] == "against_gap") & (scores["instrument"] == "AAPL")]
    assert own["score"].tolist() == [-1.0 if gap > 0 else 1.0 for gap in gaps if gap != 0]
    assert json.loads(own["meta_json"].iloc[0]) == {"lookback": 0, "inputs": ["gap_2"], "method": "-sign(gap_2)"}


def test_a_module_named_twice_or_loaded_before_changes_nothing(module: Write):
    name = module("my_gap", GAP)
    assert load_features([name, name]) == load_features([name])
    assert "gap_2" not in {item.name for item in load_features()}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1", r'"broken" in TT_FEATURE_MODULES has no feature of its own'),
        ("from tt_assets.research.features import return_1", "no feature of its own"),
        ("import a_library_nobody_has", r"fails on import: ModuleNotFoundError: .*a_library_nobody_has"),
        ("def f(:", r'"broken" .* fails on import: SyntaxError'),
        ("1 / 0", "fails on import: ZeroDivisionError"),
        (GAP.replace("gap_2", "vol_20"), r'"vol_20" is in both tt_assets.research.features and broken'),
        (GAP.replace("lookback=2", "lookback=-1"), r'"gap_2" has look-back -1'),
        (GAP.replace('name="gap_2"', 'name="gap 2"'), '"gap 2" is no name'),
        (GAP.replace('name="gap_2"', 'name="volume"'), '"volume" has the name of a field of the bars'),
    ],
)
def test_a_broken_module_is_one_line_that_names_it(module: Write, source: str, complaint: str):
    name = module("broken", source)
    with pytest.raises(RegistryError, match=complaint) as caught:
        load_features([name])
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nobody_wrote_this", "nobody_wrote.this", "tt_assets.research.nothing"])
def test_a_module_that_is_not_there_is_named_with_the_remedy(name: str):
    with pytest.raises(RegistryError, match=rf'"{name}" in TT_SIGNAL_MODULES cannot be found.*PYTHONPATH'):
        load_signals([name])


def test_a_signal_must_read_what_exists_and_not_be_named_like_a_feature(module: Write):
    name = module("my_gap", GAP)
    with pytest.raises(RegistryError, match='"against_gap" reads "gap_2", which is neither'):
        load_signals([name], load_features())
    name = module("shadow", GAP.replace('name="against_gap"', 'name="vol_10"'))
    with pytest.raises(RegistryError, match='Signal "vol_10" has the name of a feature'):
        load_signals([name], load_features([name]))


def test_the_longest_lookback_is_that_of_the_most_far_sighted():
    def nothing(bars):
        return bars.close

    items = [feature(name=f"f{n}", lookback=n, unit="1")(nothing) for n in (3, 60, 7)]
    assert longest_lookback(items) == 60


def make(compute) -> list:
    return [feature(name="odd", lookback=0, unit="1")(compute)]


@pytest.mark.parametrize(
    ("compute", "complaint"),
    [
        (lambda bars: bars.close / (bars.close - bars.close.iloc[5]), r'"odd" is .*inf for AAPL on 2005-03-08'),
        (lambda bars: bars.close.to_numpy(), '"odd" returned a ndarray'),
        (lambda bars: bars.close.iloc[1:], "Keep the panel's axes"),
        (lambda bars: bars.close.iloc[:, ::-1], "Keep the panel's axes"),
        (lambda bars: bars.close.astype(str), "no numbers|is nan"),
    ],
)
def test_what_a_feature_may_not_return_is_refused_by_name(compute, complaint: str, real_bars: pd.DataFrame):
    if "no numbers" in complaint:
        compute = lambda bars: bars.close.map(lambda value: f"{value} USD")  # noqa: E731
    with pytest.raises(FeatureError, match=complaint):
        compute_features(real_bars, make(compute))


def test_an_error_inside_a_feature_keeps_its_traceback_and_gains_its_name(real_bars: pd.DataFrame):
    with pytest.raises(AttributeError) as caught:
        compute_features(real_bars, make(lambda bars: bars.vwap))
    assert 'while computing "odd"' in caught.value.__notes__[0]


@pytest.mark.parametrize("score", [1.0000001, -2.0, np.inf, -np.inf])
def test_a_score_outside_its_range_is_refused_by_name(score: float, real_bars: pd.DataFrame):
    @signal(name="loud", lookback=0, inputs=("close",), method="shout")
    def loud(bars, features):
        scores = bars.close * 0.0
        scores.loc["2006-01-03", "IBM"] = score
        return scores

    with pytest.raises(SignalError, match=r'"loud" is .* for IBM on 2006-01-03.*\[-1, 1\]'):
        compute_signals(real_bars, compute_features(real_bars, load_features()), [loud])


def test_a_signal_sees_only_the_features_it_declares(real_bars: pd.DataFrame):
    @signal(name="sly", lookback=0, inputs=("vol_20",), method="reads rsi_14 too")
    def sly(bars, features):
        return features["vol_20"] * features["rsi_14"]

    with pytest.raises(KeyError, match="rsi_14"):
        compute_signals(real_bars, compute_features(real_bars, load_features()), [sly])


def test_meta_json_is_compact_and_the_same_bytes_each_time():
    (momentum,) = (item for item in load_signals() if item.name == "momentum_20d")
    assert meta_json(momentum) == '{"lookback":19,"inputs":["return_1"],"method":"tanh(mean of 20 return_1 * 252)"}'
