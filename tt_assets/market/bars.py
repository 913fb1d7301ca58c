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

from tt_assets.errors import UserError
from tt_assets.market.calendar import are_sessions

BAR_COLUMNS = ("instrument", "timestamp", "open", "high", "low", "close", "volume")
"""Prices in USD, split-adjusted; volume in shares; timestamp is the New York session date at 00:00."""
PRICE_COLUMNS = ("open", "high", "low", "close")
NUMBER_COLUMNS = (*PRICE_COLUMNS, "volume")


class BarsFileError(UserError):
    """A bars file as a whole cannot be used: missing, unreadable, or without the columns of a bar."""


class BarRule(StrEnum):
    """What a row can break; the value is how people read it."""

    INSTRUMENT_MISSING = "instrument missing"
    INSTRUMENT_UNKNOWN = "instrument not on the watchlist"
    CELLS = "wrong number of cells"
    DATE = "date not readable as ISO"
    TIME_ZONE = "timestamp has a time zone"
    TIME_OF_DAY = "timestamp has a time of day"
    CLOSED_DAY = "no session on that day"
    NOT_CLOSED = "session not closed yet"
    PRICE = "price not finite and positive"
    VOLUME = "volume not finite and >= 0"
    HIGH_BELOW_LOW = "high below low"
    HIGH_BELOW_BODY = "high below open or close"
    LOW_ABOVE_BODY = "low above open or close"
    DUPLICATE = "instrument and session twice"


class BarFault(NamedTuple):
    """One row that breaks one rule. A named tuple, since a bad file can hold a million of them."""

    instrument: str
    session: date | str
    """The date as the row writes it, or the raw text where no date can be read."""
    rule: BarRule
    value: str
    line: int | None

    def __str__(self) -> str:
        place = "" if self.line is None else f", line {self.line}"
        return f"{self.instrument or '(none)'} {self.session} {self.value}".rstrip() + place


@dataclass(frozen=True)
class CheckedBars:
    """What a check of bars found.

    Parameters
    ----------
    clean : BAR_COLUMNS, sorted by (instrument, timestamp), unique; timestamps datetime64[ns], numbers float64 without
        NaN.
    faults : every rule that a row breaks, in the order of the rows.
    """

    clean: pd.DataFrame
    faults: tuple[BarFault, ...]


