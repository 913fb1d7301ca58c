"""How often sensors have asked for a cell in vain, and when they may ask again.

The ledger counts what failed and what came out without a row again, on one state of the source. No cursor can be lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tt_assets.automation.partition_states import Cells, Mask
from tt_assets.runs.io_managers import SOURCE_TAG

__all__ = ["REASON_TAG", "SENSOR_TAG", "SOURCE_TAG", "Tries", "tries_of"]

SENSOR_TAG = "tt/sensor"
REASON_TAG = "tt/reason"
FACTOR = 4
"""Each wait is this many times the one before."""
SET_BACK = 3_600.0
"""Seconds: a try that ended so far ahead was noted by a clock that has been set back since."""


@dataclass(frozen=True)
class Tries:
    """Per cell how often it was tried, and when the last try ended (seconds since 1970, 0 without one)."""

    count: npt.NDArray[np.int64]
    last: npt.NDArray[np.float64]

    def due(self, now: float, first_wait: float) -> Mask:
        """The cells that may be asked for again: never tried, or the wait after the last try is over.

        A last try that lies ahead by more than `SET_BACK` says nothing: waiting for that hour would be waiting anew.
        """
        chosen: Mask = (self.count == 0) | (now >= self.next(first_wait)) | (self.last - now > SET_BACK)
        return chosen

    def next(self, first_wait: float) -> npt.NDArray[np.float64]:
        """When each cell may be asked for again, seconds since 1970."""
        return self.last + first_wait * float(FACTOR) ** np.maximum(self.count - 1, 0)


def tries_of(cells: Cells, source: str) -> dict[str, Tries]:
    """What was tried in vain on the state `source` of the price source, by table."""
    return {
        table: Tries(np.zeros(own.done.shape, dtype=np.int64), np.zeros(own.done.shape))
        if own.ledger is None
        else Tries(own.ledger.tries_on(source), own.ledger.tried_at)
        for table, own in cells.tables.items()
    }
