"""Which active instruments have been without the latest session's bar for too long.

An instrument counts as behind from the moment somebody looked and its bar was not there, not from the
close: a machine that was off for a week gets the time to catch up before it is told off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from pydantic import BaseModel

from tt_assets.grid.horizon import FEED_ENDED, bars_span, horizon
from tt_assets.settings import PriceSourceName, Settings


class Watch(BaseModel):
    """What is remembered from one look to the next.

    `behind` is when an instrument was first seen behind (seconds since 1970), `told` the session its last alert named.
    """

    behind: dict[str, float] = {}
    told: dict[str, date] = {}


@dataclass(frozen=True)
class Stale:
    """Instruments that have been behind for too long; `latest` are their last stored sessions, None without any."""

    expected: date
    latest: Mapping[str, date | None] = field(default_factory=dict)


def expected_session(settings: Settings, on: date | None = None) -> date | None:
    """The latest session that should be stored on the New York date `on` (today); None before the first one.

    Of a bars file that has ended nothing later than its end is expected; of one that is late, the session is.
    """
    span = horizon(settings)
    expected = span.latest_session(on)
    held = bars_span(settings) if settings.price_source is PriceSourceName.FILE else None
    if held and expected - held[1] > FEED_ENDED:
        expected = held[1]
    return expected if expected >= span.first else None


def look(
    stored: Mapping[str, date], active: Sequence[str], expected: date, watch: Watch, now: float, patience: float
) -> tuple[Stale, Watch]:
    """Who has been behind `expected` for more than `patience` seconds and was not told off for it yet.

    `stored` are the last stored sessions, `now` is in seconds since 1970. An instrument is told off once for each
    expected session.
    """
    late = [name for name in active if name not in stored or stored[name] < expected]
    behind = {name: watch.behind.get(name, now) for name in late}
    overdue = [name for name in late if now - behind[name] > patience and watch.told.get(name) != expected]
    told = {name: day for name, day in watch.told.items() if name in behind} | dict.fromkeys(overdue, expected)
    return Stale(expected, {name: stored.get(name) for name in overdue}), Watch(behind=behind, told=told)
