"""The partition keys are the exchange's sessions and the calendar's quarters, held against exchange_calendars."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import dagster as dg
import exchange_calendars
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_assets.grid.horizon import Horizon
from tt_assets.grid.partitions import (
    Window,
    market_grid,
    quarter_of,
    quarter_partitions,
    session_partitions,
    window_grid,
    windows_of,
)
from tt_assets.market.calendar import NEW_YORK
from tt_assets.settings import DateGrain, Settings

SAMPLE = Horizon(date(2005, 3, 1), date(2013, 3, 1))


@pytest.fixture(scope="module")
def xnys() -> exchange_calendars.ExchangeCalendar:
    return exchange_calendars.get_calendar("XNYS", start="2005-01-01", end="2026-12-31")


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def test_the_keys_of_a_closed_span_are_the_sessions_of_the_exchange(xnys):
    keys = session_partitions(SAMPLE, DateGrain.SESSION).get_partition_keys()
    truth = xnys.sessions_in_range("2005-03-01", "2013-03-01").strftime("%Y-%m-%d").tolist()
    assert list(keys) == truth


@pytest.mark.parametrize(
    ("day", "why"),
    [
        ("2012-05-28", "Memorial Day"),
        ("2012-10-29", "Hurricane Sandy"),
        ("2007-01-02", "mourning of President Ford"),
        ("2012-05-26", "a Saturday"),
    ],
)
def test_a_closed_day_is_no_partition(day, why):
    assert day not in session_partitions(SAMPLE, DateGrain.SESSION).get_partition_keys(), why


@pytest.mark.parametrize(
    ("now", "latest"),
    [
        ("2024-07-02T23:59:59", "2024-07-01"),
        ("2024-07-03T00:00:01", "2024-07-02"),
        ("2024-07-05T12:00:00", "2024-07-03"),  # Independence Day on Thursday
        ("2024-07-05T23:59:59", "2024-07-03"),
        ("2024-07-06T00:00:01", "2024-07-05"),  # Friday's key on Saturday, not on Monday
        ("2024-07-08T09:00:00", "2024-07-05"),
        ("2024-11-03T12:00:00", "2024-11-01"),  # the night the clocks go back
        ("2025-03-10T00:00:01", "2025-03-07"),  # the Monday after they go forward
        ("2025-03-11T00:00:01", "2025-03-10"),
    ],
)
def test_a_session_is_a_partition_from_the_next_new_york_midnight_on(now, latest):
    sessions = session_partitions(Horizon(date(2024, 1, 2), None), DateGrain.SESSION)
    assert sessions.get_partition_keys(current_time=new_york(now))[-1] == latest


@given(st.datetimes(datetime(2024, 2, 1), datetime(2026, 10, 1)))
def test_an_open_span_lists_every_session_before_today_and_none_after(now):
    sessions = session_partitions(Horizon(date(2024, 1, 2), None), DateGrain.SESSION)
    keys = sessions.get_partition_keys(current_time=now.replace(tzinfo=NEW_YORK))
    calendar = exchange_calendars.get_calendar("XNYS", start="2005-01-01", end="2026-12-31")
    truth = calendar.sessions_in_range("2024-01-02", pd.Timestamp(now.date() - timedelta(days=1)))
    assert list(keys) == truth.strftime("%Y-%m-%d").tolist()


def test_the_window_of_a_session_is_its_own_day_also_before_a_weekend_and_a_holiday():
    sessions = session_partitions(SAMPLE, DateGrain.SESSION)
    for key in ("2012-05-24", "2012-05-25", "2012-07-03"):
        window = sessions.time_window_for_partition_key(key)
        assert window.start == new_york(f"{key}T00:00:00")
        assert window.end.date() - window.start.date() == timedelta(days=1)


def test_the_end_of_a_fixed_span_is_its_last_session_whatever_the_clock_says():
    sessions = session_partitions(Horizon(date(2012, 5, 1), date(2012, 5, 28)), DateGrain.SESSION)
    assert sessions.get_last_partition_key() == "2012-05-25"
    ends_on_session = session_partitions(Horizon(date(2012, 5, 1), date(2012, 5, 25)), DateGrain.SESSION)
    assert ends_on_session.get_last_partition_key() == "2012-05-25"


def test_month_grain_lists_whole_months_up_to_that_of_the_last_date():
    months = session_partitions(Horizon(date(2005, 3, 17), date(2005, 12, 30)), DateGrain.MONTH)
    assert list(months.get_partition_keys()) == [f"2005-{month:02d}-01" for month in range(3, 13)]
    window = months.time_window_for_partition_key("2005-12-01")
    assert (window.start.date(), window.end.date()) == (date(2005, 12, 1), date(2006, 1, 1))


def test_the_open_month_is_a_partition():
    months = session_partitions(Horizon(date(2024, 1, 2), None), DateGrain.MONTH)
    assert months.get_partition_keys(current_time=new_york("2024-07-15T12:00:00"))[-1] == "2024-07-01"


def test_year_grain_lists_whole_years_up_to_that_of_the_last_date():
    years = session_partitions(Horizon(date(2005, 3, 17), date(2008, 2, 29)), DateGrain.YEAR)
    assert list(years.get_partition_keys()) == ["2005-01-01", "2006-01-01", "2007-01-01", "2008-01-01"]
    window = years.time_window_for_partition_key("2008-01-01")
    assert (window.start.date(), window.end.date()) == (date(2008, 1, 1), date(2009, 1, 1))


def test_the_open_year_is_a_partition():
    years = session_partitions(Horizon(date(2022, 5, 2), None), DateGrain.YEAR)
    assert years.get_partition_keys(current_time=new_york("2024-07-15T12:00:00")) == [
        "2022-01-01", "2023-01-01", "2024-01-01",
    ]  # fmt: skip


def test_windows_are_the_quarters_with_enough_whole_quarters_behind_them():
    quarters = quarter_partitions(SAMPLE, train_windows=3).get_partition_keys()
    # History begins on 1 March 2005, so the first whole quarter begins in April and the first window in January.
    expected = [f"{year}-{month:02d}-01" for year in range(2006, 2013) for month in (1, 4, 7, 10)] + ["2013-01-01"]
    assert list(quarters) == expected


def test_a_history_that_begins_on_the_first_day_of_a_quarter_uses_that_quarter():
    quarters = quarter_partitions(Horizon(date(2005, 4, 1), date(2006, 6, 30)), train_windows=1).get_partition_keys()
    assert list(quarters) == ["2005-07-01", "2005-10-01", "2006-01-01", "2006-04-01"]


def test_the_quarter_that_is_still_open_is_a_window():
    quarters = quarter_partitions(Horizon(date(2023, 1, 1), None), train_windows=1)
    assert quarters.get_partition_keys(current_time=new_york("2024-05-15T12:00:00"))[-1] == "2024-04-01"
    assert quarters.get_partition_keys(current_time=new_york("2024-07-01T00:00:01"))[-1] == "2024-07-01"


def test_a_history_shorter_than_the_training_has_no_window():
    assert list(quarter_partitions(Horizon(date(2012, 1, 3), date(2012, 5, 1)), 3).get_partition_keys()) == []


def test_a_key_reads_date_then_instrument_on_both_grids():
    for grid in (market_grid(Settings()), window_grid(Settings())):
        assert [dimension.name for dimension in grid.partitions_defs] == ["date", "instrument"]


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_a_window_starts_the_quarter_of_each_of_its_days(day):
    window = Window(quarter_of(day), "AAPL")
    assert window.start <= day < window.end
    period = pd.Period(day, freq="Q")
    assert (window.start, window.end) == (period.start_time.date(), (period + 1).start_time.date())


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(1, 20))
def test_training_starts_whole_quarters_before_the_window(day, quarters):
    window = Window(quarter_of(day), "AAPL")
    assert window.training_start(quarters) == (pd.Period(day, freq="Q") - quarters).start_time.date()


@pytest.mark.parametrize("key", ["2012-04-01|AAPL", "2012-04-01|BRK B", "2012-04-01|sample"])
def test_a_window_and_its_key_are_one(key):
    (window,) = windows_of([key])
    assert window.key() == key


def test_windows_come_in_order_of_time_then_name():
    keys = ["2012-07-01|AAPL", "2012-04-01|T", "2012-04-01|A"]
    assert [window.key() for window in windows_of(keys)] == ["2012-04-01|A", "2012-04-01|T", "2012-07-01|AAPL"]


@pytest.mark.parametrize("grid", [market_grid, window_grid])
def test_keys_of_a_grid_are_told_from_others_as_dagster_does_it(grid):
    ours = grid(Settings(start_date=date(2005, 1, 3), end_date=date(2012, 12, 31)))
    keys = {
        f"{day}|{name}"
        for day in ("2012-07-01", "2012-07-02", "2012-07-04", "2012-07-07", "2031-01-02", "", "yesterday")
        for name in ("AAPL", "BRK B", "sample", "GONE", "")
    } | {"2012-07-02", "2012-07-02|AAPL|x", "", "|"}
    with dg.DagsterInstance.ephemeral() as instance, dg.partition_loading_context(dynamic_partitions_store=instance):
        instance.add_dynamic_partitions("instrument", ["AAPL", "BRK B"])
        instance.add_dynamic_partitions("traded", ["AAPL", "sample"])
        theirs = dg.MultiPartitionsDefinition.filter_valid_partition_keys(ours, keys)
        assert ours.filter_valid_partition_keys(keys) == theirs
        assert len(theirs) == 2
        assert ours.filter_valid_partition_keys(set()) == set()


def test_the_partitions_of_a_run_come_in_the_order_of_their_dates():
    ours = market_grid(Settings(start_date=date(2012, 5, 1), end_date=date(2012, 6, 29)))
    with dg.DagsterInstance.ephemeral() as instance, dg.partition_loading_context(dynamic_partitions_store=instance):
        instance.add_dynamic_partitions("instrument", ["MSFT", "AAPL"])
        keys = ours.get_partition_keys_in_range(dg.PartitionKeyRange("2012-05-01|MSFT", "2012-06-29|AAPL"))
        gathered = ours.empty_subset().with_partition_keys(set(keys))
        assert len(keys) == 86
        assert list(gathered.get_partition_keys()) == sorted(keys)
        assert gathered == dg.MultiPartitionsDefinition.empty_subset(ours).with_partition_keys(keys)
