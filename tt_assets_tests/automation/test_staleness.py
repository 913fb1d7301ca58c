"""Who is behind for too long: from the moment it was seen, once a session, and no more when caught up."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tt_assets.automation.staleness import Watch, expected_session, look
from tt_assets.settings import Settings

HOUR = 3600.0
FRIDAY, MONDAY, TUESDAY = date(2012, 10, 5), date(2012, 10, 8), date(2012, 10, 9)


def seen(stored: dict[str, date], expected: date, watch: Watch, now: float) -> tuple[list[str], Watch]:
    stale, after = look(stored, ["AAPL", "IBM"], expected, watch, now * HOUR, 6 * HOUR)
    return list(stale.latest), Watch.model_validate_json(after.model_dump_json())  # as through a cursor


def test_an_instrument_is_told_off_after_the_patience_once_for_each_session() -> None:
    told, watch = seen({"AAPL": FRIDAY, "IBM": MONDAY}, MONDAY, Watch(), 0)
    assert told == []
    told, watch = seen({"AAPL": FRIDAY, "IBM": MONDAY}, MONDAY, watch, 6)
    assert told == []
    told, watch = seen({"AAPL": FRIDAY, "IBM": MONDAY}, MONDAY, watch, 6.1)
    assert told == ["AAPL"]
    told, watch = seen({"AAPL": FRIDAY, "IBM": MONDAY}, MONDAY, watch, 7)
    assert told == []
    # A day later it has been behind all the while, IBM only now.
    told, watch = seen({"AAPL": FRIDAY, "IBM": MONDAY}, TUESDAY, watch, 24)
    assert told == ["AAPL"]
    told, watch = seen({"AAPL": FRIDAY, "IBM": MONDAY}, TUESDAY, watch, 31)
    assert told == ["IBM"]


def test_who_caught_up_begins_anew() -> None:
    _, watch = seen({"AAPL": FRIDAY, "IBM": MONDAY}, MONDAY, Watch(), 0)
    told, watch = seen({"AAPL": MONDAY, "IBM": MONDAY}, MONDAY, watch, 5)
    assert (told, watch) == ([], Watch())
    told, watch = seen({"AAPL": MONDAY, "IBM": MONDAY}, TUESDAY, watch, 7)
    assert told == []
    told, _ = seen({"AAPL": MONDAY, "IBM": MONDAY}, TUESDAY, watch, 14)
    assert told == ["AAPL", "IBM"]


def test_a_machine_that_was_off_for_a_week_gets_its_time_to_catch_up() -> None:
    stored = {"AAPL": FRIDAY, "IBM": FRIDAY}
    _, watch = seen(stored, FRIDAY, Watch(), 0)
    told, watch = seen(stored, date(2012, 10, 12), watch, 7 * 24)
    assert told == []
    told, _ = seen({"AAPL": date(2012, 10, 12), "IBM": FRIDAY}, date(2012, 10, 12), watch, 7 * 24 + 7)
    assert told == ["IBM"]


def test_an_instrument_without_any_bar_is_behind_and_one_off_the_watchlist_is_not() -> None:
    _, watch = seen({"IBM": MONDAY, "OLD": FRIDAY}, MONDAY, Watch(), 0)
    stale, _ = look({"IBM": MONDAY, "OLD": FRIDAY}, ["AAPL", "IBM"], MONDAY, watch, 7 * HOUR, 6 * HOUR)
    assert dict(stale.latest) == {"AAPL": None}


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (date(2012, 10, 5), date(2012, 10, 4)),  # Friday's bar is due from Saturday's midnight on
        (date(2012, 10, 6), FRIDAY),
        (date(2012, 10, 8), FRIDAY),
        (date(2012, 10, 9), MONDAY),
        (date(2012, 10, 31), date(2012, 10, 26)),  # closed for the hurricane
        (date(2012, 9, 4), date(2012, 8, 31)),  # after Labor Day
        (date(2012, 8, 1), None),
    ],
)
def test_the_session_expected_is_the_last_one_whose_partition_has_appeared(
    on: date, expected: date | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TT_BARS_PATH", "/nowhere/bars.csv")
    monkeypatch.setenv("TT_START_DATE", "2012-08-01")
    assert expected_session(Settings(), on) == expected


@pytest.mark.parametrize(("on", "expected"), [(date(2012, 10, 31), date(2012, 10, 26)), (date(2012, 12, 5), FRIDAY)])
def test_a_bars_file_is_a_feed_until_it_has_not_grown_for_a_month(
    on: date, expected: date, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bars = tmp_path / "bars.csv"
    bars.write_text("instrument,timestamp,open,high,low,close,volume\nA,2012-10-04,1,1,1,1,1\nA,2012-10-05,1,1,1,1,1\n")
    monkeypatch.setenv("TT_BARS_PATH", str(bars))
    monkeypatch.setattr("tt_assets.grid.horizon.today", lambda: on)
    assert expected_session(Settings(), on) == expected


def test_a_history_that_has_an_end_expects_its_last_session(monkeypatch: pytest.MonkeyPatch) -> None:
    assert expected_session(Settings(), date(2026, 1, 2)) == date(2013, 3, 1)  # the bundled bars
    monkeypatch.setenv("TT_END_DATE", "2012-12-25")
    assert expected_session(Settings(), date(2026, 1, 2)) == date(2012, 12, 24)
