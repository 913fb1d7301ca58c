"""The processes that serve the UI: the family of one `dagster dev`, found and stopped as a whole.

The family is known by a token in its environment, which every descendant inherits. Process groups and
parents do not survive a killed owner or code server; the environment does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil

TOKEN = "TT_SERVED_BY"  # noqa: S105 - the name of a variable
STOP_WITHIN = 60.0
PATIENCE = 10.0


def new_token() -> str:
    """A name for one family that no other has."""
    return uuid.uuid4().hex


def start(workspace: Path, host: str, port: int, token: str, log: Path) -> subprocess.Popen[bytes]:
    """Start webserver, daemon and code server with their output in `log`, in a session of their own.

    They work in the caller's folder, so that relative paths, `.env` and modules beside it mean the same to all of them.
    """
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        # Ctrl-C then reaches only the owner, who stops the whole family in order.
        return subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, env=_environment(token), start_new_session=True
        )


def family(token: str) -> list[psutil.Process]:
    """The live processes that carry `token`, this one excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(TOKEN) == token:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # gone meanwhile, or another account's
    return found


def stop(token: str) -> int:
    """End the family: the leader is asked first and ends the others in order, then who is left, then by force.

    Runs in flight are interrupted, not awaited; Dagster records them as such. Returns how many processes there were.
    """
    members = family(token)
    numbers = {process.pid for process in members}
    leaders = [process for process in members if _parent(process) not in numbers]
    _terminate(leaders)
    psutil.wait_procs(members, timeout=PATIENCE)
    left = family(token)
    _terminate(left)
    psutil.wait_procs(left, timeout=STOP_WITHIN - 2 * PATIENCE)
    for process in family(token):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family(token), timeout=PATIENCE)
    return len(members)


def _terminate(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def _environment(token: str) -> Mapping[str, str]:
    return {**os.environ, TOKEN: token}
