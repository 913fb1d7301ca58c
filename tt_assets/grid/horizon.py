"""The first and last date the market partitions cover.

What a person leaves empty is read off the bars themselves. The span of a bars file is remembered under
`TT_HOME`, because every run process loads the code location again and a large CSV would be scanned each time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tt_assets.errors import UserError
from tt_assets.market.calendar import previous_session
from tt_assets.settings import SAMPLE_FIRST_SESSION, SAMPLE_LAST_SESSION, PriceSourceName, Settings

NEW_YORK = ZoneInfo("America/New_York")
DEFAULT_YEARS = 3


@dataclass(frozen=True)
class Horizon:
    """`first` and `last` are dates, both included; `last` is None while the end is open (today)."""

    first: date
    last: date | None

    def last_or_today(self) -> date:
        """The last date, today in New York where the end is open."""
        return self.last or today()

    def latest_session(self, on: date | None = None) -> date:
        """The last session that has a partition on the New York date `on` (today), none after `last`."""
        latest = latest_session(on)
        return min(latest, previous_session(self.last, inclusive=True)) if self.last else latest


def today() -> date:
    """Today's date in New York: the one place of the platform that reads the clock for market time."""
    return datetime.now(NEW_YORK).date()


def latest_session(on: date | None = None) -> date:
    """The last session that has a partition on the New York date `on` (today): one appears at the midnight after it."""
    return previous_session(on or today())


def horizon(settings: Settings) -> Horizon:
    """First and last date of the market partitions; never raises for an unreadable bars file (its own load says so)."""
    if settings.is_sample:
        return Horizon(settings.start_date or SAMPLE_FIRST_SESSION, settings.end_date or SAMPLE_LAST_SESSION)
    last = settings.end_date if settings.end_date and settings.end_date < today() else None
    if settings.start_date:
        return Horizon(settings.start_date, last)
    span = bars_span(settings) if settings.price_source is PriceSourceName.FILE else None
    return Horizon(span[0] if span else today() - timedelta(days=365 * DEFAULT_YEARS), last)


def bars_span(settings: Settings) -> tuple[date, date] | None:
    """First and last session in the bars file, or None where the file cannot be read; remembered."""
    from tt_assets.market.files import span

    path = settings.bars_path
    try:
        stat = path.stat()
    except OSError:
        return None
    fingerprint = [str(path), stat.st_size, stat.st_mtime_ns]
    memory = settings.home / "cache" / "bars_span.json"
    try:
        remembered = json.loads(memory.read_text(encoding="utf-8"))
        if remembered["file"] == fingerprint:
            return date.fromisoformat(remembered["first"]), date.fromisoformat(remembered["last"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        first, last = span(path)
    except UserError:
        return None
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(
            json.dumps({"file": fingerprint, "first": first.isoformat(), "last": last.isoformat()}), encoding="utf-8"
        )
    except OSError:
        pass  # a read-only home costs a scan, nothing else
    return first, last
