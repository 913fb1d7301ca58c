"""A selection is any set of cells; what it covers is exactly those cells."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_assets.postgres.slices import RowsOutsideSlice, Selection

MONDAY = datetime(2012, 5, 14)
DAYS = [MONDAY + timedelta(days=d) for d in range(28)]
"""Of a market that knows no weekend."""
WEEKDAYS = [day for day in DAYS if day.weekday() < 5]


def select(cells: set[tuple[str, datetime]]) -> Selection:
    return Selection.of({f"{day:%Y-%m-%d}|{name}": (name, day, day + timedelta(days=1)) for name, day in cells})


cells_of_days = st.sets(st.tuples(st.sampled_from(["A", "AA", "MSFT", "T"]), st.sampled_from(WEEKDAYS)), min_size=1)


@given(cells_of_days)
def test_every_row_is_assigned_to_the_cell_that_owns_it_and_no_other(cells):
    selection = select(cells)
    rows = pd.DataFrame([(name, day) for name in ["A", "AA", "MSFT", "T", "X"] for day in WEEKDAYS])
    found = selection.cell_of(rows[0], rows[1])
    for (name, day), cell in zip(rows.itertuples(index=False), found, strict=True):
        if (name, day.to_pydatetime()) in cells:
            assert selection.keys[cell] == f"{day:%Y-%m-%d}|{name}"
        else:
            assert cell == -1


@given(st.sets(st.tuples(st.sampled_from(["A", "AA"]), st.sampled_from(DAYS)), min_size=1))
def test_the_ranges_cover_the_selected_days_and_no_other_day(cells):
    ranges = select(cells).ranges()
    covered = {
        (name, day)
        for name, start, end in zip(ranges.instruments, ranges.starts, ranges.ends, strict=True)
        for day in DAYS
        if start <= day < end
    }
    assert covered == cells


def test_days_that_follow_each_other_are_one_range():
    ranges = select({("A", day) for day in WEEKDAYS[:10]}).ranges()
    assert (ranges.instruments, ranges.starts) == (["A", "A"], [MONDAY, datetime(2012, 5, 21)])
    assert ranges.ends == [datetime(2012, 5, 19), datetime(2012, 5, 26)]


def test_a_gap_that_is_bridged_is_part_of_a_range_and_a_wider_one_is_not():
    days = {("A", day) for day in WEEKDAYS[:10]} | {("A", WEEKDAYS[18]), ("B", MONDAY)}
    ranges = select(days).ranges(timedelta(days=2))
    assert ranges.instruments == ["A", "A", "B"]
    assert ranges.starts == [MONDAY, datetime(2012, 6, 7), MONDAY]
    assert ranges.ends == [datetime(2012, 5, 26), datetime(2012, 6, 8), datetime(2012, 5, 15)]


def test_a_month_cell_owns_every_session_of_the_month():
    selection = Selection.of({"2012-05-01|A": ("A", datetime(2012, 5, 1), datetime(2012, 6, 1))})
    rows = pd.DataFrame(
        {"instrument": "A", "timestamp": pd.to_datetime(["2012-04-30", "2012-05-01", "2012-05-31", "2012-06-01"])}
    )
    assert selection.cell_of(rows["instrument"], rows["timestamp"]).tolist() == [-1, 0, 0, -1]


def test_rows_outside_the_selection_are_refused_by_name():
    selection = select({("A", MONDAY)})
    rows = pd.DataFrame({"instrument": ["A", "B"], "timestamp": [pd.Timestamp(MONDAY)] * 2})
    with pytest.raises(RowsOutsideSlice, match=r"tt_prices: 1 of 2 rows .* B at 2012-05-14"):
        selection.refuse_outsiders(rows, "tt_prices", "timestamp")


def test_leaving_cells_out_leaves_the_others():
    selection = select({("A", WEEKDAYS[0]), ("A", WEEKDAYS[1]), ("B", WEEKDAYS[0])})
    left = selection.without({"2012-05-14|A"})
    assert left.keys == ("2012-05-15|A", "2012-05-14|B")
    assert np.array_equal(left.instruments, ["A", "B"])


def test_an_empty_selection_has_no_ranges_and_owns_no_row():
    selection = Selection.of({})
    rows = pd.DataFrame({"instrument": ["A"], "timestamp": [pd.Timestamp(MONDAY)]})
    assert selection.ranges().instruments == []
    assert selection.keep(rows).empty
