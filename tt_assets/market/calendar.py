"""Trading sessions: those of the New York Stock Exchange (XNYS), or of another calendar that a process follows.

A process follows one calendar, `followed()`; the functions here ask it, so that a computation does not have to be
handed what is the same everywhere. `calendars.named` makes others, and `grid.followed_calendar` is where the settings
choose.

New York's closed weekdays are a committed list, derived from a library once, because building that library's calendar
costs a second in every process that lists partitions and this costs milliseconds. A test holds the list against two
libraries over the whole span.

A session is named by its date in the market's own time zone. A day outside the span of the calendar raises
`CalendarSpanError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache, cached_property
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
XNYS = "XNYS"

Days = npt.NDArray[np.datetime64]


class CalendarSpanError(UserError):
    """A day is outside the span the session calendar knows."""


@dataclass(frozen=True)
class Calendar:
    """The sessions of one market.

    Parameters
    ----------
    name : as TT_CALENDAR names it.
    zone : the market's time zone, in whose dates sessions are named.
    opens, closes : regular hours; early closes count as the regular one, so that a bar is never taken too early. A
        `closes` of midnight is the end of the session's day.
    first_day, last_day : the span that is known, both included.
    weekmask : seven signs, Monday first: 1 for a weekday on which there are ever sessions.
    closed : days of such weekdays without a session, ascending.
    """

    name: str
    zone: ZoneInfo
    opens: time
    closes: time
    first_day: date
    last_day: date
    weekmask: str
    closed: tuple[date, ...] = field(repr=False)

    @cached_property
    def _sessions(self) -> np.busdaycalendar:
        return np.busdaycalendar(weekmask=self.weekmask, holidays=np.array(self.closed, dtype="datetime64[D]"))

    @property
    def weekend(self) -> tuple[int, ...]:
        """Weekdays that never have a session, as cron counts them: 0 is Sunday."""
        return tuple((place + 1) % 7 for place, sign in enumerate(self.weekmask) if sign == "0")

    @property
    def in_words(self) -> str:
        """The market, as a sentence names it."""
        return "the New York exchange" if self.name == XNYS else f"the market of calendar {self.name}"

    def day(self, day: date) -> np.datetime64:
        """The calendar day of a date, datetime or Timestamp.

        Raises
        ------
        CalendarSpanError : it is outside the span.
        """
        plain = day.date() if isinstance(day, datetime) else day
        if not self.first_day <= plain <= self.last_day:
            raise CalendarSpanError(
                f"{plain} is outside the session calendar, which covers {self.first_day} to {self.last_day}. "
                f"Choose a date in that span."
            )
        return np.datetime64(plain, "D")

    def closed_days(self, first: date, last: date) -> tuple[date, ...]:
        """Days without a session, of weekdays that have some.

        Parameters
        ----------
        first, last : days of the market, both included.

        Returns
        -------
        Ascending.
        """
        begin, end = self.day(first).item(), self.day(last).item()
        return tuple(day for day in self.closed if begin <= day <= end)

    def sessions(self, first: date, last: date) -> Days:
        """Sessions of a span.

        Parameters
        ----------
        first, last : days of the market, both included.

        Returns
        -------
        datetime64[D], ascending; none where `last` is before `first`.
        """
        days = np.arange(self.day(first), self.day(last) + np.timedelta64(1, "D"), dtype="datetime64[D]")
        return days[np.is_busday(days, busdaycal=self._sessions)]

    def are_sessions(self, days: Days) -> npt.NDArray[np.bool_]:
        """Which days are sessions; days outside the span and NaT are none."""
        first = np.datetime64(self.first_day, "D")
        known = (days >= first) & (days <= np.datetime64(self.last_day, "D"))
        # is_busday refuses NaT, so days it cannot judge are replaced by one it can.
        return np.is_busday(np.where(known, days, first), busdaycal=self._sessions) & known

    def offset(self, day: np.datetime64, count: int, roll: str) -> np.datetime64:
        """`np.busday_offset` over the sessions. The result may be outside the span.

        Parameters
        ----------
        day : of the market.
        count : sessions to go forward, back when negative.
        roll : what is done about a day that is no session: backward, forward, or raise.
        """
        shifted: np.datetime64 = np.busday_offset(day, count, roll=roll, busdaycal=self._sessions)  # type: ignore[call-overload]
        return shifted

    def has_closed(self, now: datetime) -> date:
        """The last date whose session, if it has one, has closed at the moment `now`."""
        local = now.astimezone(self.zone)
        over = self.closes != time() and local.time() >= self.closes
        return local.date() if over else local.date() - timedelta(days=1)


@cache
def new_york() -> Calendar:
    """XNYS, out of the committed list."""
    lines = CLOSED_DAYS_FILE.read_text(encoding="ascii").splitlines()
    closed = tuple(date.fromisoformat(line) for line in lines if line and not line.startswith("#"))
    return Calendar(XNYS, NEW_YORK, time(9, 30), time(16, 0), FIRST_DAY, LAST_DAY, "1111100", closed)


_FOLLOWED: list[Calendar] = []


def followed() -> Calendar:
    """The calendar that this process follows; XNYS where nothing was said."""
    return _FOLLOWED[-1] if _FOLLOWED else new_york()


def follow(calendar: Calendar) -> None:
    """Have this process follow `calendar` from now on."""
    _FOLLOWED[:] = [calendar]


def _date(day: np.datetime64) -> date:
    plain: date = day.item()
    followed().day(plain)
    return plain


def closed_weekdays(first: date, last: date) -> Sequence[date]:
    """Days without a session, of weekdays that have some; ascending.

    Parameters
    ----------
    first, last : days of the market, both included.
    """
    return followed().closed_days(first, last)


def sessions(first: date, last: date) -> pd.DatetimeIndex:
    """Sessions from `first` to `last`, both included.

    Parameters
    ----------
    first, last : days of the market.

    Returns
    -------
    Ascending midnights, no time zone, datetime64[ns], named `timestamp`; empty when no session is between them, also
    when `last` is before `first`.

    Raises
    ------
    CalendarSpanError : an end is outside the calendar's span, as of every function here.
    """
    import pandas as pd  # half a second, which a command that only looks at partitions does without

    return pd.DatetimeIndex(followed().sessions(first, last).astype("datetime64[ns]"), name="timestamp")


def are_sessions(days: Days) -> npt.NDArray[np.bool_]:
    """Which days are sessions, of many at once.

    Parameters
    ----------
    days : datetime64[D], any shape, of the market.

    Returns
    -------
    The same shape. A day outside the span and NaT are none; nothing is raised for them.
    """
    return followed().are_sessions(days)


def is_session(day: date) -> bool:
    """Whether the market opened on that date of its own."""
    return bool(followed().are_sessions(np.array(followed().day(day))))


def previous_session(day: date, *, inclusive: bool = False) -> date:
    """The last session before a day.

    Parameters
    ----------
    day : of the market.
    inclusive : whether the day itself will do when it is a session.
    """
    calendar = followed()
    return _date(calendar.offset(calendar.day(day) - np.timedelta64(0 if inclusive else 1, "D"), 0, "backward"))


def next_session(day: date, *, inclusive: bool = False) -> date:
    """The first session after a day.

    Parameters
    ----------
    day : of the market.
    inclusive : whether the day itself will do when it is a session.
    """
    calendar = followed()
    return _date(calendar.offset(calendar.day(day) + np.timedelta64(0 if inclusive else 1, "D"), 0, "forward"))


def nearest_session(day: date) -> date:
    """The session closest to `day` in days, `day` itself when it is one; of two as near, the earlier."""
    calendar = followed()
    judged = calendar.day(day)
    plain: date = judged.item()
    # Offsets that are not checked: next to an end of the span the neighbour on the far side need not be inside it.
    earlier, later = (calendar.offset(judged, 0, roll).item() for roll in ("backward", "forward"))
    nearer = earlier >= calendar.first_day and plain - earlier <= later - plain
    return earlier if nearer else _date(np.datetime64(later, "D"))


def shift_session(day: date, count: int) -> date:
    """The session `count` sessions after the session `day`.

    Parameters
    ----------
    day : a session, of the market.
    count : sessions to go forward, back when negative.

    Raises
    ------
    ValueError : `day` is not a session.
    CalendarSpanError : the result leaves the span.
    """
    return _date(followed().offset(followed().day(day), count, "raise"))


def latest_closed_session(now: datetime, margin: timedelta = timedelta(0)) -> date:
    """The last session whose regular close plus `margin` is not after `now`. Early closes count as the regular one.

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
    return previous_session(followed().has_closed(now - margin), inclusive=True)
