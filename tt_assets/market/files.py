"""Daily bars from a CSV or parquet file with the columns of `tt_prices`.

CSV goes through pandas' own parser with round-trip floats, so a price is the double nearest to its text
whatever else is wrong in the file; parquet goes through pyarrow, imported only for it.
"""

from __future__ import annotations

import csv
import gzip
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.bars import (
    BAR_COLUMNS,
    NUMBER_COLUMNS,
    BarFault,
    BarRule,
    BarsFileError,
    CheckedBars,
    check_bars,
    missing_columns,
    read_day,
)
from tt_assets.market.calendar import are_sessions
from tt_assets.market.sources import BarRequest, Fetched, FetchResult, NotFetched, Outcome

__all__ = ["BarsFileError", "FileBars", "span"]

_PARQUET = b"PAR1"
_NO_NUMBER = ["", "nan", "NaN", "NA", "N/A", "null", "NULL", "None"]
_SKIPPED = re.compile(r"Skipping line (\d+): expected (\d+) fields, saw (\d+)")


@dataclass(frozen=True)
class _Parsed:
    """The rows of a file, their lines in it (worked out only when asked), and the lines that are no rows at all."""

    rows: pd.DataFrame
    lines: Callable[[], npt.NDArray[np.int64] | None] | None = None
    malformed: tuple[BarFault, ...] = ()


@dataclass(frozen=True)
class _Loaded:
    """A file checked, with where each instrument starts and ends in the clean frame and in the file."""

    fingerprint: tuple[int, int]
    checked: CheckedBars
    rows_of: dict[str, slice]
    faults_of: dict[str, list[BarFault]]


class FileBars:
    """A price source over one CSV or parquet file (see PriceSource).

    The parsed file is kept in this object and parsed again when its size or modification time changes.

    Parameters
    ----------
    path : the file; columns BAR_COLUMNS and any others.
    known : the instruments that may be in it; rows of others are faults. None admits all.
    latest : the newest session that is closed; rows after it are faults. None admits all.
    """

    def __init__(self, path: Path, known: Collection[str] | None = None, latest: date | None = None) -> None:
        self.path = path
        self._known = None if known is None else frozenset(known)
        self._latest = latest
        self._loaded: _Loaded | None = None

    def fetch(self, requests: Sequence[BarRequest]) -> list[FetchResult]:
        """Bars of each request, see PriceSource. An instrument without a row in the file is NotFetched with NO_BARS.

        Raises
        ------
        BarsFileError : the file as a whole cannot be used.
        """
        loaded = self._load()
        return [self._answer(request, loaded) for request in requests]

    def check(self) -> CheckedBars:
        """The whole file: clean bars and every fault, also those that belong to no request."""
        return self._load().checked

    def _answer(self, request: BarRequest, loaded: _Loaded) -> FetchResult:
        faults = loaded.faults_of.get(request.instrument, ())
        rows = loaded.checked.clean[loaded.rows_of.get(request.instrument, slice(0, 0))]
        dated = [fault.session for fault in faults if isinstance(fault.session, date)]
        timestamps = rows["timestamp"]
        ends = [*dated, *((timestamps.iloc[0].date(), timestamps.iloc[-1].date()) if len(rows) else ())]
        if not ends and not faults:
            reason = f"{self.path} has no bar of {request.instrument}. Add its bars, or take it off the watchlist."
            return NotFetched(request, Outcome.NO_BARS, reason)
        first, last = timestamps.searchsorted([pd.Timestamp(request.first), pd.Timestamp(request.last)])
        last += int(last < len(rows) and timestamps.iloc[last] == pd.Timestamp(request.last))
        return Fetched(
            request=request,
            bars=rows.iloc[first:last].reset_index(drop=True),
            faults=tuple(
                fault
                for fault in faults
                if not isinstance(fault.session, date) or request.first <= fault.session <= request.last
            ),
            listed=min(ends, default=None),
            last=max(ends, default=None),
        )

    def _load(self) -> _Loaded:
        fingerprint = _fingerprint(self.path)
        if self._loaded is None or self._loaded.fingerprint != fingerprint:
            parsed = _read(self.path)
            checked = check_bars(parsed.rows, self._known, self._latest, parsed.lines)
            clean = _without(checked.clean, parsed.malformed)
            faults = (*parsed.malformed, *checked.faults)
            faults_of: dict[str, list[BarFault]] = {}
            for fault in faults:
                faults_of.setdefault(fault.instrument, []).append(fault)
            self._loaded = _Loaded(fingerprint, CheckedBars(clean, faults), _slices(clean["instrument"]), faults_of)
        return self._loaded


