"""Tags and statuses that Dagster writes on runs and events, by names of our own.

Dagster keeps most of these names among its private ones. They stand in every stored run and in the addresses of its
UI, so they do not change; a test compares each of them with the installed version.
"""

from __future__ import annotations

import dagster as dg

PARTITION = "dagster/partition"
"""Partition key of a run over one partition."""

DIMENSION = "dagster/partition/"
"""What stands before the name of a dimension in the tags of an event of one partition."""

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
"""First and last partition key of a run over a rectangle, both included."""

WILL_RETRY = "dagster/will_retry"
"""On a failed run whether Dagster makes it again: "true" or "false"."""

DATA_VERSION = "dagster/data_version"
"""Data version of a materialization."""

WAITS = "tt/waits_for_runs"
"""On a run that queues others and waits for their end."""

DRAWN_LATER = "tt/pictures"
"""On a run of a load that goes on after it: the last run of the load draws the pictures."""

PLACE = "tt/place"
"""On a queued run that takes one of the TT_MAX_RUNS places: every one but those that wait for others."""

UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.SUSPENDED,
    dg.DagsterRunStatus.CANCELING,
)
"""Statuses of a run that may still make its partitions."""

CHECK_FAILED = "DagsterAssetCheckFailedError"
"""Class of the error by which a blocking check ends its run, as a failed step names it."""
