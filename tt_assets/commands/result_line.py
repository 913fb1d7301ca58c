"""The line in which `tt backfill` and `tt train` say what a request came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tt_assets.errors import counted
from tt_assets.grid.keys import CellKey
from tt_assets.postgres.database import Database
from tt_assets.postgres.landed import landed
from tt_assets.runs.bulk import Outcome
from tt_assets.tables import EPISODE_TABLES, EPISODES_STEP

MOST_NAMED = 4


@dataclass
class Request:
    """What is asked for at once: every table for every date key and instrument; `before` had been there already."""

    tables: Sequence[str]
    dates: Sequence[str]
    instruments: Sequence[str]
    before: int = 0

    @property
    def partitions(self) -> int:
        """Asked for, over all tables."""
        return len(self.tables) * len(self.dates) * len(self.instruments)

    @classmethod
    def begun(
        cls, database: Database, tables: Sequence[str], dates: Sequence[str], instruments: Sequence[str]
    ) -> Request:
        """A request that begins now."""
        return cls(tables, dates, instruments, landed(database, tables, dates, instruments, ()).there)

    def failed(self, outcome: Outcome) -> int:
        """How many of its partitions failed."""
        dates, names = set(self.dates), set(self.instruments)
        keys = [CellKey.parse(key) for table in self.tables for key in _failed_of(table, outcome)]
        return sum(key.date in dates and key.instrument in names for key in keys)


@dataclass
class Result:
    """What one command came to: partitions and rows over all tables of its requests."""

    requests: list[Request] = field(default_factory=list)
    landed: int = 0
    failed: int = 0
    rows: int = 0

    def add(self, request: Request, outcome: Outcome, database: Database) -> None:
        """Take in a request whose runs have ended."""
        told = landed(database, request.tables, request.dates, request.instruments, outcome.runs)
        self.requests.append(request)
        self.landed += told.written
        self.rows += told.rows
        self.failed += request.failed(outcome)

    def line(self, seconds: float) -> str:
        """In one line: what was asked, how much of it landed, failed or was not made, rows and time."""
        asked = sum(request.partitions for request in self.requests)
        if not asked:
            return "Nothing was asked for: the span and the instruments have no partition."
        before = sum(request.before for request in self.requests)
        left = asked - self.landed - self.failed
        parts = [
            f"{self.landed:,} of {counted(asked, 'partition')} landed",
            *([f"{self.failed:,} failed"] if self.failed else []),
            *([f"{left:,} not made"] if left > 0 else []),
            *([f"{before:,} had been there before"] if before else []),
            counted(self.rows, "row"),
            in_time(seconds),
        ]
        return f"{'; '.join(map(_described, self.requests))}: {', '.join(parts)}."


def _failed_of(table: str, outcome: Outcome) -> set[str]:
    """Keys of a table that failed. A window that failed in the step of the episodes did so in all nine tables."""
    step = EPISODES_STEP if table in EPISODE_TABLES else table
    return {*outcome.failed.get(table, ()), *outcome.failed.get(step, ())}


def in_time(seconds: float) -> str:
    """A duration as people say it: 4.2 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _described(request: Request) -> str:
    ends = dict.fromkeys((request.dates[0], request.dates[-1])) if request.dates else ["no date"]
    return f"{_few(request.tables)} of {_few(request.instruments)}, {' to '.join(ends)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
