"""Runs that live in a process of the command line, and what becomes of them when it is killed.

Such a run carries the process that works on it as a tag. Nobody else would notice its end, and a run
that never ends would hold its partitions and its pool for ever. Whether a process of this machine lives, the kernel
says. One of another machine says so itself: while it works it notes the time on its runs, by the clock of the storage.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from tt_assets.runs._dagster import storage_time
from tt_assets.runs.process_identity import identity, is_same

OWNER_TAG = "tt/process"
ALIVE_TAG = "tt/alive_at"
PARENT_RUN_TAG = "dagster/parent_run_id"
BEAT = 30.0
"""Seconds between two notes that a process lives."""
SILENT_FOR = timedelta(minutes=10)
"""A process of another machine is gone when its last note is this old: a database that was away takes beats with it."""
SILENT_FROM_THE_START = timedelta(days=1)
"""The same of one that never left a note, as older versions do not: since its run was touched last."""


def bury_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of `tt` processes that are gone as failed and free what they held; returns their ids.

    A killed process cannot say that it ended. Its partitions are wholly old or wholly new; running again repairs.
    """
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    dead = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=unfinished)):
        run = record.dagster_run
        owner = owner_of(run)
        if owner and not (_lives(owner) if _is_here(owner) else _is_heard(instance, record)):
            end_run(instance, run, f"The process that ran it ({owner}) is gone.")
            dead.append(run.run_id)
    return dead


def owner_of(run: dg.DagsterRun) -> str | None:
    """The `tt` process that works on `run`, as its tag names it; None where it is no `tt` process.

    A run that was executed again has the tags of the first one and another process: its owner is not believed.
    """
    return None if PARENT_RUN_TAG in run.tags else run.tags.get(OWNER_TAG)


def owned(instance: dg.DagsterInstance) -> Mapping[str, str]:
    """Tags of a run that this process is going to work on: who it is, and that it lives now."""
    return {OWNER_TAG: this_process(), ALIVE_TAG: storage_time(instance).isoformat()}


@contextmanager
def keeping_alive(instance: dg.DagsterInstance, run_id: str, every: float = BEAT) -> Iterator[None]:
    """Note on the run, while the block goes on, that the process that works on it lives; `every` in seconds."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every):
            with suppress(SQLAlchemyError, dg.DagsterError, OSError):  # the next one will do
                instance.add_run_tags(run_id, {ALIVE_TAG: storage_time(instance).isoformat()})

    noting = threading.Thread(target=beat, name=f"alive-{run_id[:8]}", daemon=True)
    noting.start()
    try:
        yield
    finally:
        ended.set()
        noting.join()


def end_run(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Mark `run`, which no process works on any more, as failed and give back its pool slots."""
    instance.report_run_failed(run, why)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def this_process() -> str:
    """This process, as the tag of a run names it: host, number and `identity`."""
    return f"{socket.gethostname()}:{os.getpid()}:{identity(os.getpid())}"


def _is_here(owner: str) -> bool:
    return owner.rsplit(":", 2)[0] == socket.gethostname()


def _lives(owner: str) -> bool:
    _, pid, known = owner.rsplit(":", 2)
    return is_same(int(pid), known)


def _is_heard(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether another machine's process has said lately enough that it works on the run."""
    now = storage_time(instance)
    try:
        return now - datetime.fromisoformat(record.dagster_run.tags.get(ALIVE_TAG, "")) < SILENT_FOR
    except (ValueError, TypeError):
        touched = record.update_timestamp
        return now - (touched if touched.tzinfo else touched.replace(tzinfo=UTC)) < SILENT_FROM_THE_START
