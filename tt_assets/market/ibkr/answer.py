"""What an answer is worth: its clean bars, its faults, and the sessions it ought to have and has not.

An instrument that IBKR still lists has a bar for the newest closed session. An answer that ends earlier,
or begins later than the instrument's listing, is incomplete, not empty; the sessions it lacks are not vouched for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.bars import BarFault, check_bars
from tt_assets.market.ibkr.history_asks import HistoryAsk
from tt_assets.market.sources import Outcome

LISTING_SLACK = timedelta(days=7)
"""A head timestamp may name a day or two before the first daily bar: a when-issued trade, for one."""


@dataclass(frozen=True, eq=False)
class Settled:
    """One answer, checked. `bars` are clean (BAR_COLUMNS, ascending), `faults` the rows refused.

    `first` and `last` are the first and last closed day the answer has a row of, None without one.
    """

    ask: HistoryAsk
    bars: pd.DataFrame
    faults: tuple[BarFault, ...]
    first: date | None
    last: date | None

    @property
    def undated(self) -> bool:
        """Whether there is a row whose day nobody knows; it may be any session's."""
        return any(not isinstance(fault.session, date) for fault in self.faults)

    @property
    def starts_late(self) -> bool:
        """Whether the oldest session asked for is before the answer: a listing, or an answer cut short."""
        return not self.undated and (self.first is None or self.first > self.ask.oldest)

    @property
    def ends_early(self) -> bool:
        """Whether the newest session asked for is after the answer."""
        return not self.undated and (self.last is None or self.last < self.ask.newest)


@dataclass(frozen=True)
class Withheld:
    """Sessions from `first` to `last` for which the answer does not vouch: one line says why, with the remedy."""

    first: date
    last: date
    reason: str
    outcome: Outcome = Outcome.BAD_DATA
    """BAD_DATA where the answer ought to have them, UNAVAILABLE where it is too early."""


def settle(ask: HistoryAsk, rows: pd.DataFrame, latest: date) -> Settled:
    """Check the `rows` of an answer (see wire.read_history); `latest` is the newest session whose bar is final.

    Rows of later days, today's unfinished bar above all, and of days before the ask are left out without a fault.
    """
    days = _readable_days(rows["timestamp"])
    beyond = (days > np.datetime64(latest, "D")) | (days < np.datetime64(ask.first, "D"))
    rows = rows[~beyond] if beyond.any() else rows
    checked = check_bars(rows, known=(ask.symbol,))
    dated = [fault.session for fault in checked.faults if isinstance(fault.session, date)]
    stamps = checked.clean["timestamp"]
    ends = [*dated, *((stamps.iloc[0].date(), stamps.iloc[-1].date()) if len(stamps) else ())]
    return Settled(ask, checked.clean, checked.faults, min(ends, default=None), max(ends, default=None))


def _readable_days(stamps: pd.Series[Any]) -> npt.NDArray[np.datetime64]:
    """The days (rows,) as datetime64[D], NaT where there is only a text."""
    if stamps.dtype.kind == "M":
        return stamps.to_numpy().astype("datetime64[D]")
    return np.array([day if isinstance(day, date) else None for day in stamps], dtype="datetime64[D]")


def listing_agrees(settled: Settled, first_day: date) -> bool:
    """Whether IBKR's earliest trade on `first_day` explains that the answer starts late."""
    return settled.first is None or settled.first - first_day <= LISTING_SLACK


def late_start(settled: Settled, detail: str) -> Withheld:
    """The sessions before an answer that starts too late."""
    first = settled.first or settled.ask.today
    return Withheld(
        settled.ask.oldest,
        first - timedelta(days=1),
        f"{settled.ask.symbol}: IBKR's answer begins on {first}, {detail}; the sessions from {settled.ask.oldest} on "
        "are missing from it. Run it again.",
    )


def early_end(settled: Settled) -> Withheld:
    """The sessions after an answer that ends too early."""
    have = f"ends on {settled.last}" if settled.last else "has no closed session"
    after = settled.last + timedelta(days=1) if settled.last else settled.ask.oldest
    return Withheld(
        max(after, settled.ask.oldest),
        settled.ask.newest,
        f"{settled.ask.symbol}: IBKR's answer {have} although {settled.ask.newest} has closed. Run it again later; "
        "if the instrument no longer trades, retire it from the watchlist.",
    )


def not_closed(symbol: str, first: date, last: date) -> Withheld:
    """Sessions whose bar is not final yet."""
    return Withheld(
        first,
        last,
        f"{symbol}: the session of {first} has not closed, or only just. Run it after the close.",
        Outcome.UNAVAILABLE,
    )


def inside(bars: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    """The bars from `first` to `last`, both included."""
    stamps = bars["timestamp"].to_numpy()
    return bars[(stamps >= np.datetime64(first)) & (stamps <= np.datetime64(last))].reset_index(drop=True)
