"""Runs that live in a process of the command line, and what becomes of them when it is killed.

Such a run carries the process that works on it as a tag. Nobody else would notice its end, and a run
that never ends would hold its partitions and its pool for ever.
"""

from __future__ import annotations

import os
import socket

import dagster as dg
import psutil
from dagster._core.storage.dagster_run import RunsFilter

OWNER_TAG = "tt/process"


def bury_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of `tt` processes that are gone as failed and free what they held; returns their ids.

    A killed process cannot say that it ended. Its partitions are wholly old or wholly new; running again repairs.
    """
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    dead = []
    for run in instance.get_runs(RunsFilter(statuses=unfinished)):
        owner = run.tags.get(OWNER_TAG)
        if owner and not _lives(owner):
            instance.report_run_failed(run, f"The process that ran it ({owner}) is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead.append(run.run_id)
    return dead


def this_process() -> str:
    """This process, as the tag of a run names it: host, number, start time in seconds since 1970."""
    me = psutil.Process()
    return f"{socket.gethostname()}:{os.getpid()}:{me.create_time():.0f}"


def _lives(owner: str) -> bool:
    host, pid, started = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True  # another machine's processes cannot be seen from here
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(started)) < 2
    except psutil.NoSuchProcess:
        return False
