"""The folder TT_HOME: made closed to others, and used only where it is one's own."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from tt_assets.errors import UserError

CLOSED = 0o700
PASSABLE = 0o711
"""For root alone: the account that runs the server for root has to pass through to its cluster, which is closed."""


def make_home(home: Path) -> None:
    """Have the folder there, closed whatever the umask is; one that exists keeps its mode.

    Raises UserError where it cannot be made, is no folder, or belongs to somebody else.
    """
    try:
        if not home.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            home.mkdir(CLOSED)
            home.chmod(PASSABLE if _is_root() else CLOSED)
    except FileExistsError as error:
        if not home.exists():  # else another process made it at the same moment
            raise home_unusable(home, error) from None
    except OSError as error:
        raise home_unusable(home, error) from None
    found, link = home.stat(), home.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UserError(f'TT_HOME "{home}" is no folder: set TT_HOME to a folder you can write to.')
    for entry in (found, link):
        refuse_foreign(home, entry, "TT_HOME")


def own_file(path: Path) -> None:
    """Have the file there, one's own and no symbolic link, to be locked. Raises UserError; OSError where it cannot."""
    if path.is_symlink():
        raise UserError(f'"{path}" is a symbolic link, which nobody here made: remove it.')
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        refuse_foreign(path, os.fstat(descriptor), "The lock file")
    finally:
        os.close(descriptor)


def kept_secret(path: Path) -> str:
    """The secret that the file keeps, one's own and closed to others; a new one where there is none.

    Raises UserError where the file is a link or somebody else's, OSError where it cannot be written.
    """
    own_file(path)
    path.chmod(0o600)
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        secret = secrets.token_urlsafe(32)
        path.write_text(f"{secret}\n", encoding="utf-8")
    return secret


def refuse_foreign(path: Path, entry: os.stat_result, what: str) -> None:
    """Raise UserError where the entry belongs to another user, who could swap what stands in it."""
    if hasattr(os, "geteuid") and entry.st_uid != os.geteuid():
        raise UserError(
            f'{what} "{path}" belongs to user {entry.st_uid}, you are {os.geteuid()}: set TT_HOME to a folder of your '
            "own, or run as its owner."
        )


def home_unusable(home: Path, error: OSError) -> UserError:
    """What is to be said of a TT_HOME that nothing can be written to."""
    return UserError(
        f'TT_HOME "{home}" cannot be used ({error.strerror}: "{error.filename}"): set TT_HOME to a folder you '
        "can write to."
    )


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
