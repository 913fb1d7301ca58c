"""The bar contract: what a daily bar must be before it may enter `tt_prices`.

Every fault is collected, none stops the check. An instrument and session with any bad row yields no clean
row at all, since nobody can tell which of two contradicting bars is right; everything else lands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.errors import counted
from tt_assets.market.calendar import are_sessions, followed
from tt_assets.market.errors import BarsFileError

BAR_COLUMNS = ("instrument", "timestamp", "open", "high", "low", "close", "volume")
"""Prices in USD, split-adjusted; volume in shares; timestamp is the New York session date at 00:00."""
PRICE_COLUMNS = ("open", "high", "low", "close")
NUMBER_COLUMNS = (*PRICE_COLUMNS, "volume")
ROUNDING = 1e-6
"""Relative: what arithmetic of an adjustment leaves high or low short of the open or close."""


class BarRule(StrEnum):
    """What a row can break; the value is how people read it."""

    INSTRUMENT_MISSING = "instrument missing"
    INSTRUMENT_UNKNOWN = "instrument not on the watchlist"
    CELLS = "wrong number of cells"
    DATE = "date not readable"
    TIME_ZONE = "midnight neither where the market is nor in its own zone"
    TIME_OF_DAY = "timestamp has a time of day"
    NOT_DAILY = "not daily"
    CLOSED_DAY = "no session on that day"
    TOO_EARLY = "before the session calendar begins"
    TOO_LATE = "after the session calendar ends"
    NOT_CLOSED = "session not closed yet"
    PRICE = "price not finite and positive"
    VOLUME = "volume not finite and >= 0"
    HIGH_BELOW_LOW = "high below low"
    HIGH_BELOW_BODY = "high below open or close"
    LOW_ABOVE_BODY = "low above open or close"
    DUPLICATE = "instrument and session twice"


class BarFault(NamedTuple):
    """One row that breaks one rule. A named tuple, since a bad file can hold a million of them.

    Parameters
    ----------
    instrument : as the row names it; empty where it names none.
    rule : that is broken.
    value : the cells that break it, as they stand in the file.
    line : of the file, None where it is not known.
    """

    instrument: str
    session: date | str
    """The date as the row writes it, or the raw text where no date can be read."""
    rule: BarRule
    value: str
    line: int | None
    file: str = ""
    """Name of the file where there are several, else empty."""

    def __str__(self) -> str:
        return f"{self.instrument or '(none)'} {self.session} {self.value}".rstrip() + self.place

    @property
    def place(self) -> str:
        """Where the row stands, to be put behind what is wrong with it; empty where that is not known."""
        if self.line is None:
            return f", {self.file}" if self.file else ""
        return f", {self.file} line {self.line}" if self.file else f", line {self.line}"

    def said(self) -> str:
        """What is wrong and where, for someone who knows instrument and session already."""
        return f"{self.rule} {self.value}".rstrip() + self.place


class Mending(StrEnum):
    """What was done to a row so that it could be taken; the value is how people read it."""

    ROUNDED = "high or low moved to the open or close that it fell short of by less than a millionth"
    TWICE = "row there twice, alike in every column, taken once"
    EMPTY = "row with a date and no price, no bar"


@dataclass(frozen=True)
class CheckedBars:
    """What a check of bars found.

    Parameters
    ----------
    clean : BAR_COLUMNS, sorted by (instrument, timestamp), unique; timestamps datetime64[ns], numbers float64 without
        NaN.
    faults : every rule that a row breaks, in the order of the rows.
    mended : what was done to rows so that they could be taken, how many of them, and the first few.
    """

    clean: pd.DataFrame
    faults: tuple[BarFault, ...]
    mended: tuple[tuple[Mending, int, tuple[str, ...]], ...] = ()


class RawRow(NamedTuple):
    """A row as it stands in its file.

    Parameters
    ----------
    line, file : None and empty where they are not known.
    cells : column → text.
    """

    line: int | None
    file: str
    cells: dict[str, str]


@dataclass(frozen=True)
class BarRows:
    """Rows read but not judged: arrays (rows,).

    Parameters
    ----------
    instruments : codes into `names`, -1 where there is none. names : sorted.
    days : datetime64[D] of the market; NaT where no date can be read.
    broken : rule of reading → which rows break it.
    numbers : column → values, USD and shares; NaN where a cell is empty and infinite where it is no number.
    raw : gives rows (by position) as they stand in their file.
    """

    instruments: npt.NDArray[np.int64]
    names: npt.NDArray[np.object_]
    days: npt.NDArray[np.datetime64]
    broken: dict[BarRule, npt.NDArray[np.bool_]]
    numbers: dict[str, npt.NDArray[np.float64]]
    raw: Callable[[npt.NDArray[np.int64]], list[RawRow]]

    def __len__(self) -> int:
        return len(self.days)


def check_bars(
    frame: pd.DataFrame,
    known: Collection[str] | None = None,
    latest: date | None = None,
) -> CheckedBars:
    """Hold every row of `frame` against the contract.

    Parameters
    ----------
    frame : at least BAR_COLUMNS. `timestamp` may be datetimes, dates or ISO text (date, or datetime at midnight), New
        York sessions without time zone; numbers may be text. A row without any price is no bar, one without some of
        them is a fault, as is one without a volume.
    known : the instruments that may be there; others are faults. None admits all.
    latest : the newest session that is closed; later ones are faults. None admits all.

    Returns
    -------
    The clean bars and the faults. A row with a fault takes all rows of its instrument and session with it.

    Raises
    ------
    BarsFileError : a column is missing.
    """
    absent = [column for column in BAR_COLUMNS if column not in frame.columns]
    if absent:
        raise missing_columns("The bars", absent, frame.columns)
    instruments, names = _instruments(frame["instrument"])
    days, broken = _days(frame["timestamp"])
    numbers = {column: _numbers(frame[column]) for column in NUMBER_COLUMNS}

    def raw(rows: npt.NDArray[np.int64]) -> list[RawRow]:
        cells = frame.iloc[rows][list(BAR_COLUMNS)]
        return [RawRow(None, "", dict(zip(BAR_COLUMNS, map(str, row), strict=True))) for row in cells.to_numpy(object)]

    return check_rows(BarRows(instruments, names, days, broken, numbers, raw), known, latest)


def check_rows(rows: BarRows, known: Collection[str] | None = None, latest: date | None = None) -> CheckedBars:
    """Hold every row against the contract, as `check_bars` does.

    Parameters
    ----------
    rows : as they were read; those without any price are no bars.
    known, latest : as of `check_bars`.
    """
    priceless = np.logical_and.reduce([np.isnan(rows.numbers[column]) for column in PRICE_COLUMNS])
    at = np.flatnonzero(~priceless)
    # A row with neither date nor price (a blank one, a total) is nothing at all.
    mended = [_counted(Mending.EMPTY, rows, np.flatnonzero(priceless & ~np.isnat(rows.days)))]
    if priceless.any():
        rows = _taken(rows, at)
    rows, rounded = _unrounded(rows)
    mended.append(_counted(Mending.ROUNDED, rows, np.flatnonzero(rounded)))

    unread = np.logical_or.reduce([np.zeros(len(rows), dtype=bool), *rows.broken.values()])
    broken = dict(rows.broken)
    broken |= _instrument_rules(rows.instruments, rows.names, known)
    broken |= _session_rules(rows.days, latest)
    broken |= _number_rules(rows.numbers)
    key = rows.instruments.astype(np.int64) * _DAYS + (rows.days.astype(np.int64) - _FIRST)
    keyed = (rows.instruments >= 0) & ~np.isnat(rows.days)
    order, twice, again = _order(key, keyed, rows.numbers)
    # Bars of one day that differ in their time of day alone are no repetition.
    again &= ~unread
    mended.append(_counted(Mending.TWICE, rows, np.flatnonzero(again)))
    broken = {rule: mask & ~again for rule, mask in broken.items()} if again.any() else broken
    broken[BarRule.DUPLICATE] = twice

    bad = np.logical_or.reduce(list(broken.values()))
    if bad.any():
        bad |= np.isin(key, np.unique(key[bad & keyed])) & keyed
    order = order[~(bad | again)[order]]
    clean = pd.DataFrame(
        {
            "instrument": rows.names[rows.instruments[order]],
            "timestamp": rows.days[order].astype("datetime64[ns]"),
            **{column: values[order] for column, values in rows.numbers.items()},
        },
    )
    return CheckedBars(clean, _faults(rows, broken), tuple(told for told in mended if told[1]))


def _taken(rows: BarRows, at: npt.NDArray[np.int64]) -> BarRows:
    """The rows at these positions."""
    raw = rows.raw
    return BarRows(
        rows.instruments[at],
        rows.names,
        rows.days[at],
        {rule: mask[at] for rule, mask in rows.broken.items()},
        {column: values[at] for column, values in rows.numbers.items()},
        lambda positions: raw(at[positions]),
    )


def _counted(
    mending: Mending, rows: BarRows, at: npt.NDArray[np.int64], first: int = 3
) -> tuple[Mending, int, tuple[str, ...]]:
    shown = []
    for position in at[:first].tolist():
        code = rows.instruments[position]
        shown.append(f"{rows.names[code] if code >= 0 else '(none)'} {rows.days[position]}")
    return mending, len(at), tuple(shown)


def _unrounded(rows: BarRows) -> tuple[BarRows, npt.NDArray[np.bool_]]:
    """The rows with high and low moved to the body where they fall short of it by a rounding, and which these are."""
    opened, high, low, close = (rows.numbers[column] for column in PRICE_COLUMNS)
    with np.errstate(invalid="ignore"):
        top, bottom = np.maximum(opened, close), np.minimum(opened, close)
        short = (high < top) & (high >= top * (1 - ROUNDING)) & (top < np.inf)
        over = (low > bottom) & (low <= bottom * (1 + ROUNDING)) & (bottom > 0)
    moved: npt.NDArray[np.bool_] = short | over
    if not moved.any():
        return rows, moved
    numbers = dict(rows.numbers)
    numbers["high"], numbers["low"] = np.where(short, top, high), np.where(over, bottom, low)
    return BarRows(rows.instruments, rows.names, rows.days, rows.broken, numbers, rows.raw), moved


def missing_columns(what: str, absent: Sequence[str], present: Collection[Any]) -> BarsFileError:
    """The error for bars without some of their columns.

    Parameters
    ----------
    what : lacks them; begins the sentence, in the plural.
    absent : columns of BAR_COLUMNS.
    present : the columns there are.
    """
    return BarsFileError(
        f"{what} lack the column{'s' * (len(absent) > 1)} {', '.join(absent)} (there are: "
        f"{', '.join(map(str, present)) or 'none'}). Name the columns {', '.join(BAR_COLUMNS)}."
    )


def summarise(faults: Sequence[BarFault], first: int = 5) -> str:
    """One paragraph: how many rows break each rule, with the first few of each as instrument, session, value, line.

    Parameters
    ----------
    faults : as `check_bars` gives them.
    first : about how many rows to show in all; at least one for every rule is.

    Returns
    -------
    Plain text; empty without faults.
    """
    if not faults:
        return ""
    counts = Counter(fault.rule for fault in faults)
    shown = max(1, first // len(counts))
    examples: dict[BarRule, list[str]] = {rule: [] for rule in counts}
    for fault in faults:
        if len(examples[fault.rule]) < shown:
            examples[fault.rule].append(str(fault))
    parts = (
        f"{rule}: {count} ({'; '.join(examples[rule])}{'; …' if count > shown else ''})"
        for rule, count in counts.most_common()
    )
    return f"{counted(len(faults), 'fault')} in the bars. {'. '.join(parts)}."


# A key is instrument × day as one integer; _DAYS leaves room for every date Python knows.
_FIRST = -719_163
_DAYS = 4_000_000

_Mask = npt.NDArray[np.bool_]
_Masks = dict[BarRule, _Mask]


def _instruments(column: pd.Series[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
    """Codes (rows,) into the sorted names; -1 where there is none."""
    categorical = column.array if isinstance(column.array, pd.Categorical) else pd.Categorical(column)
    raw = np.array(["" if pd.isna(name) else str(name) for name in categorical.categories] or [""], dtype=object)
    names, position = np.unique(raw.astype(str), return_inverse=True)
    position[raw == ""] = -1
    codes = np.asarray(categorical.codes, dtype=np.int64)
    return np.where(codes < 0, -1, position[codes]), names.astype(object)


def _days(column: pd.Series[Any]) -> tuple[npt.NDArray[np.datetime64], _Masks]:
    """Days (rows,) as datetime64[D], NaT where none can be read, and which rows break a rule of reading."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        days = column.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
        return days, {BarRule.TIME_ZONE: ~np.isnat(days), BarRule.DATE: np.isnat(days)}
    if column.dtype.kind == "M":
        moments = column.to_numpy()
        days = moments.astype("datetime64[D]")
        return days, {BarRule.DATE: np.isnat(days), BarRule.TIME_OF_DAY: ~np.isnat(days) & (moments != days)}
    # A session is written once per instrument: read each distinct text once.
    codes, distinct = pd.factorize(column.to_numpy(dtype=object)) if column.dtype != "category" else _categories(column)
    read = [read_day(raw) for raw in distinct] + [(None, BarRule.DATE)]  # the last is what code -1 (missing) points at
    days = np.array([day for day, _ in read], dtype="datetime64[D]")[codes]
    rules = np.array([rule or "" for _, rule in read])[codes]
    return days, {rule: rules == rule for rule in (BarRule.DATE, BarRule.TIME_ZONE, BarRule.TIME_OF_DAY)}


