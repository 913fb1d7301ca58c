"""Bars normalised once for each version of their files, kept as parquet and read by instrument and day.

A version is what tells the files from other states of them: paths, sizes, modification times, the options, the market's
calendar and this code. Runs open the manifest and read the row groups that hold what they ask for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import fasteners
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tt_assets.market.bars import BAR_COLUMNS, NUMBER_COLUMNS, BarFault, BarRule, CheckedBars
from tt_assets.market.calendar import are_sessions
from tt_assets.market.errors import BarsFileError
from tt_assets.market.layouts.containers import Stamp, stamps
from tt_assets.market.layouts.cut_off import ends_without_newline
from tt_assets.market.layouts.dates import MarketClock
from tt_assets.market.layouts.findings import Findings, judge
from tt_assets.market.layouts.normalise import Normalised, ReadTable, normalise
from tt_assets.market.layouts.options import BarsOptions

CODE = 5
"""Raise it when the same files come out differently."""
KEPT = 3
ROW_GROUP = 1 << 16
SETTLED = 1.0
"""Seconds a text file without a newline at its end must have stood still: it may be a copy under way."""


@dataclass(frozen=True)
class Held:
    """What a version holds of one instrument: its rows in the parquet file, and its first and last day, good or bad."""

    start: int
    rows: int
    first: date | None
    last: date | None


@dataclass(frozen=True)
class Manifest:
    """What is known of a version without reading a bar.

    `first` and `last` are the sessions with a row, good or bad, None without one; `refusal` says why none is loaded,
    else empty; `warnings` are one line a kind; `named_for` the watchlist by which files were named, None where it made
    no difference.
    """

    path: str
    tables: tuple[ReadTable, ...]
    rows: int
    bars: int
    faults: dict[str, int]
    first: date | None
    last: date | None
    refusal: str
    warnings: tuple[str, ...]
    spacing: str
    named_for: tuple[str, ...] | None
    held: dict[str, Held] = field(default_factory=dict)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Instruments with a clean bar, sorted."""
        return tuple(name for name, held in self.held.items() if held.rows)


