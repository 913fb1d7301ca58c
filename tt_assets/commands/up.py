"""`tt up` and `tt down`: the webserver and the daemon under one owner, which also stops them.

One decision: `tt up` stays in the foreground and owns everything it started. Its pid file names the process by number
and start time, so a stale file, or a number that another process has since been given, is recognised.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tt_assets.commands.platform import Platform
from tt_assets.errors import UserError
from tt_assets.settings import Settings, shared_file

READY_WITHIN = 180.0
STOP_WITHIN = 60.0


@dataclass(frozen=True)
class Owner:
    """The `tt up` that is running: its process and where its UI listens."""

    pid: int
    started: float
    url: str

    def process(self) -> psutil.Process | None:
        """The live process, or None where it is gone or its number belongs to another one."""
        try:
            found = psutil.Process(self.pid)
            return found if abs(found.create_time() - self.started) < 2 and found.is_running() else None
        except psutil.NoSuchProcess:
            return None


def up(platform: Platform, host: str, port: int, say: Callable[[str], None]) -> int:
    """Serve the UI and run the daemon until Ctrl-C or `tt down`; the exit code of the served processes.

    Raises `UserError` where another `tt up` of this home is running or the port is taken.
    """
    running = owner(platform.settings)
    if running:
        raise UserError(f"tt up is already running at {running.url} (process {running.pid}); stop it with `tt down`.")
    _refuse_taken_port(host, port)
    log = platform.settings.home / "logs" / "dagster.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    workspace = shared_file("workspace.yaml")
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - the address a browser can open
    with log.open("ab") as sink:
        # A session of its own: Ctrl-C reaches only us, and we stop the whole group in order.
        served = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, cwd=workspace.parent, start_new_session=True
        )
    me = psutil.Process()
    record = Owner(os.getpid(), me.create_time(), url)
    _pid_file(platform.settings).write_text(json.dumps(record.__dict__), encoding="utf-8")
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if _wait_until_ready(url, served, lambda: stopping):
            say(f"UI at {url}, log in {log}. Ctrl-C stops it.")
        elif not stopping:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
            raise UserError(f"The UI did not come up within {READY_WITHIN:.0f} s; the end of {log}:\n{tail}")
        while not stopping and served.poll() is None:
            time.sleep(0.2)
        if not stopping:
            say(f"The served processes ended by themselves; see {log}.")
            return served.returncode or 1
        return 0
    finally:
        say("Stopping.")
        stop_group(served)
        _pid_file(platform.settings).unlink(missing_ok=True)
        for number, handler in previous.items():
            signal.signal(number, handler)


def down(settings: Settings) -> str | None:
    """Stop the running `tt up`, if there is one, and wait for it; returns the address it served."""
    running = owner(settings)
    if running is None:
        _pid_file(settings).unlink(missing_ok=True)
        return None
    process = running.process()
    if process is not None:
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except psutil.TimeoutExpired:
            raise UserError(
                f"tt up (process {running.pid}) did not stop within {STOP_WITHIN:.0f} s; end it with kill -9 {running.pid}."
            ) from None
    return running.url


def owner(settings: Settings) -> Owner | None:
    """The `tt up` of this home that is running now."""
    try:
        record = Owner(**json.loads(_pid_file(settings).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.process() else None


def stop_group(served: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the processes `served` and its descendants, then wait; SIGKILL for what does not go."""
    family = []
    try:
        leader = psutil.Process(served.pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        pass
    if served.poll() is None:
        served.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=STOP_WITHIN / 2)
    for process in alive:
        process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=STOP_WITHIN / 4)
    for process in alive:
        process.kill()
    served.wait()


def _pid_file(settings: Settings) -> Path:
    return settings.home / "up.json"


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"{host}:{port} cannot be served ({error.strerror}); choose another with --port.") from None


def _wait_until_ready(url: str, served: subprocess.Popen[bytes], stopping: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and served.poll() is None and not stopping():
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - our own address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False
