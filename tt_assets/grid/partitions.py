"""Sessions, walk-forward windows and instruments as Dagster partitions.

Exactly two dimensions, `date` and `instrument`, on every table. Dagster sorts them by name, so a key
reads `date|instrument`. A session's key appears at the market's next midnight, before the open its decision trades at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import dagster as dg

from tt_assets.grid.horizon import Horizon, horizon
from tt_assets.grid.keys import DATE, INSTRUMENT, CellKey
from tt_assets.market.calendar import closed_weekdays, followed
from tt_assets.market.clock import today
from tt_assets.settings import DateGrain, Settings
from tt_assets.tables import MARKET_TABLES

DATE_FORMAT = "%Y-%m-%d"
CLOSURES_KNOWN_AHEAD = timedelta(days=3 * 365)

CRON = {DateGrain.MONTH: "0 0 1 * *", DateGrain.YEAR: "0 0 1 1 *"}
"""When a partition wider than a session begins."""

instrument_partitions = dg.DynamicPartitionsDefinition(name="instrument")
"""One key per instrument ever on the watchlist, append-only."""

traded_partitions = dg.DynamicPartitionsDefinition(name="traded")
"""One key per symbol and per portfolio: what an agent trades."""


def session_partitions(span: Horizon, grain: DateGrain) -> dg.TimeWindowPartitionsDefinition:
    """Trading sessions of the exchange, or calendar months or years, in the market's time zone.

    Parameters
    ----------
    span : first and last date. With an open end a session has its partition from the midnight after it on, a month or
        year from its first day on.
    grain : how wide a partition is.
    """
    if grain is not DateGrain.SESSION:
        return dg.TimeWindowPartitionsDefinition(
            start=_midnight(grain.key_of(span.first)),
            end=_midnight(grain.after(span.last)) if span.last else None,
            cron_schedule=CRON[grain],
            fmt=DATE_FORMAT,
            timezone=followed().zone.key,
            end_offset=0 if span.last else 1,
        )
    closed = closed_weekdays(span.first, span.last or today() + CLOSURES_KNOWN_AHEAD)
    return dg.TimeWindowPartitionsDefinition(
        start=_midnight(span.first),
        end=_midnight(span.last + timedelta(days=1)) if span.last else None,
        cron_schedule="0 0 * * *",
        fmt=DATE_FORMAT,
        timezone=followed().zone.key,
        exclusions=[*_weekends(), *(_midnight(day) for day in closed)],
    )


def _weekends() -> list[str]:
    """The midnights of weekdays that never have a session, as cron writes them."""
    days = ",".join(map(str, followed().weekend))
    return [f"0 0 * * {days}"] if days else []


def quarter_partitions(span: Horizon, train_windows: int) -> dg.TimeWindowPartitionsDefinition:
    """Walk-forward quarters; the open one is a partition too.

    Parameters
    ----------
    span : first and last date.
    train_windows : whole quarters that the first of them has behind it, within `span`.
    """
    first = months_on(_quarter_on_or_after(span.first), 3 * train_windows)
    end = months_on(quarter_of(span.last), 3) if span.last else None
    closed = end is not None and end <= today()
    return dg.TimeWindowPartitionsDefinition(
        start=_midnight(first),
        end=_midnight(max(end, first)) if end and closed else None,
        cron_schedule="0 0 1 1,4,7,10 *",
        fmt=DATE_FORMAT,
        timezone=followed().zone.key,
        end_offset=0 if closed else 1,
    )


@cache
def grid_span(settings: Settings) -> Horizon:
    """The dates of both grids, read off the bars once."""
    return horizon(settings)


@cache
def market_grid(settings: Settings) -> dg.MultiPartitionsDefinition:
    """Partitions of the market tables: session (or month, or year) × instrument."""
    dates = session_partitions(grid_span(settings), settings.date_grain)
    return MultiPartitionsDefinition({DATE: dates, INSTRUMENT: instrument_partitions})


@cache
def window_grid(settings: Settings) -> dg.MultiPartitionsDefinition:
    """Partitions of the policy and the episode tables: walk-forward quarter × traded."""
    dates = quarter_partitions(grid_span(settings), settings.train_windows)
    return MultiPartitionsDefinition({DATE: dates, INSTRUMENT: traded_partitions})


def grid_of(table: str, settings: Settings) -> dg.MultiPartitionsDefinition:
    """The partitions of a table.

    Parameters
    ----------
    table : any of `tables.TABLES`.
    settings : the same give the same object, whose dates are read off the bars once.
    """
    return market_grid(settings) if table in MARKET_TABLES else window_grid(settings)


class MultiPartitionsDefinition(dg.MultiPartitionsDefinition):
    """Dates × instruments, whose keys are told from others without an object for each.

    Dagster makes a `MultiPartitionKey` of every key before it looks at it, which is most of the time in which it first
    counts the partitions of a table. The class has the name of Dagster's own, because stored sets of partitions name
    it and are only read back under the same name.
    """

    def filter_valid_partition_keys(self, partition_keys: set[str]) -> set[Any]:
        """Those of `partition_keys`, text as Dagster writes it, that the grid has."""
        keys = {text: key for text in partition_keys if (key := CellKey.find(text))}
        dates, instruments = map(self.get_partitions_def_for_dimension, (DATE, INSTRUMENT))
        days = dates.filter_valid_partition_keys({key.date for key in keys.values()})
        names = instruments.filter_valid_partition_keys({key.instrument for key in keys.values()})
        return {text for text, (day, name) in keys.items() if day in days and name in names}

    def get_partition_keys_in_range(
        self, partition_key_range: dg.PartitionKeyRange, dynamic_partitions_store: Any = None
    ) -> list[Any]:
        """The keys of a rectangle, dates first.

        A range run asks for the same ones some twenty times, and Dagster makes an object of each of them every time.
        """
        with dg.partition_loading_context(dynamic_partitions_store=dynamic_partitions_store):
            ends = [CellKey.parse(key) for key in (partition_key_range.start, partition_key_range.end)]
            dates, instruments = (
                tuple(
                    self.get_partitions_def_for_dimension(dimension).get_partition_keys_in_range(
                        dg.PartitionKeyRange(*(getattr(end, dimension) for end in ends))
                    )
                )
                for dimension in (DATE, INSTRUMENT)
            )
        return list(_product(dates, instruments))

    def empty_subset(self) -> Any:
        """Where Dagster begins to gather the partitions of a run: a set that keeps them in the order of their dates.

        A run reports its partitions in the order of that set, and an asset's page shows the one reported last.
        """
        return self.partitions_subset_class(_KeysByDate())  # type: ignore[call-arg]  # declared by the base alone


@lru_cache(maxsize=1)
def _product(dates: tuple[str, ...], instruments: tuple[str, ...]) -> list[dg.MultiPartitionKey]:
    return [CellKey(day, name).multi() for day in dates for name in instruments]


class _KeysByDate(frozenset[str]):
    """Partition keys, which begin with their date, met in their order and not in that of their hashes."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))

    def __or__(self, other: AbstractSet[Any]) -> _KeysByDate:
        return _KeysByDate(super().__or__(other))

    def __bool__(self) -> bool:
        return True  # Dagster takes `subset or set()`, which would begin with a set of its own