def _categories(column: pd.Series[Any]) -> tuple[npt.NDArray[Any], Any]:
    return column.cat.codes.to_numpy(), column.cat.categories


def read_day(raw: object) -> tuple[date | None, BarRule | None]:
    """The day a cell names and the rule it breaks, if any."""
    if not isinstance(raw, datetime):
        if isinstance(raw, date):
            return raw, None
        try:
            raw = datetime.fromisoformat(str(raw).strip())
        except ValueError:
            return None, BarRule.DATE
    if raw.tzinfo is not None:
        return raw.date(), BarRule.TIME_ZONE
    midnight = raw == datetime.combine(raw.date(), datetime.min.time())
    return raw.date(), None if midnight else BarRule.TIME_OF_DAY


def _numbers(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Doubles (rows,): NaN for an empty cell, infinite for one that is no number."""
    if column.dtype.kind in "fiu":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.fromiter(map(_number, column.array), dtype=np.float64, count=len(column))


def _number(raw: Any) -> float:
    if raw is None or raw is pd.NA or (isinstance(raw, str) and raw.strip().casefold() in ("", "nan", "none", "null")):
        return np.nan
    try:
        # Python's float, as correctly rounded as the fast path, but it takes 1_000 for a number.
        return np.inf if isinstance(raw, (bool, np.bool_)) or "_" in str(raw) else float(raw)
    except (TypeError, ValueError):
        return np.inf


def _instrument_rules(
    instruments: npt.NDArray[np.int64], names: npt.NDArray[np.object_], known: Collection[str] | None
) -> _Masks:
    absent = instruments < 0
    if known is None:
        return {BarRule.INSTRUMENT_MISSING: absent}
    listed = np.isin(names.astype(str), list(known)) if known else np.zeros(len(names), dtype=bool)
    return {BarRule.INSTRUMENT_MISSING: absent, BarRule.INSTRUMENT_UNKNOWN: ~absent & ~listed[instruments]}


def _session_rules(days: npt.NDArray[np.datetime64], latest: date | None) -> _Masks:
    market = followed()
    early = days < np.datetime64(market.first_day, "D")  # NaT is neither
    late = days > np.datetime64(market.last_day, "D")
    readable = ~np.isnat(days) & ~early & ~late
    masks = {BarRule.CLOSED_DAY: readable & ~are_sessions(days), BarRule.TOO_EARLY: early, BarRule.TOO_LATE: late}
    if latest is not None:
        masks[BarRule.NOT_CLOSED] = readable & (days > np.datetime64(latest, "D"))
    return masks


def _number_rules(numbers: dict[str, npt.NDArray[np.float64]]) -> _Masks:
    """Each row counts under the first of the price rules it breaks: high below low says all about such a row."""
    opened, high, low, close = (numbers[column] for column in PRICE_COLUMNS)
    price = np.zeros(len(opened), dtype=bool)
    for values in (opened, high, low, close):
        price |= ~((values > 0) & (values < np.inf))
    crossed = ~price & (high < low)
    ordered = ~price & ~crossed
    volume = numbers["volume"]
    return {
        BarRule.PRICE: price,
        BarRule.VOLUME: ~((volume >= 0) & (volume < np.inf)),
        BarRule.HIGH_BELOW_LOW: crossed,
        BarRule.HIGH_BELOW_BODY: ordered & (high < np.maximum(opened, close)),
        BarRule.LOW_ABOVE_BODY: ordered & (low > np.minimum(opened, close)),
    }


def _order(
    key: npt.NDArray[np.int64], keyed: _Mask, numbers: dict[str, npt.NDArray[np.float64]]
) -> tuple[npt.NDArray[np.int64], _Mask, _Mask]:
    """Positions of the keyed rows sorted by key; (rows,) which contradict a row of their key, and which repeat one."""
    order = np.flatnonzero(keyed)
    keys = key[order]
    if not (keys[1:] >= keys[:-1]).all():  # most files are sorted already
        by_key = np.argsort(keys, kind="stable")
        order, keys = order[by_key], keys[by_key]
    twice, again = np.zeros(len(key), dtype=bool), np.zeros(len(key), dtype=bool)
    same = np.flatnonzero(keys[1:] == keys[:-1])
    if not len(same):
        return order, twice, again
    before, after = order[same], order[same + 1]
    alike = np.logical_and.reduce(
        [
            (values[before] == values[after]) | (np.isnan(values[before]) & np.isnan(values[after]))
            for values in numbers.values()
        ]
    )
    contradicted = np.unique(keys[same[~alike]])
    twice[order[np.isin(keys, contradicted)]] = True
    again[after[alike]] = True
    return order, twice, again & ~twice


def _faults(rows: BarRows, broken: _Masks) -> tuple[BarFault, ...]:
    found = [(rule, np.flatnonzero(mask)) for rule, mask in broken.items() if mask.any()]
    if not found:
        return ()
    positions = np.unique(np.concatenate([at for _, at in found]))
    raw = dict(zip(positions.tolist(), rows.raw(positions), strict=True))
    faults: list[tuple[int, BarFault]] = []
    for rule, at in found:
        symbols = np.where(rows.instruments[at] < 0, "", rows.names[rows.instruments[at]]).tolist()
        for position, symbol, day in zip(at.tolist(), symbols, rows.days[at].tolist(), strict=True):
            row = raw[position]
            session = row.cells.get("timestamp", "") if day is None else day
            value = _value(row, rule, {column: values[position] for column, values in rows.numbers.items()})
            faults.append((position, BarFault(symbol, session, rule, value, row.line, row.file)))
    faults.sort(key=lambda fault: fault[0])
    return tuple(fault for _, fault in faults)


def _value(row: RawRow, rule: BarRule, numbers: dict[str, float]) -> str:
    """What to show of a row: the cells that break the rule, as they stand in the file."""
    match rule:
        case BarRule.PRICE:
            columns: tuple[str, ...] = tuple(name for name in PRICE_COLUMNS if not 0 < numbers[name] < np.inf)
        case BarRule.VOLUME:
            columns = ("volume",)
        case BarRule.HIGH_BELOW_LOW:
            columns = ("high", "low")
        case BarRule.HIGH_BELOW_BODY:
            columns = ("open", "high", "close")
        case BarRule.LOW_ABOVE_BODY:
            columns = ("open", "low", "close")
        case BarRule.TIME_OF_DAY | BarRule.TIME_ZONE:
            columns = ("timestamp",)
        case BarRule.NOT_DAILY:
            columns = ("period",)
        case _:
            return ""
    return " ".join(f"{name}={row.cells.get(name, numbers.get(name, ''))}" for name in columns)
