"""The bars files of the settings: opened with their options, their cache and the watchlist that names them.

Without a watchlist of their own, a person's bars bring the instruments: those in the files, written under `TT_HOME`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tt_assets.errors import UserError
from tt_assets.grid.followed_calendar import follow_calendar
from tt_assets.market.current_watchlist import CurrentWatchlist, current_watchlist
from tt_assets.market.errors import BarsFileError
from tt_assets.market.watchlist import Instrument, Watchlist, WatchlistError, read_watchlist, write_watchlist
from tt_assets.market.watchlist_format import check_name
from tt_assets.settings import PriceSourceName, Settings

if TYPE_CHECKING:
    from tt_assets.market.files import FileBars, Manifest


def bars_files(settings: Settings, path: Path | None = None) -> FileBars:
    """The price source over the bars files; nothing is read yet.

    Parameters
    ----------
    settings : where the files are, how they are read, and the watchlist where one is named.
    path : looked at as if it were TT_BARS_PATH; None: TT_BARS_PATH.

    Raises
    ------
    WatchlistError : one is named and cannot be read, and no copy of it was kept.
    """
    from tt_assets.market.files import FileBars  # brings pandas, which most commands never need

    follow_calendar(settings)
    listed = "watchlist" in settings.model_fields_set or (path is None and not settings.watchlist_is_of_bars)
    known = current_watchlist(settings.watchlist, settings.watchlist_copies).watchlist.symbols if listed else None
    return FileBars(
        path or settings.bars_path, known, options=settings.bars_options, cache=settings.home / "cache" / "bars"
    )


def watchlist_of(settings: Settings) -> Watchlist:
    """The watchlist of the settings: the file, or the instruments of the bars where no list is named.

    Raises a `UserError` where neither can be read.
    """
    if settings.watchlist_is_of_bars:
        _keep_watchlist(settings, bars_manifest(settings))
    return read_watchlist(settings.watchlist)


def followed(settings: Settings) -> CurrentWatchlist:
    """The watchlist of the settings as it stands, or its last good copy and what is wrong with the file.

    Raises a `UserError` where there is neither; of bars that bring their instruments, the error of the bars.
    """
    if settings.watchlist_is_of_bars and (bars_manifest_or_none(settings) is None and not settings.watchlist.exists()):
        return CurrentWatchlist(watchlist_of(settings))
    return current_watchlist(settings.watchlist, settings.watchlist_copies)


def bars_manifest(settings: Settings) -> Manifest:
    """What is known of the bars of the settings; their instruments become the watchlist where there is none.

    Raises a `UserError` where the files cannot be read, are refused as a whole, or hold no bar on a session.
    """
    manifest = bars_files(settings).usable_manifest()
    if settings.watchlist_is_of_bars:
        with suppress(BarsFileError):  # `watchlist_of` says it
            _keep_watchlist(settings, manifest)
    return manifest


def bars_manifest_or_none(settings: Settings) -> Manifest | None:
    """As `bars_manifest`; None where it would raise, or where the prices do not come from files."""
    if settings.price_source is not PriceSourceName.FILE:
        return None
    try:
        return bars_manifest(settings)
    except UserError:
        return None


def without_bars(settings: Settings, symbols: Sequence[str]) -> str:
    """What is to be said of those symbols of which the bars files have no bar; empty where they have all.

    Parameters
    ----------
    settings : where the files are. Nothing is said where the prices do not come from files, or where those cannot be
        read, which a load says.
    symbols : that are listed.
    """
    from tt_assets.market.layouts.symbols import in_words, nearest

    if settings.price_source is not PriceSourceName.FILE:
        return ""
    try:
        present = bars_files(settings).manifest().symbols
    except UserError:
        return ""
    absent = [symbol for symbol in symbols if symbol not in present]
    said = [f"{symbol} (they have {near})" if (near := nearest(symbol, present)) else symbol for symbol in absent]
    return f"the bars of {settings.bars_path} have none of {in_words(said, 10)}" if absent else ""


def _keep_watchlist(settings: Settings, manifest: Manifest) -> None:
    """Write the watchlist of the bars' own instruments, where it is not that already."""
    listed = []
    for symbol in manifest.symbols:
        try:
            check_name(symbol, "symbol", settings.bars_path.name)
        except WatchlistError:
            continue  # `tt bars check` names it
        listed.append(Instrument(symbol))
    if not listed:
        raise BarsFileError(f"{settings.bars_path} holds no symbol that a watchlist can hold. Set TT_WATCHLIST.")
    watchlist = Watchlist(tuple(listed), {})
    path = settings.watchlist
    try:
        if path.exists() and tuple(line for line in path.read_text(encoding="utf-8").splitlines()[1:]) == tuple(
            f"{symbol},,SMART,,USD," for symbol in watchlist.symbols
        ):
            return
        write_watchlist(path, watchlist)
    except OSError as error:
        raise BarsFileError(
            f"{path} cannot be written ({os.strerror(error.errno or 0)}), and without TT_WATCHLIST the instruments of "
            f"the bars are kept there. Set TT_WATCHLIST, or make TT_HOME writable."
        ) from None
