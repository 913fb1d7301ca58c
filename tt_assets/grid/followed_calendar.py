"""Which calendar a process follows: that of its settings."""

from __future__ import annotations

from tt_assets.market.calendar import follow, followed
from tt_assets.market.calendars import named
from tt_assets.settings import Settings


def follow_calendar(settings: Settings) -> None:
    """Have this process follow TT_CALENDAR. Raises UnknownCalendar for a name that there is not."""
    if followed().name != settings.calendar:
        follow(named(settings.calendar, settings.home / "cache" / "calendars"))