def span(path: Path) -> tuple[date, date]:
    """First and last session in the file at `path`; only the timestamp column is read, of parquet its statistics.

    Raises BarsFileError when the file is missing, unreadable, without that column, or holds no session.
    """
    _fingerprint(path)
    if _is_parquet(path):
        ends = _parquet_ends(path)
        distinct: Any = ends or _read_parquet(path, ("timestamp",)).rows["timestamp"].unique()
    else:
        _csv_header(path, ("timestamp",))
        distinct = _csv(path, usecols=["timestamp"], dtype="category")["timestamp"].cat.categories
    days = np.array([read_day(raw)[0] for raw in distinct if not pd.isna(raw)], dtype="datetime64[D]")
    days = days[are_sessions(days)]
    if not len(days):
        raise BarsFileError(f"{path} holds no bar on a trading session. Give it a timestamp column with ISO dates.")
    return days.min().item(), days.max().item()


def _fingerprint(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise BarsFileError(
            f"{path}: there is no bars file ({error.strerror}). Point TT_BARS_PATH at a CSV or parquet file."
        ) from error
    if path.is_dir():
        raise BarsFileError(f"{path} is a folder. Point TT_BARS_PATH at one CSV or parquet file.")
    return stat.st_mtime_ns, stat.st_size


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == _PARQUET
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BarsFileError:
    return BarsFileError(
        f"{path} cannot be read ({' '.join(str(error).split())}). Save it as UTF-8 CSV, gzipped CSV or parquet."
    )


def _read(path: Path) -> _Parsed:
    return _read_parquet(path, BAR_COLUMNS) if _is_parquet(path) else _read_csv(path)


def _csv(path: Path, **options: Any) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pd.read_csv(
            path,
            encoding="utf-8-sig",
            compression="gzip" if path.suffix == ".gz" else None,
            index_col=False,
            keep_default_na=False,  # NA and TRUE are symbols
            float_precision="round_trip",
            **options,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    return table


def _csv_header(path: Path, columns: Sequence[str]) -> list[str]:
    present = _csv(path, nrows=0).columns.tolist()
    absent = [column for column in columns if column not in present]
    if absent:
        raise missing_columns(f"The bars in {path}", absent, present)
    return present


def _read_csv(path: Path) -> _Parsed:
    header = _csv_header(path, BAR_COLUMNS)
    texts = dict.fromkeys(("instrument", "timestamp"), "category")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            rows = _csv(
                path,
                dtype=texts | dict.fromkeys(NUMBER_COLUMNS, np.float64),
                na_values=dict.fromkeys(NUMBER_COLUMNS, _NO_NUMBER),
                on_bad_lines="warn",
            )
        except ValueError:
            # A cell that is no number: keep the text, so that each such row can be named.
            caught.clear()
            rows = _csv(path, dtype=texts | dict.fromkeys(NUMBER_COLUMNS, str), on_bad_lines="warn")
    skipped = [int(match[1]) for warning in caught for match in _SKIPPED.finditer(str(warning.message))]
    if any("does not match length" in str(warning.message) for warning in caught):
        raise BarsFileError(f"{path}: the rows have more cells than the header names. Name every column in the header.")
    return _Parsed(rows, lambda: _csv_lines(path, skipped, len(rows)), _malformed(path, skipped, header))


def _text_lines(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig") as file:
        yield from file


def _csv_lines(path: Path, skipped: Collection[int], rows: int) -> npt.NDArray[np.int64] | None:
    """Line of each row, or None where records and lines do not match (a quoted cell over two lines)."""
    left_out = set(skipped)
    filled = (number for number, line in enumerate(_text_lines(path), start=1) if line.strip())
    lines = np.array([number for number in filled if number not in left_out][1:], dtype=np.int64)
    return lines if len(lines) == rows else None


def _malformed(path: Path, skipped: Collection[int], header: Sequence[str]) -> tuple[BarFault, ...]:
    """Faults of the lines with more cells than the header; those with fewer come as rows with NaN."""
    if not skipped:
        return ()
    wanted = set(skipped)
    faults = []
    for number, line in enumerate(_text_lines(path), start=1):
        if number in wanted:
            cells = next(csv.reader([line]))
            text = cells[header.index("timestamp")]
            value = f"{len(cells)} cells instead of {len(header)}"
            session = read_day(text)[0] or text
            faults.append(BarFault(cells[header.index("instrument")], session, BarRule.CELLS, value, number))
    return tuple(faults)


def _without(clean: pd.DataFrame, malformed: Sequence[BarFault]) -> pd.DataFrame:
    """`clean` less the bars for which there was a malformed line too."""
    if not malformed:
        return clean
    keys = pd.MultiIndex.from_frame(clean[["instrument", "timestamp"]])
    taken = [(fault.instrument, pd.Timestamp(fault.session)) for fault in malformed if isinstance(fault.session, date)]
    return clean[~keys.isin(taken)].reset_index(drop=True)


def _slices(instruments: pd.Series[Any]) -> dict[str, slice]:
    """Where each instrument's rows stand in the sorted column."""
    symbols = instruments.to_numpy()
    starts = np.flatnonzero(np.r_[True, symbols[1:] != symbols[:-1]]) if len(symbols) else np.array([], dtype=int)
    ends = np.r_[starts[1:], len(symbols)]
    return {symbols[start]: slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=False)}


def _parquet_file(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BarsFileError(
            f"{path} is parquet, and pyarrow cannot be imported to read it ({error}). Install a pyarrow that fits, "
            f"or save the bars as CSV."
        ) from error
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _read_parquet(path: Path, columns: Sequence[str]) -> _Parsed:
    file = _parquet_file(path)
    present = file.schema_arrow.names
    absent = [column for column in columns if column not in present]
    if absent:
        raise missing_columns(f"The bars in {path}", absent, present)
    try:
        table = file.read(columns=list(columns))
    except OSError as error:
        raise _unreadable(path, error) from error
    # Dates come as datetimes and texts as categories: both stay one machine word a row.
    return _Parsed(table.to_pandas(date_as_object=False, strings_to_categorical=True, ignore_metadata=True))


def _parquet_ends(path: Path) -> tuple[Any, ...]:
    """Smallest and largest timestamp of every row group, or nothing where the statistics do not settle the span."""
    metadata = _parquet_file(path).metadata
    ends: list[Any] = []
    for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
        columns = (group.column(j) for j in range(group.num_columns))
        statistics = next((column.statistics for column in columns if column.path_in_schema == "timestamp"), None)
        if statistics is None or not statistics.has_min_max:
            return ()
        ends += [statistics.min, statistics.max]
    # Text sorts as text and a row on a closed day may stand at either end: only plain sessions can be relied on.
    if not ends or not all(isinstance(end, date) for end in ends):
        return ()
    days = np.array([read_day(end)[0] for end in ends], dtype="datetime64[D]")
    return tuple(ends) if are_sessions(days[[days.argmin(), days.argmax()]]).all() else ()
