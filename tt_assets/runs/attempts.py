"""Which run was the last to make a partition, as Dagster's UI tells it of the partitions of range runs.

Dagster goes by the event that plans a partition by name. A range run plans all its partitions in one
event without names, so those that fail are planned by name, which has them counted as failed; and a range run that
mends such a partition plans it again before it lands, or the page of the cell would name the failed run for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)
from dagster._core.storage.tags import PARTITION_NAME_TAG


def planned(job_name: str, step_key: str, asset_key: dg.AssetKey, key: str) -> DagsterEvent:
    """The event that a run is going to make partition `key`."""
    return DagsterEvent.build_asset_materialization_planned_event(
        job_name, step_key, AssetMaterializationPlannedData(asset_key, partition=key)
    )


def store(instance: dg.DagsterInstance, run_id: str, events: Sequence[DagsterEvent]) -> None:
    """Store `events` of a run, a batch at a time."""
    batch, last = generate_event_batch_id(), len(events) - 1
    for position, event in enumerate(events):
        metadata = DagsterEventBatchMetadata(batch, is_end=position == last)
        instance.report_dagster_event(event, run_id, logging.DEBUG, batch_metadata=metadata)


def take_over(step_context: Any, asset_key: dg.AssetKey, keys: Iterable[str]) -> None:
    """Plan by name those of the partitions `keys`, which are about to land, that were planned by name and never landed.

    A run of one partition is planned by name as it is.
    """
    run, storage = step_context.dagster_run, step_context.instance.event_log_storage
    if PARTITION_NAME_TAG in run.tags:
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
    store(step_context.instance, run.run_id, [planned(step_context.job_name, step, asset_key, key) for key in mended])
