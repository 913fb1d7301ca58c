"""A clock that jumps: each session lands once it is over in New York, and nothing lands twice or is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from tt_assets.market import clock
from tt_assets.market.calendar import sessions
from tt_assets.postgres.database import Database
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests import agreement
from tt_assets_tests.dagster_runs import freeze_time, query
from tt_assets_tests.faults.content import content
from tt_assets_tests.faults.small_platform import SmallPlatform

pytestmark = pytest.mark.slow

FIRST = date(2012, 3, 1)
NEW_YORK = ZoneInfo("America/New_York")
JUMPS = (
    ("2012-03-09T23:59:59", "2012-03-08"),
    ("2012-03-10T00:00:01", "2012-03-09"),  # Friday's, on Saturday
    ("2012-03-11T03:00:00", "2012-03-09"),  # the clocks have gone forward
    ("2012-03-12T23:59:59", "2012-03-09"),
    ("2012-03-13T00:00:01", "2012-03-12"),
    ("2012-03-12T00:00:01", "2012-03-12"),  # set back by a day: what there is stays
    ("2012-03-13T00:00:01", "2012-03-12"),
    ("2012-11-04T01:30:00", "2012-11-02"),  # the hour that comes twice, eight months later
    ("2012-11-05T23:59:59", "2012-11-02"),
    ("2012-11-06T00:00:01", "2012-11-05"),
    ("2012-11-05T12:00:00", "2012-11-05"),  # set back
    ("2012-11-07T00:00:01", "2012-11-06"),
)
"""What the clock of New York says, one moment after the other, and the latest session that is stored by then."""


@contextmanager
def clock_says(moment: datetime, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have `moment` be now, for the product and for Dagster."""

    class Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return moment.astimezone(tz)

    with patch.context() as own, freeze_time(moment):
        own.setattr(clock, "datetime", Now)
        yield


@pytest.mark.parametrize("small_platform", [False], indirect=True, ids=["no agents"])
def test_sessions_land_once_they_are_over_however_the_clock_jumps(
    small_platform: SmallPlatform, connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TT_START_DATE", f"{FIRST}")
    monkeypatch.delenv("TT_END_DATE")
    small_platform.write(0)
    before = content(connected)
    latest_before = ""
    for said, latest in JUMPS:
        with clock_says(datetime.fromisoformat(said).replace(tzinfo=NEW_YORK), monkeypatch):
            small_platform.sensors()
        stored = query(connected, "SELECT timestamp::date FROM tt_prices ORDER BY 1")
        truth = sessions(FIRST, date.fromisoformat(latest))
        assert [day for (day,) in stored] == [day.date() for day in truth], said
        now = content(connected)
        assert (now == before) == (latest == latest_before), said
        before, latest_before = now, latest
        agreement.check(small_platform.instance, connected)
    written = "SELECT count(DISTINCT run_id), min(rows) FROM tt_slice WHERE table_name = 'tt_prices'"
    jumps_with_sessions = len({latest for _, latest in JUMPS})
    assert query(connected, written) == [(jumps_with_sessions, 1)]
    assert all(rows for rows, _ in content(connected, *MARKET_TABLES).values())
