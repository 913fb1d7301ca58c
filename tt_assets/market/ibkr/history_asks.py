"""Which sessions of an instrument must be asked for, and how a historical request says so.

Everything missing of an instrument is one request from the oldest gap to now, since IBKR counts requests
and not bars. The request begins some stored sessions earlier, so that old and new bars can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from math import ceil

import pandas as pd

from tt_assets.market.calendar import FIRST_DAY, sessions
from tt_assets.market.watchlist_format import Instrument

LONGEST_IN_DAYS = 365
FEWEST_SESSIONS = 5
DAYS_A_YEAR = 365


@dataclass(frozen=True, eq=False)
class HistoryAsk:
    """One historical request. `needed` are the missing closed sessions (ascending midnights, never empty)."""

    instrument: Instrument
    needed: pd.DatetimeIndex
    first: date
    """First day the answer must reach back to: the overlap before the oldest missing session."""
    today: date

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    @property
    def oldest(self) -> date:
        """The oldest missing session."""
        day: date = self.needed[0].date()
        return day

    @property
    def newest(self) -> date:
        """The newest missing session."""
        day: date = self.needed[-1].date()
        return day

    @cached_property
    def duration(self) -> str:
        """The duration of the request, which ends now."""
        return duration(self.first, self.today)


def duration(first: date, today: date) -> str:
    """The duration text of a request for daily bars that reaches from now back to `first`.

    Up to 365 sessions `n D`, where n counts sessions, today's included and one to spare, at least 5; beyond that
    whole years of 365 days, rounded up, since a gateway refuses more than 365 D.
    """
    count = len(sessions(first, today)) + 1
    if count <= LONGEST_IN_DAYS:
        return f"{max(count, FEWEST_SESSIONS)} D"
    return f"{ceil(((today - first).days + 1) / DAYS_A_YEAR)} Y"


def before(first: pd.Timestamp, count: int) -> date:
    """The session `count` sessions before the session `first`, or the calendar's first day where it ends earlier."""
    # Seven days hold at least three sessions, whatever the holidays.
    earliest = max(FIRST_DAY, (first - pd.Timedelta(days=7 * ceil(count / 3) + 7)).date())
    earlier = sessions(earliest, first.date())[:-1]
    day: date = earlier[-min(count, len(earlier))].date() if len(earlier) else first.date()
    return day
