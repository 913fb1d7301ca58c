"""Who works with the embedded server of a home, so that nobody stops it under another's feet.

Every command that works on the embedded server holds a shared file lock while it lives, and whoever ends
asks for the lock alone. The kernel drops the lock of a killed process, so there is no count to go stale. `tt db stop`
does not ask: it is the way to stop the server whoever uses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tt_assets.runtime.home import home_unusable, make_home, own_file
from tt_assets.settings import Settings

_held: dict[Path, Any] = {}


def hold(settings: Settings) -> None:
    """Keep the embedded server of this home from being stopped by another command's end, until `leave` or exit."""
    if settings.database_url is not None or _path(settings) in _held:
        return
    lock = _lock(settings)
    lock.acquire_read_lock()
    _held[_path(settings)] = lock


def leave(settings: Settings) -> None:
    """Give up what `hold` took; nothing where nothing was taken."""
    lock = _held.pop(_path(settings), None)
    if lock is not None:
        lock.release_read_lock()


def stop_if_unused(settings: Settings) -> str:
    """Stop the embedded server unless another command works on it; one line about what became of it, empty for none."""
    leave(settings)
    if settings.database_url is not None or not settings.home.is_dir():
        return ""
    lock = _lock(settings)
    if not lock.acquire_write_lock(blocking=False):
        return "The embedded server stays up: another command works on it. `tt db stop` stops it in any case."
    try:
        return "Stopped the embedded server." if stop_embedded(settings) else ""
    finally:
        lock.release_write_lock()


def stop_embedded(settings: Settings) -> bool:
    """Stop the embedded server of this home; False where none runs or the database is external."""
    if settings.database_url:
        return False
    from tt_assets.postgres.server.embedded import EmbeddedServer

    server = EmbeddedServer(settings.home, settings.pg_bin, settings.pg_port)
    if not server.is_running():
        return False
    server.stop()
    return True


def lock_file(settings: Settings, name: str) -> Path:
    """The file `name` of this home, there and open to be locked.

    Raises UserError where TT_HOME cannot be written, and where it or the file is somebody else's.
    """
    make_home(settings.home)
    path = settings.home / name
    try:
        own_file(path)
    except OSError as error:
        raise home_unusable(settings.home, error) from None
    return path


def _path(settings: Settings) -> Path:
    return settings.home / "in_use.lock"


def _lock(settings: Settings) -> Any:
    import fasteners

    return fasteners.InterProcessReaderWriterLock(lock_file(settings, _path(settings).name))
