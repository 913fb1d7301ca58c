import dataclasses
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib import style
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from matplotlib.text import Text

from tt_assets.report import drawdown_plot, equity_plot, turnover_plot, verdict, weights_plot
from tt_assets.report.canvas import _STYLE, spread
from tt_assets.report.plots import drawdown_figure, equity_figure, turnover_figure, weights_figure
from tt_assets.trading.judging.judge import Scenario, judge

WHITE, DARK = "#ffffff", "#0d1117"


@pytest.fixture(autouse=True)
def _house_style():
    with style.context(_STYLE, after_reset=True):
        yield


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def wealth(judgement, strategy):
    rows = judgement.curves.query("strategy == @strategy and cost_multiple == 1 and delay == 0")
    return rows.pivot_table(values="wealth", index="timestamp", columns="seed")


def drawn(axes, label):
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    values = np.asarray(line.get_ydata(), dtype=float)
    return values, values[np.isfinite(values)]


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def test_lines_are_accounts_and_break_where_a_quarter_was_not_judged(judgement):
    (axes,) = equity_figure(judgement).axes
    for strategy in ("ensemble", "momentum", "random"):
        values, known = drawn(axes, strategy)
        np.testing.assert_allclose(known, wealth(judgement, strategy)[0])
        (gap,) = np.flatnonzero(np.isnan(values))
        assert gap == (wealth(judgement, strategy).index < "2012-07-01").sum()


def test_the_band_reaches_from_the_worst_to_the_best_seed(judgement):
    (axes,) = equity_figure(judgement).axes
    (band,) = axes.collections
    heights = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
    seeds = wealth(judgement, "agent")
    assert (heights.min(), heights.max()) == (seeds.min(axis=None), seeds.max(axis=None))


def test_drawdown_is_the_fall_below_the_running_peak_in_percent(judgement):
    (axes,) = drawdown_figure(judgement).axes
    level = wealth(judgement, "ensemble")[0]
    np.testing.assert_allclose(drawn(axes, "ensemble")[1], 100 * (level / level.cummax() - 1), atol=1e-9)


def test_every_strategy_stands_beside_its_line_with_its_figure(judgement):
    written = " ".join(text.get_text() for text in texts(equity_figure(judgement)))
    table = judgement.contestants.query("cost_multiple == 1 and delay == 0").set_index("strategy")["total_return"]
    for strategy, label in (
        ("ensemble", "Agents' mean action"),
        ("momentum", "Momentum"),
        ("equal_weight_hold", "Equal weight, held"),
    ):
        assert f"{label}  {100 * table[strategy]:+.1f} %" in written


def test_random_weights_do_not_flatten_the_other_lines(judgement):
    drawn_out = ["wealth", "low", "high"]
    poorer = judgement.bands.copy()
    poorer.loc[poorer["strategy"] == "random", drawn_out] *= 0.5
    (axes,) = equity_figure(dataclasses.replace(judgement, bands=poorer)).axes
    others = judgement.bands.query("strategy != 'random' and cost_multiple == 1 and delay == 0")
    low, high = others["low"].min(), others["high"].max()
    bottom, top = axes.get_ylim()
    assert (bottom, top) == pytest.approx((low - 0.05 * (high - low), high + 0.05 * (high - low)))
    written = [text.get_text() for text in texts(axes.figure) if "Random" in text.get_text()]
    assert written[0].endswith("↓")


def test_bars_are_what_is_traded_and_what_it_costs_in_each_scenario_without_delay(judgement):
    traded, costs = turnover_figure(judgement).axes
    base = judgement.contestants.query("cost_multiple == 1 and delay == 0")
    np.testing.assert_allclose([bar.get_width() for bar in traded.patches], 100 * base["traded"])
    assert len(costs.containers) == 3
    for multiple, bars in zip((1, 2, 3), costs.containers, strict=True):
        paid = judgement.contestants.query(f"cost_multiple == {multiple} and delay == 0")["costs_paid"]
        np.testing.assert_allclose([bar.get_width() for bar in bars], 100 * paid)


def heights_at(figure, session):
    """Height of each area just after `session`, by name, from the polygons that were drawn."""
    (axes,) = figure.axes
    day = pd.Timestamp(session)
    place = (day - pd.Timestamp("1970-01-01")).days + 0.5
    found = {}
    for area in axes.collections:
        levels = []
        for path in area.get_paths():
            for (x0, y0), (x1, y1) in itertools.pairwise(path.vertices):
                if min(x0, x1) <= place < max(x0, x1):
                    levels.append(y0 if y0 == y1 else np.nan)
        found[area.get_label()] = max(levels) - min(levels) if levels else 0.0
    return found


def test_areas_are_the_mean_weights_over_the_seeds_and_sum_to_the_whole(weights):
    session = weights["timestamp"].unique()[10]
    truth = weights[weights["timestamp"] == session].groupby("instrument")["target_weight"].mean() * 100
    heights = heights_at(weights_figure(weights), session)
    for name, height in heights.items():
        assert height == pytest.approx(truth[name], abs=1e-9)
    assert sum(heights.values()) == pytest.approx(100.0)


