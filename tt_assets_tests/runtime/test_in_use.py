"""Nobody stops the embedded server under another command's feet."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tt_assets.errors import UserError
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.runtime import in_use
from tt_assets.runtime.up import Stopping
from tt_assets.runtime.up_record import down, owner, ownership
from tt_assets.settings import Settings

HOLD = "from tt_assets.settings import Settings; from tt_assets.runtime import in_use; in_use.hold(Settings()); "
OWN = (
    "from tt_assets.settings import Settings; from tt_assets.runtime.up_record import ownership\n"
    "with ownership(Settings(), '127.0.0.1', {port}):\n    "
)
THEN_WAIT = "print('ready', flush=True); input()"


@pytest.fixture
def settings(server_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("TT_HOME", str(server_home))
    current = Settings()
    yield current
    in_use.leave(current)


def _another(program: str) -> subprocess.Popen[str]:
    """A process that has done what `program` says and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", program + THEN_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_server_stays_up_while_another_command_holds_it_and_goes_when_that_is_killed(settings: Settings) -> None:
    server = EmbeddedServer(settings.home)
    in_use.hold(settings)
    server.ensure()
    other = _another(HOLD)
    assert "stays up" in in_use.stop_if_unused(settings)
    assert server.is_running()
    other.kill()
    other.communicate()
    assert in_use.stop_if_unused(settings) == "Stopped the embedded server."
    assert not server.is_running()
    assert in_use.stop_if_unused(settings) == ""


def test_only_one_owner_serves_a_home_and_a_killed_one_does_not_count(settings: Settings) -> None:
    port = _free_port()
    other = _another(OWN.format(port=port))
    record = owner(settings)
    assert record is not None
    assert (record.pid, record.url) == (other.pid, f"http://127.0.0.1:{port}")
    with (
        pytest.raises(UserError, match=rf"already running at http://127.0.0.1:{port} \(process {other.pid}\)"),
        ownership(settings, "127.0.0.1", port),
    ):
        pass
    other.kill()
    other.communicate()
    assert owner(settings) is None
    with ownership(settings, "127.0.0.1", port) as mine:
        assert mine.pid == os.getpid()
    assert not (settings.home / "up.json").exists()


@pytest.mark.parametrize("left", ["", "{", '{"pid": 1}', '{"pid": 1, "started": 0, "url": "u", "token": "t"}'])
def test_a_stale_record_is_no_owner(settings: Settings, left: str) -> None:
    settings.home.mkdir()
    (settings.home / "up.json").write_text(left)
    assert owner(settings) is None
    assert down(settings) is None
    with ownership(settings, "127.0.0.1", _free_port()) as mine:
        assert owner(settings) == mine


def test_down_ends_the_owner_and_waits_for_it(settings: Settings) -> None:
    port = _free_port()
    other = _another(OWN.format(port=port))
    assert down(settings) == f"http://127.0.0.1:{port}"
    assert other.wait(timeout=10) == -signal.SIGTERM
    assert down(settings) is None


def test_a_taken_port_is_refused_and_leaves_no_record(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be served"),
            ownership(settings, "127.0.0.1", port),
        ):
            pass
    assert not (settings.home / "up.json").exists()


def test_a_wish_to_stop_is_heard_and_children_do_not_inherit_an_ignored_interrupt() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopping = Stopping()
        with stopping.listening():
            child = subprocess.run(
                [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert child.stdout == "False\n"
            assert not stopping.asked
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopping.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
