"""When what was computed was read: the moment its step began, not the one at which its rows landed.

A cell is as old as what it was made from. A bar that changes while a run computes on the old one lands
before the run's rows do, and compared by landing these would pass for fresh. Steps read after they begin, so the event
with which a step began stands for all the cells its run made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg
import numpy as np

from tt_assets.automation.partition_states import Axes
from tt_assets.automation.restated_bars import Ids
from tt_assets.runs._dagster import event_records

STEPS_LOOKED_AT = 300
"""The latest steps that began; what older ones made counts as read when it landed, and is younger than no late bar."""


@dataclass(frozen=True)
class Begun:
    """A step that began: the id of the event, the key of the step, and its run."""

    event: int
    step: str
    run: dg.DagsterRun


def begun_steps(instance: dg.DagsterInstance, steps: Mapping[str, str]) -> dict[str, list[Begun]]:
    """Table → the latest steps that make it, in the order they began; `steps` maps each table to its step's key."""
    started = event_records(
        instance, dg.EventRecordsFilter(dg.DagsterEventType.STEP_START), limit=STEPS_LOOKED_AT, ascending=False
    )
    keys = {record.storage_id: record.event_log_entry.step_key for record in started}
    wanted = [record for record in reversed(started) if keys[record.storage_id] in set(steps.values())]
    ids = list({record.run_id for record in wanted})
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))} if ids else {}
    return {
        table: [
            Begun(record.storage_id, step, runs[record.run_id])
            for record in wanted
            if keys[record.storage_id] == step and record.run_id in runs
        ]
        for table, step in steps.items()
    }


def read_at(axes: Axes, made: Ids, steps: list[Begun]) -> Ids:
    """Per cell the event at which what it holds was read, at the latest; 0 where nothing is held or being made.

    `made` is the newest materialization of each cell, `steps` those that may have made it. A cell that never landed and
    whose step has begun counts as read then.
    """
    found = made.copy()
    for begun in steps:
        place = axes.block(begun.run.tags)
        if place is None:
            continue
        landed = made[place]
        own = landed > begun.event
        if not begun.run.is_finished:
            own |= landed == 0
        found[place] = np.where(own, begun.event, found[place])
    return found
