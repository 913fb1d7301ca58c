"""Where the embedded server listens: a Unix socket only its own account and root can open, on Windows 127.0.0.1.

The address follows from the data folder alone, so that every process finds the server without asking an environment
variable or another process. Where readers are let in over 127.0.0.1 too, the port they ask for is also that of the
socket (a server has one), and a file beside the data folder says it from one start to the next.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

from tt_assets.errors import UserError
from tt_assets.postgres.server.account import ServerAccount
from tt_assets.postgres.server.postmaster import replace_file

SUPERUSER = "postgres"
SOCKET_PORT = 5432
"""Part of the socket's file name; always given, so that a PGPORT in the environment changes nothing."""
LOOPBACK = "127.0.0.1"

LONGEST_SOCKET_PATH = 100
"""Bytes; macOS allows 103, Linux 107."""

# Not the folder in TMPDIR: two shells of one person may have different ones and would miss each other's server.
SHORT_FOLDERS = Path("/tmp")  # noqa: S108 - the folder made there is checked for its owner and its mode
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+", re.ASCII)


class AddressError(UserError):
    """The place of the server's socket, or its port, is taken by somebody else."""


@dataclass(frozen=True)
class ServerAddress:
    """Host (or socket folder), port and, over TCP, the password of the superuser."""

    host: str
    port: int
    password: str | None = field(default=None, repr=False)

    @property
    def socket_folder(self) -> Path | None:
        """Where the server's Unix socket is; None on Windows."""
        return None if os.name == "nt" else Path(self.host)


def server_address(data: Path) -> ServerAddress:
    """The address of the server of the cluster in `data`, whether it runs or not. Changes nothing on disk."""
    if os.name == "nt":
        return _tcp_address(data)
    return ServerAddress(str(_socket_folder(data)), _socket_port(data))


def prepare_address(data: Path, account: ServerAccount, tcp_port: int | None = None) -> ServerAddress:
    """Make what the address needs before a start: the private socket folder, or a free port on Windows.

    With `tcp_port` the server will listen on that port of 127.0.0.1 too. Raises AddressError where the short socket
    folder belongs to somebody else, or the port is taken.
    """
    if os.name == "nt":
        port = _tcp_address(data).port
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                port = _free_port()
        replace_file(_port_file(data), f"{port}\n", account)
        return _tcp_address(data)
    folder = _socket_folder(data)
    if folder != data:
        if not os.path.lexists(folder):
            folder.mkdir(mode=0o700)
            account.take(folder)
        _refuse_foreign(folder, account.effective_uid)
    if tcp_port is None:
        _port_file(data).unlink(missing_ok=True)
    else:
        _refuse_taken(tcp_port)
        replace_file(_port_file(data), f"{tcp_port}\n", account)
    return ServerAddress(str(folder), tcp_port or SOCKET_PORT)


def make_password(data: Path, account: ServerAccount) -> Path:
    """Write a new random password for the superuser and return its file; Windows only, before `initdb`."""
    replace_file(_password_file(data), secrets.token_urlsafe(32) + "\n", account)
    replace_file(_port_file(data), f"{_free_port()}\n", account)
    return _password_file(data)


def _socket_folder(data: Path) -> Path:
    """`data` itself where its path is short and plain, else a private folder named after a digest of it.

    Commas and colons mean several hosts to libpq and SQLAlchemy, so only a plain path is used as it stands.
    """
    longest = len(os.fsencode(data / f".s.PGSQL.{SOCKET_PORT}.lock"))
    if longest <= LONGEST_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(data)):
        return data
    folder = SHORT_FOLDERS / f"tt-{hashlib.sha256(os.fsencode(os.path.realpath(data))).hexdigest()[:16]}"
    if os.path.lexists(folder) and data.exists():
        _refuse_foreign(folder, data.stat().st_uid)
    return folder


def _refuse_foreign(folder: Path, owner: int) -> None:
    """Anyone may create names in the temporary folder: a client must not talk to a server somebody else put there."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise AddressError(
            f'The socket folder "{folder}" is not a private folder of the server\'s account: '
            "remove it, or set TT_HOME to a shorter path of plain letters and digits."
        )


def _socket_port(data: Path) -> int:
    """The port of the server as it was last started."""
    try:
        return int(_port_file(data).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return SOCKET_PORT


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise AddressError(
                f"TT_PG_PORT {port} cannot be listened on ({error.strerror}): choose another port, or leave it empty."
            ) from None


def _tcp_address(data: Path) -> ServerAddress:
    try:
        password = _password_file(data).read_text(encoding="utf-8").strip()
        port = int(_port_file(data).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no cluster yet: nothing listens on port 1
        return ServerAddress("127.0.0.1", 1)
    return ServerAddress("127.0.0.1", port, password)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _password_file(data: Path) -> Path:
    return data.with_name(f"{data.name}.password")


def _port_file(data: Path) -> Path:
    return data.with_name(f"{data.name}.port")
