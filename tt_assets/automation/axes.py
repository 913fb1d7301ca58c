"""The keys of a grid as the axes of arrays: dates × instruments, in the order Dagster lists them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import dagster as dg
import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.grid.keys import DATE, INSTRUMENT, CellKey
from tt_assets.grid.run_tags import PARTITION, RANGE_END, RANGE_START

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Axes:
    """Date keys and instrument keys of a grid, in the order Dagster lists them."""

    dates: tuple[str, ...]
    instruments: tuple[str, ...]

    @classmethod
    def of(cls, instance: dg.DagsterInstance, grid: dg.MultiPartitionsDefinition) -> Axes:
        """The keys that `grid` has now."""
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            return cls(
                tuple(grid.get_partitions_def_for_dimension(DATE).get_partition_keys()),
                tuple(grid.get_partitions_def_for_dimension(INSTRUMENT).get_partition_keys()),
            )

    @cached_property
    def date_at(self) -> Mapping[str, int]:
        """Row of each date key."""
        return {key: index for index, key in enumerate(self.dates)}

    @cached_property
    def instrument_at(self) -> Mapping[str, int]:
        """Column of each instrument."""
        return {name: index for index, name in enumerate(self.instruments)}

    @cached_property
    def days(self) -> pd.DatetimeIndex:
        """The date keys as days."""
        return pd.DatetimeIndex(np.array(self.dates, dtype="datetime64[ns]"))

    def none(self) -> Mask:
        """No cell."""
        return np.zeros((len(self.dates), len(self.instruments)), dtype=bool)

    def cells(self, keys: Iterable[str]) -> Mask:
        """The cells named by partition keys `date|instrument`; keys the grid does not have are left out."""
        found = self.none()
        dates, instruments = self.date_at, self.instrument_at
        places = [
            (dates[day], instruments[name])
            for day, name in map(CellKey.parse, keys)
            if day in dates and name in instruments
        ]
        if places:
            found[tuple(np.array(places).T)] = True
        return found

    def block(self, tags: Mapping[str, str]) -> tuple[slice, slice] | None:
        """Rows and columns of the rectangle in the tags of a run; None for a run over no part of this grid."""
        if RANGE_START in tags and RANGE_END in tags:
            (first, begin), (last, end) = (CellKey.parse(tags[name]) for name in (RANGE_START, RANGE_END))
        elif key := CellKey.find(tags.get(PARTITION)):
            first, begin = last, end = key
        else:
            return None
        if begin not in self.instrument_at or end not in self.instrument_at:
            return None
        columns = slice(self.instrument_at[begin], self.instrument_at[end] + 1)
        return slice(bisect_left(self.dates, first), bisect_right(self.dates, last)), columns

    def pairs(self, cells: Mask) -> set[CellKey]:
        """The cells as partition keys."""
        return {CellKey(self.dates[row], self.instruments[column]) for row, column in np.argwhere(cells).tolist()}

    def columns(self, names: Iterable[str]) -> Mask:
        """(instruments,) which of them are among `names`."""
        wanted = set(names)
        return np.array([name in wanted for name in self.instruments], dtype=bool)
