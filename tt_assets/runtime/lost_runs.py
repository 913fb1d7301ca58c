"""Runs whose process is gone: ended, and made again once where the code server died under them.

Dagster's launcher of runs in subprocesses does not look after them. A run whose code server was killed would
stay in progress for ever, with its partitions and its pool slot. It is made again by Dagster's own retries, which count
the whole group of runs, so that a run which takes the code server down with it is not made a third time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import dagster as dg

from tt_assets.runs.owners import end_run
from tt_assets.runtime import code_socket

AGAIN_ONCE = {"dagster/max_retries": "1", "dagster/retry_strategy": "ALL_STEPS"}
FAILED_WORKER = "FAILED"
"""Dagster's word for a job that ended without its run."""
LONGEST_LINE = 500
UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def unfinished_runs(instance: dg.DagsterInstance, socket: Path | None) -> list[dg.DagsterRun]:
    """The runs in progress that the code server at `socket` started; None: that any code server started."""
    return [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        if (code_socket.GRPC_INFO_TAG in run.tags if socket is None else code_socket.started(run.tags, socket))
    ]


def end_lost_runs(instance: dg.DagsterInstance, runs: Iterable[dg.DagsterRun], why: str, *, again: bool) -> list[str]:
    """End `runs`, which no process works on any more, and have them made `again`; returns the ids of those ended.

    A run that somebody was terminating ends as canceled. One that has ended meanwhile is left as it is.
    """
    ended = []
    for run in runs:
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.is_finished:
            continue
        if now.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(now, why)
            instance.event_log_storage.free_concurrency_slots_for_run(now.run_id)
        else:
            if again:
                instance.add_run_tags(now.run_id, AGAIN_ONCE)
            end_run(instance, now, why)
        ended.append(run.run_id)
    return ended


def end_unstarted(instance: dg.DagsterInstance) -> list[str]:
    """End the runs whose job on another machine ended before it could say a word; returns their ids.

    Dagster's own look-out asks after runs that have started only: one whose machine died just then, or lacks the
    package or a variable, would wait for its start for ever. Each is made again once, perhaps on another machine.
    """
    ended: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        try:
            health = instance.run_launcher.check_run_worker_health(run)
        except (OSError, RuntimeError):  # who carries out the runs does not answer just now
            return ended
        if health.status.value == FAILED_WORKER:
            lines = [line.strip() for line in (health.msg or "").splitlines() if line.strip()]
            why = f"The machine that was to carry it out gave up: {lines[-1][:LONGEST_LINE] if lines else 'no reason'}"
            ended += end_lost_runs(instance, [run], why, again=True)
    return ended


class LostRuns:
    """Finds runs whose process is gone although their code server lives. Dagster's own look-out goes first."""

    def __init__(self, socket: Path, lives: Callable[[int], bool]) -> None:
        """`lives` says of a process id whether a process of the code server has it."""
        self._socket, self._lives = socket, lives
        self._processes: dict[str, int] = {}
        self._suspected: set[str] = set()

    def end(self, instance: dg.DagsterInstance) -> list[str]:
        """End the runs that had no process at this look nor at the one before; returns their ids."""
        running = unfinished_runs(instance, self._socket)
        known = {run.run_id: self._process_of(instance, run) for run in running}
        self._processes = {run_id: pid for run_id, pid in known.items() if pid is not None}
        gone = [run for run in running if (pid := known[run.run_id]) is not None and not self._lives(pid)]
        lost = [run for run in gone if run.run_id in self._suspected]
        self._suspected = {run.run_id for run in gone}
        return end_lost_runs(instance, lost, "The process that ran it is gone.", again=True)

    def _process_of(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
        """The process that works on `run`, as it said when it began; None where it has not yet."""
        if run.run_id in self._processes:
            return self._processes[run.run_id]
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            pid = event.engine_event_data.metadata.get("pid") if event else None
            if pid is not None:
                return int(str(pid.value))
        return None
