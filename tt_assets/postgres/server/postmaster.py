"""The processes of a cluster, as the operating system sees them.

A process id in a file proves nothing. A number counts as the cluster's only if the process under it is
PostgreSQL working in that very folder.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tt_assets.postgres.server.account import ServerAccount

NOBODY_S_PID = 2**31 - 2
"""A process id beyond what any system hands out."""

_CLOCK_TOLERANCE = 10.0  # seconds between a process' start and the time PostgreSQL notes in its file


def running_postmaster(data: Path) -> int | None:
    """Process id of the live postmaster of the cluster in `data`, or None."""
    lines = _lines(data / "postmaster.pid")
    pid = _number(lines[0]) if lines else None
    if pid is None or pid <= 0:
        return None
    started = _number(lines[2]) if len(lines) > 2 else None
    return pid if _works_in(pid, data, started) else None


def disown_reused_pids(data: Path, sockets: Path | None, account: ServerAccount) -> None:
    """Free the cluster's lock files from process ids that now belong to somebody else.

    PostgreSQL believes any live process of its own account to be the holder and would refuse to start for ever. Only
    the id is replaced: the shared memory key in `postmaster.pid` stays, so the server still refuses to start beside
    backends that outlived a killed postmaster. A file whose process is dead is left to PostgreSQL.
    """
    locks = [data / "postmaster.pid"]
    if sockets is not None:
        locks += sockets.glob(".s.PGSQL.*.lock")
    for lock in locks:
        lines = _lines(lock)
        pid = abs(_number(lines[0]) or 0) if lines else 0
        if pid and psutil.pid_exists(pid) and not _works_in(pid, data, None):
            replace_file(lock, "\n".join([str(NOBODY_S_PID), *lines[1:], ""]), account)


def orphans(data: Path) -> Iterator[psutil.Process]:
    """PostgreSQL processes still working in `data`; meaningful while no postmaster runs."""
    for process in psutil.process_iter():
        if _works_in(process.pid, data, None):
            yield process


def quit_orphans(data: Path) -> None:
    """End backends that outlived their postmaster, with the signal it would have used for an immediate stop."""
    for process in orphans(data):
        try:
            process.send_signal(getattr(signal, "SIGQUIT", signal.SIGTERM))
        except psutil.Error:  # gone meanwhile
            continue


def replace_file(path: Path, text: str, account: ServerAccount) -> None:
    """Put `text` into `path` at once, mode 0600, owned by `account`.

    Never through an existing name: the folder belongs to another account, which could have laid a symbolic link there
    for root to follow.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        account.take(new)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _works_in(pid: int, data: Path, started: int | None) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or not process.name().lower().startswith("postgres"):
            return False
        try:
            return data.samefile(process.cwd())
        except psutil.AccessDenied:  # a hardened kernel hides the folder: compare the start time instead
            return started is not None and abs(process.create_time() - started) < _CLOCK_TOLERANCE
    except (psutil.Error, OSError):
        return False


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(line: str) -> int | None:
    try:
        return int(line.strip())
    except ValueError:
        return None
