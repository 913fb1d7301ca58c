"""Plots of bars, scores and recorded episodes against the numbers they are made of."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import style
from matplotlib.image import imread

from tt_assets.market.calendar import sessions
from tt_assets.report import NothingToReport
from tt_assets.report.canvas import _STYLE, SCREEN
from tt_assets.report.heat_maps import heat_maps_figure, heat_maps_plot
from tt_assets.report.market_plots import (
    bars_figure,
    bars_plot,
    information_figure,
)
from tt_assets.report.plots import equity_figure, equity_plot, weights_plot
from tt_assets.report.recorded import LearningCurve, learning_figure, learning_plot, recorded_judgement
from tt_assets_tests.report.test_plots import DARK, WHITE, contrast, texts

SPAN = sessions(pd.Timestamp("2012-05-01").date(), pd.Timestamp("2012-08-31").date())
HALTED = pd.to_datetime(["2012-06-12", "2012-06-13"])


@pytest.fixture(autouse=True)
def _house_style():
    with style.context(_STYLE, after_reset=True):
        yield


@pytest.fixture
def facebook(sample_bars):
    bars = sample_bars[(sample_bars["instrument"] == "FB") & sample_bars["timestamp"].isin(SPAN)]
    return bars[~bars["timestamp"].isin(HALTED)].reset_index(drop=True)


def segments(collection):
    return np.array([path.vertices for path in collection.get_paths()], dtype=float)


def test_candles_reach_from_low_to_high_and_from_open_to_close(facebook):
    prices, volumes = bars_figure(facebook, SPAN, "FB").axes
    wicks, bodies = (segments(collection) for collection in prices.collections)
    np.testing.assert_allclose(wicks[:, :, 1], facebook[["low", "high"]])
    np.testing.assert_allclose(bodies[:, 0, 1], facebook[["open", "close"]].min(axis=1))
    tops = facebook[["open", "close"]].max(axis=1)
    assert (bodies[:, 1, 1] >= tops - 1e-9).all()
    assert np.abs(bodies[:, 1, 1] - tops).max() <= 0.002 * (facebook["high"].max() - facebook["low"].min()) + 1e-9
    (bars,) = volumes.collections
    shares = segments(bars)[:, 1, 1]
    np.testing.assert_allclose(shares[~np.isnan(shares)] * 1e6, facebook["volume"])


def test_a_session_without_a_bar_keeps_its_place_and_is_shaded(facebook):
    figure = bars_figure(facebook, SPAN, "FB")
    prices = figure.axes[0]
    listed = SPAN[SPAN >= "2012-05-18"]
    shaded = sorted(patch.get_x() + 0.5 for patch in prices.patches)
    assert shaded == [listed.get_loc(session) for session in HALTED]
    assert any("2 without a bar" in text.get_text() for text in texts(figure))
    assert segments(prices.collections[0])[-1, 0, 0] == len(listed) - 1  # the axis begins with the listing


def test_a_long_span_is_a_line_of_closes_that_breaks_at_a_gap(sample_bars):
    year = sessions(pd.Timestamp("2012-01-03").date(), pd.Timestamp("2012-12-31").date())
    bars = sample_bars[(sample_bars["instrument"] == "IBM") & sample_bars["timestamp"].isin(year)]
    bars = bars[~bars["timestamp"].isin(HALTED)]
    (line,) = bars_figure(bars, year, "IBM").axes[0].get_lines()
    drawn = np.asarray(line.get_ydata(), dtype=float)
    np.testing.assert_allclose(drawn[~np.isnan(drawn)], bars["close"])
    assert np.flatnonzero(np.isnan(drawn)).tolist() == [year.get_loc(session) for session in HALTED]


@pytest.fixture
def coefficients():
    return pd.DataFrame(
        {
            "signal_name": ["a", "a", "b", "b"],
            "horizon": [1, 5, 1, 5],
            "coefficient": [0.10, -0.05, 0.02, np.nan],
            "standard_error": [0.04, 0.02, 0.01, np.nan],
        }
    )


def test_a_coefficient_stands_at_its_horizon_with_two_standard_errors(coefficients):
    (axes,) = information_figure(coefficients).axes
    first, second = axes.containers
    np.testing.assert_allclose(np.asarray(first.lines[0].get_ydata(), dtype=float), [0.10, -0.05])
    np.testing.assert_allclose(segments(first.lines[2][0])[:, :, 1], [[0.02, 0.18], [-0.09, -0.01]], atol=1e-12)
    assert np.isnan(np.asarray(second.lines[0].get_ydata(), dtype=float)[1])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "5"]


@pytest.fixture
def equity():
    days = SPAN[:3]
    worth = {
        ("agent", 0): [100, 110, 99],
        ("agent", 1): [200, 180, 240],
        ("ensemble", 0): [10, 9, 12],
        ("cash", 0): [50, 50, np.nan],
    }
    rows = [
        (strategy, seed, day, value)
        for (strategy, seed), values in worth.items()
        for day, value in zip(days, values, strict=True)
        if value == value  # the last account was stopped a session early
    ]
    return pd.DataFrame(rows, columns=["strategy", "seed", "timestamp", "net_worth"])


def test_recorded_curves_start_at_one_and_a_stopped_account_stays_where_it_ended(equity):
    judgement = recorded_judgement(equity)
    bands = judgement.bands.set_index("strategy")
    np.testing.assert_allclose(
        bands.loc["ensemble", ["low", "wealth", "high"]], [[1, 1, 1], [0.9, 0.9, 1.1], [0.99, 1.2, 1.2]]
    )
    np.testing.assert_allclose(bands.loc["cash", "wealth"], [1, 1, 1])
    table = judgement.table.set_index(["strategy", "seed"])
    assert table.loc[("agent", 1), "total_return"] == pytest.approx(0.2)
    assert table.loc[("ensemble", 0), "max_drawdown"] == pytest.approx(0.1)
    assert equity_figure(judgement).axes[0].get_title(loc="left").startswith("Net worth")


def test_a_picture_for_the_screen_has_its_legend_beneath_and_says_what_the_page_s_says(judgement):
    with style.context(_STYLE | {"figure.figsize": SCREEN[:2]}, after_reset=True):
        figure = equity_figure(judgement)
    written = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    table = judgement.contestants.query("cost_multiple == 1 and delay == 0").set_index("strategy")["total_return"]
    assert f"Momentum  {100 * table['momentum']:+.1f} %" in written
    assert len(written) == len(table)


def test_the_kept_checkpoint_is_marked_on_the_score_of_its_training():
    curves = [LearningCurve(0, [32, 64, 96], [0.1, 0.2, 0.3], [1.0, 3.0, 2.0], 64)]
    reward, score = learning_figure(curves).axes
    np.testing.assert_allclose(reward.get_lines()[0].get_ydata(), [0.1, 0.2, 0.3])
    (dot,) = [line for line in score.get_lines() if line.get_marker() == "o"]
    assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([64], [3.0])


def test_a_training_without_validation_has_one_curve():
    (axes,) = learning_figure([LearningCurve(3, [32, 64], [0.1, 0.2], [None, None], 64)]).axes
    assert "seed 3" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_text_is_readable_on_white_and_on_dark(facebook, coefficients, equity):
    grid = pd.DataFrame(0.5, index=SPAN[:5], columns=["A", "B"])
    for figure in (
        bars_figure(facebook, SPAN, "FB"),
        heat_maps_figure({"one": grid}, "Scores", "score", 1.0),
        information_figure(coefficients),
        learning_figure([LearningCurve(0, [32, 64], [0.1, 0.2], [1.0, 2.0], 32)]),
    ):
        for text in texts(figure):
            assert min(contrast(text.get_color(), page) for page in (WHITE, DARK)) >= 4.0, text


def test_pictures_are_small_transparent_fit_the_column_and_are_the_same_bytes_every_time(facebook, judgement, weights):
    grid = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 30)), index=SPAN[:80], columns=range(30))
    for draw in (
        lambda: bars_plot(facebook, SPAN, "FB"),
        lambda: heat_maps_plot({f"{n}": grid for n in range(11)}, "Features", "1", 3.0),
        lambda: equity_plot(judgement, SCREEN),
        lambda: weights_plot(weights, SCREEN),
        lambda: learning_plot([LearningCurve(0, [32, 64], [0.1, 0.2], [1.0, 2.0], 32)]),
    ):
        first = draw()
        pixels = imread(io.BytesIO(first))
        assert pixels.shape[1] == SCREEN.width * SCREEN.dpi
        assert pixels[0, 0, 3] == 0.0
        assert len(first) < 100_000
        assert draw() == first


def test_nothing_to_draw_is_said_by_name(facebook, coefficients):
    with pytest.raises(NothingToReport, match="FB has no bar"):
        bars_plot(facebook.iloc[:0], SPAN, "FB")
    with pytest.raises(NothingToReport, match="no value to draw"):
        heat_maps_plot({"a": pd.DataFrame(np.nan, index=SPAN[:2], columns=["A"])}, "Features", "1", 1.0)
    with pytest.raises(NothingToReport, match="no score has a return after it"):
        information_figure(coefficients.assign(coefficient=np.nan))
    with pytest.raises(NothingToReport, match="materialize tt_equity_curve"):
        recorded_judgement(pd.DataFrame(columns=["strategy", "seed", "timestamp", "net_worth"]))
    with pytest.raises(NothingToReport, match="train these windows again"):
        learning_figure([])
