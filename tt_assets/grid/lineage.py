"""Which upstream partitions a partition reads: the partition mappings between the tables.

The mappings are Dagster's own, so the daemon and the UI understand them, but a run evaluates them by
dimension. Dagster builds one key per pair of partitions, which is 21 keys a partition for a month's look-back and tens
of thousands a window; `MultiPartitionMapping` gives the same answer from the few dates and instruments there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from tt_assets.grid.keys import DATE, INSTRUMENT, CellKey
from tt_assets.settings import DateGrain

FEWEST_SESSIONS = {DateGrain.SESSION: 1, DateGrain.MONTH: 15, DateGrain.YEAR: 220}
"""In one whole date partition. Of a month those of September 2001, when the exchange was closed for four sessions; of a
year fewer than the 223 of Athens in 2015."""


def keys_behind(sessions: int, grain: DateGrain) -> int:
    """How many date keys before its own a market partition reads.

    Parameters
    ----------
    sessions : it looks back over.
    grain : how wide a date key is. Of months and years enough for the one with the fewest sessions.
    """
    return math.ceil(sessions / FEWEST_SESSIONS[grain])


class MultiPartitionMapping(dg.MultiPartitionMapping):
    """A mapping of date × instrument whose upstream partitions are found by dimension.

    Dates map by a `TimeWindowPartitionMapping`, instruments to themselves or all to all. The class has the name of
    Dagster's own, because a code location is told to the daemon and the UI by names of classes: they read it as that.
    """

    def get_upstream_mapped_partitions_result_for_partitions(
        self,
        downstream_partitions_subset: Any,
        downstream_partitions_def: dg.PartitionsDefinition | None,
        upstream_partitions_def: dg.PartitionsDefinition,
        current_time: datetime | None = None,
        dynamic_partitions_store: Any = None,
    ) -> Any:
        """The partitions that those of `downstream_partitions_subset` read; dates before the first are left out."""
        if not isinstance(downstream_partitions_def, dg.MultiPartitionsDefinition) or not isinstance(
            upstream_partitions_def, dg.MultiPartitionsDefinition
        ):
            raise TypeError("date × instrument partitions expected on both sides")
        with dg.partition_loading_context(current_time, dynamic_partitions_store):
            instruments_at: dict[str, set[str]] = {}
            for day, instrument in map(CellKey.parse, downstream_partitions_subset.get_partition_keys()):
                instruments_at.setdefault(day, set()).add(instrument)
            dates = upstream_dates(
                instruments_at,
                self.downstream_mappings_by_upstream_dimension[DATE].partition_mapping,
                downstream_partitions_def.get_partitions_def_for_dimension(DATE),
                upstream_partitions_def.get_partitions_def_for_dimension(DATE),
            )
            own = self.downstream_mappings_by_upstream_dimension[INSTRUMENT].partition_mapping
            names = upstream_partitions_def.get_partitions_def_for_dimension(INSTRUMENT)
            everyone = None if isinstance(own, dg.IdentityPartitionMapping) else set(names.get_partition_keys())
            read: dict[str, set[str]] = {}
            for day, instruments in instruments_at.items():
                for upstream_day in dates[day]:
                    read.setdefault(upstream_day, set()).update(instruments if everyone is None else everyone)
            keys = {CellKey(day, name).multi() for day, members in read.items() for name in members}
            # The type of the answer has no public name: Dagster's own answer to nothing is one.
            nothing = super().get_upstream_mapped_partitions_result_for_partitions(
                downstream_partitions_def.empty_subset(), downstream_partitions_def, upstream_partitions_def
            )
            return type(nothing)(
                partitions_subset=upstream_partitions_def.empty_subset().with_partition_keys(keys),
                required_but_nonexistent_subset=upstream_partitions_def.empty_subset(),
            )


def upstream_dates(
    keys: Iterable[str],
    mapping: dg.PartitionMapping,
    downstream: dg.PartitionsDefinition,
    upstream: dg.PartitionsDefinition,
) -> Mapping[str, Sequence[str]]:
    """The upstream date keys that each date key reads; those before the first are left out.

    Parameters
    ----------
    keys : date keys of `downstream`.
    mapping : of the date dimension.
    downstream, upstream : the date dimensions.

    Returns
    -------
    Date key → what it reads, ascending.
    """
    if isinstance(mapping, dg.TimeWindowPartitionMapping) and downstream == upstream:
        listed = upstream.get_partition_keys()
        position = {key: index for index, key in enumerate(listed)}
        first, last = mapping.start_offset, mapping.end_offset
        return {key: listed[max(position[key] + first, 0) : max(position[key] + last + 1, 0)] for key in keys}
    found = {}
    for key in keys:
        one = downstream.empty_subset().with_partition_keys([key])
        result = mapping.get_upstream_mapped_partitions_result_for_partitions(one, downstream, upstream)
        found[key] = list(result.partitions_subset.get_partition_keys())
    return found


def lookback(sessions: int, grain: DateGrain) -> MultiPartitionMapping:
    """A market partition reads its own instrument over its session and those before, clipped at the start.

    Parameters
    ----------
    sessions : before its own.
    grain : how wide a date key is.

    Returns
    -------
    For `dg.AssetIn`.
    """
    return _by_dimension(-keys_behind(sessions, grain), 0, dg.IdentityPartitionMapping())


def windows_behind(first: int, last: int) -> MultiPartitionMapping:
    """A window reads the sessions of windows around it, of every instrument.

    All instruments, because a traded key may be a portfolio of any of them and a static mapping cannot take a dynamic
    dimension upstream.

    Parameters
    ----------
    first, last : windows relative to its own, both included; −1 is the one before.

    Returns
    -------
    For `dg.AssetIn`.
    """
    return _by_dimension(first, last, dg.AllPartitionMapping())


def _by_dimension(first: int, last: int, instruments: dg.PartitionMapping) -> MultiPartitionMapping:
    dates = dg.TimeWindowPartitionMapping(
        start_offset=first, end_offset=last, allow_nonexistent_upstream_partitions=True
    )
    return MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(DATE, dates),
            INSTRUMENT: dg.DimensionPartitionMapping(INSTRUMENT, instruments),
        }
    )
