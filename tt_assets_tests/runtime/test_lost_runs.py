"""Runs of a dead code server end and are made again once; nobody else's are touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from tt_assets.runtime import code_socket
from tt_assets.runtime.lost_runs import LostRuns, end_lost_runs, end_unstarted, unfinished_runs
from tt_assets.runtime.up import end_abandoned_runs
from tt_assets.settings import Settings
from tt_assets_tests.dagster_runs import say_process

STARTED = dg.DagsterRunStatus.STARTED


@dg.job
def empty() -> None:
    """Nothing; its runs only have tags here."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as fresh:
        yield fresh


def started_by(
    instance: dg.DagsterInstance, socket: Path | str, status: dg.DagsterRunStatus = STARTED
) -> dg.DagsterRun:
    address = json.dumps({"host": "localhost", "socket": str(socket)})
    return instance.create_run_for_job(empty, status=status, tags={code_socket.GRPC_INFO_TAG: address})


def now(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def test_only_runs_of_this_homes_code_server_are_ended_and_they_are_to_be_made_again(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    ours, theirs = code_socket.of(tmp_path / "ours"), code_socket.of(tmp_path / "theirs")
    run, other = started_by(instance, ours), started_by(instance, theirs)
    done = started_by(instance, ours, dg.DagsterRunStatus.SUCCESS)
    command = instance.create_run_for_job(empty, status=STARTED, tags={"tt/process": "host:1:1"})
    assert end_lost_runs(instance, unfinished_runs(instance, ours), "why", again=True) == [run.run_id]
    assert now(instance, run).status == dg.DagsterRunStatus.FAILURE
    assert now(instance, run).tags["dagster/max_retries"] == "1"
    assert [now(instance, left).status for left in (other, command)] == [STARTED, STARTED]
    assert now(instance, done).status == dg.DagsterRunStatus.SUCCESS


def test_a_run_that_somebody_terminated_ends_as_canceled(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    socket = code_socket.of(tmp_path)
    run = started_by(instance, socket, dg.DagsterRunStatus.CANCELING)
    assert end_lost_runs(instance, unfinished_runs(instance, socket), "why", again=True) == [run.run_id]
    assert now(instance, run).status == dg.DagsterRunStatus.CANCELED
    assert "dagster/max_retries" not in now(instance, run).tags


def test_a_run_that_ended_meanwhile_is_left_as_it_is(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    socket = code_socket.of(tmp_path)
    run = started_by(instance, socket)
    listed = unfinished_runs(instance, socket)
    instance.report_run_canceled(run, "just now")
    assert end_lost_runs(instance, listed, "why", again=True) == []
    assert now(instance, run).status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("external", [True, False])
def test_what_a_killed_up_left_is_ended_at_the_next_one(
    instance: dg.DagsterInstance, tmp_path: Path, external: bool
) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://h/tt" if external else None)
    ours, older = started_by(instance, code_socket.of(tmp_path)), started_by(instance, "/tmp/of-an-older-version")
    # The embedded server is this home's alone, so there even a run of an unknown code server is over.
    expected = {ours.run_id} if external else {ours.run_id, older.run_id}
    assert set(end_abandoned_runs(settings, instance)) == expected


def test_a_home_keeps_its_socket_and_no_other_has_it(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    assert code_socket.of(first) == code_socket.of(first)
    assert code_socket.of(first).name != code_socket.of(second).name
    long = tmp_path / ("x" * 100)
    assert len(str(code_socket.of(long))) <= code_socket.LONGEST_PATH
    assert code_socket.prepare(long).parent.stat().st_mode & 0o077 == 0
    code_socket.of(long).parent.rmdir()


def test_a_run_is_lost_when_its_process_was_gone_at_two_looks(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    socket = code_socket.of(tmp_path)
    run, fresh = started_by(instance, socket), started_by(instance, socket)
    say_process(instance, run, 7)
    lives = True
    lost = LostRuns(socket, lambda pid: lives and pid == 7)
    assert [lost.end(instance), lost.end(instance)] == [[], []]
    lives = False
    assert lost.end(instance) == []
    assert lost.end(instance) == [run.run_id]
    assert now(instance, fresh).status == STARTED  # it has not said yet which process it is


@pytest.mark.parametrize(
    ("status", "message", "ended"),
    [
        ("FAILED", "Ray job failed.\n\ntt_assets: command not found\n", True),
        ("FAILED", None, True),
        ("RUNNING", None, False),
        ("UNKNOWN", "no such job", False),
    ],
)
def test_a_run_whose_machine_gave_up_before_its_start_ends_with_the_reason(
    instance: dg.DagsterInstance, status: str, message: str | None, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTING)
    health = SimpleNamespace(status=SimpleNamespace(value=status), msg=message)
    monkeypatch.setattr(instance.run_launcher, "check_run_worker_health", lambda run: health, raising=False)
    assert end_unstarted(instance) == ([run.run_id] if ended else [])
    now = instance.get_run_by_id(run.run_id)
    assert now is not None
    assert (now.status is dg.DagsterRunStatus.FAILURE) is ended
    assert (now.tags.get("dagster/max_retries") == "1") is ended
    if message and ended:
        (said,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert "command not found" in said.message


def test_nobody_is_ended_while_those_who_carry_out_runs_do_not_answer(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTING)

    def refused(run: dg.DagsterRun) -> None:
        raise ConnectionError

    monkeypatch.setattr(instance.run_launcher, "check_run_worker_health", refused, raising=False)
    assert end_unstarted(instance) == []
