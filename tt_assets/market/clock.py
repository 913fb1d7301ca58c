"""The clock of the exchange: the one place of the platform that reads it for market time."""

from __future__ import annotations

from datetime import date, datetime

from tt_assets.market.calendar import NEW_YORK, followed


def now_in_new_york() -> datetime:
    """This moment, with the time zone of New York."""
    return datetime.now(NEW_YORK)


def today() -> date:
    """Today's date where the market is."""
    return datetime.now(followed().zone).date()
