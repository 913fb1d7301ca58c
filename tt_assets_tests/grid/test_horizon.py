"""What is left empty is read off the bars: the first and last date of the partitions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tt_assets.grid import horizon as horizon_module
from tt_assets.grid.horizon import Horizon, bars_span, horizon
from tt_assets.market import clock
from tt_assets.market.layouts import versions
from tt_assets.settings import PriceSourceName, Settings

TODAY = date(2024, 7, 5)


@pytest.fixture(autouse=True)
def _fixed_today(monkeypatch):
    monkeypatch.setattr(horizon_module, "today", lambda: TODAY)


@pytest.fixture
def bars(tmp_path) -> Path:
    path = tmp_path / "bars.csv"
    write(path, "2020-03-02", "2021-06-01")
    return path


def write(path: Path, *days: str) -> None:
    rows = "".join(f"AAPL,{day},1,1,1,1,1\n" for day in days)
    path.write_text("instrument,timestamp,open,high,low,close,volume\n" + rows, encoding="utf-8")


def test_the_sample_is_a_closed_history(sample_bars):
    span = horizon(Settings())
    assert span == Horizon(sample_bars["timestamp"].min().date(), sample_bars["timestamp"].max().date())


def test_the_sample_can_be_cut(sample_bars):
    settings = Settings(start_date=date(2010, 1, 4), end_date=date(2011, 12, 30))
    assert horizon(settings) == Horizon(date(2010, 1, 4), date(2011, 12, 30))


def test_a_bars_file_that_is_fed_begins_the_history_and_its_end_stays_open(bars):
    write(bars, "2020-03-02", "2024-06-07")
    assert horizon(Settings(bars_path=bars)) == Horizon(date(2020, 3, 2), None)
    assert horizon(Settings(bars_path=bars)).last_or_today() == TODAY


def test_a_bars_file_that_ended_long_ago_ends_the_partitions(bars):
    assert horizon(Settings(bars_path=bars)) == Horizon(date(2020, 3, 2), date(2021, 6, 1))
    write(bars, "2020-03-02", "2024-06-04")
    assert horizon(Settings(bars_path=bars)).last == date(2024, 6, 4)
    assert horizon(Settings(bars_path=bars, start_date=date(2021, 1, 4))).last == date(2024, 6, 4)


def test_dates_in_the_settings_go_before_the_bars(bars):
    settings = Settings(bars_path=bars, start_date=date(2019, 1, 2), end_date=date(2020, 12, 31))
    assert horizon(settings) == Horizon(date(2019, 1, 2), date(2020, 12, 31))


@pytest.mark.parametrize("days", [0, 1, 400])
def test_an_end_that_has_not_passed_is_an_open_end(bars, days):
    settings = Settings(bars_path=bars, end_date=TODAY + timedelta(days=days))
    assert horizon(settings).last is None


def test_a_file_that_cannot_be_read_does_not_stop_the_definitions(tmp_path):
    unreadable = tmp_path / "bars.csv"
    for text in (None, "", "no,bars\n1,2\n"):
        if text is not None:
            unreadable.write_text(text)
        span = horizon(Settings(bars_path=unreadable))
        assert span.last is None
        assert TODAY - timedelta(days=4 * 365) < span.first < TODAY


def test_a_live_source_begins_some_years_back(tmp_path):
    span = horizon(Settings(price_source=PriceSourceName.IBKR))
    assert span == Horizon(TODAY - timedelta(days=3 * 365), None)


def test_a_version_of_a_file_is_read_once(bars, monkeypatch):
    settings = Settings(bars_path=bars)
    reads = []
    real = versions.normalise
    monkeypatch.setattr(versions, "normalise", lambda *given: reads.append(given) or real(*given))
    assert bars_span(settings) == bars_span(settings) == (date(2020, 3, 2), date(2021, 6, 1))
    assert len(reads) == 1
    write(bars, "2018-01-02", "2021-06-01")
    assert bars_span(settings) == (date(2018, 1, 2), date(2021, 6, 1))
    assert len(reads) == 2
    assert bars_span(Settings(bars_path=bars, bars_date_format="%Y-%m-%d")) == (date(2018, 1, 2), date(2021, 6, 1))
    assert len(reads) == 3


@pytest.mark.parametrize("name", ["manifest.json", "bars.parquet", "faults.parquet"])
def test_a_damaged_version_costs_another_reading_and_nothing_else(bars, name):
    settings = Settings(bars_path=bars)
    assert bars_span(settings)
    (kept,) = (settings.home / "cache" / "bars").glob(f"*/{name}")
    kept.write_text('{"path": [')
    assert bars_span(settings) == (date(2020, 3, 2), date(2021, 6, 1))


def test_a_home_that_cannot_be_written_costs_a_scan_and_nothing_else(bars, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    assert bars_span(Settings(bars_path=bars, home=blocked)) == (date(2020, 3, 2), date(2021, 6, 1))


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2024, 7, 6, 3, 59, tzinfo=UTC), date(2024, 7, 5)),  # 23:59 in New York, summer time
        (datetime(2024, 7, 6, 4, 0, tzinfo=UTC), date(2024, 7, 6)),
        (datetime(2024, 12, 6, 4, 59, tzinfo=UTC), date(2024, 12, 5)),  # 23:59, winter time
        (datetime(2024, 12, 6, 5, 0, tzinfo=UTC), date(2024, 12, 6)),
    ],
)
def test_today_is_the_date_in_new_york_wherever_the_machine_is(monkeypatch, moment, day):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return moment.astimezone(tz)

    monkeypatch.undo()
    monkeypatch.setattr(clock, "datetime", Clock)
    assert clock.today() == day


@pytest.mark.parametrize(
    ("last", "on", "expected"),
    [
        (None, date(2024, 7, 5), date(2024, 7, 3)),  # the day after a holiday: its own session has no partition yet
        (None, date(2024, 7, 6), date(2024, 7, 5)),
        (None, date(2024, 7, 8), date(2024, 7, 5)),
        (None, None, date(2024, 7, 3)),
        (date(2013, 3, 1), None, date(2013, 3, 1)),
        (date(2013, 3, 3), None, date(2013, 3, 1)),  # a Sunday
        (date(2024, 7, 31), date(2024, 7, 8), date(2024, 7, 5)),
    ],
)
def test_the_latest_session_is_the_last_one_with_a_partition(last, on, expected):
    assert Horizon(date(2012, 1, 3), last).latest_session(on) == expected
