"""One calendar a home: stored bars are never continued on the sessions of another market."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

import numpy as np
import numpy.typing as npt

from tt_assets.errors import UserError
from tt_assets.grid.followed_calendar import follow_calendar
from tt_assets.market.calendar import followed
from tt_assets.postgres.database import Database
from tt_assets.postgres.patience import patient_on_database
from tt_assets.settings import Settings

ENOUGH = 60
"""Stored sessions from which a weekday without any says that the market never opens on it."""
_STORED = """
    SELECT timestamp::date FROM tt_prices
    WHERE instrument = (SELECT instrument FROM tt_prices LIMIT 1) ORDER BY timestamp DESC LIMIT 1000
"""


class OtherCalendar(UserError):
    """The stored bars belong to another calendar than TT_CALENDAR."""


def hold_calendar(settings: Settings, database: Database) -> None:
    """Refuse stored bars of another calendar; the home of the first bars remembers whose they are.

    Raises OtherCalendar where the home remembers another one, a stored bar is on a day without a session, or none is on
    a weekday on which this market always trades.
    """
    follow_calendar(settings)
    days = np.array(_last_days(database), dtype="datetime64[D]")
    kept = settings.home / "calendar"
    before = kept.read_text(encoding="utf-8").strip() if kept.exists() else ""
    if len(days):
        if before and before != settings.calendar:
            raise _other(settings, f"they were loaded under {before}")
        if reason := _strange(days):
            raise _other(settings, reason)
    if before != settings.calendar:
        with suppress(OSError):  # the stored bars themselves are looked at each time
            kept.write_text(f"{settings.calendar}\n", encoding="utf-8")


@patient_on_database
def _last_days(database: Database) -> list[date]:
    with database.connect() as connection:
        return [day for (day,) in connection.execute(_STORED)]


def _strange(days: npt.NDArray[np.datetime64]) -> str:
    """What about stored sessions does not fit the calendar; empty where all does."""
    off = days[~followed().are_sessions(days)]
    if len(off):
        return f"{off.min()} is a day without a session"
    if len(days) < ENOUGH:
        return ""
    stored = {(day + 1) % 7 for day in ((days.astype(np.int64) + 3) % 7).tolist()}
    missing = set(range(7)) - set(followed().weekend) - stored
    names = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
    return f"none is on a {names[min(missing)]}" if missing else ""


def _other(settings: Settings, reason: str) -> OtherCalendar:
    return OtherCalendar(
        f"TT_CALENDAR {settings.calendar} is not the calendar of the bars in tt_prices: {reason}. Set it to theirs, or "
        f"give the other market a TT_HOME and a database of its own."
    )
