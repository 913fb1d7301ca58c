"""Derives the committed list of closed weekdays from exchange_calendars.

`python -m tt_assets_tests.market.closed_days_from_library` writes it anew after the exchange announced a closure.
"""

from __future__ import annotations

from datetime import date
from importlib.metadata import version

import numpy as np

from tt_assets.market.calendar import CLOSED_DAYS_FILE, FIRST_DAY, LAST_DAY


def closed_weekdays_of_the_library() -> tuple[date, ...]:
    """Weekdays of the whole span that are no XNYS session in exchange_calendars."""
    from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar

    calendar = XNYSExchangeCalendar(start=str(FIRST_DAY), end=str(LAST_DAY))
    days = np.arange(np.datetime64(FIRST_DAY), np.datetime64(LAST_DAY) + 1, dtype="datetime64[D]")
    opened = calendar.sessions.to_numpy().astype("datetime64[D]")
    return tuple(np.setdiff1d(days[np.is_busday(days)], opened).tolist())


if __name__ == "__main__":
    header = (
        f"# Weekdays from {FIRST_DAY} to {LAST_DAY} on which the New York Stock Exchange (XNYS) is closed.\n"
        f"# Derived from exchange_calendars {version('exchange_calendars')}. Write it anew with\n"
        "# python -m tt_assets_tests.market.closed_days_from_library\n"
    )
    body = "".join(f"{day}\n" for day in closed_weekdays_of_the_library())
    CLOSED_DAYS_FILE.write_text(header + body, encoding="ascii")