class Version(ABC):
    """The bars of one version of the files."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def bars_of(self, instrument: str, first: date | None = None, last: date | None = None) -> pd.DataFrame:
        """Clean bars of one instrument (BAR_COLUMNS, ascending), from `first` to `last`, both included."""
        held = self.manifest.held.get(instrument)
        rows = self._rows(held.start, held.start + held.rows) if held else self._rows(0, 0)
        moments = rows["timestamp"].to_numpy()
        begin = 0 if first is None else int(np.searchsorted(moments, np.datetime64(first, "ns")))
        end = len(rows) if last is None else int(np.searchsorted(moments, np.datetime64(last, "ns"), side="right"))
        return rows.iloc[begin:end].reset_index(drop=True)

    def all_bars(self) -> pd.DataFrame:
        """Every clean bar, sorted by instrument and session."""
        return self._rows(0, self.manifest.bars)

    @cached_property
    def faults(self) -> tuple[BarFault, ...]:
        """Every row that broke a rule, in the order of the files."""
        return self._faults()

    @cached_property
    def faults_of(self) -> dict[str, list[BarFault]]:
        """The faults by instrument."""
        found: dict[str, list[BarFault]] = {}
        for fault in self.faults:
            found.setdefault(fault.instrument, []).append(fault)
        return found

    @abstractmethod
    def _faults(self) -> tuple[BarFault, ...]: ...

    @abstractmethod
    def _rows(self, start: int, end: int) -> pd.DataFrame:
        """The clean bars at these positions, BAR_COLUMNS."""


class InMemory(Version):
    """A version that is kept nowhere."""

    def __init__(self, manifest: Manifest, bars: CheckedBars) -> None:
        super().__init__(manifest)
        self._bars = bars

    def _faults(self) -> tuple[BarFault, ...]:
        return self._bars.faults

    def _rows(self, start: int, end: int) -> pd.DataFrame:
        return self._bars.clean.iloc[start:end].reset_index(drop=True)


class Kept(Version):
    """A version in a folder of the cache, of which only the row groups asked for are read."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        super().__init__(manifest)
        # Opened now: a later version may push this one out of the cache while it is read.
        self._file = pq.ParquetFile(folder / "bars.parquet")
        self._faults_file = pq.ParquetFile(folder / "faults.parquet")
        self._group: tuple[int, pa.Table] | None = None

    def _faults(self) -> tuple[BarFault, ...]:
        table = self._faults_file.read().to_pydict()
        return tuple(
            BarFault(name, date.fromisoformat(session) if dated else session, BarRule(rule), value, line, file)
            for name, session, dated, rule, value, line, file in zip(*(table[c] for c in _FAULT_COLUMNS), strict=True)
        )

    def _rows(self, start: int, end: int) -> pd.DataFrame:
        if start >= end:
            return _empty()
        parts = []
        for group in range(start // ROW_GROUP, (end - 1) // ROW_GROUP + 1):
            table = self._read_group(group)
            offset = group * ROW_GROUP
            parts.append(table.slice(max(0, start - offset), min(end, offset + table.num_rows) - max(start, offset)))
        frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
        frame["instrument"] = frame["instrument"].astype(object)
        return frame[list(BAR_COLUMNS)]

    def _read_group(self, group: int) -> pa.Table:
        # Instruments asked for one after the other mostly share a group.
        if self._group is None or self._group[0] != group:
            self._group = (group, self._file.read_row_group(group, use_threads=False))
        return self._group[1]


_FAULT_COLUMNS = ("instrument", "session", "dated", "rule", "value", "line", "file")


def fingerprint(path: Path, options: BarsOptions | None = None) -> str:
    """A short text that changes when the files behind `path`, or the options, do. Raises as `stamps`."""
    return _digest([[asdict(stamp) for stamp in stamps(path)], (options or BarsOptions()).key()])


def version_of(
    path: Path,
    options: BarsOptions,
    symbols: Sequence[str] | None,
    clock: MarketClock,
    market: str,
    cache: Path | None = None,
) -> Version:
    """The bars of `path`, normalised now or, with a folder `cache`, when this version of them was first read.

    `symbols` is the watchlist that names files without a column for the symbol, None without one; `market` names the
    calendar. Raises BarsFileError where the files cannot be read at all; a version whose bars are refused as a whole is
    returned, with `refusal` in its manifest.
    """
    files = stamps(path)
    key = _digest([CODE, market, str(path), [asdict(stamp) for stamp in files], options.key()])
    if cache is not None:
        found = _cached(cache / key, symbols)
        if found is not None:
            return found
        with _one_at_a_time(cache):
            return _cached(cache / key, symbols) or _made(path, files, options, symbols, clock, market, cache / key)
    return _made(path, files, options, symbols, clock, market, None)


def _made(
    path: Path,
    files: list[Stamp],
    options: BarsOptions,
    symbols: Sequence[str] | None,
    clock: MarketClock,
    market: str,
    folder: Path | None,
) -> Version:
    _wait_for_copies(files)
    files_now = stamps(path)
    bars = normalise(files_now, options, symbols, clock, path)
    if stamps(path) != files_now:
        raise BarsFileError(f"{path} changed while it was read. Run it again when it is whole.")
    manifest = _manifest(path, bars, symbols, judge(str(path), bars, market, options.date_format))
    if folder is not None and files_now == files:
        try:
            _keep(folder, manifest, bars)
            return Kept(manifest, folder)
        except OSError:
            pass  # a home that cannot be written costs another reading, nothing else
    return InMemory(manifest, bars.checked)


def _wait_for_copies(files: Sequence[Stamp]) -> None:
    """A file without a newline at its end that was written a moment ago is given that moment."""
    fresh = [stamp for stamp in files if 0 <= time.time() - stamp.mtime_ns / 1e9 < SETTLED]
    if any(ends_without_newline(Path(stamp.path)) for stamp in fresh):
        time.sleep(SETTLED)


def _manifest(path: Path, bars: Normalised, symbols: Sequence[str] | None, found: Findings) -> Manifest:
    clean = bars.checked.clean
    names = clean["instrument"].to_numpy()
    days = clean["timestamp"].to_numpy().astype("datetime64[D]")
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else np.array([], dtype=int)
    ends = np.r_[starts[1:], len(names)].astype(int)
    held = {
        names[start]: Held(start, end - start, days[start].item(), days[end - 1].item())
        for start, end in zip(starts.tolist(), ends.tolist(), strict=False)
    }
    counts: dict[str, int] = {}
    for fault in bars.checked.faults:
        counts[fault.rule] = counts.get(fault.rule, 0) + 1
        before = held.get(fault.instrument) or Held(0, 0, None, None)
        if isinstance(fault.session, date):
            first, last = (min, max)
            held[fault.instrument] = Held(
                before.start,
                before.rows,
                first(before.first or fault.session, fault.session),
                last(before.last or fault.session, fault.session),
            )
        else:
            held[fault.instrument] = before
    # A session whose bar is bad is a session of the file all the same: its partition fails and says why.
    dated = np.array(
        [fault.session for fault in bars.checked.faults if not isinstance(fault.session, str)], "datetime64[D]"
    )
    sessions = [*_ends(days), *_ends(dated[are_sessions(dated)])]
    return Manifest(
        str(path),
        bars.tables,
        bars.rows,
        len(clean),
        counts,
        min(sessions, default=None),
        max(sessions, default=None),
        found.refusal,
        found.warnings,
        found.spacing,
        tuple(symbols or ()) if bars.by_name else None,
        dict(sorted(held.items())),
    )


def _ends(days: npt.NDArray[np.datetime64]) -> list[date]:
    return [days.min().item(), days.max().item()] if len(days) else []


def _cached(folder: Path, symbols: Sequence[str] | None) -> Version | None:
    """The version in `folder`, where it is whole and its files are still named as they would be."""
    try:
        manifest = _from_json(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        if manifest.named_for is not None and manifest.named_for != tuple(symbols or ()):
            return None
        return Kept(manifest, folder)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _keep(folder: Path, manifest: Manifest, bars: Normalised) -> None:
    """Write a version in one step: a reader sees all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        clean = bars.checked.clean
        names = pa.array(clean["instrument"], pa.string()).dictionary_encode()
        table = pa.table(
            {
                "instrument": names,
                "timestamp": pa.array(clean["timestamp"].to_numpy(), pa.timestamp("ns")),
                **{name: pa.array(clean[name].to_numpy()) for name in NUMBER_COLUMNS},
            }
        )
        pq.write_table(
            table, staged / "bars.parquet", row_group_size=ROW_GROUP, compression="zstd", use_dictionary=["instrument"]
        )
        faults = bars.checked.faults
        columns: dict[str, Any] = {
            "instrument": [_printable(fault.instrument) for fault in faults],
            "session": [_printable(str(fault.session)) for fault in faults],
            "dated": pa.array([isinstance(fault.session, date) for fault in faults], pa.bool_()),
            "rule": pa.array([str(fault.rule) for fault in faults], pa.string()),
            "value": [_printable(fault.value) for fault in faults],
            "line": pa.array([fault.line for fault in faults], pa.int64()),
            "file": [_printable(fault.file) for fault in faults],
        }
        texts = {name: pa.array(values, pa.string()) for name, values in columns.items() if isinstance(values, list)}
        pq.write_table(pa.table(columns | texts).select(list(_FAULT_COLUMNS)), staged / "faults.parquet")
        (staged / "manifest.json").write_text(json.dumps(asdict(manifest), default=str), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    _forget_old(folder)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _forget_old(folder: Path) -> None:
    """Versions that were not the newest few are gone with the files they were read from."""
    versions = [entry for entry in folder.parent.iterdir() if entry.is_dir()]
    for old in sorted(versions, key=lambda entry: entry.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _from_json(told: dict[str, Any]) -> Manifest:
    def day(text: str | None) -> date | None:
        return date.fromisoformat(text) if text else None

    return Manifest(
        told["path"],
        tuple(ReadTable(**table) for table in told["tables"]),
        told["rows"],
        told["bars"],
        told["faults"],
        day(told["first"]),
        day(told["last"]),
        told["refusal"],
        tuple(told["warnings"]),
        told["spacing"],
        None if told["named_for"] is None else tuple(told["named_for"]),
        {
            name: Held(held["start"], held["rows"], day(held["first"]), day(held["last"]))
            for name, held in told["held"].items()
        },
    )


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """A lock between processes: one of them normalises a large file. Without it where a home cannot be written."""
    lock = fasteners.InterProcessLock(str(cache / "lock"))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _digest(told: object) -> str:
    return hashlib.blake2b(json.dumps(told).encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()


def _empty() -> pd.DataFrame:
    return pd.DataFrame(
        {"instrument": pd.Series(dtype=object), "timestamp": pd.Series(dtype="datetime64[ns]")}
        | {name: pd.Series(dtype="float64") for name in NUMBER_COLUMNS}
    )
