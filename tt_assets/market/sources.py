"""What a source of daily bars is asked and what it answers; files and Interactive Brokers answer in the same terms.

An empty frame never stands for an answer. Every request gets a result that says, session by session,
whether there is a bar, the instrument was not listed yet, the source has a gap or has ended, or the bar is bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tt_assets.market.bars import BarFault
from tt_assets.market.calendar import sessions


class Outcome(StrEnum):
    """How one request ended."""

    LOADED = "loaded"
    NOT_LISTED_YET = "not_listed_yet"
    NO_BARS = "no_bars"
    BAD_BARS = "bad_bars"
    UNKNOWN_INSTRUMENT = "unknown_instrument"
    NOT_PERMITTED = "not_permitted"
    BAD_REQUEST = "bad_request"
    UNAVAILABLE = "unavailable"
    CLIENT_ID_IN_USE = "client_id_in_use"
    PACED = "paced"
    TIMED_OUT = "timed_out"
    BAD_DATA = "bad_data"
    """The answer itself was garbled; bars that arrive whole but break the contract are BAD_BARS."""

    @property
    def retried(self) -> bool:
        """Whether asking again may end differently."""
        return self in _RETRIED


_RETRIED = {Outcome.UNAVAILABLE, Outcome.CLIENT_ID_IN_USE, Outcome.PACED, Outcome.TIMED_OUT, Outcome.BAD_DATA}


class SessionOutcome(StrEnum):
    """What a source has for one instrument and session."""

    BAR = "bar"
    NOT_LISTED_YET = "not_listed_yet"
    MISSING = "missing"
    AFTER_LAST = "after_last"
    BAD = "bad"
    NOT_FETCHED = "not_fetched"


@dataclass(frozen=True)
class BarRequest:
    """The daily bars of one instrument over a span.

    Parameters
    ----------
    instrument : symbol, as on the watchlist.
    first, last : days of the market, both included.

    Raises
    ------
    ValueError : `last` is before `first`.
    """

    instrument: str
    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"{self.instrument}: last {self.last} is before first {self.first}")

    @cached_property
    def sessions(self) -> pd.DatetimeIndex:
        """The sessions asked for, ascending midnights."""
        return sessions(self.first, self.last)


@dataclass(frozen=True, eq=False)
class Fetched:
    """The source knows the instrument and answered.

    Parameters
    ----------
    request : what was asked.
    bars : the clean bars of the request: BAR_COLUMNS, ascending sessions, prices in USD (split-adjusted), volume in
        shares.
    faults : the rows it refused, those of the request and those whose date cannot be read.
    listed, last : the instrument's first and last day in the whole source, good or bad; None when no row of it has a
        readable date. They tell a listing and an end from a gap.
    """

    request: BarRequest
    bars: pd.DataFrame
    faults: tuple[BarFault, ...]
    listed: date | None
    last: date | None

    @property
    def outcome(self) -> Outcome:
        """The answer in one word: any fault is BAD_BARS, else any bar (or nothing asked) is LOADED."""
        if self.faults:
            return Outcome.BAD_BARS
        if len(self.bars) or not len(self.request.sessions):
            return Outcome.LOADED
        if self.listed is not None and self.request.last < self.listed:
            return Outcome.NOT_LISTED_YET
        return Outcome.NO_BARS

    def by_session(self) -> pd.Series[Any]:
        """SessionOutcome per session of the request, indexed by session.

        A row whose date cannot be read may be any session's bar, so it turns every session without a bar since the
        listing from MISSING or AFTER_LAST into BAD.
        """
        asked = self.request.sessions
        dated = [fault.session for fault in self.faults if isinstance(fault.session, date)]
        undated = len(dated) < len(self.faults)
        absent = SessionOutcome.BAD if undated else SessionOutcome.MISSING
        outcomes = np.full(len(asked), absent, dtype=object)
        if self.listed is not None:
            outcomes[asked < pd.Timestamp(self.listed)] = SessionOutcome.NOT_LISTED_YET
        if self.last is not None and not undated:
            outcomes[asked > pd.Timestamp(self.last)] = SessionOutcome.AFTER_LAST
        outcomes[asked.isin(pd.to_datetime(dated))] = SessionOutcome.BAD
        outcomes[asked.isin(self.bars["timestamp"])] = SessionOutcome.BAR
        return pd.Series(outcomes, index=asked, name="outcome", dtype=object)

    @property
    def missing(self) -> pd.DatetimeIndex:
        """Sessions of the request between `listed` and `last` for which the source has no row."""
        outcomes = self.by_session()
        return pd.DatetimeIndex(outcomes.index[outcomes == SessionOutcome.MISSING])


@dataclass(frozen=True)
class NotFetched:
    """The source gave no bars for the instrument.

    Parameters
    ----------
    request : what was asked.
    outcome : why, as far as a program cares; `outcome.retried` says whether asking again may help.
    reason : why, in one line for people: thing, value, remedy.
    """

    request: BarRequest
    outcome: Outcome
    reason: str

    def by_session(self) -> pd.Series[Any]:
        """NOT_FETCHED for every session of the request."""
        return pd.Series(SessionOutcome.NOT_FETCHED, index=self.request.sessions, name="outcome", dtype=object)


FetchResult = Fetched | NotFetched


class PriceSource(Protocol):
    """Anything that has daily bars; `TT_PRICE_SOURCE` chooses one.

    A source answers in the terms of this module and holds its bars to the contract of `market.bars`.
    """

    def fetch(self, requests: Sequence[BarRequest]) -> Sequence[FetchResult]:
        """The bars of the regular session, one result per request.

        Parameters
        ----------
        requests : an instrument each, with its first and last day (New York, both included).

        Returns
        -------
        One result per request, in their order. What fails for one instrument fails for it alone, as a NotFetched; an
        empty `Fetched.bars` says that the source has none, never that it could not tell.

        Raises
        ------
        UserError : nothing can be had of the source at all: no file, no gateway.
        """
        ...
