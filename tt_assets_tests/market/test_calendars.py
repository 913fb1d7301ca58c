"""Other markets' calendars: their sessions, hours and time zones, and bars that lie on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import exchange_calendars
import pytest

from tt_assets.market import calendars
from tt_assets.market.calendar import (
    are_sessions,
    closed_weekdays,
    follow,
    followed,
    is_session,
    latest_closed_session,
    new_york,
    next_session,
    sessions,
)
from tt_assets.market.calendars import UnknownCalendar, named
from tt_assets.market.errors import BarsFileError
from tt_assets.market.files import FileBars

CASES = Path(__file__).with_name("cases")


@pytest.fixture(autouse=True)
def _new_york_again() -> Iterator[None]:
    yield
    follow(new_york())


@pytest.mark.parametrize("name", ["XLON", "XTKS", "XTAE", "CMES"])
def test_the_sessions_are_those_of_the_library(tmp_path: Path, name: str):
    follow(named(name, tmp_path))
    truth = exchange_calendars.get_calendar(name, start="2019-01-01", end="2026-12-31").sessions
    ours = sessions(date(2019, 1, 1), date(2026, 12, 31))
    assert ours.tolist() == truth.tolist()
    assert followed().zone.key == str(exchange_calendars.get_calendar(name).tz)


def test_what_the_library_says_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = named("XLON", tmp_path)
    monkeypatch.setattr(calendars, "_of_library", lambda name: pytest.fail(f"asked again for {name}"))
    assert named("XLON", tmp_path) == first
    (tmp_path / "XLON.json").write_text("{")
    with pytest.raises(pytest.fail.Exception):
        named("XLON", tmp_path)


def test_a_market_that_never_closes_has_a_session_every_day():
    follow(named("24/7"))
    assert len(sessions(date(2019, 1, 1), date(2019, 12, 31))) == 365
    assert closed_weekdays(date(2019, 1, 1), date(2019, 12, 31)) == ()
    assert followed().weekend == ()
    assert next_session(date(2019, 1, 4)) == date(2019, 1, 5)
    assert latest_closed_session(datetime(2019, 1, 6, 0, 1, tzinfo=UTC)) == date(2019, 1, 5)
    assert latest_closed_session(datetime(2019, 1, 5, 23, 59, tzinfo=UTC)) == date(2019, 1, 4)


def test_tel_aviv_trades_on_sundays_and_closes_on_its_own_clock(tmp_path: Path):
    follow(named("XTAE", tmp_path))
    assert is_session(date(2019, 1, 6))
    assert not is_session(date(2019, 1, 4))
    assert latest_closed_session(datetime(2019, 1, 6, 15, 14, tzinfo=UTC)) == date(2019, 1, 3)
    assert latest_closed_session(datetime(2019, 1, 6, 15, 16, tzinfo=UTC)) == date(2019, 1, 6)


def test_a_name_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(UnknownCalendar, match=r'no calendar "XLOM"\. The nearest is "X'):
        named("XLOM")


def test_bars_of_seven_days_a_week_load_where_the_calendar_says_so():
    (folder,) = CASES.glob("21-*")
    with pytest.raises(BarsFileError, match="TT_CALENDAR"):
        FileBars(folder / "coin.csv").check()
    follow(named("24/7"))
    checked = FileBars(folder / "coin.csv").check()
    assert len(checked.clean) == 16
    assert checked.faults == ()


def test_moments_are_dates_of_the_market_that_is_followed(tmp_path: Path):
    path = tmp_path / "7203.T.csv"
    rows = "".join(f"2014-01-{day:02}T15:00:00Z,10,12,9,11,100\n" for day in (5, 6, 7, 8, 9))
    path.write_text("timestamp,open,high,low,close,volume\n" + rows)
    follow(named("XTKS", tmp_path))
    clean = FileBars(path).check().clean
    assert clean["timestamp"].dt.day.tolist() == [6, 7, 8, 9, 10]
    assert are_sessions(clean["timestamp"].to_numpy().astype("datetime64[D]")).all()