def test_nothing_is_drawn_in_the_quarter_that_was_not_judged(weights):
    assert set(heights_at(weights_figure(weights), "2012-08-15").values()) == {0.0}


def test_shorts_hang_below_zero_and_small_positions_are_summed():
    sessions = pd.bdate_range("2012-01-03", periods=3)
    sizes = {f"S{n:02}": 0.01 * (n + 1) for n in range(12)} | {"SHORT": -0.5}
    sizes["CASH"] = 1.0 - sum(sizes.values())
    rows = [(session, name, size) for session in sessions for name, size in sizes.items()]
    (axes,) = weights_figure(pd.DataFrame(rows, columns=["timestamp", "instrument", "target_weight"])).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["CASH", "4 others", *(f"S{n:02}" for n in range(4, 12)), "SHORT"]
    below = min(path.vertices[:, 1].min() for area in axes.collections for path in area.get_paths())
    assert below == pytest.approx(-50.0)


def test_text_and_lines_are_readable_on_white_and_on_dark(judgement, weights):
    figures = (
        equity_figure(judgement),
        drawdown_figure(judgement),
        turnover_figure(judgement),
        weights_figure(weights),
    )
    for figure in figures:
        for text in texts(figure):
            assert min(contrast(text.get_color(), page) for page in (WHITE, DARK)) >= 4.0, text
        for axes in figure.axes:
            for line in axes.get_lines():
                assert min(contrast(line.get_color(), page) for page in (WHITE, DARK)) >= 3.0
            for patch in axes.patches:
                edge, face = patch.get_edgecolor(), patch.get_facecolor()
                outline = edge if edge[3] else face
                assert min(contrast(outline[:3], page) for page in (WHITE, DARK)) >= 3.0
            assert not axes.xaxis.get_label_text() == axes.yaxis.get_label_text() == ""


def test_labels_move_apart_no_further_than_needed():
    np.testing.assert_allclose(spread(np.array([0.5, 0.1, 0.9]), 0.1), [0.5, 0.1, 0.9])
    np.testing.assert_allclose(spread(np.array([0.50, 0.51]), 0.1), [0.455, 0.555])
    np.testing.assert_allclose(spread(np.array([0.0, 0.0, 0.0]), 0.1), [0.0, 0.1, 0.2])
    np.testing.assert_allclose(spread(np.array([1.0, 1.0]), 0.1), [0.9, 1.0])
    heights = np.random.default_rng(0).random(8)
    moved = spread(heights, 0.1)
    assert (np.diff(np.sort(moved)) >= 0.1 - 1e-12).all()
    assert (np.argsort(moved) == np.argsort(heights)).all()


def test_wealth_over_a_wide_range_stands_on_a_logarithmic_axis(judgement):
    wide = judgement.bands.assign(**{name: judgement.bands[name] ** 12 for name in ("wealth", "low", "high")})
    grown = type(judgement)(judgement.curves, wide, judgement.table)
    (axes,) = equity_figure(grown).axes
    assert axes.get_yscale() == "log"
    assert "log scale" in axes.get_ylabel()
    assert axes.get_ylim()[0] > 0


def test_pictures_are_transparent_and_the_same_bytes_every_time(judgement, weights):
    for plot, shown in (
        (equity_plot, judgement),
        (drawdown_plot, judgement),
        (turnover_plot, judgement),
        (weights_plot, weights),
    ):
        first = plot(shown)
        pixels = imread(io.BytesIO(first))
        assert pixels.shape == (630, 1440, 4)
        assert pixels[0, 0, 3] == 0.0
        assert pixels[..., 3].max() == 1.0
        assert plot(shown) == first


def test_a_users_matplotlibrc_changes_nothing(judgement):
    plain = equity_plot(judgement)
    with style.context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red"}):
        assert equity_plot(judgement) == plain


def test_baselines_alone_can_be_drawn(baselines_only):
    for plot in (equity_plot, drawdown_plot, turnover_plot):
        assert plot(baselines_only)[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_window_of_its_first_two_sessions_can_be_drawn(judged_windows):
    window = judged_windows[0]
    for sessions in (1, 2):
        panel = window.panel.until(window.panel.start + sessions)
        begun = judge([dataclasses.replace(window, panel=panel, policies=())], [Scenario()])
        for plot in (equity_plot, drawdown_plot, turnover_plot):
            assert plot(begun)[:8] == b"\x89PNG\r\n\x1a\n"
        assert "No agent was judged" in verdict(begun)


def test_a_dollar_in_a_name_is_a_sign_of_it_and_no_formula():
    names = ["A$B$", "$\\frac{", "CASH"]
    days = pd.to_datetime(["2012-05-17", "2012-05-18"])
    weights = pd.DataFrame(
        [(day, name, 1.0 / 3.0) for day in days for name in names],
        columns=["timestamp", "instrument", "target_weight"],
    )
    # With formulas switched on the second name alone would end the drawing with an error.
    assert weights_plot(weights).startswith(b"\x89PNG")
    (axes,) = weights_figure(weights).axes
    assert {text.get_text() for text in axes.get_legend().get_texts()} == set(names)
