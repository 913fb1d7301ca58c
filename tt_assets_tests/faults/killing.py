"""Runs in processes of their own that kill themselves with SIGKILL at a named point.

The processes are forked from one that has loaded the product already, so that a kill costs a run and no start.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from tt_assets.postgres import slice_store
from tt_assets.postgres.episode_store import EpisodeStore
from tt_assets.runs.bulk import Outcome, materialize
from tt_assets.runtime.platform import open_instance, settle_dead_runs
from tt_assets.settings import Settings, database_of
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.dagster_runs import AGENTS_JOB, MARKET_JOB, current_definitions

Span = tuple[Sequence[str], Sequence[str]]
"""Date keys and instruments of a rectangle."""


def die(*_: Any, **__: Any) -> Any:
    """Leave as with kill -9: nothing is flushed, closed or said."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_before(owner: Any, name: str) -> None:
    """Have the call of `owner.name` never begin."""
    setattr(owner, name, die)


def dies_after(owner: Any, name: str) -> None:
    """Have the call of `owner.name` never return."""
    honest = getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:
        honest(*args, **named)
        die()

    setattr(owner, name, call)


def _in_copy() -> None:
    honest = slice_store.copy_into

    def copy(connection: Any, table: Any, columns: Any, pieces: Any) -> None:
        def cut() -> Any:
            for piece in pieces:
                yield piece[: len(piece) // 2]
                time.sleep(0.2)  # the half of it has reached the server
                die()

        honest(connection, table, columns, cut())

    slice_store.copy_into = copy


def _at_event(kind: dg.DagsterEventType, table: str | None = None) -> None:
    honest = dg.DagsterInstance.handle_new_event

    def handle(self: dg.DagsterInstance, entry: dg.EventLogEntry, **options: Any) -> Any:
        event = entry.dagster_event
        named = {event.step_key, event.asset_key.path[-1] if event.asset_key else None} if event else set()
        if event is not None and event.event_type is kind and (table is None or table in named):
            die()
        return honest(self, entry, **options)

    dg.DagsterInstance.handle_new_event = handle  # type: ignore[method-assign]


def _in_training() -> None:
    from tt_assets.trading.agents import batch

    class Pool(batch.ProcessPoolExecutor):
        def submit(self, *args: Any, **named: Any) -> Any:
            super().submit(*args, **named)
            time.sleep(0.3)  # the worker is there
            die()

    batch.ProcessPoolExecutor = Pool  # type: ignore[misc]


def _in_mid_roll() -> None:
    honest = EpisodeStore.add

    def add(self: EpisodeStore, table: str, rows: Any) -> int:
        if table == "tt_portfolio":
            die()
        return honest(self, table, rows)

    EpisodeStore.add = add  # type: ignore[method-assign]


EVENT = dg.DagsterEventType
MARKET_POINTS: Mapping[str, Callable[[], None]] = {
    "before COPY": lambda: dies_before(slice_store, "copy_into"),
    "in COPY": _in_copy,
    "before COMMIT": lambda: dies_after(slice_store, "write_entries"),
    "after COMMIT": lambda: dies_after(slice_store.SliceStore, "write"),
    "before the event": lambda: _at_event(EVENT.ASSET_MATERIALIZATION),
    "in checks": lambda: _at_event(EVENT.ASSET_CHECK_EVALUATION),
}
"""Where a run over bars, features and scores dies."""

AGENT_POINTS: Mapping[str, Callable[[], None]] = {
    "in training": _in_training,
    "after policies": lambda: _at_event(EVENT.STEP_START, "episodes"),
    "in mid-roll": _in_mid_roll,
    "before closing an episode": lambda: dies_before(EpisodeStore, "finalize"),
    "before the event of episodes": lambda: _at_event(EVENT.ASSET_MATERIALIZATION, "tt_episode"),
    "in checks of episodes": lambda: _at_event(EVENT.ASSET_CHECK_EVALUATION, "tt_episode_checks"),
}
"""Where a run that trains and rolls dies."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tt_assets.definitions", __name__])


def by_hand(tables: Sequence[str], span: Span) -> Outcome:
    """What `tt backfill` and `tt train` do: runs in this process over a rectangle, once the dead are out of the way."""
    dates, instruments = span
    job = current_definitions().resolve_job_def(MARKET_JOB if set(tables) <= set(MARKET_TABLES) else AGENTS_JOB)
    with open_instance() as instance:
        settle_dead_runs(instance, database_of(Settings()))
        cells = {(day, name) for day in dates for name in instruments}
        return materialize(instance, job, tables, cells, dates, instruments)


def run_and_die(point: str, tables: Sequence[str], span: Span, environment: Mapping[str, str]) -> None:
    """As `by_hand`, in a process with `environment` that kills itself at `point`."""
    process = _forks.Process(target=_doomed, args=(point, tables, span, dict(environment)))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, f"{point}: ended with {process.exitcode}"


def _doomed(point: str, tables: Sequence[str], span: Span, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    (MARKET_POINTS | AGENT_POINTS)[point]()
    outcome = by_hand(tables, span)
    print(f"{point} was never reached: {outcome}")
