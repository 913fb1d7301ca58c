"""`tt up` and `tt down`: the webserver and the daemon under one owner, which also stops them.

`tt up` stays in the foreground and owns everything it started. A file lock, which the kernel drops with
its holder, says whether an owner lives; a file beside it says who that is and what it serves, so that whatever a killed
owner left behind is found and stopped by the next `tt up` or `tt down`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tt_assets.errors import UserError
from tt_assets.runs.process_identity import identity, is_same
from tt_assets.runtime import served
from tt_assets.settings import Settings, shared_file

READY_WITHIN = 180.0
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


@dataclass(frozen=True)
class Owner:
    """A `tt up`: its process, where its UI listens and the token of the processes it serves with.

    `started` is the `identity` of the process; an older version wrote seconds since 1970.
    """

    pid: int
    started: str | float
    url: str
    token: str

    def process(self) -> psutil.Process | None:
        """The live process, or None where it is gone or its number belongs to another one."""
        try:
            return psutil.Process(self.pid) if is_same(self.pid, str(self.started)) else None
        except psutil.NoSuchProcess:
            return None


class Stopping:
    """Whether somebody has asked this process to stop; set by signals while the block of `listening` runs."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, *_: object) -> None:
        self.asked = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C, SIGTERM and a closed terminal as a wish to stop; child processes get the default back."""
        previous = {number: signal.signal(number, self._ask) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


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
        _write(settings, record)
        try:
            yield record
        finally:
            settings.up_record.unlink(missing_ok=True)
    finally:
        lock.release()


def serve(
    settings: Settings, record: Owner, host: str, port: int, stopping: Stopping, say: Callable[[str], None]
) -> int:
    """Serve the UI and run the daemon until `stopping` is asked; the exit code of the served processes.

    The environment is that of `platform.adopt`. Everything started is gone on return.
    """
    log = settings.home / "logs" / "dagster.log"
    try:
        process = served.start(shared_file("workspace.yaml"), host, port, record.token, log)
        if _wait_until_ready(record.url, process, stopping):
            say(f"UI at {record.url}, log in {log}. Ctrl-C stops it.")
            say(f"Alerts: {settings.alert_log}{_receiver(settings)}.")
        elif not stopping.asked:
            raise UserError(f"The UI did not come up at {record.url}: {_last_line(log)} See {log}.")
        while not stopping.asked and process.poll() is None:
            time.sleep(0.2)
        if stopping.asked:
            return 0
        say(f"The served processes ended by themselves; see {log}.")
        return process.returncode or 1
    finally:
        try:
            say("Stopping.")
        finally:  # a terminal that was closed, or a pipe nobody reads, answers with an error
            served.stop(record.token)


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
    deadline = time.monotonic() + 2 * served.STOP_WITHIN
    while time.monotonic() < deadline:
        running = owner(settings)
        process = running.process() if running else None
        if running and process and running != asked:
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
    record = _read(settings)
    return record if record and record.process() else None


def _stop_left_behind(settings: Settings) -> str | None:
    """Stop what a killed `tt up` still serves; the address, or None where nothing was left. With the lock held."""
    record = _read(settings)
    if record is None:
        return None
    stopped = served.stop(record.token)
    settings.up_record.unlink(missing_ok=True)
    return record.url if stopped else None


def bury_abandoned_runs(instance: Any) -> list[str]:
    """Mark the runs that a stopped code server had in hand as failed and free what they held; returns their ids.

    To be called by the owner before it serves: the only code server of this home is the owner's, so a run that was
    started by one and has not ended cannot end any more.
    """
    import dagster as dg

    unfinished = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    buried = []
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)):
        if ".dagster/grpc_info" in run.tags:
            instance.report_run_failed(run, "The `tt up` that ran it has ended; materialize the partitions again.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            buried.append(run.run_id)
    return buried


def _receiver(settings: Settings) -> str:
    """Where alerts go besides the log, without what is secret in it."""
    from tt_assets.automation.webhook import masked

    if settings.alert_webhook is None:
        return "; set TT_ALERT_WEBHOOK to have them sent, too"
    return f", and {masked(settings.alert_webhook.get_secret_value())} (TT_ALERT_WEBHOOK)"


def _lock(settings: Settings) -> Any:
    import fasteners

    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f'TT_HOME "{settings.home}" cannot be made ({error.strerror}): set TT_HOME to a folder you can write to.'
        ) from None
    return fasteners.InterProcessLock(settings.home / "up.lock")


def _write(settings: Settings, record: Owner) -> None:
    staged = settings.up_record.with_suffix(".new")
    staged.write_text(json.dumps(asdict(record)), encoding="utf-8")
    staged.replace(settings.up_record)


def _read(settings: Settings) -> Owner | None:
    try:
        return Owner(**json.loads(settings.up_record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


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


def _wait_until_ready(url: str, process: Any, stopping: Stopping) -> bool:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None and not stopping.asked:
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - our own address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing.")
