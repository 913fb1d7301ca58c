"""Range-tagged runs in this process, recorded on the platform's Dagster instance.

Bulk work is one run for a rectangle of partitions through all its tables. A table that fails for some
partitions fails its step; what lies downstream of the partitions that did land is then run on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dagster as dg

from tt_assets.grid.keys import CellKey
from tt_assets.grid.rectangles import MOST_CELLS, Rectangle, rectangles
from tt_assets.grid.run_tags import PARTITION
from tt_assets.runs._dagster import execute, job_origin
from tt_assets.runs.check_events import REMEDY, not_reached
from tt_assets.runs.failures import Beginning, failure_of_run, failure_reasons
from tt_assets.runs.memory import give_back, looked_for_rarely
from tt_assets.runs.owners import keeping_alive, owned

OnEvent = Callable[[dg.DagsterEvent], None]


class Standing(StrEnum):
    """What became of a check, as a person is told."""

    WARNING = "warning"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class CheckSaid:
    """What a check of a run said that did not simply hold.

    Parameters
    ----------
    said : its words, or why it was not run.
    remedy : what to do about it; empty where nothing is.
    blocking : whether it stopped its run, whose error then names it already.
    """

    table: str
    check: str
    standing: Standing
    said: str
    remedy: str = ""
    blocking: bool = False


@dataclass
class Outcome:
    """What became of a request: the runs, and per table the partitions that failed with the reason."""

    runs: list[str] = field(default_factory=list)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    checks: list[CheckSaid] = field(default_factory=list)
    """Checks that failed, warned or were not reached, in the order of the runs."""
    held: set[tuple[str, str]] = field(default_factory=set)
    """(table, check) of those that were made in some run."""

    @property
    def ok(self) -> bool:
        """Whether every partition of every table landed."""
        return not self.failed and not self.errors

    def add(self, other: Outcome) -> None:
        """Take in what another run had to say."""
        self.runs += other.runs
        self.errors += other.errors
        self.checks += other.checks
        self.held |= other.held
        for table, reasons in other.failed.items():
            self.failed.setdefault(table, {}).update(reasons)


def materialize(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    tables: Sequence[str],
    cells: Collection[tuple[str, str]],
    dates: Sequence[str],
    instruments: Sequence[str],
    *,
    on_event: OnEvent = lambda event: None,
    most_cells: int = MOST_CELLS,
    config: Mapping[str, Mapping[str, Any]] | None = None,
) -> Outcome:
    """Materialize `tables` (flow order) of `job` for `cells` = (date key, instrument), chunk by chunk.

    `config` has the run config of single tables.

    After a step that failed for some cells the tables behind it run for the others. What looks back over such a cell
    finds no row there, as with a session on which the instrument was halted, and is undefined for as long.
    """
    outcome = Outcome()
    every = rectangles(cells, dates, instruments, most_cells)
    for rectangle in every:
        with looked_for_rarely():
            part = run_rectangle(instance, job, tables, rectangle, on_event, config, draws=rectangle is every[-1])
        outcome.add(part)
        give_back()
        rest, left = behind_failure(tables, part, rectangle, dates)
        if left:
            outcome.add(
                materialize(
                    instance,
                    job,
                    rest,
                    left,
                    dates,
                    instruments,
                    on_event=on_event,
                    most_cells=most_cells,
                    config=config,
                )
            )
    return outcome


def run_rectangle(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    tables: Sequence[str],
    rectangle: Rectangle,
    on_event: OnEvent,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    draws: bool = True,
) -> Outcome:
    """One run over `rectangle` through `tables`, with the run config of single tables in `config`.

    Without `draws` it leaves the pictures to a later run of its load.
    """
    where = f"{rectangle.start_key} to {rectangle.end_key}"
    return _run(instance, job, tables, rectangle.tags(draws=draws), where, on_event, config)


def run_partition(
    instance: dg.DagsterInstance, job: dg.JobDefinition, assets: Sequence[str], partition: str, on_event: OnEvent
) -> Outcome:
    """One run of one partition through `assets`."""
    return _run(instance, job, assets, {PARTITION: partition}, partition, on_event)


def _run(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    assets: Sequence[str],
    tags: Mapping[str, str],
    where: str,
    on_event: OnEvent,
    config: Mapping[str, Mapping[str, Any]] | None = None,
) -> Outcome:
    chosen = {dg.AssetKey(asset) for asset in assets}
    definition = job.get_subset(asset_selection=chosen)
    run = instance.create_run_for_job(
        definition,
        asset_selection=chosen,
        # The events are in the UI and in the progress bar; the terminal shows what failed, once.
        run_config=run_config(assets, config, "CRITICAL"),
        tags={**tags, **owned(instance)},
        remote_job_origin=job_origin(job.name),
    )
    heard = Hearing(run.run_id, where)
    with keeping_alive(instance, run.run_id):
        for event in execute(definition, run, instance):
            on_event(event)
            heard.hear(event)
    return heard.outcome(instance)


def run_config(
    assets: Collection[str], config: Mapping[str, Mapping[str, Any]] | None, log_level: str
) -> dict[str, Any]:
    """The config of a run through `assets`: that of single tables, and from which level on it logs to its process."""
    return {
        "loggers": {"console": {"config": {"log_level": log_level}}},
        "ops": {table: {"config": dict(said)} for table, said in (config or {}).items() if table in assets},
    }


class Hearing:
    """What the events of one run say of it, in the order they happened."""

    def __init__(self, run_id: str, where: str) -> None:
        self._where = where
        self._outcome = Outcome(runs=[run_id])
        self._blocked: dict[str | None, list[str]] = {}
        self._beginning = Beginning()

    def hear(self, event: dg.DagsterEvent) -> None:
        """Take in what one event says."""
        outcome = self._outcome
        self._beginning.hear(event)
        _hear_check(event, outcome)
        if said := _blocks(event):
            self._blocked.setdefault(event.step_key, []).append(said)
        if event.is_step_failure:
            reasons, message = failure_reasons(event)
            message = "; ".join(self._blocked.get(event.step_key, [message]))
            step = event.step_key or "run"
            if reasons:
                outcome.failed.setdefault(step, {}).update(reasons)
            else:
                outcome.errors.append(f"{step} ({self._where}): {message}")
        elif event.is_failure and not outcome.failed and not outcome.errors:
            outcome.errors.append(f"run {outcome.runs[0]}: {failure_of_run(event, self._beginning)}")

    def outcome(self, instance: dg.DagsterInstance) -> Outcome:
        """What became of the run, now that it has ended."""
        if not self._outcome.ok:
            self._outcome.checks += [
                CheckSaid(key.asset_key.path[-1], key.name, Standing.NOT_RUN, why)
                for key, why in not_reached(instance, self._outcome.runs[0])
            ]
        return self._outcome


def _hear_check(event: dg.DagsterEvent, outcome: Outcome) -> None:
    """Take in what an evaluation of a whole run says."""
    if event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return
    told = event.asset_check_evaluation_data
    table = told.asset_key.path[-1]
    outcome.held.add((table, told.check_name))
    if told.passed:
        return
    error = told.severity is dg.AssetCheckSeverity.ERROR
    remedy = told.metadata.get(REMEDY)
    outcome.checks.append(
        CheckSaid(
            table,
            told.check_name,
            Standing.FAILED if error else Standing.WARNING,
            told.description or "",
            str(remedy.value) if remedy else "",
            blocking=bool(told.blocking) and error,
        )
    )


def behind_failure(
    tables: Sequence[str], part: Outcome, rectangle: Rectangle, dates: Sequence[str]
) -> tuple[list[str], set[CellKey]]:
    """What is still to be made of `rectangle` after its run: tables behind one that failed, for cells that did land.

    Nothing where none failed, and after an error of a whole step.
    """
    if part.errors or not part.failed:
        return [], set()
    first = min((tables.index(table) for table in part.failed if table in tables), default=len(tables))
    rest = list(tables[first + 1 :])
    bad = {CellKey.parse(key) for reasons in part.failed.values() for key in reasons}
    begin, end = dates.index(rectangle.first_date), dates.index(rectangle.last_date)
    wanted = {
        CellKey(day, instrument)
        for day in (dates[begin : end + 1] if rest else ())
        for instrument in rectangle.instruments
    }
    return rest, wanted - bad


def _blocks(event: dg.DagsterEvent) -> str:
    """What a check that stops its run says, else nothing; Dagster's own error names the check and no reason."""
    if event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return ""
    said = event.asset_check_evaluation_data
    if said.passed or not said.blocking or said.severity is not dg.AssetCheckSeverity.ERROR:
        return ""
    return f"check {said.check_name}: {said.description}"
