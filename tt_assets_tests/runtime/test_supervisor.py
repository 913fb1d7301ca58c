"""The loop of `tt up` with one process of the test's own: what is halted is seen, named and started again."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from tt_assets.commands.doctor import examine
from tt_assets.runs.process_identity import identity
from tt_assets.runtime import served, supervisor
from tt_assets.runtime.children import DAEMON, ChildSpec
from tt_assets.runtime.supervisor import Supervisor
from tt_assets.runtime.up_record import Owner
from tt_assets.settings import Settings

UP = SimpleNamespace(is_up=True)


@pytest.fixture
def said() -> list[str]:
    """What `tt up` printed."""
    return []


@pytest.fixture
def family(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A daemon that does nothing, and what looks after it, in a hurry."""
    monkeypatch.setattr(supervisor, "ASKED_EVERY", 0.05)
    monkeypatch.setattr(supervisor, "SILENT_FOR", 1.0)
    settings = Settings()
    settings.home.mkdir(parents=True)
    idle = ChildSpec(DAEMON, (sys.executable, "-c", "import time; time.sleep(600)"), tmp_path / "daemon.log", None)
    record = Owner(os.getpid(), str(identity(os.getpid())), "http://127.0.0.1:3000", served.new_token())
    with dg.DagsterInstance.ephemeral() as instance:
        made = Supervisor(settings, record, [idle], tmp_path / "socket", instance, said.append)
        ticks_until(made, lambda: made.all_up)
        yield made
        served.stop(record.token)


def ticks_until(family: Supervisor, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        family.tick(UP)  # type: ignore[arg-type]
        time.sleep(0.02)


def test_a_daemon_that_was_halted_is_named_and_started_again(family: Supervisor, said: list[str]) -> None:
    (child,) = family.children
    assert child.process is not None
    halted = child.process
    os.kill(halted.pid, signal.SIGSTOP)
    ticks_until(family, lambda: child.state == "silent")
    assert any(line.startswith("The daemon of tt up is silent since") for line in examine(family.settings)["wrong"])
    ticks_until(family, lambda: child.state == "up" and child.process is not halted)
    assert halted.poll() == -signal.SIGKILL
    assert "The daemon died (it was stopped for 1 s); it starts again." in said[0]


def test_a_daemon_that_goes_on_in_time_is_left_alone(family: Supervisor, said: list[str]) -> None:
    (child,) = family.children
    assert child.process is not None
    halted = child.process
    os.kill(halted.pid, signal.SIGSTOP)
    ticks_until(family, lambda: child.state == "silent")
    os.kill(halted.pid, signal.SIGCONT)
    ticks_until(family, lambda: child.state == "up")
    assert child.process is halted
    assert said == []