@dataclass(frozen=True)
class Window:
    """A walk-forward quarter and what is traded in it.

    Parameters
    ----------
    start : first day of the quarter.
    traded : symbol or portfolio.
    """

    start: date
    traded: str

    @property
    def end(self) -> date:
        """First day of the next quarter."""
        return months_on(self.start, 3)

    def training_start(self, train_windows: int) -> date:
        """First day of the training span; the span ends the day before `start`."""
        return months_on(self.start, -3 * train_windows)

    def key(self) -> str:
        """The partition key `date|instrument`."""
        return str(CellKey(f"{self.start:%Y-%m-%d}", self.traded))


def windows_of(keys: Iterable[str]) -> list[Window]:
    """The windows of partition keys `date|instrument`, ordered by start, then traded."""
    windows = (Window(date.fromisoformat(key.date), key.instrument) for key in map(CellKey.parse, keys))
    return sorted(windows, key=lambda window: (window.start, window.traded))


def quarter_of(day: date) -> date:
    """First day of the calendar quarter that contains `day`."""
    return day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)


def _quarter_on_or_after(day: date) -> date:
    start = quarter_of(day)
    return start if start == day else months_on(start, 3)


def months_on(first_of_month: date, months: int) -> date:
    """The first day of another month.

    Parameters
    ----------
    first_of_month : from which is counted.
    months : to go on, back where negative.
    """
    index = first_of_month.year * 12 + first_of_month.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=followed().zone)
