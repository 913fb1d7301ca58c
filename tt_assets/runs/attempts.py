"""Which run was the last to make a partition, as Dagster's UI tells it of the partitions of range runs.

Dagster goes by the event that plans a partition by name. A range run plans all its partitions in one
event without names, so those that fail are planned by name, which has them counted as failed; and a range run that
mends such a partition plans it again before it lands, or the page of the cell would name the failed run for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from tt_assets.grid.run_tags import PARTITION
from tt_assets.runs._dagster import planned, report


def plan_by_name(step_context: dg.StepExecutionContext, asset_key: dg.AssetKey, keys: Iterable[str]) -> None:
    """Plan by name those of the partitions `keys`, which are about to land, that were planned by name and never landed.

    A run of one partition is planned by name as it is.
    """
    run, storage = step_context.dagster_run, step_context.instance.event_log_storage
    if PARTITION in run.tags:
        return
    attempts = storage.get_latest_storage_id_by_partition(asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    tried = attempts.keys() & set(keys)
    if not tried:
        return
    landed = storage.get_latest_storage_id_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions=tried
    )
    mended = sorted(key for key in tried if landed.get(key, 0) < attempts[key])
    step = step_context.step.key
    report(step_context.instance, run.run_id, [planned(step_context.job_name, step, asset_key, key) for key in mended])
