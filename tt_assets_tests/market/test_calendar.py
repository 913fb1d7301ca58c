"""The session calendar against exchange_calendars and against counting days one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_assets.market.calendar import (
    FIRST_DAY,
    LAST_DAY,
    CalendarSpanError,
    are_sessions,
    closed_weekdays,
    is_session,
    latest_closed_session,
    nearest_session,
    next_session,
    previous_session,
    sessions,
    shift_session,
)
from tt_assets_tests.market.closed_days_from_library import (
    KNOWN_TO_BOTH,
    closed_weekdays_of_exchange_calendars,
    closed_weekdays_of_the_library,
)

DAY = timedelta(days=1)
days_inside = st.dates(FIRST_DAY + 10 * DAY, LAST_DAY - 10 * DAY)


def opens(day: date) -> bool:
    """A session, told without the functions under test."""
    return day.weekday() < 5 and day not in set(closed_weekdays(day, day))


def test_the_committed_closed_days_are_those_of_two_libraries():
    assert closed_weekdays(FIRST_DAY, LAST_DAY) == closed_weekdays_of_the_library()
    assert closed_weekdays(KNOWN_TO_BOTH, LAST_DAY) == closed_weekdays_of_exchange_calendars()


def test_the_exchange_was_closed_after_the_attacks_and_in_the_hurricane_and_open_on_easter_monday():
    assert closed_weekdays(date(2001, 9, 10), date(2001, 9, 18)) == tuple(date(2001, 9, d) for d in (11, 12, 13, 14))
    assert not is_session(date(2012, 10, 29))
    assert not is_session(date(2012, 10, 30))
    assert is_session(date(2012, 4, 9))


def test_sessions_of_the_sample_are_the_days_apple_traded():
    apple = pd.read_csv("tt_assets/sample/daily_bars_2005_2013.csv").query("instrument == 'AAPL'")["timestamp"]
    found = sessions(date(2005, 3, 1), date(2013, 3, 1))
    assert found.strftime("%Y-%m-%d").tolist() == apple.tolist()
    assert found.dtype == np.dtype("datetime64[ns]")


def test_a_reversed_span_has_no_sessions():
    assert len(sessions(date(2013, 3, 1), date(2013, 2, 1))) == 0


@given(days_inside)
def test_neighbours_are_those_found_by_stepping_one_day_at_a_time(day: date):
    after = day + DAY
    while not opens(after):
        after += DAY
    before = day - DAY
    while not opens(before):
        before -= DAY
    assert next_session(day) == after
    assert previous_session(day) == before
    assert next_session(day, inclusive=True) == (day if opens(day) else after)
    assert previous_session(day, inclusive=True) == (day if opens(day) else before)
    nearest = day if opens(day) else before if day - before <= after - day else after
    assert nearest_session(day) == nearest


@given(days_inside, st.integers(-250, 250))
def test_shifting_counts_sessions(day: date, count: int):
    start = next_session(min(max(day, date(1992, 1, 1)), date(2033, 12, 1)))
    end = shift_session(start, count)
    between = sessions(min(start, end), max(start, end))
    assert len(between) - 1 == abs(count)


def test_shifting_from_a_closed_day_is_refused():
    with pytest.raises(ValueError, match="Non-business day"):
        shift_session(date(2013, 3, 2), 1)


def test_a_session_is_closed_at_four_in_new_york_in_summer_and_in_winter():
    assert latest_closed_session(datetime(2012, 7, 2, 19, 59, tzinfo=UTC)) == date(2012, 6, 29)
    assert latest_closed_session(datetime(2012, 7, 2, 20, 0, tzinfo=UTC)) == date(2012, 7, 2)
    assert latest_closed_session(datetime(2013, 2, 15, 20, 59, tzinfo=UTC)) == date(2013, 2, 14)
    assert latest_closed_session(datetime(2013, 2, 15, 21, 0, tzinfo=UTC)) == date(2013, 2, 15)


def test_the_margin_after_the_close_is_waited_for():
    tokyo = ZoneInfo("Asia/Tokyo")
    half_past_four = datetime(2013, 2, 16, 6, 30, tzinfo=tokyo)
    assert latest_closed_session(half_past_four, timedelta(minutes=30)) == date(2013, 2, 15)
    assert latest_closed_session(half_past_four, timedelta(minutes=31)) == date(2013, 2, 14)


def test_on_a_long_weekend_the_latest_closed_session_is_fridays():
    assert latest_closed_session(datetime(2013, 2, 18, 23, 0, tzinfo=UTC)) == date(2013, 2, 15)


def test_a_clock_without_time_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        latest_closed_session(datetime(2013, 2, 18, 23, 0))


@pytest.mark.parametrize("day", [date(1961, 12, 29), date(2036, 1, 2)])
def test_a_day_outside_the_span_is_a_one_line_error_that_names_the_span(day: date):
    for ask in (is_session, next_session, previous_session, nearest_session):
        with pytest.raises(CalendarSpanError, match=rf"^{day} .*1962-01-01 to 2035-12-31.*$"):
            ask(day)


def test_the_ends_of_the_span_have_one_neighbour():
    assert nearest_session(FIRST_DAY) == date(1962, 1, 2)
    with pytest.raises(CalendarSpanError):
        next_session(LAST_DAY)
    with pytest.raises(CalendarSpanError):
        previous_session(date(1962, 1, 2))


def test_days_outside_the_span_and_no_day_are_no_sessions():
    days = np.array(["1961-01-03", "NaT", "2013-03-01", "2013-03-02", "2040-01-03"], dtype="datetime64[D]")
    assert are_sessions(days).tolist() == [False, False, True, False, False]
