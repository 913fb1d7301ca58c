"""How wide a date partition of the market tables is, and which one a day is in.

The key of a partition is its first day. Whoever turns days into keys, or keys into days, asks here, so another width
is a line here and no branch anywhere else. Windows of agents are quarters at every grain.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum


class DateGrain(StrEnum):
    """Width of one date partition of the market tables."""

    SESSION = "session"
    MONTH = "month"
    YEAR = "year"

    def key_of(self, day: date) -> date:
        """First day of the partition that holds `day`; at session grain `day` itself, be it a session or not."""
        if self is DateGrain.YEAR:
            return day.replace(month=1, day=1)
        return day.replace(day=1) if self is DateGrain.MONTH else day

    def after(self, day: date) -> date:
        """First day of the partition after the one that holds `day`."""
        key = self.key_of(day)
        if self is DateGrain.YEAR:
            return key.replace(year=key.year + 1)
        return self.key_of(key + timedelta(days=31)) if self is DateGrain.MONTH else key + timedelta(days=1)

    def last_day(self, day: date) -> date:
        """Last day of the partition that holds `day`."""
        return self.after(day) - timedelta(days=1)

    def holds(self, other: DateGrain) -> bool:
        """Whether a partition of this width holds whole ones of `other`, as one of the same width does."""
        order = list(DateGrain)
        return order.index(self) >= order.index(other)

    @property
    def field(self) -> str:
        """What Postgres' date_trunc cuts a day down to, to have its key."""
        return "day" if self is DateGrain.SESSION else self.value

    @property
    def interval(self) -> str:
        """The width as Postgres reads an interval."""
        return f"1 {self.field}"

    @property
    def unit(self) -> str:
        """The unit of NumPy's datetime64 that is as wide."""
        return {DateGrain.SESSION: "D", DateGrain.MONTH: "M", DateGrain.YEAR: "Y"}[self]
