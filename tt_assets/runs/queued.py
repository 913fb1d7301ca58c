"""Range-tagged runs given to the queue, followed until all of them have ended.

What carries them out is the launcher's affair: processes of this machine, or other machines. Whoever follows them only
reads, so a process that follows may be killed; the runs go on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tt_assets.grid.rectangles import SESSIONS_OF, Rectangle, most_cells, rectangles
from tt_assets.grid.run_tags import WILL_RETRY
from tt_assets.runs._dagster import code_origin, job_origin, storage_time, submit
from tt_assets.runs.bulk import Hearing, Outcome, behind_failure, run_config
from tt_assets.runs.check_events import said_besides
from tt_assets.runs.owners import PARENT_RUN_TAG
from tt_assets.settings import Settings

ASKED_EVERY = 2.0
"""Seconds between two looks at the runs."""
HEARD = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_START,
    dg.DagsterEventType.ENGINE_EVENT,
}
"""The events that say what became of a run, and how it began."""
LEAST_CELLS = 1_000
"""A run of market partitions is not made smaller than this: its process takes seconds to start."""
A_PLACE = 2
"""Runs of one request for each place at work: with one the last to end would be waited for longest."""
DAEMON_OF_THE_QUEUE, DAEMON_SILENT_FOR = "QUEUED_RUN_COORDINATOR", 120.0
"""Dagster's name for what works off the queue; seconds after which it is taken to be gone."""
_RUNNING = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class QueueState:
    """How the runs of one request stand; `partitions` landed so far, over all tables."""

    waiting: int
    running: int
    ended: int
    partitions: int

    def __str__(self) -> str:
        """In words."""
        return f"{self.running} running, {self.waiting} waiting, {self.ended} ended"


OnState = Callable[[QueueState], None]


@dataclass(frozen=True)
class Piece:
    """What one run makes, and whether it draws its pictures or leaves that to another run of the request."""

    tables: tuple[str, ...]
    rectangle: Rectangle
    draws: bool = True


@dataclass
class _Lane:
    """Pieces that wait for each other: a later one may look back over what an earlier one makes."""

    instruments: set[str]
    pieces: deque[Piece] = field(default_factory=deque)


def materialize_queued(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    tables: Sequence[str],
    cells: Collection[tuple[str, str]],
    dates: Sequence[str],
    instruments: Sequence[str],
    *,
    most_cells: int,
    chained: bool,
    on_state: OnState = lambda state: None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    every: float = ASKED_EVERY,
) -> Outcome:
    """Materialize `tables` (flow order) of `job` for `cells` by runs of the queue; returns when all have ended.

    Parameters
    ----------
    cells : (date key, instrument).
    dates, instruments : all keys, in the order Dagster lists them.
    most_cells : of one run.
    chained : whether a partition may look back over an earlier one of its instrument, so that those wait for each
        other.
    on_state : hears how the runs stand, after every look at them.
    config : run config of single tables.
    every : seconds between two looks.

    Returns
    -------
    The outcome of all runs. What lies behind a table that failed for some cells is queued for the others, as
    `materialize` has it.
    """
    covering = rectangles(cells, dates, instruments, most_cells)
    pieces = [Piece(tuple(tables), one, draws=one is covering[-1]) for one in covering]
    following = _Following(instance, job, dates, instruments, most_cells, config)
    following.lanes = _lanes(pieces) if chained else [_Lane(set(), deque([piece])) for piece in pieces]
    following.submit_first()
    while following.active:
        on_state(following.look())
        if following.active:
            time.sleep(every)
    return following.total


