"""A set of partition keys as few rectangles.

The bulk path of Dagster is a range-tagged run, and a range over two dimensions is a rectangle in the
order the keys are listed. Whatever is left to do is therefore cut into rectangles first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tt_assets.grain import DateGrain
from tt_assets.grid.keys import CellKey
from tt_assets.grid.run_tags import DRAWN_LATER, RANGE_END, RANGE_START

MOST_CELLS = 20_000
"""Cells of one range run; more of them would cost memory and gain nothing."""

MOST_BARS = 60_000
"""Bars of one range run: what its memory goes with where a cell holds many."""

SESSIONS_OF = {DateGrain.SESSION: 1, DateGrain.MONTH: 22, DateGrain.YEAR: 252}
"""Sessions of a cell, on an exchange that opens five days a week."""


def most_cells(grain: DateGrain) -> int:
    """Cells of one range run over the market tables, so that it takes as much memory at every grain.

    Parameters
    ----------
    grain : width of the partitions.
    """
    return min(MOST_CELLS, MOST_BARS // SESSIONS_OF[grain])


@dataclass(frozen=True)
class Rectangle:
    """Partitions that one range run makes: every date key of a span × every instrument of one.

    Parameters
    ----------
    first_date, last_date : ISO date keys, both included.
    instruments : neighbours, in the order Dagster lists them.
    cells : how many partitions that is.
    """

    first_date: str
    last_date: str
    instruments: tuple[str, ...]
    cells: int

    @property
    def start_key(self) -> str:
        """Partition key of the corner that comes first."""
        return str(CellKey(self.first_date, self.instruments[0]))

    @property
    def end_key(self) -> str:
        """Partition key of the corner that comes last."""
        return str(CellKey(self.last_date, self.instruments[-1]))

    def tags(self, *, draws: bool = True) -> dict[str, str]:
        """What makes a run one over the whole rectangle; without `draws` a later run of its load draws the pictures."""
        later = {} if draws else {DRAWN_LATER: "drawn by the last run of this load"}
        return {RANGE_START: self.start_key, RANGE_END: self.end_key, **later}


def rectangles(
    wanted: Collection[tuple[str, str]], dates: Sequence[str], instruments: Sequence[str], most: int
) -> list[Rectangle]:
    """Cover exactly the wanted partitions by disjoint rectangles. Linear in the partitions.

    A rectangle keeps the whole history of an instrument together where it fits, because look-backs then stay inside one
    run.

    Parameters
    ----------
    wanted : (date key, instrument).
    dates, instruments : all keys, in the order Dagster lists them.
    most : cells of one rectangle.
    """
    date_at = {key: index for index, key in enumerate(dates)}
    lines: dict[str, list[int]] = {}
    for day, instrument in wanted:
        lines.setdefault(instrument, []).append(date_at[day])
    spans = [(index, tuple(_runs(sorted(lines[name])))) for index, name in enumerate(instruments) if name in lines]
    found: list[Rectangle] = []
    for _, neighbours in groupby(enumerate(spans), key=lambda item: (item[1][0] - item[0], item[1][1])):
        members = [instruments[index] for _, (index, _) in neighbours]
        for first, last in _runs(sorted(lines[members[0]])):
            found.extend(_chunks(first, last, members, dates, most))
    return found


def _runs(indices: list[int]) -> Iterator[tuple[int, int]]:
    for _, run in groupby(enumerate(indices), key=lambda item: item[1] - item[0]):
        members = [index for _, index in run]
        yield members[0], members[-1]


def _chunks(first: int, last: int, members: list[str], dates: Sequence[str], most: int) -> Iterator[Rectangle]:
    for begin in range(first, last + 1, most):
        end = min(begin + most - 1, last)
        width = max(1, most // (end - begin + 1))
        for at in range(0, len(members), width):
            part = tuple(members[at : at + width])
            yield Rectangle(dates[begin], dates[end], part, (end - begin + 1) * len(part))
