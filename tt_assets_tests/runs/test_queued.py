"""Runs of the queue: they make what the runs of one process make, and whoever waits for them hears the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tt_assets.automation import MARKET_JOB
from tt_assets.grid.rectangles import MOST_CELLS, Rectangle
from tt_assets.grid.run_tags import RANGE_END, RANGE_START, UNFINISHED
from tt_assets.grid.source_version import BARS
from tt_assets.runs._dagster import CODE_LOCATION, execute
from tt_assets.runs.bulk import Outcome, materialize
from tt_assets.runs.queued import (
    LEAST_CELLS,
    Piece,
    QueueState,
    _lanes,
    agents_share,
    is_worked_off,
    market_share,
    materialize_queued,
)
from tt_assets.settings import Settings
from tt_assets_tests.assets.test_prices import line
from tt_assets_tests.dagster_runs import current_definitions, stored
from tt_assets_tests.runs.test_runs import NAMES, SESSIONS, SPAN, TABLES, bars_file, write_bars  # noqa: F401 - a fixture

CELLS = {(day, name) for day in SPAN for name in NAMES[:4]}


class Daemon:
    """Stands in for Dagster's: works off the queue in this process, some runs at every look."""

    def __init__(self, instance: dg.DagsterInstance, at_once: int = 2) -> None:
        self.instance, self.at_once = instance, at_once
        self.states: list[QueueState] = []
        self.together: list[list[tuple[str, str]]] = []
        self.before: Callable[[dg.DagsterRun], bool] = lambda run: True

    def __call__(self, state: QueueState) -> None:
        self.states.append(state)
        waiting = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]), ascending=True)
        self.together.append([(run.tags[RANGE_START], run.tags[RANGE_END]) for run in waiting])
        for run in waiting[: self.at_once]:
            if not self.before(run):
                continue
            job = current_definitions().resolve_job_def(run.job_name).get_subset(asset_selection=run.asset_selection)
            self.instance.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", run.job_name), run.run_id)
            started = self.instance.get_run_by_id(run.run_id)
            assert started is not None
            for _ in execute(job, started, self.instance):
                pass


def queued(
    instance: dg.DagsterInstance, daemon: Daemon, tables: Sequence[str] = TABLES, most_cells: int = 30, **options: Any
) -> Outcome:
    return materialize_queued(
        instance,
        current_definitions().resolve_job_def(MARKET_JOB),
        tables,
        options.pop("cells", CELLS),
        SESSIONS,
        NAMES,
        most_cells=most_cells,
        chained=True,
        on_state=daemon,
        every=0.0,
        **options,
    )


def content(database: Any) -> list[list[tuple[Any, ...]]]:
    return [stored(database, table) for table in TABLES]


