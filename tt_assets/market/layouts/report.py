"""The report of a check of bars files: what `tt bars check` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from tt_assets.errors import counted
from tt_assets.market.bars import BarFault
from tt_assets.market.calendar import sessions
from tt_assets.market.layouts.findings import watched
from tt_assets.market.layouts.normalise import ReadTable

if TYPE_CHECKING:
    from tt_assets.market.files import FileBars

EXAMPLES = 5
DAYS_SHOWN = 3


@dataclass(frozen=True)
class LeftOut:
    """Rows that are left out for one rule: how many, and the first few with their lines."""

    rule: str
    rows: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        more = "; …" if self.rows > len(self.first) else ""
        return f"{counted(self.rows, 'row')}, {self.rule} ({'; '.join(self.first)}{more})"


@dataclass(frozen=True)
class BarsReport:
    """What a path of bars is.

    `tables` as recognised; `symbols` with a bar; `first` and `last` session; `spacing` in words; `rows` read and `bars`
    that load; `left_out` by rule; `warnings` one line a kind; `refusal` why nothing loads, else empty.
    """

    path: str
    tables: tuple[ReadTable, ...]
    symbols: tuple[str, ...]
    first: date | None
    last: date | None
    spacing: str
    rows: int
    bars: int
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]
    refusal: str


def report_on(files: FileBars) -> BarsReport:
    """The report of the bars of `files`. Raises BarsFileError where they cannot be read at all."""
    manifest = files.manifest()
    refusal, warnings = manifest.refusal, list(manifest.warnings)
    if files.known:
        unlisted, about = watched(manifest.symbols, files.known)
        refusal = refusal or (f"{files.path}: {unlisted}" if unlisted else "")
        warnings += about
    if not refusal:
        warnings += lacking(files)
    if not refusal and manifest.first is None:
        refusal = files.why_none(manifest)
    return BarsReport(
        str(files.path),
        manifest.tables,
        manifest.symbols,
        manifest.first,
        manifest.last,
        manifest.spacing,
        manifest.rows,
        manifest.bars,
        left_out(files.all_faults()),
        tuple(warnings),
        refusal,
    )


def lacking(files: FileBars) -> list[str]:
    """A line on sessions without a row between the first and the last bar of an instrument; none where there is none.

    What is left out has a row, and is told apart.
    """
    clean = files.all_bars()
    left: dict[str, list[np.datetime64]] = {}
    for fault in files.all_faults():
        if isinstance(fault.session, date):
            left.setdefault(fault.instrument, []).append(np.datetime64(fault.session))
    lines: list[tuple[int, str]] = []
    for name, own in clean.groupby(clean["instrument"].astype(str))["timestamp"]:
        days = own.to_numpy().astype("datetime64[D]")
        due = sessions(days[0].item(), days[-1].item()).to_numpy().astype("datetime64[D]")
        if len(due) == len(days):
            continue
        absent = np.setdiff1d(due, [*days, *left.get(str(name), [])])
        if len(absent):
            shown = ", ".join(map(str, absent[:DAYS_SHOWN])) + (", …" if len(absent) > DAYS_SHOWN else "")
            lines.append((-len(absent), f"{name} lacks {counted(len(absent), 'session')} ({shown})"))
    more = f"; and {len(lines) - EXAMPLES} more instruments lack some" if len(lines) > EXAMPLES else ""
    return ["; ".join(line for _, line in sorted(lines)[:EXAMPLES]) + more] if lines else []


def left_out(faults: Sequence[BarFault]) -> tuple[LeftOut, ...]:
    """The faults by rule, most rows first."""
    by_rule: dict[str, list[BarFault]] = {}
    for fault in faults:
        by_rule.setdefault(fault.rule, []).append(fault)
    ordered = sorted(by_rule.items(), key=lambda item: -len(item[1]))
    return tuple(
        LeftOut(str(rule), len(rows), tuple(str(fault) for fault in rows[:EXAMPLES])) for rule, rows in ordered
    )
