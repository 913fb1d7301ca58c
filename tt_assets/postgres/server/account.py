"""Who the embedded server runs as.

PostgreSQL refuses to run as root. Root hands the server to the owner of the cluster if there is one, else
to `postgres`, else to `nobody`; everyone else runs it as themselves.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tt_assets.errors import UserError


class NoServerAccount(UserError):
    """Root found nobody to run the server as."""


@dataclass(frozen=True)
class ServerAccount:
    """The system account of the server's processes; `uid` and `gid` are None for the account of this process."""

    name: str
    uid: int | None = None
    gid: int | None = None

    @property
    def effective_uid(self) -> int:
        """The user id that owns the server's files; 0 on Windows, which has none."""
        if self.uid is not None:
            return self.uid
        return os.geteuid() if hasattr(os, "geteuid") else 0

    def process_options(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make a child run as this account."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def take(self, path: Path) -> None:
        """Make this account the owner of `path` (not of what a symbolic link points to)."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, folder: Path) -> bool:
        """Whether this account can enter `folder`; asked of the kernel, so access lists count as well as mode bits."""
        if self.uid is None:
            return os.access(folder, os.X_OK)
        command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        entered = subprocess.run(command, cwd="/", capture_output=True, check=False, **self.process_options())
        return entered.returncode == 0


def server_account(data: Path) -> ServerAccount:
    """The account for the cluster in `data`, which need not exist yet.

    Raises NoServerAccount where root finds neither an owner of `data` nor a `postgres` nor a `nobody`, or may not
    change its user.
    """
    if os.name == "nt":
        return ServerAccount(os.environ.get("USERNAME", "the current user"))
    import pwd

    if os.geteuid() != 0:
        return ServerAccount(_name_of(os.geteuid()))
    if os.path.lexists(data) and (owner := data.stat()).st_uid != 0:
        return _usable(ServerAccount(_name_of(owner.st_uid), owner.st_uid, owner.st_gid))
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _usable(ServerAccount(name, entry.pw_uid, entry.pw_gid))
    raise NoServerAccount(
        "PostgreSQL does not run as root and this machine has no account postgres or nobody: "
        "create one (useradd --system postgres), run as a normal user, or set TT_DATABASE_URL."
    )


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # containers often run under a number without a name
        return str(uid)


def _usable(account: ServerAccount) -> ServerAccount:
    try:
        account.reaches(Path("/"))
    except PermissionError:
        raise NoServerAccount(
            f"PostgreSQL does not run as root and this root may not become {account.name}: "
            "run as a normal user, or set TT_DATABASE_URL."
        ) from None
    return account
