"""Which process a process id means: the same one as before, or another that was given its number.

A start time in seconds since 1970 is worked out from the time of the boot, which moves whenever somebody
sets the clock. On Linux a process is therefore known by the boot it belongs to and the kernel's ticks from that boot to
its start. Other systems note the start itself when it happens; it stays as it is.
"""

from __future__ import annotations

from pathlib import Path

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROC = Path("/proc")
_DEAD = "ZX"
"""States of a process that has ended and that nobody has asked about yet."""
_STATE, _START = 0, 19
"""Places in /proc/PID/stat behind the name (which may hold anything, blanks too): fields 3 and 22 of proc(5)."""


def identity(pid: int) -> str | None:
    """What tells the live process `pid` from every other one that had or will have its number; None where none lives.

    Two words joined by a slash, neither of which moves with the clock: the boot and the ticks from it to the start of
    the process on Linux, `start` and seconds since 1970 elsewhere.
    """
    boot = _boot()
    if boot is None:
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else f"start/{process.create_time():.3f}"
        except psutil.Error:
            return None
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] in _DEAD else f"{boot}/{fields[_START]}"


def is_same(pid: int, known: str) -> bool:
    """Whether the live process `pid` is the one `known` names: an `identity`, or the seconds of an older version."""
    if "/" in known:
        return identity(pid) == known
    try:
        return bool(abs(psutil.Process(pid).create_time() - float(known)) < 2)
    except (psutil.Error, ValueError):
        return False


def _boot() -> str | None:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        return None
