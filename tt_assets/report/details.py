"""The subject's tables as people read them: drawdowns, months, contributions, capacity, attribution.

Cells are text, rounded once here; a bar beside a figure says the same at a glance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tt_assets.errors import counted
from tt_assets.report.labels import UNDEFINED, percent
from tt_assets.trading.judging.details import Details

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
BAR_ROOM = 120.0
"""Width of the room for bars, units of their picture."""


@dataclass(frozen=True)
class Bar:
    """Where a bar begins and how long it is, of `BAR_ROOM`; `positive` tells its colour."""

    x: float
    width: float
    positive: bool


@dataclass(frozen=True)
class Cell:
    """Text, and the shade of its value: p1 … p3, n1 … n3 or nothing."""

    text: str
    shade: str = ""


@dataclass(frozen=True)
class DetailRow:
    """The row's name, its cells, and a bar where the table has some."""

    name: str
    cells: Sequence[Cell]
    bar: Bar | None = None


@dataclass(frozen=True)
class DetailTable:
    """One table with a sentence that says what it shows. `columns` without the one of the rows' names, `corner`."""

    title: str
    note: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[DetailRow]


def detail_tables(details: Details) -> list[DetailTable]:
    """All tables of `details` that have rows, in the order they are read."""
    every = [_months(details), _drawdowns(details), _contributions(details), _capacity(details), _attribution(details)]
    return [table for table in every if table.rows]


def _months(details: Details) -> DetailTable:
    rows = [
        DetailRow(str(year), [_shaded(value, 3.0 if place == len(own) - 1 else 1.0) for place, value in enumerate(own)])
        for year, own in zip(details.months.index, details.months.to_numpy(), strict=True)
    ]
    return DetailTable(
        "Month by month", "Return after costs of the judged sessions, %.", "Year", [*MONTHS, "Year"], rows[::-1]
    )


def _drawdowns(details: Details) -> DetailTable:
    rows = [
        DetailRow(
            f"{row['peak']:%Y-%m-%d}",
            [
                Cell(percent(row["depth"])),
                Cell(f"{row['trough']:%Y-%m-%d}"),
                Cell(f"{row['fall_sessions']:,}"),
                Cell("not yet" if pd.isna(row["recovered"]) else f"{row['recovered']:%Y-%m-%d}"),
                Cell(UNDEFINED if pd.isna(row["recovery_sessions"]) else f"{row['recovery_sessions']:,.0f}"),
            ],
        )
        for row in details.drawdowns.to_dict("records")
    ]
    return DetailTable(
        "Drawdowns",
        "The deepest falls below an earlier peak, and how long they took to fall and to come back.",
        "Peak",
        ["Depth (%)", "Trough", "Sessions to trough", "Recovered", "Sessions to recover"],
        rows,
    )


def _contributions(details: Details) -> DetailTable:
    values = details.contributions["contribution"]
    return DetailTable(
        "Contribution of each instrument",
        "Its part of the summed session returns, costs taken off, %. Interest on cash stands apart.",
        "Instrument",
        ["Contribution (%)"],
        _barred(details.contributions["instrument"], values, 2),
    )


def _capacity(details: Details) -> DetailTable:
    rows = [
        DetailRow(
            f"{row['capital']:,.0f}", [Cell(percent(row["annual_return"], signed=True)), Cell(percent(row["exposure"]))]
        )
        for row in details.capacity.to_dict("records")
    ]
    return DetailTable(
        "Capacity",
        f"Return with more capital where no order fills more than {percent(details.volume_limit, 2)} % of its "
        "session's volume; the rest is not filled.",
        "Capital (USD)",
        ["Return (% a year)", "Exposure (% of net worth)"],
        rows,
    )


def _attribution(details: Details) -> DetailTable:
    found = details.attribution
    span = [
        Cell(f"{percent(low, 1, signed=True)} to {percent(high, 1, signed=True)}")
        for low, high in zip(found["low"], found["high"], strict=True)
    ]
    rows = [
        DetailRow(row.name, [*row.cells, between], row.bar)
        for row, between in zip(_barred(found["channel"], found["effect"], 1), span, strict=True)
    ]
    count = details.attributed_windows
    return DetailTable(
        "Attribution to channels",
        "What the agents lose where the sessions of one channel are shuffled, % a year, over the newest "
        f"{counted(count, 'window')}: the mean of three shuffles and their span. Channels that say the "
        "same cover for one another; a span across 0 is noise.",
        "Channel",
        ["Loss (% a year)", "Span"],
        rows,
    )


def _barred(names: pd.Series, values: pd.Series, digits: int) -> list[DetailRow]:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    room = (high - low) or 1.0
    return [
        DetailRow(
            str(name),
            [Cell(percent(value, digits, signed=True))],
            Bar(
                round((min(value, 0.0) - low) / room * BAR_ROOM, 1),
                round(max(abs(value) / room * BAR_ROOM, 0.5), 1),
                value >= 0.0,
            ),
        )
        for name, value in zip(names, values, strict=True)
    ]


def _shaded(value: float, divisor: float) -> Cell:
    if pd.isna(value):
        return Cell("")
    size = min(3, int(abs(value) / divisor / 0.02) + 1) if abs(value) >= 0.0005 else 0
    return Cell(percent(value, signed=True), f"{'p' if value > 0 else 'n'}{size}" if size else "")
