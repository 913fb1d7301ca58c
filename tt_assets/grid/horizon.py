"""The first and last date the market partitions cover.

What a person leaves empty is read off the bars themselves, of which each version is read once and kept under `TT_HOME`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from tt_assets.grid.bars_files import bars_manifest_or_none
from tt_assets.grid.followed_calendar import follow_calendar
from tt_assets.market.calendar import previous_session
from tt_assets.market.clock import today
from tt_assets.settings import SAMPLE_FIRST_SESSION, SAMPLE_LAST_SESSION, Settings

DEFAULT_YEARS = 3
FEED_ENDED = timedelta(days=30)
"""A bars file whose last session is older than this is a history that has ended, not a feed that is late."""


@dataclass(frozen=True)
class Horizon:
    """The dates that the partitions of a platform span.

    Parameters
    ----------
    first : of the market, included.
    last : included; None while the end is open, which is today.
    """

    first: date
    last: date | None

    def last_or_today(self) -> date:
        """The last date, today in New York where the end is open."""
        return self.last or today()

    def latest_session(self, on: date | None = None) -> date:
        """The last session that has a partition on the New York date `on` (today), none after `last`."""
        latest = latest_session(on)
        return min(latest, previous_session(self.last, inclusive=True)) if self.last else latest


def latest_session(on: date | None = None) -> date:
    """The last session that has a partition on the New York date `on` (today): one appears at the midnight after it."""
    return previous_session(on or today())


def horizon(settings: Settings) -> Horizon:
    """First and last date of the market partitions; never raises for an unreadable bars file (its own load says so).

    Bars that ended more than `FEED_ENDED` ago are a closed history, and the partitions end with them.
    """
    follow_calendar(settings)
    if settings.is_sample:
        return Horizon(settings.start_date or SAMPLE_FIRST_SESSION, settings.end_date or SAMPLE_LAST_SESSION)
    last = settings.end_date if settings.end_date and settings.end_date < today() else None
    if settings.start_date and settings.end_date:
        return Horizon(settings.start_date, last)
    span = bars_span(settings)
    if span and not settings.end_date and today() - span[1] > FEED_ENDED:
        last = span[1]
    first = settings.start_date or (span[0] if span else today() - timedelta(days=365 * DEFAULT_YEARS))
    return Horizon(first, last)


def bars_span(settings: Settings) -> tuple[date, date] | None:
    """First and last session in the bars files; None where they cannot be read or are not where prices come from."""
    manifest = bars_manifest_or_none(settings)
    if manifest is None or manifest.first is None or manifest.last is None:
        return None
    return manifest.first, manifest.last
