"""What a step has read, for the ledger: the number of its reading and the digests of the slices behind its rows.

A frame that an IO manager loads carries both, taken in the snapshot of its rows, and a reader of whole windows adds up
what goes through it. So a slice says of itself exactly what it was computed from, whatever lands meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

import dagster as dg
import numpy as np
import pandas as pd

from tt_assets.grid.keys import DATE
from tt_assets.grid.sliding import on_axes, over_lookback, total
from tt_assets.postgres.ledger import dates_of, wrapped_sum
from tt_assets.postgres.slices import Selection

ATTRIBUTE = "tt_assets/slices"
"""Entry of `DataFrame.attrs`."""


@dataclass(frozen=True, eq=False)
class SlicesRead:
    """The slices behind a frame.

    Parameters
    ----------
    fetch : number of the reading, drawn before their snapshot.
    slices : date, instrument, number (see `ledger.digest_number`).
    """

    fetch: int
    slices: pd.DataFrame

    def __deepcopy__(self, memo: dict[int, Any]) -> SlicesRead:
        # pandas copies the attributes of a frame with most of what is made of it; nobody changes this one.
        return self


def noted(frame: pd.DataFrame, read: SlicesRead) -> pd.DataFrame:
    """A frame that carries what it was read from; pandas hands it on to most of what is made of the frame.

    Parameters
    ----------
    frame : changed in place.
    read : the slices behind it.

    Returns
    -------
    The frame itself.
    """
    frame.attrs[ATTRIBUTE] = read
    return frame


def fetch_of(*frames: pd.DataFrame) -> int | None:
    """The number of the earliest reading among `frames`; None where one carries none."""
    found = [_read(frame) for frame in frames]
    known = [read.fetch for read in found if read is not None]
    return min(known) if known and len(known) == len(found) else None


def _read(frame: pd.DataFrame) -> SlicesRead | None:
    return frame.attrs.get(ATTRIBUTE)


def sums_behind(
    grid: dg.MultiPartitionsDefinition, selection: Selection, behind: Sequence[tuple[pd.DataFrame, int]]
) -> dict[str, int]:
    """Partition key → sum of the numbers of all slices the cell reads.

    Parameters
    ----------
    grid : the partitions of the cells and of what they read.
    selection : the cells.
    behind : each frame that was loaded, and over how many date keys before its own a cell reads it.

    Returns
    -------
    Empty where a frame does not say what it was read from, as one that was made by hand.
    """
    found = [(read, steps) for read, steps in ((_read(frame), steps) for frame, steps in behind) if read is not None]
    if not len(selection) or len(found) < len(behind):
        return {}
    dates = grid.get_partitions_def_for_dimension(DATE).get_partition_keys()
    names = sorted(set(selection.instruments))
    sums = total(over_lookback(on_axes(read.slices, dates, names), steps) for read, steps in found)
    place = {day: row for row, day in enumerate(dates)}
    rows = np.array([place[day] for day in dates_of(selection)])
    columns = np.searchsorted(np.array(names, dtype=object), selection.instruments)
    return dict(zip(selection.keys, sums[rows, columns].tolist(), strict=True))


class Reads(Protocol):
    """What reads bars, features and scores of whole spans."""

    def read(self, table: str, instruments: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """Rows of one market table over a span.

        Parameters
        ----------
        table : of bars, features or scores.
        instruments : symbols.
        first, last : sessions, both included.

        Returns
        -------
        The table's content columns, sorted by its key; types as of `SliceStore.read`.
        """


class ReadsDigests(Protocol):
    """What reads them with the digests of the slices they are in."""

    def read_with_digests(
        self, table: str, instruments: Sequence[str], first: date, last: date
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """As `Reads.read`, and the slices that hold any of these sessions, of the same snapshot.

        Parameters
        ----------
        table, instruments, first, last : as of `Reads.read`.

        Returns
        -------
        The rows, and date, instrument and number (see `ledger.digest_number`) of each slice with rows.
        """


@dataclass
class Noting:
    """A reader that adds up the numbers of the slices that are read through it.

    Parameters
    ----------
    reader : that reads.
    sums : one for each reading so far, modulo 2^64.
    """

    reader: ReadsDigests
    sums: list[int] = field(default_factory=list)

    def read(self, table: str, instruments: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """As the reader behind it."""
        rows, slices = self.reader.read_with_digests(table, instruments, first, last)
        self.sums.append(wrapped_sum(slices["number"].tolist()))
        return rows

    def reads(self, *others: int) -> int:
        """The sum of all that was read, and of the numbers `others`."""
        return wrapped_sum([*self.sums, *others])


def numbers_of(slices: pd.DataFrame) -> Mapping[tuple[str, str], int]:
    """(date key, instrument) → number of `slices`."""
    days = pd.DatetimeIndex(slices["date"]).strftime("%Y-%m-%d")
    return dict(zip(zip(days, slices["instrument"], strict=True), slices["number"].tolist(), strict=True))
