"""Heat maps against the panels they are made of."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import style

from tt_assets.market.calendar import sessions
from tt_assets.report.canvas import _STYLE
from tt_assets.report.heat_maps import heat_maps_figure, heat_maps_plot
from tt_assets_tests.report.test_plots import texts

SPAN = sessions(pd.Timestamp("2012-05-01").date(), pd.Timestamp("2012-08-31").date())


@pytest.fixture(autouse=True)
def _house_style():
    with style.context(_STYLE, after_reset=True):
        yield


@pytest.fixture
def grid():
    panel = pd.DataFrame(np.linspace(-1, 1, 60).reshape(20, 3), index=SPAN[:20], columns=["A", "B", "C"])
    panel.iloc[4, 1] = np.nan
    return panel


def test_a_map_has_a_row_per_instrument_a_column_per_session_and_blanks_where_nothing_is(grid):
    figure = heat_maps_figure({"one": grid, "two": -grid}, "Scores", "score", 1.0)
    first, second = (image.get_array() for image in figure.axes[0].images)
    np.testing.assert_allclose(np.ma.filled(first, np.nan), grid.T)
    np.testing.assert_allclose(np.ma.filled(second, np.nan), -grid.T)
    assert first.mask.sum() == 1
    written = {text.get_text() for text in texts(figure)}
    assert {"A", "B", "C", "one", "two", "Scores", "score", "Session (New York), 2012"} <= written


@pytest.mark.parametrize("panels", [1, 2, 3, 8, 11])
def test_names_stand_at_their_rows_and_sessions_at_their_columns_of_every_map(grid, panels):
    axes = heat_maps_figure({f"{n}": grid for n in range(panels)}, "Scores", "score", 1.0).axes[0]
    across = {(place, text.get_text()) for place, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)}
    down = {(place, text.get_text()) for place, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        inside = [(place, text) for place, text in down if top < place < bottom]
        row = {text: int((place - top) / (bottom - top) * 3) for place, text in inside}
        assert row == {"A": 0, "B": 1, "C": 2}
        for place, text in across:
            if left < place < right:
                assert f"{SPAN[int((place - left) / (right - left) * 20)]:%d %b}" == text
        assert sum(left < place < right for place, _ in across) >= 3


def test_maps_do_not_touch_one_another_nor_leave_the_axes(grid):
    axes = heat_maps_figure({f"{n}": grid for n in range(7)}, "Scores", "score", 1.0).axes[0]
    boxes = [image.get_extent() for image in axes.images]
    for place, (left, right, bottom, top) in enumerate(boxes):
        assert 0.0 <= left < right <= axes.get_xlim()[1] + 1e-9
        assert 0.0 <= top < bottom <= axes.get_ylim()[0] + 1e-9
        for other in boxes[:place]:
            apart = right < other[0] or other[1] < left or bottom < other[3] or other[2] < top
            assert apart


def test_the_names_of_many_instruments_do_not_pile_up():
    many = pd.DataFrame(0.5, index=SPAN[:5], columns=[f"S{n:02}" for n in range(30)])
    assert len(heat_maps_figure({"": many}, "Scores", "score", 1.0).axes[0].get_yticklabels()) == 10


def test_long_names_have_their_room(grid):
    """The canvas is asked where it put the names: none begins left of the picture."""
    figure = heat_maps_figure({"": grid.set_axis(["BERKSHIRE-B-WI", "B", "C"], axis=1)}, "Scores", "score", 1.0)
    figure.canvas.draw()
    assert all(text.get_window_extent().x0 >= 0 for text in figure.axes[0].get_yticklabels())


@pytest.mark.filterwarnings("error")
def test_names_of_any_length_and_script_leave_the_maps_their_room(grid):
    named = grid.set_axis(["A" * 60, "日本", "C"], axis=1)
    figure = heat_maps_figure({"one": named}, "Scores", "score", 1.0)
    assert figure.axes[0].get_position().width > 0.5
    assert {"A" * 19 + "…", "日本"} <= {text.get_text() for text in texts(figure)}
    assert heat_maps_plot({"one": named}, "Scores", "score", 1.0).startswith(b"\x89PNG")
