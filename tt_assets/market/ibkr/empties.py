"""Sessions IBKR has no bar of, as far as its answers tell: before the listing, and halts in between. Kept between runs.

Only sessions an answer vouches for are remembered, and a later answer over the same sessions replaces
what was remembered of them. So what is complete is not asked again, and a bar that turns up after all is not missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from tt_assets.market.calendar import sessions
from tt_assets.market.ibkr.loader import Answer
from tt_assets.market.ibkr.memory import Identity, identity, read_rows, save_rows
from tt_assets.market.watchlist_format import Instrument


@dataclass(frozen=True)
class Known:
    """Of one instrument: the day of its first bar, None where nobody met it, and sessions after it without a bar."""

    listed: date | None = None
    empty: frozenset[date] = frozenset()

    def among(self, asked: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Those of `asked` (ascending midnights) that are known to have no bar."""
        none = asked.isin(pd.to_datetime(sorted(self.empty)))
        if self.listed is not None:
            none |= asked < pd.Timestamp(self.listed)
        return asked[none]


NOTHING_KNOWN = Known()


class EmptySessions:
    """What is known of each instrument; with a `path` also between runs."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[Identity, Known] = {}
        for key, row in read_rows(path, "instruments", _known):
            self._known[key] = row
        self._saved = dict(self._known)

    def of(self, instrument: Instrument) -> Known:
        """What is known of the instrument."""
        return self._known.get(identity(instrument), NOTHING_KNOWN)

    def learn(self, answer: Answer) -> None:
        """Take in what an answer says about sessions without a bar; one with a row of no date says nothing."""
        settled = answer.settled
        if settled.undated or settled.first is None or settled.last is None:
            return
        before = self.of(settled.ask.instrument)
        spoken = sessions(settled.first, settled.last)
        absent = {day.date() for day in spoken[~spoken.isin(settled.bars["timestamp"])]}
        absent -= {fault.session for fault in settled.faults}
        absent -= {day for day in absent if any(span.first <= day <= span.last for span in answer.withheld)}
        elsewhere = {day for day in before.empty if not settled.first <= day <= settled.last}
        listed = answer.listed or before.listed
        if listed is not None and settled.first < listed:
            listed = None
        self._known[identity(settled.ask.instrument)] = Known(listed, frozenset(absent | elsewhere))

    def save(self) -> None:
        """Write what is known, in one step."""
        kept = {key: known for key, known in self._known.items() if known != NOTHING_KNOWN}
        if self._path is None or kept == self._saved:
            return
        rows = [
            (key, {"listed": known.listed and known.listed.isoformat(), "empty": [f"{d}" for d in sorted(known.empty)]})
            for key, known in sorted(kept.items())
        ]
        save_rows(self._path, "instruments", rows)
        self._saved = kept


def _known(row: dict[str, Any]) -> Known:
    listed = row["listed"]
    return Known(date.fromisoformat(listed) if listed else None, frozenset(map(date.fromisoformat, row["empty"])))
