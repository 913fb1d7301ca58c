"""`tt up` and `tt down`: nothing is left behind, however it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.runtime import served
from tt_assets_tests.e2e.command_line import Machine, free_port, machine, serve, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here() -> Iterator[Machine]:
    with machine() as fresh:
        yield fresh


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_webserver_daemon_code_server_and_database(here: Machine, number: int) -> None:
    ui = serve(here, free_port())
    commands = " ".join(" ".join(process.cmdline()) for process in ui.family())
    assert all(
        part in commands for part in ("tt_assets.runtime.webserver", "dagster._daemon", "code-server", "api grpc")
    )
    ui.owner.send_signal(number)
    told, complaint = ui.owner.communicate(timeout=120)
    assert ui.owner.returncode == 0
    assert "Traceback" not in complaint
    assert ui.family() == []
    assert not EmbeddedServer(here.home).is_running()
    assert told.splitlines()[-1] == "Stopped the embedded server."


def test_everything_ends_also_when_nobody_reads_what_up_says(here: Machine) -> None:
    ui = serve(here, free_port())
    assert ui.owner.stdout
    assert ui.owner.stderr
    ui.owner.stdout.close()
    ui.owner.stderr.close()
    ui.owner.send_signal(signal.SIGHUP)
    ui.owner.wait(timeout=120)
    assert ui.family() == []
    assert not EmbeddedServer(here.home).is_running()


def test_down_stops_it_and_a_second_down_finds_nothing(here: Machine) -> None:
    ui = serve(here, free_port())
    first = here.tt("down")
    assert f"Stopped {ui.url}." in first.stdout
    ui.owner.communicate(timeout=60)
    assert ui.family() == []
    assert not EmbeddedServer(here.home).is_running()
    second = here.tt("down")
    assert (second.returncode, second.stdout) == (0, "No `tt up` was running.\n")


def test_a_second_up_is_refused_and_leaves_the_first_alone(here: Machine) -> None:
    ui = serve(here, free_port())
    second = here.tt("up", "--port", str(free_port()))
    assert second.returncode == 2
    assert (
        second.stderr == f"tt: tt up is already running at {ui.url} (process {ui.owner.pid}); stop it with `tt down`.\n"
    )
    assert ui.ask("{version}")["version"]
    here.tt("down")
    ui.owner.communicate(timeout=60)


def test_what_a_killed_owner_left_behind_is_replaced_by_the_next_up(here: Machine) -> None:
    port = free_port()
    killed = serve(here, port)
    orphans = killed.family()
    killed.owner.kill()
    killed.owner.communicate()
    assert all(process.is_running() for process in orphans)
    again = serve(here, port)
    assert killed.family() == []
    assert again.ask("{version}")["version"]

    again.owner.kill()
    again.owner.communicate()
    assert again.family() != []
    assert f"Stopped {again.url}." in here.tt("down").stdout
    assert again.family() == []
    assert not EmbeddedServer(here.home).is_running()


def test_the_end_of_up_leaves_the_database_to_a_backfill_that_runs(here: Machine) -> None:
    ui = serve(here, free_port())
    backfill = here.start("backfill", "market", "--from", "2006-01-03")
    wait_until(lambda: bool(here.rows("SELECT 1 FROM runs WHERE status = 'STARTED' LIMIT 1", "dagster")))
    down = here.tt("down")
    assert "stays up" in ui.owner.communicate(timeout=60)[0] + down.stdout
    _, complaint = backfill.communicate(timeout=300)
    assert backfill.returncode == 0, complaint
    assert "Stopped the embedded server." in here.tt("down").stdout


def test_features_of_the_folder_it_was_started_in_reach_command_and_served_processes(
    here: Machine, tmp_path: Path
) -> None:
    (tmp_path / "own_features.py").write_text(
        "from tt_assets.research.registry import feature\n\n"
        "@feature(name='overnight', lookback=1, unit='fraction')\n"
        "def overnight(bars):\n"
        "    'Open over the close before, less one.'\n"
        "    return bars.open / bars.close.shift(1) - 1\n"
    )
    settings = {"TT_FEATURE_MODULES": "own_features"}
    span = ("--from", "2013-02-01", "--to", "2013-02-15", "--instruments", "IBM")
    told = here.tt("backfill", "prices", "features", *span, cwd=tmp_path, **settings)
    assert told.returncode == 0, told.stderr
    wanted = here.rows(
        "SELECT today.open / before.close - 1 FROM tt_prices today JOIN tt_prices before USING (instrument) "
        "WHERE today.timestamp = '2013-02-15' AND before.timestamp = '2013-02-14' AND instrument = 'IBM'"
    )
    stored = here.rows("SELECT value FROM tt_features WHERE feature = 'overnight' AND timestamp = '2013-02-15'")
    assert stored == wanted

    ui = serve(here, free_port(), cwd=tmp_path, **settings)
    states = ui.ask("{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{__typename}}}}}")
    assert states["workspaceOrError"]["locationEntries"][0]["locationOrLoadError"]["__typename"] == "RepositoryLocation"
    here.tt("down")
    ui.owner.communicate(timeout=60)


def test_a_family_is_found_and_stopped_also_after_its_leader_died(tmp_path: Path) -> None:
    import subprocess
    import sys

    token = served.new_token()
    child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    leader = subprocess.Popen([sys.executable, "-c", child + "time.sleep(600)"], env={served.TOKEN: token})
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        wait_until(lambda: len(served.family(token)) == 2, within=30)
        leader.kill()
        leader.wait()
        (orphan,) = served.family(token)
        assert served.stop(token) == 1
        assert not psutil.pid_exists(orphan.pid)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
