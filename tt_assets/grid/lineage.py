"""Which upstream cells a cell reads: the partition mappings between the tables.

The mappings are Dagster's own, so the daemon and the UI understand them, but a run evaluates them by
dimension. Dagster builds one key per pair of cells, which is 21 keys a cell for a month's look-back and tens of
thousands a window; `_by_dimension` gives the same answer from the few dates and instruments there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.partitions.mapping.partition_mapping import UpstreamPartitionsResult
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.instance.types import DynamicPartitionsStore

from tt_assets.grid.keys import DATE, INSTRUMENT, CellKey
from tt_assets.settings import DateGrain

FEWEST_SESSIONS_IN_A_MONTH = 15
"""September 2001, when the exchange was closed for four sessions."""

DatesOf = Callable[[Iterable[str], dg.PartitionsDefinition, dg.PartitionsDefinition], Mapping[str, Sequence[str]]]
"""Downstream date keys and both date definitions → upstream date keys of each."""


def keys_behind(sessions: int, grain: DateGrain) -> int:
    """How many date keys before its own a market cell reads when it looks back over `sessions`."""
    return sessions if grain is DateGrain.SESSION else math.ceil(sessions / FEWEST_SESSIONS_IN_A_MONTH)


def lookback(sessions: int, grain: DateGrain) -> dg.MultiPartitionMapping:
    """A market cell reads its own instrument over its session and the `sessions` before, clipped at the start."""
    steps = keys_behind(sessions, grain)
    dates = dg.TimeWindowPartitionMapping(start_offset=-steps, end_offset=0, allow_nonexistent_upstream_partitions=True)

    def dates_of(
        keys: Iterable[str], downstream: dg.PartitionsDefinition, upstream: dg.PartitionsDefinition
    ) -> Mapping[str, Sequence[str]]:
        listed = upstream.get_partition_keys()
        position = {key: index for index, key in enumerate(listed)}
        return {key: listed[max(position[key] - steps, 0) : position[key] + 1] for key in keys}

    mapping = dg.MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(DATE, dates),
            INSTRUMENT: dg.DimensionPartitionMapping(INSTRUMENT, dg.IdentityPartitionMapping()),
        }
    )
    return _by_dimension(mapping, dates_of, same_instrument=True)


def windows_behind(first: int, last: int) -> dg.MultiPartitionMapping:
    """A window reads the sessions of the windows `first` to `last` relative to itself, of every instrument.

    All instruments, because a traded key may be a portfolio of any of them and a static mapping cannot take a dynamic
    dimension upstream.
    """
    dates = dg.TimeWindowPartitionMapping(
        start_offset=first, end_offset=last, allow_nonexistent_upstream_partitions=True
    )

    def dates_of(
        keys: Iterable[str], downstream: dg.PartitionsDefinition, upstream: dg.PartitionsDefinition
    ) -> Mapping[str, Sequence[str]]:
        found = {}
        for key in keys:
            window = downstream.empty_subset().with_partition_keys([key])
            result = dates.get_upstream_mapped_partitions_result_for_partitions(window, downstream, upstream)
            found[key] = list(result.partitions_subset.get_partition_keys())
        return found

    mapping = dg.MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(DATE, dates),
            INSTRUMENT: dg.DimensionPartitionMapping(INSTRUMENT, dg.AllPartitionMapping()),
        }
    )
    return _by_dimension(mapping, dates_of, same_instrument=False)


def _by_dimension(
    mapping: dg.MultiPartitionMapping, dates_of: DatesOf, *, same_instrument: bool
) -> dg.MultiPartitionMapping:
    """`mapping` with its upstream look-up done by dimension; the type, and so what the UI sees, stays Dagster's."""

    def upstream_of(
        downstream_partitions_subset: PartitionsSubset | None,
        downstream_partitions_def: dg.PartitionsDefinition | None,
        upstream_partitions_def: dg.PartitionsDefinition,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> UpstreamPartitionsResult:
        if not isinstance(downstream_partitions_def, dg.MultiPartitionsDefinition) or not isinstance(
            upstream_partitions_def, dg.MultiPartitionsDefinition
        ):
            raise TypeError("date × instrument partitions expected on both sides")
        with partition_loading_context(current_time, dynamic_partitions_store):
            instruments_at: dict[str, set[str]] = {}
            for key in downstream_partitions_subset.get_partition_keys() if downstream_partitions_subset else ():
                day, instrument = CellKey.parse(key)
                instruments_at.setdefault(day, set()).add(instrument)
            upstream_dates = dates_of(
                instruments_at,
                downstream_partitions_def.get_partitions_def_for_dimension(DATE),
                upstream_partitions_def.get_partitions_def_for_dimension(DATE),
            )
            everyone = (
                set()
                if same_instrument
                else set(upstream_partitions_def.get_partitions_def_for_dimension(INSTRUMENT).get_partition_keys())
            )
            read: dict[str, set[str]] = {}
            for day, instruments in instruments_at.items():
                for upstream_day in upstream_dates[day]:
                    read.setdefault(upstream_day, set()).update(instruments if same_instrument else everyone)
            keys = {CellKey(day, instrument).multi() for day, instruments in read.items() for instrument in instruments}
            return UpstreamPartitionsResult(
                partitions_subset=upstream_partitions_def.empty_subset().with_partition_keys(keys),
                required_but_nonexistent_subset=upstream_partitions_def.empty_subset(),
            )

    # An attribute of this one object, which hides the method of its class: nothing of Dagster is changed.
    mapping.get_upstream_mapped_partitions_result_for_partitions = upstream_of  # type: ignore[method-assign]
    return mapping
