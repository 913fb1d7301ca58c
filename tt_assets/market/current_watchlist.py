"""The current watchlist: the file's content, or the last good one while the file cannot be read.

A copy of the last good list is kept. A person who saves half a line then stops nothing: the instruments stay what they
were until the file can be read again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tt_assets.market.watchlist import Watchlist, WatchlistError, read_watchlist


@dataclass(frozen=True)
class CurrentWatchlist:
    """The watchlist that holds now.

    Parameters
    ----------
    watchlist : of the file, or the last one of it that could be read.
    trouble : what is wrong with the file where the list is an older one, else empty.
    """

    watchlist: Watchlist
    trouble: str = ""


def current_watchlist(path: Path, copies: Path) -> CurrentWatchlist:
    """The watchlist of a file, or the last one of it that could be read.

    Parameters
    ----------
    path : the file that a person edits.
    copies : folder in which a copy of the last good file is kept, under the same name.

    Returns
    -------
    The list, and what is wrong with the file where the list is a copy.

    Raises
    ------
    WatchlistError : the file cannot be read and no copy of it was kept.
    """
    # By its name: another file of the user's is another list.
    kept = copies / path.name
    try:
        text = path.read_bytes()
        listed = read_watchlist(path)
    except (OSError, WatchlistError) as error:
        if not kept.exists():
            return CurrentWatchlist(read_watchlist(path))
        return CurrentWatchlist(read_watchlist(kept), str(error))
    _keep(kept, text)
    return CurrentWatchlist(listed)


def _keep(kept: Path, text: bytes) -> None:
    try:
        if kept.exists() and kept.read_bytes() == text:
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        staged = kept.with_name(f".{kept.name}.{os.getpid()}")
        staged.write_bytes(text)
        staged.replace(kept)
    except OSError:
        pass  # a read-only home remembers nothing, and loses nothing else
