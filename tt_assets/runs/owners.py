"""Runs that live in a process of the command line, and what becomes of them when it is killed.

Such a run carries the process that works on it as a tag. Nobody else would notice its end, and a run
that never ends would hold its partitions and its pool for ever.
"""

from __future__ import annotations

import os
import socket

import dagster as dg

from tt_assets.runs.process_identity import identity, is_same

OWNER_TAG = "tt/process"
PARENT_RUN_TAG = "dagster/parent_run_id"


def bury_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of `tt` processes that are gone as failed and free what they held; returns their ids.

    A killed process cannot say that it ended. Its partitions are wholly old or wholly new; running again repairs.
    """
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)):
        owner = owner_of(run)
        if owner and not _lives(owner):
            end_run(instance, run, f"The process that ran it ({owner}) is gone.")
            dead.append(run.run_id)
    return dead


def owner_of(run: dg.DagsterRun) -> str | None:
    """The `tt` process that works on `run`, as its tag names it; None where it is no `tt` process.

    A run that was executed again has the tags of the first one and another process: its owner is not believed.
    """
    return None if PARENT_RUN_TAG in run.tags else run.tags.get(OWNER_TAG)


def end_run(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Mark `run`, which no process works on any more, as failed and give back its pool slots."""
    instance.report_run_failed(run, why)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def this_process() -> str:
    """This process, as the tag of a run names it: host, number and `identity`."""
    return f"{socket.gethostname()}:{os.getpid()}:{identity(os.getpid())}"


def _lives(owner: str) -> bool:
    host, pid, known = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True  # another machine's processes cannot be seen from here
    return is_same(int(pid), known)
