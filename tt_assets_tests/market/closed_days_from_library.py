"""Derives the committed list of closed weekdays from pandas_market_calendars.

exchange_calendars knows New York's regular holidays from 1970 on only; from there the two agree day by day.
`python -m tt_assets_tests.market.closed_days_from_library` writes the list anew after the exchange announced a closure.
"""

from __future__ import annotations

from datetime import date
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from tt_assets.market.calendar import CLOSED_DAYS_FILE, FIRST_DAY, LAST_DAY

KNOWN_TO_BOTH = date(1970, 1, 1)


def closed_weekdays_of_the_library() -> tuple[date, ...]:
    """Weekdays of the whole span that are no XNYS session in pandas_market_calendars."""
    import pandas_market_calendars

    opened = pandas_market_calendars.get_calendar("NYSE").valid_days(str(FIRST_DAY), str(LAST_DAY)).tz_localize(None)
    return _closed(opened.to_numpy(), FIRST_DAY)


def closed_weekdays_of_exchange_calendars() -> tuple[date, ...]:
    """Weekdays since `KNOWN_TO_BOTH` that are no XNYS session in exchange_calendars."""
    from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar

    calendar = XNYSExchangeCalendar(start=str(KNOWN_TO_BOTH), end=str(LAST_DAY))
    return _closed(calendar.sessions.to_numpy(), KNOWN_TO_BOTH)


def _closed(opened: npt.NDArray[np.datetime64], first: date) -> tuple[date, ...]:
    days = np.arange(np.datetime64(first), np.datetime64(LAST_DAY) + 1, dtype="datetime64[D]")
    return tuple(np.setdiff1d(days[np.is_busday(days)], opened.astype("datetime64[D]")).tolist())


if __name__ == "__main__":
    header = (
        f"# Weekdays from {FIRST_DAY} to {LAST_DAY} on which the New York Stock Exchange (XNYS) is closed.\n"
        f"# Derived from pandas_market_calendars {version('pandas_market_calendars')}. Write it anew with\n"
        "# python -m tt_assets_tests.market.closed_days_from_library\n"
    )
    body = "".join(f"{day}\n" for day in closed_weekdays_of_the_library())
    CLOSED_DAYS_FILE.write_text(header + body, encoding="ascii")
