"""What rows given by hand must be before they may enter a table.

Every bad row is counted by the rule it breaks and the first few are shown, as for a bars file, but
nothing is written then: who writes by hand mends the frame and repeats the call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.errors import UserError
from tt_assets.grid.horizon import horizon
from tt_assets.market.bars import BarRule, read_day
from tt_assets.market.calendar import are_sessions
from tt_assets.postgres.copy_format import FrameMismatch
from tt_assets.runtime.selection import Span
from tt_assets.settings import Settings

SHOWN = 3
Mask = npt.NDArray[np.bool_]
Rows = pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Rows as a frame, a list of mappings, or one mapping."""


class RowsRefused(UserError):
    """Rows break a rule of their table; nothing was written."""


@dataclass(frozen=True)
class Rule:
    """A rule that rows are held to.

    Parameters
    ----------
    words : the rule, as people read it.
    broken : which rows break it (R).
    shown : columns whose values show how, beside the row's key.
    """

    words: str
    broken: Mask
    shown: tuple[str, ...] = ()


def frame_of(table: str, rows: Rows | None, row: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of an insert as a frame: many in `rows`, or one by keywords.

    Parameters
    ----------
    table : for the error.
    rows : frame, mappings or one mapping; None where `row` is given.
    row : column → value.

    Returns
    -------
    A frame of its own with a plain index; columns are not looked at yet.

    Raises
    ------
    UserError : both are given, or neither.
    """
    if (rows is None) == (not row):
        raise UserError(f"{table}: give the rows as a frame or a list of mappings, or one row by keywords, not both.")
    if isinstance(rows, pd.DataFrame):
        return rows.reset_index(drop=True)
    given = row if rows is None else rows
    return pd.DataFrame([given] if isinstance(given, Mapping) else list(given))


def require(table: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a frame that lacks a column.

    Parameters
    ----------
    table : for the error.
    frame : the rows given.
    columns : those it must have.

    Raises
    ------
    FrameMismatch : names what it lacks and what it has.
    """
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise FrameMismatch(
            f"{table}: the rows lack {', '.join(absent)}; they have {', '.join(map(str, frame.columns)) or 'nothing'}."
        )


def partition_span(settings: Settings) -> Span:
    """First and last session that has a partition by now; both included."""
    span = horizon(settings)
    return Span(span.first, span.latest_session())


def timestamps(column: pd.Series) -> tuple[pd.Series, list[Rule]]:
    """Sessions as datetime64[ns] (NaT where none can be read) and the rules of reading them and of the calendar.

    The column may hold datetimes, dates or ISO text (date, or datetime at midnight).
    """
    codes, distinct = pd.factorize(column)
    read = [read_day(raw) for raw in distinct] + [(None, BarRule.DATE)]  # code -1, a missing one, points at the last
    days = np.array([day for day, _ in read], dtype="datetime64[D]")[codes]
    rule_of = np.array([rule or "" for _, rule in read], dtype=object)[codes]
    rules = [
        Rule(words, rule_of == rule)
        for rule, words in (
            (BarRule.DATE, BarRule.DATE.value),
            (BarRule.TIME_ZONE, "timestamp has a time zone"),
            (BarRule.TIME_OF_DAY, BarRule.TIME_OF_DAY.value),
        )
    ]
    rules.append(Rule(BarRule.CLOSED_DAY, ~np.isnat(days) & ~are_sessions(days)))
    return pd.Series(days.astype("datetime64[ns]"), index=column.index), rules


def outside(sessions: pd.Series, span: Span) -> Rule:
    """The rule that a session has a partition.

    Parameters
    ----------
    sessions : datetime64 without time zone; NaT breaks other rules, not this one.
    span : first and last session that has one, both included.
    """
    stray = ((sessions < pd.Timestamp(span.first)) | (sessions > pd.Timestamp(span.last))).to_numpy()
    return Rule(f"outside the partitions {span.first} to {span.last}", stray)


def instruments(column: pd.Series, known: Sequence[str]) -> list[Rule]:
    """The rules that a row names an instrument, and one of the watchlist.

    Parameters
    ----------
    column : as given, missing ones too.
    known : symbols of the watchlist.
    """
    missing = (column.isna() | (column == "")).to_numpy(dtype=bool)
    return [
        Rule(BarRule.INSTRUMENT_MISSING, missing),
        Rule(BarRule.INSTRUMENT_UNKNOWN, ~missing & ~column.isin(list(known)).to_numpy()),
    ]


def repeated(frame: pd.DataFrame, keys: Sequence[str]) -> Rule:
    """The rule that no two rows have one key.

    Parameters
    ----------
    frame : the rows given.
    keys : columns of the key, instrument and timestamp first.
    """
    return Rule("key twice", frame.duplicated(list(keys), keep=False).to_numpy(), tuple(keys[2:]))


def numbers(column: pd.Series) -> pd.Series:
    """The column as float64; what is no number is NaN."""
    return pd.to_numeric(column, errors="coerce").astype("float64")


def not_json_objects(column: pd.Series) -> Mask:
    """Which texts are no JSON object; each distinct text is parsed once."""
    codes, distinct = pd.factorize(column)
    return np.array([*(not _is_object(text) for text in distinct), True], dtype=bool)[codes]


def refuse(
    table: str,
    frame: pd.DataFrame,
    rules: Sequence[Rule],
    lines: Callable[[], Sequence[int] | None] | None = None,
) -> None:
    """Refuse rows that break a rule; nothing is written then.

    Parameters
    ----------
    table : for the error.
    frame : the rows given (R), as they were given: what is shown of them should be found again.
    rules : each with the rows that break it (R).
    lines : gives the line of each row in its file (R), or None; asked only where something is wrong.

    Raises
    ------
    RowsRefused : how many rows, by rule, with the first few of each.
    """
    broken = [rule for rule in rules if rule.broken.any()]
    if not broken:
        return
    numbered = lines() if lines else None
    count = int(np.logical_or.reduce([rule.broken for rule in broken]).sum())
    parts = "; ".join(_part(frame, rule, numbered) for rule in broken)
    raise RowsRefused(f"{table}: nothing was written, {count} of {len(frame)} rows are bad. {parts}. Mend these rows.")


def _part(frame: pd.DataFrame, rule: Rule, lines: Sequence[int] | None) -> str:
    places = np.flatnonzero(rule.broken)
    cells = [name for name in ("episode_id", "instrument", "timestamp") if name in frame.columns]
    examples = []
    for place in places[:SHOWN].tolist():
        row = frame.iloc[place]
        words = [_shown(row[name]) for name in cells] + [f"{name}={row[name]}" for name in rule.shown]
        examples.append(" ".join(words) + (f", line {lines[place]}" if lines is not None else ""))
    more = "; …" if len(places) > SHOWN else ""
    return f"{rule.words}: {len(places)} ({'; '.join(examples)}{more})"


def _shown(value: Any) -> str:
    return f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) and value == value.normalize() else str(value)


def _is_object(text: object) -> bool:
    def no_constant(name: str) -> float:
        raise ValueError(f"{name} is no JSON")  # Python reads NaN, PostgreSQL does not

    try:
        return isinstance(json.loads(text, parse_constant=no_constant), Mapping)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        return False
