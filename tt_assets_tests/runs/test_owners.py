"""Runs in processes of other machines: alive while they say so, by the clock of the storage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
import pytest

from tt_assets.runs import owners
from tt_assets.runs._dagster import storage_time
from tt_assets.runs.owners import (
    ALIVE_TAG,
    OWNER_TAG,
    SILENT_FOR,
    SILENT_FROM_THE_START,
    bury_dead_runs,
    keeping_alive,
    owned,
)

ELSEWHERE = "another-machine:4711:boot/1"


@dg.job
def empty() -> None:
    """Nothing."""


def _run(instance: dg.DagsterInstance, **tags: str) -> str:
    return instance.create_run_for_job(
        empty, status=dg.DagsterRunStatus.STARTED, tags={OWNER_TAG: ELSEWHERE, **tags}
    ).run_id


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    """An instance on either kind of storage, each with a clock of its own; no run of it goes on afterwards."""
    found = request.getfixturevalue("dagster_instance" if request.param == "sqlite" else "postgres_instance")
    yield found
    for run in found.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        found.report_run_canceled(run)


@pytest.mark.parametrize("silent", [timedelta(0), SILENT_FOR - timedelta(minutes=1)])
def test_another_machine_that_was_heard_lately_keeps_its_run(instance: dg.DagsterInstance, silent: timedelta) -> None:
    _run(instance, **{ALIVE_TAG: (storage_time(instance) - silent).isoformat()})
    assert bury_dead_runs(instance) == []


def test_another_machine_that_fell_silent_loses_its_run(instance: dg.DagsterInstance) -> None:
    silent = storage_time(instance) - SILENT_FOR - timedelta(seconds=1)
    run_id = _run(instance, **{ALIVE_TAG: silent.isoformat()})
    assert bury_dead_runs(instance) == [run_id]
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_one_that_never_said_anything_has_a_day(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = _run(instance)
    assert bury_dead_runs(instance) == []
    later = storage_time(instance) + SILENT_FROM_THE_START + timedelta(minutes=1)
    monkeypatch.setattr(owners, "storage_time", lambda instance: later)
    assert bury_dead_runs(instance) == [run_id]


def test_a_process_notes_that_it_lives_for_as_long_as_it_works(instance: dg.DagsterInstance) -> None:
    run_id = _run(instance)
    with keeping_alive(instance, run_id, every=0.05):
        deadline = time.monotonic() + 30
        while not (noted := _noted(instance, run_id)) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert noted
    assert abs(datetime.fromisoformat(noted) - storage_time(instance)) < timedelta(minutes=1)
    after = _noted(instance, run_id)
    time.sleep(0.2)
    assert _noted(instance, run_id) == after


def test_a_run_of_this_process_says_so_from_its_first_moment(instance: dg.DagsterInstance) -> None:
    assert set(owned(instance)) == {OWNER_TAG, ALIVE_TAG}


def _noted(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags.get(ALIVE_TAG, "")
