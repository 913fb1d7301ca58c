"""The cells of a table as a picture for the terminal: a line per instrument, a column per session or longer.

A state is a sign and a colour, so that the picture reads without colours too. A column takes in as many
dates as it must for the whole span to fit, and shows the worst of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

import numpy as np
from rich.text import Text

from tt_assets.commands.partition_list import STATES, CellState, Matrix
from tt_assets.grid.keys import CellKey
from tt_assets.grid.partitions import quarter_of

SOME_MISSING = "some missing"
MARKS: dict[str, tuple[str, str]] = {
    CellState.MATERIALIZED: ("■", "green"),
    CellState.EMPTY: ("□", "blue"),
    CellState.MISSING: ("·", "bright_black"),
    CellState.FAILED: ("✗", "bold red"),
    CellState.IN_FLIGHT: ("▸", "cyan"),
    SOME_MISSING: ("◪", "yellow"),
}
"""Sign and colour of each state; the last is of a column of several dates."""
SAID = {
    CellState.EMPTY: "no rows",
    CellState.MISSING: "not materialized",
    CellState.FAILED: "failed, see the run",
    CellState.IN_FLIGHT: "being made",
}
"""What a gap without a reason is called."""
LONGEST_NAME = 16
GAPS_SHOWN = 12
WORST_FIRST = (CellState.FAILED, CellState.IN_FLIGHT, CellState.MISSING, CellState.EMPTY)


@dataclass(frozen=True)
class Scale:
    """How wide a column is: its name, the column a date belongs to, and the words over the columns."""

    name: str
    column_of: Callable[[str], str]
    label_of: Callable[[str], str]


def _month(key: str) -> str:
    return key[:7]


def _year(key: str) -> str:
    return key[:4]


def _decade(key: str) -> str:
    return f"{key[:3]}0s"


def _monday(key: str) -> str:
    day = date.fromisoformat(key)
    return (day - timedelta(days=day.weekday())).isoformat()


def _quarter(key: str) -> str:
    return quarter_of(date.fromisoformat(key)).isoformat()


SCALES = (
    Scale("", str, _month),  # a column for each date
    Scale("week", _monday, _month),
    Scale("month", _month, _year),
    Scale("quarter", _quarter, _year),
    Scale("year", _year, _decade),
)


@dataclass(frozen=True)
class Gap:
    """A stretch of dates of some instruments that are all in one state for one reason."""

    state: CellState
    first: str
    last: str
    dates: int
    instruments: tuple[str, ...]
    reason: str


def cells_grid(matrix: Matrix, width: int) -> list[Text]:
    """The lines of the picture, none longer than `width` where the names leave room for any columns."""
    widest = min(LONGEST_NAME, max((len(name) for name in matrix.instruments), default=0))
    scale, columns = _fitting(matrix.dates, max(1, width - widest - 1))
    margin = " " * (widest + 1)
    starts = [index for index, column in enumerate(columns) if index == 0 or column != columns[index - 1]]
    label_of = scale.label_of if scale.name or matrix.unit == "session" else _year
    lines = [
        Text(
            f"{matrix.table}  {matrix.dates[0]} to {matrix.dates[-1]}, a column is a {scale.name or matrix.unit}",
            style="bold",
        ),
        Text(margin + _labels([label_of(matrix.dates[start]) for start in starts]), style="bright_black"),
    ]
    for name, shown in zip(matrix.instruments, _shown(matrix, starts), strict=True):
        line = Text(f"{_cut(name, widest):<{widest}} ")
        for state, run in groupby(shown):
            sign, colour = MARKS[state]
            line.append(sign * len(list(run)), style=colour)
        lines.append(line)
    lines.append(Text())
    lines += _legend(matrix, starts, width)
    lines += _gap_lines(matrix, width)
    return lines


def gaps(matrix: Matrix) -> list[Gap]:
    """Every stretch that is not plainly materialized, the worst state first, long ones before short ones."""
    found: dict[tuple[CellState, int, int, str], list[str]] = {}
    for column, name in enumerate(matrix.instruments):
        reasons = [
            (STATES[state], matrix.reasons.get(str(CellKey(day, name)), ""))
            for day, state in zip(matrix.dates, matrix.states[:, column].tolist(), strict=True)
        ]
        for (state, reason), run in groupby(range(len(reasons)), key=lambda index: reasons[index]):
            if state is not CellState.MATERIALIZED:
                positions = list(run)
                found.setdefault((state, positions[0], positions[-1], reason), []).append(name)
    stretches = [
        Gap(state, matrix.dates[first], matrix.dates[last], last - first + 1, tuple(names), reason)
        for (state, first, last, reason), names in found.items()
    ]
    return sorted(stretches, key=lambda gap: (WORST_FIRST.index(gap.state), -gap.dates * len(gap.instruments)))


def _fitting(dates: Sequence[str], room: int) -> tuple[Scale, list[str]]:
    """The finest scale whose columns fit, and the column of each date; the coarsest where none does."""
    for scale in SCALES:
        columns = [scale.column_of(key) for key in dates]
        if len(set(columns)) <= room:
            break
    return scale, columns


def _shown(matrix: Matrix, starts: Sequence[int]) -> list[list[str]]:
    """What each column of each instrument shows: of all its dates the worst state, or that some are missing."""
    counts = {
        state: np.add.reduceat((matrix.states == position).astype(np.int64), starts, axis=0)
        for position, state in enumerate(STATES)
    }
    total = sum(counts.values())
    shown = np.select(
        [
            counts[CellState.FAILED] > 0,
            counts[CellState.IN_FLIGHT] > 0,
            counts[CellState.MISSING] == total,
            counts[CellState.MISSING] > 0,
            counts[CellState.EMPTY] == total,
        ],
        [CellState.FAILED, CellState.IN_FLIGHT, CellState.MISSING, SOME_MISSING, CellState.EMPTY],
        CellState.MATERIALIZED,
    )
    return [[str(state) for state in line] for line in shown.T.tolist()]


def _legend(matrix: Matrix, starts: Sequence[int], width: int) -> list[Text]:
    """The signs with the number of cells in each state, over as many lines as it takes."""
    entries = []
    for position, state in enumerate(STATES):
        sign, colour = MARKS[state]
        number = int((matrix.states == position).sum())
        entries.append(Text.assemble((sign, colour), f" {state} {number:,}"))
    if any(SOME_MISSING in line for line in _shown(matrix, starts)):
        entries.append(Text.assemble(MARKS[SOME_MISSING], f" {SOME_MISSING}"))
    lines = [Text()]
    for entry in entries:
        if lines[-1] and len(lines[-1]) + 3 + len(entry) > width:
            lines.append(Text())
        lines[-1] = Text("   ").join([lines[-1], entry]) if lines[-1] else entry
    return lines


def _gap_lines(matrix: Matrix, width: int) -> list[Text]:
    found = gaps(matrix)
    lines = []
    for gap in found[:GAPS_SHOWN]:
        sign, colour = MARKS[gap.state]
        who = ", ".join(gap.instruments[:4]) + (f" and {len(gap.instruments) - 4} more" if gap.instruments[4:] else "")
        when = gap.first if gap.dates == 1 else f"{gap.first} … {gap.last} ({gap.dates:,} {matrix.unit}s)"
        line = Text.assemble((sign, colour), f" {who}  {when}: {gap.reason or SAID[gap.state]}")
        lines += _folded(line, width)
    if len(found) > GAPS_SHOWN:
        more = f"  and {len(found) - GAPS_SHOWN:,} more stretches; --json has every partition."
        lines.append(Text(more, "bright_black"))
    return [Text(), *lines] if lines else []


def _folded(line: Text, width: int) -> list[Text]:
    """`line` in pieces of at most `width`, the later ones indented."""
    from rich.console import Console

    first, *rest = line.wrap(Console(width=width), width)
    if not rest:
        return [first]
    for piece in rest:
        piece.rstrip()
    tail = Text(" ").join(rest).wrap(Console(width=width), max(20, width - 2))
    return [first, *(Text("  ") + piece for piece in tail)]


def _labels(labels: Sequence[str]) -> str:
    """Each label over the first column it holds for, where it does not run into the one before or over the edge."""
    line = ""
    for index, label in enumerate(labels):
        new = index == 0 or label != labels[index - 1]
        if new and (not line or len(line) < index) and index + len(label) <= max(len(labels), len(label)):
            line = line.ljust(index) + label
    return line


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
