"""Bars that are stored belong to one calendar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tt_assets.market.calendar import follow, new_york
from tt_assets.runtime.one_calendar import OtherCalendar, hold_calendar
from tt_assets.settings import Settings


@pytest.fixture(autouse=True)
def _new_york_again() -> Iterator[None]:
    yield
    follow(new_york())


def store(connected, *days: str) -> None:
    with connected.connect() as connection:
        for day in days:
            connection.execute(
                "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
                "VALUES ('A', %s, 1, 1, 1, 1, 1)",
                [day],
            )


def test_the_home_remembers_the_calendar_of_its_first_bars(connected, tmp_path: Path):
    settings, other = Settings(home=tmp_path), Settings(home=tmp_path, calendar="24/7")
    hold_calendar(settings, connected)
    hold_calendar(other, connected)  # no bar is stored yet
    hold_calendar(settings, connected)
    store(connected, "2014-01-02", "2014-01-03")
    hold_calendar(settings, connected)
    with pytest.raises(OtherCalendar, match=r"TT_CALENDAR 24/7 is not .* they were loaded under XNYS"):
        hold_calendar(other, connected)


def test_bars_of_another_home_are_told_by_their_days(connected, tmp_path: Path):
    store(connected, "2019-01-04", "2019-01-05")
    with pytest.raises(OtherCalendar, match="2019-01-05 is a day without a session"):
        hold_calendar(Settings(home=tmp_path), connected)
    hold_calendar(Settings(home=tmp_path, calendar="24/7"), connected)


def test_weekdays_only_are_not_the_bars_of_a_market_that_never_closes(connected, tmp_path: Path):
    with connected.connect() as connection:
        connection.execute(
            "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
            "SELECT 'A', day, 1, 1, 1, 1, 1 FROM generate_series(timestamp '2019-01-01', '2019-06-01', '1 day') AS day "
            "WHERE extract(isodow FROM day) < 6"
        )
    with pytest.raises(OtherCalendar, match="none is on a Sunday"):
        hold_calendar(Settings(home=tmp_path, calendar="24/7"), connected)
