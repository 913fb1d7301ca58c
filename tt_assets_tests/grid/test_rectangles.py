"""Any set of cells is covered exactly once by rectangles of Dagster's ranges, none above the limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tt_assets.grain import DateGrain
from tt_assets.grid.rectangles import MOST_BARS, MOST_CELLS, Rectangle, most_cells, rectangles

DATES = [f"2012-05-{day:02d}" for day in range(1, 13)]
# Insertion order, as Dagster lists a dynamic dimension.
NAMES = ["MSFT", "T", "AA", "A", "BRK B"]

wanted_cells = st.sets(st.tuples(st.sampled_from(DATES), st.sampled_from(NAMES)))


def covered(rectangle: Rectangle) -> list[tuple[str, str]]:
    """The cells of the range from `start_key` to `end_key`: positions in both lists, both ends included."""
    first_day, first_name = rectangle.start_key.split("|")
    last_day, last_name = rectangle.end_key.split("|")
    days = DATES[DATES.index(first_day) : DATES.index(last_day) + 1]
    names = NAMES[NAMES.index(first_name) : NAMES.index(last_name) + 1]
    return [(day, name) for day in days for name in names]


@given(wanted_cells, st.integers(1, 70))
def test_every_wanted_cell_is_in_exactly_one_rectangle_and_no_other_is_in_any(wanted, most):
    found = [cell for rectangle in rectangles(wanted, DATES, NAMES, most) for cell in covered(rectangle)]
    assert len(found) == len(set(found))
    assert set(found) == wanted


@given(wanted_cells, st.integers(1, 70))
def test_no_rectangle_is_larger_than_asked_and_each_counts_its_own_cells(wanted, most):
    for rectangle in rectangles(wanted, DATES, NAMES, most):
        assert rectangle.cells == len(covered(rectangle)) <= most
        assert rectangle.instruments == tuple(dict.fromkeys(name for _, name in covered(rectangle)))


@given(st.integers(0, 11), st.integers(0, 11), st.integers(0, 4), st.integers(0, 4))
def test_a_rectangle_of_cells_is_one_rectangle(a, b, c, d):
    days, names = DATES[min(a, b) : max(a, b) + 1], NAMES[min(c, d) : max(c, d) + 1]
    (only,) = rectangles({(day, name) for day in days for name in names}, DATES, NAMES, 1000)
    assert (only.first_date, only.last_date, only.instruments) == (days[0], days[-1], tuple(names))


def test_the_history_of_an_instrument_stays_in_one_run_where_it_fits():
    everything = {(day, name) for day in DATES for name in NAMES}
    found = rectangles(everything, DATES, NAMES, 2 * len(DATES))
    assert all((r.first_date, r.last_date) == (DATES[0], DATES[-1]) for r in found)
    assert [len(r.instruments) for r in found] == [2, 2, 1]


def test_a_run_takes_as_many_bars_at_every_grain_wider_than_a_session():
    assert most_cells(DateGrain.SESSION) == MOST_CELLS
    for grain, sessions in ((DateGrain.MONTH, 21), (DateGrain.YEAR, 252)):
        assert 0.9 * MOST_BARS < most_cells(grain) * sessions <= MOST_BARS


def test_nothing_wanted_is_no_rectangle():
    assert rectangles(set(), DATES, NAMES, 10) == []
