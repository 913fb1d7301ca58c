"""Daily bars from files: a CSV, parquet, workbook or archive in any public layout, a folder or a glob of them.

`layouts` reads them; here they answer requests as every price source does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from tt_assets.market.bars import BarFault, BarRule, CheckedBars, summarise
from tt_assets.market.calendar import followed
from tt_assets.market.errors import BarsFileError
from tt_assets.market.layouts.containers import Stamp
from tt_assets.market.layouts.dates import MarketClock
from tt_assets.market.layouts.findings import watched
from tt_assets.market.layouts.options import BarsOptions
from tt_assets.market.layouts.versions import Manifest, Version, fingerprint, version_of
from tt_assets.market.sources import BarRequest, Fetched, FetchResult, NotFetched, Outcome

__all__ = ["BarsFileError", "BarsOptions", "FileBars", "Manifest", "Stamp", "fingerprint", "span"]


class FileBars:
    """A price source over the bars files of a path (see PriceSource).

    Parameters
    ----------
    path : file, folder or glob.
    known : the watchlist. Rows of other instruments are left out; files without a column for the symbol are named by
        it. None: every instrument is taken.
    latest : with it, rows after that session are faults.
    options : overrides of what is recognised.
    cache : folder in which each version of the files is kept once it is read. None: it is kept in this object.

    The files are read again when the size or modification time of one of them changes.
    """

    def __init__(
        self,
        path: Path,
        known: Collection[str] | None = None,
        latest: date | None = None,
        *,
        options: BarsOptions | None = None,
        cache: Path | None = None,
    ) -> None:
        self.path = path
        self.known = None if known is None else tuple(known)
        self._latest = latest
        self._options = options or BarsOptions()
        self._cache = cache
        self._loaded: tuple[str, Version] | None = None
        self._checked: tuple[Version, CheckedBars] | None = None

    def fetch(self, requests: Sequence[BarRequest]) -> list[FetchResult]:
        """Bars of each request, see PriceSource. An instrument without a row in the files is NotFetched with NO_BARS.

        Raises
        ------
        BarsFileError : the files as a whole cannot be used.
        """
        version = self._usable()
        return [self._answer(request, version) for request in requests]

    def check(self) -> CheckedBars:
        """All bars: clean ones of known instruments, and every fault, also those that belong to no request.

        Raises BarsFileError when the files as a whole cannot be used.
        """
        version = self._usable()
        if self._checked is None or self._checked[0] is not version:
            self._checked = (version, self._check(version))
        return self._checked[1]

    def faults(self) -> tuple[BarFault, ...]:
        """Every row of known instruments that broke a rule. Raises as `check`, which reads the bars besides."""
        return self._of_known(self._usable().faults)

    def manifest(self) -> Manifest:
        """What is known of the bars without reading one. Raises BarsFileError where the files cannot be read at all."""
        return self._version().manifest

    def usable_manifest(self) -> Manifest:
        """What is known of the bars without reading one, where there are any.

        Raises
        ------
        BarsFileError : the files cannot be read, are refused as a whole, or hold no bar on a session.
        """
        manifest = self._usable().manifest
        if manifest.first is None:
            raise BarsFileError(self.why_none(manifest))
        return manifest

    def span(self) -> tuple[date, date]:
        """First and last session with a bar.

        Raises
        ------
        BarsFileError : as of `usable_manifest`.
        """
        manifest = self.usable_manifest()
        if manifest.first is None or manifest.last is None:
            raise BarsFileError(self.why_none(manifest))
        return manifest.first, manifest.last

    def warnings(self) -> list[str]:
        """What a person should know of the bars before a load, one line a kind; rows left out by rule included."""
        manifest = self._usable().manifest
        told = list(manifest.warnings)
        if self.known:
            told += watched(manifest.symbols, self.known)[1]
        # Those beyond the calendar have a line of their own.
        faults = [f for f in self.faults() if f.rule not in (BarRule.TOO_EARLY, BarRule.TOO_LATE)]
        return [*told, f"{self.path}: {summarise(faults)}"] if faults else told

    def all_bars(self) -> pd.DataFrame:
        """Every clean bar (BAR_COLUMNS, by instrument and session), of any instrument, also where they are refused."""
        return self._version().all_bars()

    def all_faults(self) -> tuple[BarFault, ...]:
        """Every row that broke a rule, of any instrument, also where the bars are refused."""
        return self._version().faults

    def why_none(self, manifest: Manifest) -> str:
        """The refusal of files without one bar on a session."""
        if not manifest.rows:
            return f"{self.path} holds no row below its header. Give it bars."
        return (
            f"{self.path} holds no bar on a trading session ({_why_none(manifest)}). `tt bars check {self.path}` shows "
            f"its rows."
        )

    def _check(self, version: Version) -> CheckedBars:
        clean, faults = version.all_bars(), version.faults
        if self._latest is not None:
            late = clean[clean["timestamp"] > pd.Timestamp(self._latest)]
            faults = (
                *faults,
                *(_too_late(name, day.date()) for name, day in zip(late["instrument"], late["timestamp"], strict=True)),
            )
            clean = clean.drop(late.index).reset_index(drop=True)
        if self.known is not None:
            mine = clean["instrument"].isin(self.known)
            clean = clean[mine].reset_index(drop=True)
        return CheckedBars(clean, self._of_known(faults))

    def _of_known(self, faults: tuple[BarFault, ...]) -> tuple[BarFault, ...]:
        if self.known is None:
            return faults
        return tuple(fault for fault in faults if not fault.instrument or fault.instrument in self.known)

    def _answer(self, request: BarRequest, version: Version) -> FetchResult:
        faults = version.faults_of.get(request.instrument, ())
        held = version.manifest.held.get(request.instrument)
        if held is None:
            reason = f"{self.path} has no bar of {request.instrument}. Add its bars, or take it off the watchlist."
            return NotFetched(request, Outcome.NO_BARS, reason)
        mine = [
            fault
            for fault in faults
            if not isinstance(fault.session, date) or request.first <= fault.session <= request.last
        ]
        bars = version.bars_of(request.instrument, request.first, request.last)
        if self._latest is not None:
            late = bars["timestamp"] > pd.Timestamp(self._latest)
            mine += [_too_late(request.instrument, day.date()) for day in bars["timestamp"][late]]
            bars = bars[~late]
        return Fetched(request=request, bars=bars, faults=tuple(mine), listed=held.first, last=held.last)

    def _usable(self) -> Version:
        version = self._version()
        manifest = version.manifest
        if manifest.refusal:
            raise BarsFileError(manifest.refusal)
        if self.known and manifest.symbols:
            refusal, _ = watched(manifest.symbols, self.known)
            if refusal:
                raise BarsFileError(f"{self.path}: {refusal}")
        return version

    def _version(self) -> Version:
        # Which rows are of a session is for the calendar to say, so another one reads the files anew.
        now = f"{followed().name} {fingerprint(self.path, self._options)}"
        if self._loaded is None or self._loaded[0] != now:
            market = followed()
            clock = MarketClock(market.zone, market.opens, market.closes)
            version = version_of(self.path, self._options, self.known, clock, market.in_words, self._cache)
            self._loaded = (now, version)
        return self._loaded[1]


def _too_late(instrument: str, day: date) -> BarFault:
    return BarFault(instrument, day, BarRule.NOT_CLOSED, "", None)


def span(
    path: Path, known: Collection[str] | None = None, options: BarsOptions | None = None, cache: Path | None = None
) -> tuple[date, date]:
    """First and last session with a bar in files.

    Parameters
    ----------
    path, known, options, cache : as of `FileBars`.

    Returns
    -------
    Dates of the market, both included.

    Raises
    ------
    BarsFileError : they are missing, unreadable, refused as a whole, or hold no bar on a session.
    """
    return FileBars(path, known, options=options, cache=cache).span()


def _why_none(manifest: Manifest) -> str:
    return ", ".join(f"{rule}: {count}" for rule, count in manifest.faults.items()) or "no row has a price"
