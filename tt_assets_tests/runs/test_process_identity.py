"""A process is known again whatever the clock says, and is not mistaken for another one under its number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import psutil
import pytest

from tt_assets.runs import process_identity
from tt_assets.runs.owners import OWNER_TAG, bury_dead_runs, this_process
from tt_assets.runs.process_identity import identity, is_same

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the boot's id and ticks are Linux's")


@dg.job
def empty() -> None:
    """Nothing; its runs only have an owner here."""


@pytest.fixture
def clock_set_back_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the machine, as start times in seconds since 1970 see it: through the time of the boot."""
    if sys.platform == "linux":
        from psutil import _pslinux

        truly = _pslinux.boot_time()
        before = psutil.Process().create_time()
        monkeypatch.setattr(_pslinux, "boot_time", lambda: truly - 3600)
        monkeypatch.setattr(_pslinux, "BOOT_TIME", truly - 3600, raising=False)
        assert psutil.Process().create_time() == pytest.approx(before - 3600, abs=1)


def _started(instance: dg.DagsterInstance, owner: str, **tags: str) -> str:
    return instance.create_run_for_job(
        empty, status=dg.DagsterRunStatus.STARTED, tags={OWNER_TAG: owner, **tags}
    ).run_id


def test_a_live_run_stays_alive_when_the_clock_is_set(request: pytest.FixtureRequest) -> None:
    mine, known = this_process(), identity(os.getpid())
    assert known is not None
    request.getfixturevalue("clock_set_back_an_hour")
    assert is_same(os.getpid(), known)
    assert this_process() == mine
    with dg.DagsterInstance.ephemeral() as instance:
        _started(instance, mine)
        assert bury_dead_runs(instance) == []


def test_a_process_that_ended_is_gone_also_while_nobody_has_asked_for_its_exit_code() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = identity(child.pid)
    assert known is not None
    assert is_same(child.pid, known)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the table of processes
    assert psutil.pid_exists(child.pid)
    assert not is_same(child.pid, known)
    child.wait()
    assert identity(child.pid) is None


def test_the_next_process_under_a_number_is_another_one() -> None:
    known = identity(os.getpid())
    assert known is not None
    boot, _, ticks = known.partition("/")
    assert not is_same(os.getpid(), f"{boot}/{float(ticks) + 1:g}")
    assert not is_same(os.getpid(), known + "0")


@LINUX
def test_a_process_of_an_earlier_boot_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = identity(os.getpid())
    assert known is not None
    (tmp_path / "boot_id").write_text("5a1f4c0e-0000-4000-8000-000000000000\n")
    monkeypatch.setattr(process_identity, "BOOT_ID", tmp_path / "boot_id")
    assert not is_same(os.getpid(), known)


@LINUX
def test_a_name_full_of_blanks_and_brackets_does_not_shift_the_ticks() -> None:
    named = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) S 1 (b', 0, 0, 0); print(1, flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", named], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout
        child.stdout.readline()
        assert ") S 1 (" in Path(f"/proc/{child.pid}/stat").read_text()
        ticks = int(str(identity(child.pid)).partition("/")[2])
        mine = int(str(identity(os.getpid())).partition("/")[2])
        assert mine <= ticks
        assert ticks / os.sysconf("SC_CLK_TCK") == pytest.approx(
            float(Path("/proc/uptime").read_text().split()[0]), abs=60
        )
    finally:
        child.kill()
        child.communicate()


def test_without_ticks_the_start_that_the_system_noted_is_compared_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_identity, "BOOT_ID", tmp_path / "no such file")
    known = identity(os.getpid())
    assert known == f"start/{psutil.Process().create_time():.3f}"
    assert is_same(os.getpid(), known)
    assert not is_same(os.getpid(), "start/1.000")


@pytest.mark.parametrize(("seconds_off", "same"), [(0, True), (3600, False)])
def test_the_seconds_of_an_older_version_are_still_understood(seconds_off: int, same: bool) -> None:
    assert is_same(os.getpid(), f"{psutil.Process().create_time() + seconds_off:.0f}") is same


def test_a_run_that_was_executed_again_does_not_belong_to_the_process_of_the_first(
    dagster_instance: dg.DagsterInstance,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = (
        this_process()
        .replace(f":{os.getpid()}:", f":{gone.pid}:")
        .replace(str(identity(os.getpid())), str(identity(gone.pid)))
    )
    first = _started(dagster_instance, owner)
    again = _started(dagster_instance, owner, **{"dagster/parent_run_id": first})
    assert bury_dead_runs(dagster_instance) == []
    gone.kill()
    gone.communicate()
    assert bury_dead_runs(dagster_instance) == [first]
    run = dagster_instance.get_run_by_id(again)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.STARTED
