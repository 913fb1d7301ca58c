"""Where the code server of a home listens. Its name says whose runs it starts, because Dagster notes it in every run.

The socket keeps its name over restarts and no other home has it, on whichever machine. So the runs that a
dead code server leaves behind are known as this home's, also in a database that other homes use.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tt_assets.errors import UserError

GRPC_INFO_TAG = ".dagster/grpc_info"
"""Dagster's tag with the address of the code server that started a run."""
LONGEST_PATH = 100
"""Bytes; macOS allows 103, Linux 107."""
SHORT_FOLDERS = Path("/tmp")  # noqa: S108 - the folder made there is checked for its owner and its mode
WINDOWS_PORTS = range(41_000, 49_000)
"""Dagster serves no socket file on Windows; a home has a port of these there."""


def prepare(home: Path) -> Path:
    """The socket of the code server of `home`, free to listen on: its folder is there, an old socket is not.

    Raises UserError where the short folder that a long `home` needs belongs to somebody else.
    """
    socket = of(home)
    if not socket.parent.exists():
        socket.parent.mkdir(mode=0o700, parents=True)
    if socket.parent.parent == SHORT_FOLDERS:
        found = socket.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise UserError(
                f'The socket folder "{socket.parent}" is not a private folder of yours: remove it, or set TT_HOME to a '
                "shorter path."
            )
    socket.unlink(missing_ok=True)
    return socket


def of(home: Path) -> Path:
    """The socket of the code server of `home`."""
    name = f"code-{_digest(home)}.sock"
    inside = home / "dagster" / name
    if len(os.fsencode(inside)) <= LONGEST_PATH:
        return inside
    return SHORT_FOLDERS / f"tt-up-{_digest(home)}" / name


def started(tags: Mapping[str, str], socket: Path) -> bool:
    """Whether the run with `tags` was started by the code server at `socket`."""
    try:
        address = json.loads(tags.get(GRPC_INFO_TAG, "null"))
    except ValueError:
        return False
    return isinstance(address, dict) and address.items() >= server(socket).items()


def server(socket: Path) -> dict[str, Any]:
    """The address as a workspace file and Dagster's tag have it."""
    return {"host": "127.0.0.1", "port": _port(socket)} if os.name == "nt" else {"socket": str(socket)}


def listen_options(socket: Path) -> tuple[str, ...]:
    """The options of `dagster code-server start`."""
    return ("-h", "127.0.0.1", "-p", str(_port(socket))) if os.name == "nt" else ("-s", str(socket))


def target(socket: Path) -> str:
    """The address as gRPC has it."""
    return f"127.0.0.1:{_port(socket)}" if os.name == "nt" else f"unix:{socket}"


def _port(socket: Path) -> int:
    return WINDOWS_PORTS[int(hashlib.sha256(socket.name.encode()).hexdigest(), 16) % len(WINDOWS_PORTS)]


def _digest(home: Path) -> str:
    """A short name of `home` that no other folder on any machine has."""
    file = home / "id"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        staged = file.with_suffix(f".{os.getpid()}.new")
        staged.write_text(uuid.uuid4().hex, encoding="ascii")
        staged.replace(file)
    known = file.read_bytes() + os.fsencode(os.path.realpath(home))
    return hashlib.sha256(known).hexdigest()[:16]
