"""How far the stored bars of each instrument reach, and how far the source's do: what a month or year still lacks.

A session has landed or not. A month or year lands with the bars there are, so that it has landed does not say that it
is whole. Nothing is read here at session grain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from tt_assets.automation.axes import Axes, Mask
from tt_assets.automation.source import SourceState
from tt_assets.grain import DateGrain
from tt_assets.grid.bars_files import bars_manifest_or_none
from tt_assets.market.calendar import sessions
from tt_assets.postgres.database import Database
from tt_assets.settings import Settings

Days = npt.NDArray[np.datetime64]
"""One day per instrument; NaT without one."""


@dataclass(frozen=True, eq=False)
class Extents:
    """Stored bars beside those of the source.

    Parameters
    ----------
    first, last : sessions of the first and the last stored bar, per instrument.
    lacks, until : first and last session that the source can have a bar of and that lies behind the stored ones. Of
        files each instrument's own; of a live source up to its latest session.
    exact : the source is known to have bars there (a file); of a live one nobody knows before it is asked.
    """

    first: Days
    last: Days
    lacks: Days
    until: Days
    exact: bool

    def trades(self, first: date, last: date) -> npt.NDArray[np.bool_]:
        """(instruments,) those whose stored bars reach into the days `first` to `last`."""
        chosen: npt.NDArray[np.bool_] = (self.first <= np.datetime64(last)) & (self.last >= np.datetime64(first))
        return chosen

    def short(self, axes: Axes, grain: DateGrain, since: date) -> Mask:
        """The cells that lack a session the source has; of a live source none that end before `since`."""
        days = [date.fromisoformat(key) for key in axes.dates]
        starts = np.array(days, dtype="datetime64[D]")[:, None]
        ends = np.array([grain.after(day) for day in days], dtype="datetime64[D]")[:, None]
        lacking: Mask = (self.lacks[None, :] < ends) & (self.until[None, :] >= starts)
        return lacking if self.exact else lacking & (ends > np.datetime64(since))


def read_extents(database: Database, settings: Settings, axes: Axes, source: SourceState) -> Extents | None:
    """The extents now; None at session grain, where nobody asks for them."""
    if settings.date_grain is DateGrain.SESSION:
        return None
    names = list(axes.instruments)
    with database.connect() as connection:
        # Two steps through the index of the key for each instrument, however many bars it has.
        stored = connection.execute(
            "SELECT (SELECT min(timestamp)::date FROM tt_prices WHERE instrument = n.i), "
            "(SELECT max(timestamp)::date FROM tt_prices WHERE instrument = n.i) "
            "FROM unnest(%s::text[]) WITH ORDINALITY AS n(i, place) ORDER BY place",
            [names],
        ).fetchall()
    first, last = (np.array([row[at] for row in stored], dtype="datetime64[D]") for at in (0, 1))
    manifest = bars_manifest_or_none(settings)
    held = [manifest.held.get(name) if manifest else None for name in names]
    latest = np.datetime64(source.latest, "D") if source.latest else np.datetime64("NaT", "D")
    begins = np.array([own.first if own else None for own in held], dtype="datetime64[D]")
    until = np.full(len(names), latest)
    if manifest:
        until = np.minimum(until, np.array([own.last if own else None for own in held], dtype="datetime64[D]"))
    elif source.latest:
        begins = np.full(len(names), latest)
    lacks = np.where(np.isnat(last), begins, _session_after(last))
    return Extents(first, last, np.where(lacks <= until, lacks, np.datetime64("NaT", "D")), until, bool(manifest))


def _session_after(days: Days) -> Days:
    """The session after each day; NaT where there is no day."""
    known = days[~np.isnat(days)]
    if not len(known):
        return days.copy()
    # No closure has lasted a month.
    span = sessions(known.min().item(), (known.max() + 31).item()).to_numpy().astype("datetime64[D]")
    found = days.copy()
    found[~np.isnat(days)] = span[np.searchsorted(span, known, side="right")]
    return found
