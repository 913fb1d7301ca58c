"""The sessions on which bars are due, and which of them have none: the same numbers at every date grain.

A partition says how many rows it holds, which at a grain wider than a session does not say whether one is lacking. So
sessions are counted: those of the calendar that a stored partition spans, from the first bar of the instrument (before
it was listed nothing is due) to the newest bar of any (what nobody has loaded yet is not lacking).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from tt_assets.grain import DateGrain
from tt_assets.grid.followed_calendar import follow_calendar
from tt_assets.market.calendar import followed
from tt_assets.tables import LEDGER
from tt_assets.web.site import Look

Days = npt.NDArray[np.datetime64]
Counts = npt.NDArray[np.int64]
DAY = "datetime64[D]"
EPOCH = "DATE '1970-01-01'"


def names_with_bars(look: Look) -> list[str]:
    """The instruments of tt_prices, ascending; an index is hopped along, for a scan would cost as much as all bars."""
    rows = look.rows(
        "WITH RECURSIVE each AS ((SELECT instrument FROM tt_prices ORDER BY 1 LIMIT 1) UNION ALL SELECT (SELECT "
        "p.instrument FROM tt_prices AS p WHERE p.instrument > each.instrument ORDER BY 1 LIMIT 1) FROM each "
        "WHERE each.instrument IS NOT NULL) SELECT instrument FROM each WHERE instrument IS NOT NULL"
    )
    return [str(name) for (name,) in rows]


@dataclass(frozen=True, eq=False)
class Due:
    """The partitions of tt_prices on record, one a place, and the sessions that are due in each.

    Parameters
    ----------
    grain : width of the partitions.
    places : those of each instrument. keys : first day of each. rows : bars it holds, 0 where it holds nothing yet.
    made, failed : whether it was ever made, and whether its latest try failed.
    first_bars : first session with a bar of each place's instrument; NaT where there is none, and then all are due.
    last : the last session on which a bar can be due.
    """

    grain: DateGrain
    places: Mapping[str, slice]
    keys: Days
    rows: Counts
    made: npt.NDArray[np.bool_]
    failed: npt.NDArray[np.bool_]
    first_bars: Days
    last: np.datetime64

    @cached_property
    def sessions(self) -> Days:
        """Sessions of the calendar from the earliest key to the last that can be due."""
        if not len(self.keys) or np.isnat(self.last):
            return np.array([], dtype=DAY)
        return followed().sessions(self.keys.min().item(), self.last.item())

    @cached_property
    def spans(self) -> tuple[Counts, Counts]:
        """Place in `sessions` of the first that each partition owes, and of the one after its last."""
        begins = np.fmax(self.keys, self.first_bars)  # fmax: NaT takes nothing away
        ends = (self.keys.astype(f"datetime64[{self.grain.unit}]") + 1).astype(DAY)
        first, stop = np.searchsorted(self.sessions, begins), np.searchsorted(self.sessions, ends)
        return first, np.maximum(first, stop)

    @cached_property
    def count(self) -> Counts:
        """Sessions due in each partition, one at least in a failed one."""
        first, stop = self.spans
        return np.where(self.failed, np.maximum(stop - first, 1), stop - first)

    def lacking(self, name: str, bars: Days, since: np.datetime64 | None = None) -> Days:
        """Sessions of the stored partitions of `name`, from `since` on, on which it has none of its `bars`."""
        own = self.places.get(name, slice(0))
        first, stop = (edge[own][self.made[own]] for edge in self.spans)
        owed = [self.sessions[begin:end] for begin, end in zip(first, stop, strict=True)]
        absent = np.setdiff1d(np.concatenate([*owed, np.array([], dtype=DAY)]), bars)
        return absent if since is None else absent[absent >= since]


def due_sessions(look: Look, names: Sequence[str] | None = None, days: int | None = None) -> Due:
    """What is due of `names` (of all), in the partitions of the last `days` (in all)."""
    settings = look.site.settings
    follow_calendar(settings)
    newest = f"(SELECT max(date) FROM {LEDGER.name} WHERE table_name = 'tt_prices')"
    rows = look.rows(
        f"SELECT instrument, array_agg(date - {EPOCH} ORDER BY date), array_agg(coalesce(rows, -1) ORDER BY date), "
        f"array_agg(failure IS NOT NULL ORDER BY date) FROM {LEDGER.name} WHERE table_name = 'tt_prices' "
        f"AND (%s::text[] IS NULL OR instrument = ANY(%s)) AND (%s::int IS NULL OR date > {newest} - %s::int) "
        "GROUP BY 1 ORDER BY 1",
        None if names is None else list(names),
        None if names is None else list(names),
        days,
        days,
    )
    counts = np.array([len(own) for _, own, _, _ in rows], dtype=np.int64)
    keys = np.array([day for _, own, _, _ in rows for day in own], dtype=np.int64).astype(DAY)
    held = np.array([number for _, _, own, _ in rows for number in own], dtype=np.int64)
    ends = _first_and_last_bars(look)
    firsts = [ends[name][0] if name in ends else np.datetime64("NaT") for name, *_ in rows]
    # A partition without a row after the newest bar is a session that the source was asked for, at session grain.
    asked = np.concatenate([keys[held >= 0], np.array([newest_bar for _, newest_bar in ends.values()], dtype=DAY)])
    return Due(
        settings.date_grain,
        {
            name: slice(end - count, end)
            for (name, *_), count, end in zip(rows, counts.tolist(), accumulate(counts.tolist()), strict=True)
        },
        keys,
        np.maximum(held, 0),
        held >= 0,
        np.array([bad for *_, own in rows for bad in own], dtype=bool),
        np.repeat(np.array(firsts, dtype=DAY), counts),
        asked.max() if len(asked) else np.datetime64("NaT"),
    )


def _first_and_last_bars(look: Look) -> dict[str, tuple[np.datetime64, np.datetime64]]:
    rows = look.rows(
        "SELECT name, (SELECT min(timestamp)::date FROM tt_prices WHERE instrument = name), "
        "(SELECT max(timestamp)::date FROM tt_prices WHERE instrument = name) FROM unnest(%s::text[]) AS name",
        names_with_bars(look),
    )
    return {name: (np.datetime64(first, "D"), np.datetime64(last, "D")) for name, first, last in rows}
