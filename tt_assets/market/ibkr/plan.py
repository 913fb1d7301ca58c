"""What must be asked of IBKR for a selection, given what is stored, and how long that takes at least."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.errors import counted
from tt_assets.market.bars import BAR_COLUMNS
from tt_assets.market.calendar import NEW_YORK, latest_closed_session
from tt_assets.market.ibkr.empties import NOTHING_KNOWN, Known
from tt_assets.market.ibkr.history_asks import HistoryAsk, before
from tt_assets.market.ibkr.pacing import clock, seconds_needed
from tt_assets.market.ibkr_config import STRICT_REQUESTS, STRICT_WINDOW, IbkrConfig
from tt_assets.market.sources import BarRequest
from tt_assets.market.watchlist_format import Instrument

TYPICAL_LATENCY = 0.5
"""Seconds a gateway takes for some years of daily bars; for estimates only."""


@dataclass(frozen=True, eq=False)
class StoredBars:
    """What the platform holds already: `bars` has BAR_COLUMNS, one row per instrument and session."""

    bars: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(BAR_COLUMNS)))

    def of(self, instrument: str) -> pd.DataFrame:
        """The bars of one instrument, ascending."""
        if instrument not in self._places:
            return self.bars.iloc[:0]
        own: pd.DataFrame = self.bars.iloc[self._places[instrument]]
        return own.sort_values("timestamp", ignore_index=True)

    @cached_property
    def _places(self) -> dict[str, npt.NDArray[np.intp]]:
        """Where the rows of each instrument stand, found once: a load asks for hundreds of instruments."""
        groups = self.bars.groupby("instrument").indices
        return {str(name): np.asarray(places) for name, places in groups.items()}


ReadStored = Callable[[Sequence[str], date, date], StoredBars]
"""Reads what is stored of these instruments from the first to the last day, both included."""


def nothing_stored(_instruments: Sequence[str], _first: date, _last: date) -> StoredBars:
    """A platform without a bar: everything is asked for."""
    return StoredBars()


@dataclass(frozen=True, eq=False)
class IbkrPlan:
    """`asks` are the historical requests, one per instrument with something missing, in the order of the requests.

    `complete` are the instruments of which nothing closed is missing, `listed` the first day of those whose listing is
    known. `latest` is the newest session whose bar is final, `seconds` the least time under the pacing rules.
    """

    asks: tuple[HistoryAsk, ...]
    complete: tuple[str, ...]
    listed: Mapping[str, date]
    latest: date
    stored: StoredBars
    seconds: float
    config: IbkrConfig
    new_contracts: int = 0
    """Instruments whose contract details must be asked for first; those requests are not paced."""

    def __str__(self) -> str:
        """One line for people, before a large load."""
        complete = len(self.complete)
        spared = f"; {counted(complete, 'instrument')} complete" if complete else ""
        if not self.asks:
            return f"No request to IBKR{spared}."
        rule = f"{self.config.min_interval:g} s between starts, {self.config.max_in_flight} open at once"
        if self.config.strict_budget:
            rule += f", {STRICT_REQUESTS} in {STRICT_WINDOW / 60:g} minutes"
        count, new = len(self.asks), self.new_contracts
        details = f" and {new} for contract details" if new else ""
        return (
            f"{counted(count, 'historical request')}{details} to IBKR{spared}; at least {clock(self.seconds)} ({rule})."
        )


def plan(
    requests: Sequence[BarRequest],
    config: IbkrConfig,
    now: datetime,
    instruments: Sequence[Instrument] = (),
    read_stored: ReadStored = nothing_stored,
    known: Callable[[Instrument], Known] = lambda _: NOTHING_KNOWN,
) -> IbkrPlan:
    """The historical requests that `requests` need at the moment `now` (with a time zone).

    An instrument that `instruments` does not name is a US share in USD. What is stored, and what is `known` to have no
    bar, is not asked for, unless `config.refetch` says so. Several requests for one instrument become one.
    """
    latest = latest_closed_session(now, config.close_margin)
    today = now.astimezone(NEW_YORK).date()
    contracts = {instrument.symbol: instrument for instrument in instruments}
    asked: dict[str, pd.DatetimeIndex] = {}
    for request in requests:
        closed = request.sessions[request.sessions <= pd.Timestamp(latest)]
        asked[request.instrument] = asked.get(request.instrument, closed[:0]).union(closed)
    wanted = {symbol: sessions for symbol, sessions in asked.items() if len(sessions)}
    stored = _read(wanted, config, latest, read_stored)
    asks = []
    listed = {}
    for symbol, sessions in wanted.items():
        instrument = contracts.get(symbol, Instrument(symbol))
        empty = known(instrument)
        if empty.listed is not None:
            listed[symbol] = empty.listed
        missing = sessions
        if not config.refetch:
            missing = sessions.difference(_stored(symbol, stored)).difference(empty.among(sessions))
        if len(missing):
            first = before(missing[0], config.overlap_sessions)
            asks.append(HistoryAsk(instrument, missing, first, today))
    open_symbols = {ask.symbol for ask in asks}
    return IbkrPlan(
        asks=tuple(asks),
        complete=tuple(symbol for symbol in asked if symbol not in open_symbols),
        listed=listed,
        latest=latest,
        stored=stored,
        seconds=seconds_needed(len(asks), config, TYPICAL_LATENCY),
        config=config,
    )


def _read(
    wanted: Mapping[str, pd.DatetimeIndex], config: IbkrConfig, latest: date, read_stored: ReadStored
) -> StoredBars:
    """What is stored of everything an answer may hold: from the overlap before the oldest session up to the latest."""
    if not wanted:
        return StoredBars()
    first = before(min(sessions[0] for sessions in wanted.values()), config.overlap_sessions)
    return read_stored(list(wanted), first, latest)


def _stored(symbol: str, stored: StoredBars) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(stored.of(symbol)["timestamp"].to_numpy(dtype="datetime64[ns]"))
