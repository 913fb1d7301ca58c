"""The embedded server's cluster on disk: made whole or not at all, configured anew before every start.

The settings go into a file of their own that `postgresql.conf` includes, not onto a command line that a
shell would read; `ALTER SYSTEM` still overrules them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tt_assets.errors import UserError
from tt_assets.postgres.server.account import ServerAccount
from tt_assets.postgres.server.address import LOOPBACK, SUPERUSER, ServerAddress, make_password
from tt_assets.postgres.server.binaries import Binaries
from tt_assets.postgres.server.postmaster import replace_file

SERVER_SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # The reasons in the server's log are read by the start of the server and by people who search the web for them.
    "lc_messages": "C",
}
"""Written before every start; `ALTER SYSTEM` overrules them."""

READER_LOGIN = "tt_read_only"
"""The one login that is let in over TCP, where that is asked for."""

_SETTINGS_FILE = "tt_assets.conf"
_OURS = "# tt_assets, for TT_PG_PORT"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")


class EmbeddedServerError(UserError):
    """The embedded server cannot be initialised, started or stopped."""


def initialise(data: Path, binaries: Binaries, account: ServerAccount) -> None:
    """Make a cluster in a new folder and rename it, so that a killed `initdb` never leaves half a cluster.

    Raises EmbeddedServerError with the reason of `initdb`. To be called under the cluster's lock.
    """
    sweep(data)
    new = Path(tempfile.mkdtemp(prefix="pgdata.new-", dir=data.parent))
    account.take(new)
    access = ["--auth-local=trust", "--auth-host=reject"]  # the socket's folder is closed to everyone else
    if os.name == "nt":
        access = ["--auth=scram-sha-256", f"--pwfile={make_password(data, account)}"]
    # Relative to its parent: initdb and pg_ctl hand the path to a shell, which must find nothing to interpret.
    command = [str(binaries.program("initdb")), "-D", new.name, "-U", SUPERUSER, "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(
        [*command, "--data-checksums", *access],
        cwd=new.parent,
        env=server_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **account.process_options(),
    )
    try:
        if "could not look up effective user ID" in done.stderr:  # containers that run under a bare number
            raise EmbeddedServerError(
                f"initdb needs a name for the user id {account.effective_uid}, which has none on this machine: "
                "add the id to /etc/passwd, or set TT_DATABASE_URL."
            )
        if done.returncode:
            raise EmbeddedServerError(
                f'initdb of PostgreSQL {binaries.version} could not make "{data}": {telling_line(done.stderr)} '
                "Free space or set TT_HOME to another file system, or set TT_DATABASE_URL."
            )
        conf = new / "postgresql.conf"
        include = f"\n# Written by tt_assets before every start.\ninclude_if_exists = '{_SETTINGS_FILE}'\n"
        replace_file(conf, conf.read_text(encoding="utf-8") + include, account)
        _sync(new)
        new.rename(data)
        _sync(data.parent)
    except OSError as error:
        raise EmbeddedServerError(
            f'"{data}" is in the way of a new cluster ({error.strerror}): move it away, or set TT_HOME.'
        ) from None
    finally:
        sweep(data)


def sweep(data: Path) -> None:
    """Remove what killed initialisations left beside `data`. To be called under the cluster's lock."""
    for leftover in data.parent.glob("pgdata.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def refuse_other_major(data: Path, binaries: Binaries) -> None:
    """Raise EmbeddedServerError where the cluster was made by another major version than `binaries`."""
    major = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    if major != str(binaries.major):
        raise EmbeddedServerError(
            f'The cluster in "{data}" was made by PostgreSQL {major}, the programs in "{binaries.folder}" are '
            f"{binaries.version}: with TT_PG_BIN naming the programs of PostgreSQL {major}, run `tt db dump FILE` and "
            "`tt db stop`; then move that folder away, empty TT_PG_BIN and run `tt db restore FILE`."
        )


def write_settings(data: Path, address: ServerAddress, account: ServerAccount, tcp_port: int | None = None) -> None:
    """Write the settings that every start depends on into a file that the cluster's own configuration includes.

    With `tcp_port` the login READER_LOGIN, and no other, is let in over 127.0.0.1 with its password.
    """
    if address.socket_folder is None:
        place = {"listen_addresses": address.host, "port": str(address.port)}
    else:
        place = {
            "listen_addresses": LOOPBACK if tcp_port else "",
            "port": str(address.port),
            "unix_socket_directories": str(address.socket_folder),
            "unix_socket_permissions": "0700",
        }
        _let_in(data / "pg_hba.conf", account, tcp_port is not None)
    settings = {**SERVER_SETTINGS, **place}
    replace_file(data / _SETTINGS_FILE, "".join(f"{name} = '{value}'\n" for name, value in settings.items()), account)


def _let_in(rules: Path, account: ServerAccount, over_tcp: bool) -> None:
    """Have the rule for READER_LOGIN before all others in the server's list of who may enter, or not at all."""
    before = rules.read_text(encoding="utf-8")
    lines = [line for line in before.splitlines() if not line.endswith(_OURS)]
    if over_tcp:
        first = f"host all {READER_LOGIN} {LOOPBACK}/32 scram-sha-256 {_OURS}"
        lines = [first, f"host all all all reject {_OURS}", *lines]
    after = "\n".join([*lines, ""])
    if after != before:
        replace_file(rules, after, account)


def server_environment() -> dict[str, str]:
    """What the server may know of this process' environment: neither PG* variables nor anybody's secrets."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"LC_ALL": "C"}


def telling_line(text: str) -> str:
    """The most telling line of a server's or a program's output, ending in a full stop."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:"))] or lines[-1:]
    return f"{telling[0].rstrip('.')}." if telling else "it printed nothing."


def _sync(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be synchronised there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