def check_bars(
    frame: pd.DataFrame,
    known: Collection[str] | None = None,
    latest: date | None = None,
    lines: Callable[[], npt.NDArray[np.int64] | None] | None = None,
) -> CheckedBars:
    """Hold every row of `frame` against the contract.

    Parameters
    ----------
    frame : at least BAR_COLUMNS. `timestamp` may be datetimes, dates or ISO text (date, or datetime at midnight), New
        York sessions without time zone; numbers may be text. A NaN price or volume is a fault.
    known : the instruments that may be there; others are faults. None admits all.
    latest : the newest session that is closed; later ones are faults. None admits all.
    lines : gives each row's line in its file; called only where there is a fault.

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

    broken |= _instrument_rules(instruments, names, known)
    broken |= _session_rules(days, latest)
    broken |= _number_rules(numbers)
    key = instruments.astype(np.int64) * _DAYS + (days.astype(np.int64) - _FIRST)
    keyed = (instruments >= 0) & ~np.isnat(days)
    order, twice = _order(key, keyed)
    broken[BarRule.DUPLICATE] = twice

    bad = np.logical_or.reduce(list(broken.values()))
    if bad.any():
        bad |= np.isin(key, np.unique(key[bad & keyed])) & keyed
        order = order[~bad[order]]
    clean = pd.DataFrame(
        {
            "instrument": names[instruments[order]],
            "timestamp": days[order].astype("datetime64[ns]"),
            **{column: values[order] for column, values in numbers.items()},
        },
    )
    numbered = lines() if lines is not None and bad.any() else None
    return CheckedBars(clean, _faults(frame, instruments, names, days, broken, numbered))


def missing_columns(what: str, absent: Sequence[str], present: Collection[Any]) -> BarsFileError:
    """The error for bars without some of their columns."""
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
    return f"{len(faults)} fault{'s' * (len(faults) > 1)} in the bars. {'. '.join(parts)}."


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
    """Doubles (rows,); what is no number is NaN."""
    if column.dtype.kind in "fiu":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.fromiter(map(_number, column.array), dtype=np.float64, count=len(column))


def _number(raw: Any) -> float:
    try:
        # Python's float, as correctly rounded as the fast path, but it takes 1_000 for a number.
        return np.nan if isinstance(raw, (bool, np.bool_)) or "_" in str(raw) else float(raw)
    except (TypeError, ValueError):
        return np.nan


def _instrument_rules(
    instruments: npt.NDArray[np.int64], names: npt.NDArray[np.object_], known: Collection[str] | None
) -> _Masks:
    absent = instruments < 0
    if known is None:
        return {BarRule.INSTRUMENT_MISSING: absent}
    listed = np.isin(names.astype(str), list(known)) if known else np.zeros(len(names), dtype=bool)
    return {BarRule.INSTRUMENT_MISSING: absent, BarRule.INSTRUMENT_UNKNOWN: ~absent & ~listed[instruments]}


def _session_rules(days: npt.NDArray[np.datetime64], latest: date | None) -> _Masks:
    readable = ~np.isnat(days)
    masks = {BarRule.CLOSED_DAY: readable & ~are_sessions(days)}
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


def _order(key: npt.NDArray[np.int64], keyed: _Mask) -> tuple[npt.NDArray[np.int64], _Mask]:
    """Positions of the keyed rows sorted by key, and (rows,) which rows share their key with another."""
    order = np.flatnonzero(keyed)
    keys = key[order]
    if not (keys[1:] > keys[:-1]).all():  # most files are sorted already
        by_key = np.argsort(keys, kind="stable")
        order, keys = order[by_key], keys[by_key]
    same = keys[1:] == keys[:-1]
    twice = np.zeros(len(key), dtype=bool)
    twice[order[1:][same]] = True
    twice[order[:-1][same]] = True
    return order, twice


def _faults(
    frame: pd.DataFrame,
    instruments: npt.NDArray[np.int64],
    names: npt.NDArray[np.object_],
    days: npt.NDArray[np.datetime64],
    broken: _Masks,
    lines: npt.NDArray[np.int64] | None,
) -> tuple[BarFault, ...]:
    faults: list[tuple[int, BarFault]] = []
    for rule, mask in broken.items():
        rows = np.flatnonzero(mask)
        if not len(rows):
            continue
        raw = frame.iloc[rows]
        symbols = np.where(instruments[rows] < 0, "", names[instruments[rows]]).tolist()
        sessions = days[rows].tolist()
        for position in np.flatnonzero(np.isnat(days[rows])).tolist():
            sessions[position] = str(raw["timestamp"].iloc[position])
        places: list[int | None] = [None] * len(rows) if lines is None else lines[rows].tolist()
        cells = zip(rows.tolist(), symbols, sessions, _values(raw, rule), places, strict=True)
        faults += [(row, BarFault(symbol, session, rule, value, line)) for row, symbol, session, value, line in cells]
    faults.sort(key=lambda fault: fault[0])
    return tuple(fault for _, fault in faults)


def _values(rows: pd.DataFrame, rule: BarRule) -> list[str]:
    """What to show of each row: the cells that break the rule, as they stand in the file."""
    match rule:
        case BarRule.PRICE:
            columns: tuple[str, ...] = PRICE_COLUMNS
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
        case _:
            return [""] * len(rows)
    if rule is BarRule.PRICE:
        cells = [[_shown_if_bad(column, raw) for raw in rows[column].tolist()] for column in columns]
    else:
        cells = [[f"{column}={raw}" for raw in rows[column].tolist()] for column in columns]
    return [" ".join(filter(None, row)) for row in zip(*cells, strict=True)]


def _shown_if_bad(column: str, raw: Any) -> str:
    number = _number(raw)
    return "" if 0 < number < np.inf else f"{column}={raw}"
