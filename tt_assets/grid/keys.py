"""The partition key of a table: a date and an instrument, written `date|instrument`.

Dagster hands partition keys over as text, dimensions in the order of their names. Nobody else takes that text
apart or puts it together, so the sign between the two is known here alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import dagster as dg

from tt_assets.errors import printable
from tt_assets.grid.run_tags import DIMENSION

DATE = "date"
INSTRUMENT = "instrument"
"""The two dimensions of every table; Dagster sorts them by name."""

BETWEEN = "|"


class CellKey(NamedTuple):
    """One partition of a table. Keys are ordered by date, then instrument.

    Parameters
    ----------
    date : the date key: the session, or the first day of the month, year or window, as `yyyy-mm-dd`.
    instrument : the instrument of a market table, the symbol or portfolio that is traded of the others.
    """

    date: str
    instrument: str

    @classmethod
    def parse(cls, text: str) -> CellKey:
        """The key that Dagster writes as `text`.

        Raises
        ------
        ValueError : it is of another form.
        """
        day, sign, instrument = text.partition(BETWEEN)
        if not sign:
            raise ValueError(
                f'"{printable(" ".join(text[:100].split()))}" is no partition key; one reads date{BETWEEN}instrument.'
            )
        return cls(day, instrument)

    @classmethod
    def find(cls, text: str | None) -> CellKey | None:
        """The key that Dagster writes as `text`; None for no key, and for one of fewer dimensions, as reports have."""
        return cls.parse(text) if text and BETWEEN in text else None

    def __str__(self) -> str:
        return f"{self.date}{BETWEEN}{self.instrument}"

    def multi(self) -> dg.MultiPartitionKey:
        """As Dagster's own type, a str of the same text, where Dagster insists on it: it takes six microseconds."""
        return dg.MultiPartitionKey({DATE: self.date, INSTRUMENT: self.instrument})

    def event_tags(self) -> dict[str, str]:
        """The tags of an event of this partition, by which Dagster's UI finds it from either dimension."""
        return {DIMENSION + DATE: self.date, DIMENSION + INSTRUMENT: self.instrument}


def key_texts(dates: Iterable[str], instruments: Iterable[str]) -> list[str]:
    """Partition keys as text.

    Parameters
    ----------
    dates, instruments : beside each other, equally many.
    """
    return [f"{day}{BETWEEN}{name}" for day, name in zip(dates, instruments, strict=True)]
