"""The cells of a table that Dagster's partition keys `date|instrument` stand for, and the keys that rows fall in.

Windows are taken from the date dimension's schedule, never from the text of a key, so sessions, months
and years are the same to everybody here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
import pandas as pd

from tt_assets.grid.keys import DATE, CellKey
from tt_assets.postgres.slices import Selection


def selection_of(grid: dg.PartitionsDefinition, keys: Iterable[str]) -> Selection:
    """The cells that partition keys stand for, in market time.

    Parameters
    ----------
    grid : date × instrument, its dates time windows; TypeError for others.
    keys : `date|instrument`, in any order.
    """
    dates = _dates_of(grid)
    cells: dict[str, tuple[str, datetime, datetime]] = {}
    bounds: dict[str, tuple[datetime, datetime]] = {}
    for key in keys:
        day, instrument = CellKey.parse(key)
        if day not in bounds:
            bounds[day] = _bounds(dates, day)
        cells[str(key)] = (instrument, *bounds[day])
    return Selection.of(cells)


def _dates_of(grid: dg.PartitionsDefinition) -> dg.TimeWindowPartitionsDefinition:
    if not isinstance(grid, dg.MultiPartitionsDefinition):
        raise TypeError(f"date × instrument partitions expected, got {type(grid).__name__}")
    dates = grid.get_partitions_def_for_dimension(DATE)
    if not isinstance(dates, dg.TimeWindowPartitionsDefinition):
        raise TypeError(f"the date dimension must be time windows, got {type(dates).__name__}")
    return dates


# A window follows from its key and the schedule alone; Dagster finds it by walking the calendar.
_known_bounds: dict[tuple[str | None, str, str], tuple[datetime, datetime]] = {}


def _bounds(dates: dg.TimeWindowPartitionsDefinition, day: str) -> tuple[datetime, datetime]:
    """First moment of the date key's window and first moment after it, market time."""
    name = (dates.cron_schedule, dates.timezone, day)
    if name not in _known_bounds:
        window = dates.time_window_for_partition_key(day)
        _known_bounds[name] = (window.start.replace(tzinfo=None), window.end.replace(tzinfo=None))
    return _known_bounds[name]


@dataclass(frozen=True)
class OutsideRun:
    """Cells outside a run's partitions.

    Parameters
    ----------
    cells : all of them.
    partitions : the keys among them that the grid has.
    """

    cells: Selection
    partitions: frozenset[str]

    @classmethod
    def nothing(cls) -> OutsideRun:
        """No cell."""
        return cls(Selection.of({}), frozenset())


def cells_around(grid: dg.PartitionsDefinition, rows: pd.DataFrame) -> OutsideRun:
    """The cells that rows fall in.

    Parameters
    ----------
    grid : as of `selection_of`.
    rows : instrument, timestamp (sessions). One before or after the grid's dates has a day of its own.
    """
    dates = _dates_of(grid)
    known = sorted(dates.get_partition_keys())
    cells: dict[str, tuple[str, datetime, datetime]] = {}
    partitions = set()
    by_day: dict[pd.Timestamp, tuple[str, datetime, datetime, bool]] = {}
    for instrument, stamp in zip(rows["instrument"], rows["timestamp"], strict=True):
        if stamp not in by_day:
            by_day[stamp] = _window_around(dates, known, stamp)
        day, start, end, exists = by_day[stamp]
        key = str(CellKey(day, instrument))
        cells[key] = (instrument, start, end)
        if exists:
            partitions.add(key)
    return OutsideRun(Selection.of(cells), frozenset(partitions))


def _window_around(
    dates: dg.TimeWindowPartitionsDefinition, known: Sequence[str], stamp: pd.Timestamp
) -> tuple[str, datetime, datetime, bool]:
    """The date key whose window holds `stamp`, its bounds, and whether the grid has it."""
    day = f"{stamp:%Y-%m-%d}"
    place = bisect_right(known, day) - 1
    if place >= 0:
        start, end = _bounds(dates, known[place])
        if start <= stamp < end:
            return known[place], start, end, True
    midnight = stamp.normalize().to_pydatetime()
    return day, midnight, midnight + timedelta(days=1), False
