"""Trading sessions of the New York Stock Exchange (XNYS), from a committed list of closed weekdays.

The list in `xnys_closed_days.txt` is derived from exchange_calendars once and read here, because building
that library's calendar costs a second in every process that lists partitions and this costs milliseconds. A test holds
the list against the library over the whole span.

A session is named by its New York date. A day outside `FIRST_DAY` … `LAST_DAY` raises `CalendarSpanError`.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from tt_assets.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = date(1962, 1, 1)
LAST_DAY = date(2035, 12, 31)
"""The span that the committed list covers, both ends included."""

CLOSED_DAYS_FILE = Path(__file__).with_name("xnys_closed_days.txt")
NEW_YORK = ZoneInfo("America/New_York")
OPEN = time(9, 30)
CLOSE = time(16, 0)
"""Regular close, New York. Early closes count as 16:00 too: a bar is then taken three hours later, never too early."""

Days = npt.NDArray[np.datetime64]


class CalendarSpanError(UserError):
    """A day is outside the span the session calendar knows."""


@cache
def _closed_days() -> Days:
    lines = CLOSED_DAYS_FILE.read_text(encoding="ascii").splitlines()
    return np.array([line for line in lines if line and not line.startswith("#")], dtype="datetime64[D]")


@cache
def _xnys() -> np.busdaycalendar:
    return np.busdaycalendar(weekmask="1111100", holidays=_closed_days())


def _day(day: date) -> np.datetime64:
    """The calendar day of a date, datetime or Timestamp, refused outside the span."""
    plain = day.date() if isinstance(day, datetime) else day
    if not FIRST_DAY <= plain <= LAST_DAY:
        raise CalendarSpanError(
            f"{plain} is outside the session calendar, which covers {FIRST_DAY} to {LAST_DAY}. "
            f"Choose a date in that span."
        )
    return np.datetime64(plain, "D")


def _date(day: np.datetime64) -> date:
    plain: date = day.item()
    _day(plain)
    return plain


def closed_weekdays(first: date, last: date) -> tuple[date, ...]:
    """Weekdays from `first` to `last`, both included, on which the exchange did not open; ascending."""
    closed = _closed_days()
    inside = closed[(closed >= _day(first)) & (closed <= _day(last))]
    return tuple(inside.tolist())


def sessions(first: date, last: date) -> pd.DatetimeIndex:
    """Sessions from `first` to `last`, both included.

    Parameters
    ----------
    first, last : New York days.

    Returns
    -------
    Ascending midnights, no time zone, datetime64[ns], named `timestamp`; empty when no session is between them, also
    when `last` is before `first`.

    Raises
    ------
    CalendarSpanError : an end is outside `FIRST_DAY` … `LAST_DAY`, as of every function here.
    """
    import pandas as pd  # half a second, which a command that only looks at partitions does without

    days = np.arange(_day(first), _day(last) + np.timedelta64(1, "D"), dtype="datetime64[D]")
    return pd.DatetimeIndex(days[np.is_busday(days, busdaycal=_xnys())].astype("datetime64[ns]"), name="timestamp")


def are_sessions(days: Days) -> npt.NDArray[np.bool_]:
    """Which days are sessions, of many at once.

    Parameters
    ----------
    days : datetime64[D], any shape, New York.

    Returns
    -------
    The same shape. A day outside the span and NaT are none; nothing is raised for them.
    """
    known = (days >= np.datetime64(FIRST_DAY, "D")) & (days <= np.datetime64(LAST_DAY, "D"))
    # is_busday refuses NaT, so days it cannot judge are replaced by one it can.
    judged = np.where(known, days, np.datetime64(FIRST_DAY, "D"))
    return np.is_busday(judged, busdaycal=_xnys()) & known


def is_session(day: date) -> bool:
    """Whether the exchange opened on that New York date."""
    return bool(np.is_busday(_day(day), busdaycal=_xnys()))


def previous_session(day: date, *, inclusive: bool = False) -> date:
    """The last session before `day`; with `inclusive`, `day` itself when it is a session."""
    before = _day(day) - np.timedelta64(0 if inclusive else 1, "D")
    return _date(np.busday_offset(before, 0, roll="backward", busdaycal=_xnys()))


def next_session(day: date, *, inclusive: bool = False) -> date:
    """The first session after `day`; with `inclusive`, `day` itself when it is a session."""
    after = _day(day) + np.timedelta64(0 if inclusive else 1, "D")
    return _date(np.busday_offset(after, 0, roll="forward", busdaycal=_xnys()))


def nearest_session(day: date) -> date:
    """The session closest to `day` in days, `day` itself when it is one; of two as near, the earlier."""
    judged = _day(day)
    plain: date = judged.item()
    # Plain busday_offset: next to an end of the span the neighbour on the far side need not be inside it.
    earlier, later = (np.busday_offset(judged, 0, roll=r, busdaycal=_xnys()).item() for r in ("backward", "forward"))
    return earlier if earlier >= FIRST_DAY and plain - earlier <= later - plain else _date(np.datetime64(later, "D"))


def shift_session(day: date, count: int) -> date:
    """The session `count` sessions after the session `day`.

    Parameters
    ----------
    day : a session, New York.
    count : sessions to go forward, back when negative.

    Raises
    ------
    ValueError : `day` is not a session.
    CalendarSpanError : the result leaves the span.
    """
    return _date(np.busday_offset(_day(day), count, roll="raise", busdaycal=_xnys()))


def latest_closed_session(now: datetime, margin: timedelta = timedelta(0)) -> date:
    """The last session whose 16:00 New York close plus `margin` is not after `now`. Early closes count as 16:00.

    Parameters
    ----------
    now : a moment with a time zone, any.
    margin : how long after the close a session counts as closed.

    Raises
    ------
    ValueError : `now` carries no time zone.
    """
    if now.tzinfo is None:
        raise ValueError(f"now = {now} carries no time zone")
    local = (now - margin).astimezone(NEW_YORK)
    return previous_session(local.date(), inclusive=local.time() >= CLOSE)
