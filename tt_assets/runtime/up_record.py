"""Who serves a home: one `tt up` at a time, what it is, and how its processes are.

A file lock, which the kernel drops with its holder, says whether an owner lives; a file beside it says who that is and
what it serves, so that whatever a killed owner left behind is found and stopped by the next `tt up` or `tt down`.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil

from tt_assets.errors import UserError
from tt_assets.runs.process_identity import identity, is_same
from tt_assets.runtime import served
from tt_assets.runtime.in_use import lock_file
from tt_assets.settings import Settings

DOWN_WITHIN = 60.0
"""Seconds: `tt up` needs ten for its processes, and the embedded server its last checkpoint."""
DEATHS_KEPT = 20


@dataclass(frozen=True)
class ChildHealth:
    """How one served process is: `state` is starting, up, waiting (for another one or its next start) or silent.

    `since` is when it came into that state, `starts` how often it was started.
    """

    name: str
    pid: int | None
    state: str
    since: str
    starts: int


@dataclass(frozen=True)
class Death:
    """A process that ended by itself: when, which one and what is known of the reason."""

    at: str
    name: str
    why: str


@dataclass(frozen=True)
class Owner:
    """A `tt up`: its process, where its UI listens and the token of the processes it serves with, and how they are.

    `started` is the `identity` of the process; an older version wrote seconds since 1970.
    """

    pid: int
    started: str | float
    url: str
    token: str
    children: tuple[ChildHealth, ...] = ()
    deaths: tuple[Death, ...] = ()

    def process(self) -> psutil.Process | None:
        """The live process, or None where it is gone or its number belongs to another one."""
        try:
            return psutil.Process(self.pid) if is_same(self.pid, str(self.started)) else None
        except psutil.NoSuchProcess:
            return None


@contextmanager
def ownership(settings: Settings, host: str, port: int) -> Iterator[Owner]:
    """Be the only `tt up` of this home while the block runs; what a killed one left behind is stopped first.

    Raises `UserError` where another `tt up` of this home is running or the port is taken.
    """
    lock = _lock(settings)
    if not lock.acquire(blocking=False):
        running = owner(settings)
        where = f" at {running.url} (process {running.pid})" if running else ""
        raise UserError(f"tt up is already running{where}; stop it with `tt down`.")
    try:
        _stop_left_behind(settings)
        _refuse_taken_port(host, port)
        record = Owner(os.getpid(), str(identity(os.getpid())), _url(host, port), served.new_token())
        write(settings, record)
        try:
            yield record
        finally:
            settings.up_record.unlink(missing_ok=True)
    finally:
        lock.release()


def down(settings: Settings) -> str | None:
    """Stop the running `tt up`, or what a killed one left behind, and wait for it; returns the address it served.

    Raises `UserError` where it does not stop.
    """
    lock = _lock(settings)
    if lock.acquire(blocking=False):
        try:
            return _stop_left_behind(settings)
        finally:
            lock.release()
    asked: Owner | None = None
    deadline = time.monotonic() + DOWN_WITHIN
    while time.monotonic() < deadline:
        running = owner(settings)
        process = running.process() if running else None
        if running and process and (asked is None or running.token != asked.token):
            asked = running  # one that is only starting is asked as soon as it says who it is
            process.terminate()
        if lock.acquire(blocking=False):
            lock.release()
            return asked.url if asked else None
        time.sleep(0.2)
    named = f" (process {asked.pid}); end it with kill -9 {asked.pid}, then run `tt down`" if asked else "; try again"
    raise UserError(f"tt up does not stop{named}.")


def owner(settings: Settings) -> Owner | None:
    """The `tt up` of this home that is running now."""
    record = read(settings)
    return record if record and record.process() else None


def write(settings: Settings, record: Owner) -> None:
    """Put `record` where `read` finds it."""
    staged = settings.up_record.with_suffix(".new")
    kept = replace(record, deaths=record.deaths[-DEATHS_KEPT:])
    staged.write_text(json.dumps(asdict(kept), indent=1), encoding="utf-8")
    staged.replace(settings.up_record)


def read(settings: Settings) -> Owner | None:
    """What the latest `tt up` wrote, running or not; None where it ended in order or wrote nothing that can be read."""
    try:
        found: dict[str, Any] = json.loads(settings.up_record.read_text(encoding="utf-8"))
        children = tuple(ChildHealth(**child) for child in found.pop("children", ()))
        deaths = tuple(Death(**death) for death in found.pop("deaths", ()))
        return Owner(**found, children=children, deaths=deaths)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _stop_left_behind(settings: Settings) -> str | None:
    """Stop what a killed `tt up` still serves; the address, or None where nothing was left. With the lock held."""
    record = read(settings)
    if record is None:
        return None
    stopped = served.stop(record.token)
    settings.up_record.unlink(missing_ok=True)
    return record.url if stopped else None


def _lock(settings: Settings) -> Any:
    import fasteners

    return fasteners.InterProcessLock(lock_file(settings, "up.lock"))


def _url(host: str, port: int) -> str:
    """The address a browser can open."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"{host}:{port} cannot be served ({error.strerror}); choose another with --host or --port."
            ) from None
