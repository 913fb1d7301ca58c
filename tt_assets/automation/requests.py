"""Run requests of sensors: rectangles of cells as range runs that say who asked for them and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import dagster as dg

from tt_assets.automation.partition_states import Axes, Mask
from tt_assets.automation.tries import REASON_TAG, SENSOR_TAG
from tt_assets.grid.rectangles import MOST_CELLS, rectangles

PRIORITY_TAG = "dagster/priority"
LONGEST_REASON = 250
QUIET = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
"""The event of every single cell is in the UI; in the log of `tt up` it would be a line each."""


def range_requests(
    job: str,
    plans: Mapping[tuple[str, ...], Mask],
    axes: Axes,
    *,
    sensor: str,
    priority: int,
    reason: str,
    tags: Mapping[str, str],
    most_cells: Callable[[Mask], int] = lambda cells: MOST_CELLS,
    most_runs: int | None = None,
) -> list[dg.RunRequest]:
    """One request per rectangle of every plan (tables → cells), at most `most_runs`; the rest is a later tick's.

    `most_cells` says of a plan's cells how many of them one run makes.
    """
    found: list[dg.RunRequest] = []
    for tables, cells in plans.items():
        if not cells.any():
            continue
        for rectangle in rectangles(axes.pairs(cells), axes.dates, axes.instruments, most_cells(cells)):
            if most_runs is not None and len(found) >= most_runs:
                return found
            found.append(
                dg.RunRequest(
                    job_name=job,
                    asset_selection=[dg.AssetKey(table) for table in tables],
                    run_config=QUIET,
                    tags={
                        **tags,
                        **rectangle.tags(),
                        SENSOR_TAG: sensor,
                        PRIORITY_TAG: str(priority),
                        REASON_TAG: reason[:LONGEST_REASON],
                    },
                )
            )
    return found


def said(requests: Sequence[dg.RunRequest]) -> str:
    """The requests in words, for the log of a tick."""
    words = []
    for request in requests:
        span = request.partition_key_range
        tables = ", ".join(key.path[-1] for key in request.asset_selection or ())
        words.append(f"{tables}: {span.start} to {span.end}" if span else tables)
    return "; ".join(words)