@dataclass
class _Following:
    """The runs of one request: those in the queue or at work, and what is to be queued after them."""

    instance: dg.DagsterInstance
    job: dg.JobDefinition
    dates: Sequence[str]
    instruments: Sequence[str]
    most_cells: int
    config: Mapping[str, Mapping[str, Any]] | None
    lanes: list[_Lane] = field(default_factory=list)
    active: dict[str, tuple[_Lane, Piece]] = field(default_factory=dict)
    total: Outcome = field(default_factory=Outcome)
    landed: dict[str, int] = field(default_factory=dict)
    ended: int = 0

    def submit_first(self) -> None:
        """Queue the first piece of every lane."""
        for lane in self.lanes:
            self._next(lane)

    def look(self) -> QueueState:
        """Hear of the runs that have ended, queue what follows on them, and count."""
        waiting = running = 0
        found = {run.run_id: run for run in self.instance.get_runs(dg.RunsFilter(run_ids=list(self.active)))}
        for run_id, (lane, piece) in list(self.active.items()):
            run = found.get(run_id)
            if run is None:
                self._end(run_id, lane, piece, Outcome([run_id], errors=[f"run {run_id} was deleted"]))
            elif run.is_finished:
                self._ended(run, lane, piece)
            elif run.status in _RUNNING:
                running += 1
                self.landed[run_id] = self.instance.get_run_stats(run_id).materializations
            else:
                waiting += 1
        waiting += sum(len(lane.pieces) for lane in self.lanes)
        return QueueState(waiting, running, self.ended, sum(self.landed.values()))

    def _ended(self, run: dg.DagsterRun, lane: _Lane, piece: Piece) -> None:
        if run.status is dg.DagsterRunStatus.FAILURE and run.tags.get(WILL_RETRY) == "true":
            # Its process was lost and Dagster makes it again: the second one says what became of it.
            again = self.instance.get_runs(dg.RunsFilter(tags={PARENT_RUN_TAG: run.run_id}), limit=1)
            if again:
                self.active[again[0].run_id] = self.active.pop(run.run_id)
            return
        self.landed[run.run_id] = self.instance.get_run_stats(run.run_id).materializations
        self._end(run.run_id, lane, piece, outcome_of(self.instance, run, piece))

    def _end(self, run_id: str, lane: _Lane, piece: Piece, outcome: Outcome) -> None:
        del self.active[run_id]
        self.ended += 1
        self.total.add(outcome)
        rest, left = behind_failure(piece.tables, outcome, piece.rectangle, self.dates)
        behind = rectangles(left, self.dates, self.instruments, self.most_cells)
        lane.pieces.extendleft(Piece(tuple(rest), one) for one in reversed(behind))
        self._next(lane)

    def _next(self, lane: _Lane) -> None:
        if lane.pieces:
            piece = lane.pieces.popleft()
            self.active[queue(self.instance, self.job, piece, self.config)] = (lane, piece)


def is_worked_off(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon has worked off the queue lately."""
    beat = instance.get_daemon_heartbeats().get(DAEMON_OF_THE_QUEUE)
    return beat is not None and storage_time(instance).timestamp() - beat.timestamp < DAEMON_SILENT_FOR


def market_share(cells: int, settings: Settings) -> int:
    """How many of `cells` market partitions one queued run makes, so that every place has work."""
    grain = settings.date_grain
    least = max(1, LEAST_CELLS // SESSIONS_OF[grain])
    return min(most_cells(grain), max(least, -(-cells // (A_PLACE * settings.max_runs))))


def agents_share(cells: int, settings: Settings) -> int:
    """How many of `cells` windows one queued run trains or rolls, so that every place has work."""
    return max(1, cells // (2 * A_PLACE * settings.train_slots))


def queue(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    piece: Piece,
    config: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Put a run that makes `piece` into the queue of `instance`; returns its id."""
    chosen = {dg.AssetKey(table) for table in piece.tables}
    run = instance.create_run_for_job(
        job.get_subset(asset_selection=chosen),
        asset_selection=chosen,
        run_config=run_config(piece.tables, config, "INFO"),
        tags=piece.rectangle.tags(draws=piece.draws),
        remote_job_origin=job_origin(job.name),
        job_code_origin=code_origin(job.name),
    )
    submit(instance, run.run_id)
    return run.run_id


def outcome_of(instance: dg.DagsterInstance, run: dg.DagsterRun, piece: Piece) -> Outcome:
    """What became of a run that has ended, from its stored events.

    A run that was taken up again after its machine died succeeds although a step of it was begun twice.
    """
    heard = Hearing(run.run_id, f"{piece.rectangle.start_key} to {piece.rectangle.end_key}")
    succeeded = run.status is dg.DagsterRunStatus.SUCCESS
    for entry in instance.all_logs(run.run_id, of_type=HEARD):
        event = entry.dagster_event
        if event is not None and not (succeeded and event.is_failure) and not said_besides(event):
            heard.hear(event)
    outcome = heard.outcome(instance)
    if outcome.ok and not succeeded:
        outcome.errors.append(f"run {run.run_id} ended as {run.status.value.lower()}")
    return outcome


def _lanes(pieces: Sequence[Piece]) -> list[_Lane]:
    """The pieces in lanes, each with all those that share an instrument; by date in a lane."""
    lanes: list[_Lane] = []
    for piece in sorted(pieces, key=lambda one: one.rectangle.first_date):
        own = set(piece.rectangle.instruments)
        shared = [lane for lane in lanes if lane.instruments & own]
        lane = shared[0] if shared else _Lane(set())
        for other in shared[1:]:
            lane.instruments |= other.instruments
            lane.pieces = deque(sorted([*lane.pieces, *other.pieces], key=lambda one: one.rectangle.first_date))
        lane.instruments |= own
        lane.pieces.append(piece)
        lanes = [known for known in lanes if known not in shared] + [lane]
    return lanes