def test_the_queue_makes_what_one_process_makes(postgres_instance, connected, bars_file: Path) -> None:  # noqa: F811
    write_bars(bars_file, NAMES[:4], 1.0)
    job = current_definitions().resolve_job_def(MARKET_JOB)
    assert materialize(postgres_instance, job, TABLES, CELLS, SESSIONS, NAMES).ok
    alone = content(connected)
    assert all(alone)

    daemon = Daemon(postgres_instance)
    outcome = queued(postgres_instance, daemon)
    assert outcome.ok
    assert len(outcome.runs) == 4
    assert content(connected) == alone
    assert {run.status for run in postgres_instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    last = daemon.states[-1]
    assert (last.waiting, last.running, last.ended) == (0, 0, 4)
    assert last.partitions == len(CELLS) * len(TABLES)
    assert all(earlier.ended <= later.ended for earlier, later in zip(daemon.states, daemon.states[1:], strict=False))


def test_a_run_of_the_queue_says_where_its_code_is(postgres_instance, bars_file: Path) -> None:  # noqa: F811
    write_bars(bars_file, NAMES[:1], 1.0)
    queued(postgres_instance, Daemon(postgres_instance), cells={(SPAN[0], NAMES[0])})
    (run,) = postgres_instance.get_runs()
    assert run.job_code_origin.repository_origin.code_pointer.module == CODE_LOCATION
    assert run.job_code_origin.repository_origin.entry_point == ["dagster"]
    assert run.remote_job_origin.repository_origin.code_location_origin.location_name == CODE_LOCATION


def test_what_lies_behind_a_failed_partition_is_queued_for_the_others(
    postgres_instance,
    connected,
    bars_file: Path,  # noqa: F811
) -> None:
    spoiled = f"{SPAN[3]}|GOOG"
    write_bars(bars_file, NAMES[:4], 1.0, without={spoiled}, bad=(line("GOOG", SPAN[3], "-1"),))
    job = current_definitions().resolve_job_def(MARKET_JOB)
    expected = materialize(postgres_instance, job, TABLES, CELLS, SESSIONS, NAMES)
    alone = content(connected)

    outcome = queued(postgres_instance, Daemon(postgres_instance))
    assert outcome.failed == expected.failed
    assert list(outcome.failed["tt_prices"]) == [spoiled]
    assert not outcome.errors
    assert content(connected) == alone


def test_pieces_of_an_instrument_wait_for_each_other_and_those_of_others_do_not(
    postgres_instance,
    bars_file: Path,  # noqa: F811
) -> None:
    write_bars(bars_file, NAMES[:2], 1.0)
    daemon = Daemon(postgres_instance)
    gap = {(day, name) for day in (*SPAN[:4], *SPAN[8:12]) for name in NAMES[:2]}
    assert queued(postgres_instance, daemon, cells=gap, most_cells=4).ok
    waiting = daemon.together[0]
    assert len(waiting) == 2  # the earlier piece of each
    assert {key.rpartition("|")[0] for key, _ in waiting} == {SPAN[0]}


def test_a_run_that_was_canceled_or_deleted_is_an_error(postgres_instance, bars_file: Path) -> None:  # noqa: F811
    write_bars(bars_file, NAMES[:2], 1.0)
    daemon = Daemon(postgres_instance)

    def spoil(run: dg.DagsterRun) -> bool:
        if run.tags[RANGE_START].endswith(NAMES[0]):
            postgres_instance.report_run_canceled(run)
        else:
            postgres_instance.delete_run(run.run_id)
        return False

    daemon.before = spoil
    outcome = queued(postgres_instance, daemon, cells={(SPAN[0], NAMES[0]), (SPAN[1], NAMES[1])}, most_cells=1)
    assert len(outcome.errors) == 2
    assert any("canceled" in error for error in outcome.errors)
    assert any("deleted" in error for error in outcome.errors)


def test_a_run_that_is_made_again_is_followed_to_its_second_end(postgres_instance, bars_file: Path) -> None:  # noqa: F811
    write_bars(bars_file, NAMES[:1], 1.0)
    daemon = Daemon(postgres_instance)
    lost: list[str] = []

    def lose_the_first(run: dg.DagsterRun) -> bool:
        if lost:
            return True
        lost.append(run.run_id)
        postgres_instance.add_run_tags(run.run_id, {"dagster/max_retries": "1"})
        postgres_instance.report_run_failed(run, "its process is gone")
        chosen = {dg.AssetKey(table) for table in TABLES}
        job = current_definitions().resolve_job_def(MARKET_JOB).get_subset(asset_selection=chosen)
        tags = {name: value for name, value in run.tags.items() if not name.startswith(".")}
        second = postgres_instance.create_run_for_job(
            job,
            asset_selection=chosen,
            run_config=run.run_config,
            tags={**tags, "dagster/parent_run_id": run.run_id, "dagster/root_run_id": run.run_id},
            parent_run_id=run.run_id,
            root_run_id=run.run_id,
            remote_job_origin=run.remote_job_origin,
            job_code_origin=run.job_code_origin,
        )
        postgres_instance.submit_run(second.run_id, None)
        return False

    daemon.before = lose_the_first
    outcome = queued(postgres_instance, daemon, cells={(day, NAMES[0]) for day in SPAN})
    assert outcome.ok
    assert outcome.runs != lost
    assert not postgres_instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))


def test_a_machine_with_other_bars_fails_its_run_in_one_line(postgres_instance, bars_file: Path) -> None:  # noqa: F811
    write_bars(bars_file, NAMES[:1], 1.0)
    daemon = Daemon(postgres_instance)

    def as_of_another_machine(run: dg.DagsterRun) -> bool:
        postgres_instance.add_run_tags(run.run_id, {BARS: "0123456789ab"})
        return True

    daemon.before = as_of_another_machine
    outcome = queued(postgres_instance, daemon, cells={(SPAN[0], NAMES[0])})
    (error,) = outcome.errors
    assert "queued for 0123456789ab" in error
    assert str(bars_file) in error
    assert "\n" not in error


def test_nobody_works_off_a_queue_without_a_daemon(postgres_instance) -> None:
    assert not is_worked_off(postgres_instance)


def rectangle(first: int, *names: str) -> Rectangle:
    return Rectangle(SPAN[first], SPAN[first + 1], names, 2 * len(names))


def test_lanes_that_share_an_instrument_become_one_in_the_order_of_dates() -> None:
    pieces = [Piece(("tt_prices",), rectangle(at, *names)) for at, names in ((4, "AB"), (0, "A"), (2, "B"), (0, "C"))]
    lanes = _lanes(pieces)
    assert [[piece.rectangle.first_date for piece in lane.pieces] for lane in lanes] == [
        [SPAN[0]],
        [SPAN[0], SPAN[2], SPAN[4]],
    ]


@pytest.mark.parametrize("places", [1, 2, 8])
def test_every_place_has_work_and_no_run_is_tiny(places: int) -> None:
    settings = Settings(max_runs=places, train_slots=places)
    for cells in (1, 6, 999, 40_000, 1_000_000):
        share = market_share(cells, settings)
        assert LEAST_CELLS <= share <= MOST_CELLS
        assert cells / share >= min(places, cells / LEAST_CELLS) or share == MOST_CELLS
        assert cells / agents_share(cells, settings) >= min(cells, places)
