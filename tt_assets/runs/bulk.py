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
from tt_assets.runs.failures import failure_reasons
from tt_assets.runs.owners import OWNER_TAG, this_process

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
    for rectangle in rectangles(cells, dates, instruments, most_cells):
        part = run_rectangle(instance, job, tables, rectangle, on_event, config)
        outcome.add(part)
        rest = _behind_failure(tables, part)
        if not rest:
            continue
        bad = {CellKey.parse(key) for reasons in part.failed.values() for key in reasons}
        first, last = dates.index(rectangle.first_date), dates.index(rectangle.last_date)
        left = {
            CellKey(day, instrument)
            for day in dates[first : last + 1]
            for instrument in rectangle.instruments
            if (day, instrument) not in bad
        }
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
) -> Outcome:
    """One run over `rectangle` through `tables`, with the run config of single tables in `config`."""
    where = f"{rectangle.start_key} to {rectangle.end_key}"
    return _run(instance, job, tables, rectangle.tags(), where, on_event, config)


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
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {table: {"config": dict(said)} for table, said in (config or {}).items() if table in assets},
        },
        tags={**tags, OWNER_TAG: this_process()},
        remote_job_origin=job_origin(job.name),
    )
    outcome = Outcome(runs=[run.run_id])
    blocked: dict[str | None, list[str]] = {}
    for event in execute(definition, run, instance):
        on_event(event)
        _hear_check(event, outcome)
        if said := _blocks(event):
            blocked.setdefault(event.step_key, []).append(said)
        if event.is_step_failure:
            reasons, message = failure_reasons(event)
            message = "; ".join(blocked.get(event.step_key, [message]))
            step = event.step_key or "run"
            if reasons:
                outcome.failed.setdefault(step, {}).update(reasons)
            else:
                outcome.errors.append(f"{step} ({where}): {message}")
        elif event.is_failure and not outcome.failed and not outcome.errors:
            outcome.errors.append(f"run {run.run_id}: {event.message}")
    if not outcome.ok:
        outcome.checks += [
            CheckSaid(key.asset_key.path[-1], key.name, Standing.NOT_RUN, why)
            for key, why in not_reached(instance, run.run_id)
        ]
    return outcome


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


def _behind_failure(tables: Sequence[str], part: Outcome) -> list[str]:
    """The tables after the first one that failed for single partitions; none after an error of the whole step."""
    if part.errors or not part.failed:
        return []
    first = min((tables.index(table) for table in part.failed if table in tables), default=len(tables))
    return list(tables[first + 1 :])


def _blocks(event: dg.DagsterEvent) -> str:
    """What a check that stops its run says, else nothing; Dagster's own error names the check and no reason."""
    if event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return ""
    said = event.asset_check_evaluation_data
    if said.passed or not said.blocking or said.severity is not dg.AssetCheckSeverity.ERROR:
        return ""
    return f"check {said.check_name}: {said.description}"
