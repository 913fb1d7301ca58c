"""The family of processes that one `tt up` serves with, found and stopped as a whole.

The family is known by a token in its environment, which every descendant inherits; a second variable says
which of the served processes it descends from. Process groups and parents do not survive a killed owner or code server;
the environment does.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterable

import psutil

from tt_assets.runtime.children import ChildSpec

TOKEN = "TT_SERVED_BY"  # noqa: S105 - the name of a variable
ROLE = "TT_SERVED_AS"
PATIENCE, AFTER_KILL = 6.0, 2.0
"""Seconds for those who were asked to end, and for those who were ended by force."""
LARGEST_LOG = 16 * 1024**2  # bytes


def new_token() -> str:
    """A name for one family that no other has."""
    return uuid.uuid4().hex


def start(spec: ChildSpec, token: str) -> subprocess.Popen[bytes]:
    """Start one process of the family with its output in its log, in a session of its own.

    It works in the caller's folder, so that relative paths, `.env` and modules beside it mean the same to all of them.
    """
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    if spec.log.exists() and spec.log.stat().st_size > LARGEST_LOG:
        spec.log.replace(spec.log.with_suffix(".log.1"))
    with spec.log.open("ab") as sink:
        # Ctrl-C then reaches only the owner, who stops the whole family.
        return subprocess.Popen(
            spec.command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, TOKEN: token, ROLE: spec.name, "PGAPPNAME": f"tt up: {spec.name}"},
            start_new_session=True,
        )


def family(token: str, role: str | None = None) -> list[psutil.Process]:
    """The live processes that carry `token`, this one excepted; with `role` those that descend from that one only."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # gone meanwhile, or another account's
        if environment.get(TOKEN) == token and role in (None, environment.get(ROLE)):
            found.append(process)
    return found


def stop(token: str) -> int:
    """End the family: all are asked at once, who is left is ended by force. Returns how many processes there were.

    Runs in flight are interrupted, not awaited; Dagster records them as such.
    """
    members = family(token)
    _send(members, "terminate")
    psutil.wait_procs(members, timeout=PATIENCE)
    _force(token, None)
    return len(members)


def kill(token: str, role: str) -> None:
    """End by force what is left of one served process: those that descend from it."""
    _force(token, role)


def _force(token: str, role: str | None) -> None:
    left = family(token, role)
    _send(left, "kill")
    psutil.wait_procs(left, timeout=AFTER_KILL)


def _send(processes: Iterable[psutil.Process], what: str) -> None:
    for process in processes:
        try:
            getattr(process, what)()
        except psutil.NoSuchProcess:
            continue
