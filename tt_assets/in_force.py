"""The watchlist in force: the file's content, or the last good one while the file cannot be read.

One decision: a copy of the last good list lies under `TT_HOME`. A person who saves half a line then stops nothing: the
instruments stay what they were until the file can be read again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tt_assets.market.watchlist import Watchlist, WatchlistError, read_watchlist
from tt_assets.settings import Settings


@dataclass(frozen=True)
class InForce:
    """The watchlist that holds now; `trouble` says what is wrong with the file where it is an older one."""

    watchlist: Watchlist
    trouble: str = ""


def watchlist_in_force(settings: Settings) -> InForce:
    """The file's watchlist, remembered; or the remembered one and why.

    Raises WatchlistError where the file cannot be read and none was remembered for it.
    """
    try:
        text = settings.watchlist.read_bytes()
        listed = read_watchlist(settings.watchlist)
    except (OSError, WatchlistError) as error:
        kept = _kept(settings)
        if not kept.exists():
            return InForce(read_watchlist(settings.watchlist))
        return InForce(read_watchlist(kept), str(error))
    _remember(_kept(settings), text)
    return InForce(listed)


def _kept(settings: Settings) -> Path:
    # By its name: another file of the user's is another list.
    return settings.home / "watchlist" / settings.watchlist.name


def _remember(kept: Path, text: bytes) -> None:
    try:
        if kept.exists() and kept.read_bytes() == text:
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        staged = kept.with_name(f".{kept.name}.{os.getpid()}")
        staged.write_bytes(text)
        staged.replace(kept)
    except OSError:
        pass  # a read-only home remembers nothing, and loses nothing else
