"""How often sensors have asked for a cell in vain, and when they may ask again.

Nothing is kept beside Dagster. A run that a sensor asked for carries its rectangle, its sensor and the
source's fingerprint as tags; what was tried is read off the runs that have ended. No cursor can be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
import numpy as np
import numpy.typing as npt

from tt_assets.automation.partition_states import Axes, Mask, tables_of

SENSOR_TAG = "tt/sensor"
SOURCE_TAG = "tt/source"
REASON_TAG = "tt/reason"
GAPS = "gaps"
"""Name of the sensor whose every run is a try, also one that succeeds and still finds no bar."""

RUNS_LOOKED_AT = 500
FACTOR = 4
"""Each wait is this many times the one before."""

IN_VAIN = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Tries:
    """Per cell how often it was tried, and when the last try ended (seconds since 1970, 0 without one)."""

    count: npt.NDArray[np.int64]
    last: npt.NDArray[np.float64]

    def due(self, now: float, first_wait: float) -> Mask:
        """The cells that may be asked for again: never tried, or the wait after the last try is over."""
        return (self.count == 0) | (now >= self.next(first_wait))

    def next(self, first_wait: float) -> npt.NDArray[np.float64]:
        """When each cell may be asked for again, seconds since 1970."""
        return self.last + first_wait * float(FACTOR) ** np.maximum(self.count - 1, 0)


def tries_of(
    instance: dg.DagsterInstance, axes: Axes, tables: Sequence[str], tags: Mapping[str, str], *, counted: str = GAPS
) -> dict[str, Tries]:
    """What was tried on the cells of `tables` by runs with `tags`: those that failed, and any of the sensor `counted`.

    The latest 500 runs of each kind are looked at.
    """
    found = {table: Tries(np.zeros(axes.none().shape, dtype=np.int64), np.zeros(axes.none().shape)) for table in tables}
    filters = (
        dg.RunsFilter(tags=dict(tags), statuses=IN_VAIN),
        dg.RunsFilter(tags={**tags, SENSOR_TAG: counted}, statuses=[dg.DagsterRunStatus.SUCCESS]),
    )
    for wanted in filters:
        for record in instance.get_run_records(wanted, limit=RUNS_LOOKED_AT):
            place = axes.block(record.dagster_run.tags)
            if place is None or SENSOR_TAG not in record.dagster_run.tags:
                continue
            ended = record.end_time or record.update_timestamp.timestamp()
            for table in tables_of(record.dagster_run) & found.keys():
                tries = found[table]
                tries.count[place] += 1
                tries.last[place] = np.maximum(tries.last[place], ended)
    return found
