"""What a load hands back for each request: new bars, old bars, and what the comparison of both says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from tt_assets.market.bars import BAR_COLUMNS, summarise
from tt_assets.market.ibkr.answer import Settled, Withheld, inside, not_closed
from tt_assets.market.ibkr.loader import Answer, Failure
from tt_assets.market.ibkr.overlap import NOTHING_COMPARED, Overlap, Verdict
from tt_assets.market.ibkr.plan import IbkrPlan
from tt_assets.market.sources import BarRequest, Fetched, FetchResult, NotFetched, Outcome, SessionOutcome

LOTS = (
    "{symbol}: IBKR's volumes are in lots of 100, the stored ones in shares. In the gateway's API settings switch off "
    '"Send market data in lots for US stocks", then run it again; the stored rows stay as they are.'
)


def no_bars() -> pd.DataFrame:
    """An empty frame with BAR_COLUMNS."""
    return pd.DataFrame(columns=list(BAR_COLUMNS))


@dataclass(frozen=True, eq=False)
class IbkrFetched(Fetched):
    """What IBKR answered about one request.

    Sessions in `withheld` are NOT_FETCHED whatever the answer holds about its ends. `overlap` is the comparison with
    the bars stored before; `restated` the new bars of the stored sessions that differ, inside the request or
    not, after a re-adjustment of all stored sessions: they belong into the store together with `bars`.
    """

    withheld: tuple[Withheld, ...] = ()
    overlap: Overlap = NOTHING_COMPARED
    failure: Outcome | None = None
    """How the request for the missing sessions failed; `bars` are the stored ones then."""
    restated: pd.DataFrame = field(default_factory=no_bars)

    @property
    def outcome(self) -> Outcome:
        """As of any source; an answer that lacks sessions it ought to have is BAD_DATA, one too early UNAVAILABLE."""
        if self.failure is not None:
            return self.failure
        if self.faults:
            return Outcome.BAD_BARS
        if any(span.outcome is Outcome.BAD_DATA for span in self.withheld):
            return Outcome.BAD_DATA
        return Outcome.UNAVAILABLE if self.withheld and self.bars.empty else super().outcome

    def by_session(self) -> pd.Series[Any]:
        """SessionOutcome per session; without a bar and withheld is NOT_FETCHED."""
        outcomes = super().by_session()
        known = outcomes.isin([SessionOutcome.BAR, SessionOutcome.BAD]).to_numpy()
        for span in self.withheld:
            inside = (outcomes.index >= pd.Timestamp(span.first)) & (outcomes.index <= pd.Timestamp(span.last))
            outcomes[inside & ~known] = SessionOutcome.NOT_FETCHED
        return outcomes

    def why_withheld(self, first: date, last: date) -> str | None:
        """The reason for the first span of `withheld` that touches `first` … `last`."""
        return next((span.reason for span in self.withheld if span.first <= last and span.last >= first), None)


def result_of(
    request: BarRequest,
    planned: IbkrPlan,
    answers: Mapping[str, Answer | Failure],
    overlaps: Mapping[str, Overlap],
    histories: Mapping[str, pd.DataFrame],
) -> FetchResult:
    """The answer to one request, out of what came for its instrument and what is stored of it.

    `histories` holds everything that is stored of the instruments whose history was re-adjusted.
    """
    symbol = request.instrument
    stored = histories.get(symbol, planned.stored.of(symbol))
    unfinished = _unfinished(request, planned.latest)
    answer = answers.get(symbol)
    if answer is None:
        ends = stored["timestamp"]
        return IbkrFetched(
            request=request,
            bars=_cut(stored, request),
            faults=(),
            listed=planned.listed.get(symbol),
            last=ends.iloc[-1].date() if len(ends) else None,
            withheld=unfinished,
        )
    overlap = overlaps.get(symbol, NOTHING_COMPARED)
    if isinstance(answer, Failure):
        if overlap.reloads_history:
            words = f"{_adjusted(overlap)}, and its history could not be loaded again: {answer.reason}"
            return NotFetched(request, answer.outcome, f"{symbol}: {words}")
        return _failed(request, answer, planned, unfinished)
    if overlap.verdict is Verdict.IN_LOTS:
        return _failed(request, Failure(Outcome.BAD_BARS, LOTS.format(symbol=symbol)), planned, unfinished)
    return _fetched(request, answer, overlap, stored, planned.listed.get(symbol), unfinished)


def _failed(request: BarRequest, failure: Failure, planned: IbkrPlan, unfinished: tuple[Withheld, ...]) -> FetchResult:
    """What is stored is complete whatever became of the rest; only the sessions that were asked for fail."""
    bars = _cut(planned.stored.of(request.instrument), request)
    asked = next(ask for ask in planned.asks if ask.symbol == request.instrument)
    if bars.empty or bars["timestamp"].isin(asked.needed).all():
        return NotFetched(request, failure.outcome, failure.reason)
    return IbkrFetched(
        request=request,
        bars=bars[~bars["timestamp"].isin(asked.needed)].reset_index(drop=True),
        faults=(),
        listed=planned.listed.get(request.instrument),
        last=None,
        withheld=(Withheld(asked.oldest, asked.newest, failure.reason, failure.outcome), *unfinished),
        failure=failure.outcome,
    )


def _fetched(
    request: BarRequest,
    answer: Answer,
    overlap: Overlap,
    stored: pd.DataFrame,
    known_listing: date | None,
    unfinished: tuple[Withheld, ...],
) -> FetchResult:
    settled = answer.settled
    bars = settled.bars
    if overlap.reloads_history:
        left = stored.loc[~stored["timestamp"].isin(bars["timestamp"]), "timestamp"]
        if len(left):
            return NotFetched(request, Outcome.BAD_DATA, _half_reloaded(request.instrument, overlap, left, settled))
        differing = bars["timestamp"].isin(stored["timestamp"])
    else:
        differing = bars["timestamp"].isin(pd.to_datetime(list(overlap.revised)))
    restated = bars[differing].reset_index(drop=True)
    bars = _with_stored(bars, stored, settled)
    ends = [day for day in (settled.last, stored["timestamp"].max() if len(stored) else None) if day is not None]
    return IbkrFetched(
        request=request,
        bars=_cut(bars, request),
        faults=tuple(
            fault
            for fault in settled.faults
            if not isinstance(fault.session, date) or request.first <= fault.session <= request.last
        ),
        listed=answer.listed or known_listing or request.first,
        last=max((pd.Timestamp(day).date() for day in ends), default=None),
        withheld=(*answer.withheld, *unfinished),
        overlap=overlap,
        restated=restated,
    )


def _with_stored(bars: pd.DataFrame, stored: pd.DataFrame, settled: Settled) -> pd.DataFrame:
    """`bars`, and the stored ones of sessions the answer has no row for: a bar once had does not vanish."""
    refused = pd.to_datetime([fault.session for fault in settled.faults if isinstance(fault.session, date)])
    kept = stored[~stored["timestamp"].isin(bars["timestamp"]) & ~stored["timestamp"].isin(refused)]
    if kept.empty:
        return bars
    return pd.concat([bars, kept[bars.columns]], ignore_index=True).sort_values("timestamp", ignore_index=True)


def _cut(bars: pd.DataFrame, request: BarRequest) -> pd.DataFrame:
    return inside(bars, request.first, request.last)


def _unfinished(request: BarRequest, latest: date) -> tuple[Withheld, ...]:
    later = request.sessions[request.sessions > pd.Timestamp(latest)]
    return (not_closed(request.instrument, later[0].date(), later[-1].date()),) if len(later) else ()


def _half_reloaded(symbol: str, overlap: Overlap, left: pd.Series[Any], settled: Settled) -> str:
    """Adjusted and unadjusted prices side by side would be a move that never was, so nothing of it lands."""
    broken = f" ({summarise(settled.faults, 2).rstrip('.')})" if settled.faults else ""
    return (
        f"{symbol}: {_adjusted(overlap)}, and the history IBKR sends lacks a good bar of {len(left)} stored sessions, "
        f"{left.min().date()} first{broken}. The stored rows stay as they are; run it again, or delete those sessions "
        "from tt_prices."
    )


def _adjusted(overlap: Overlap) -> str:
    if overlap.verdict is Verdict.WAS_IN_LOTS:
        return "its stored volumes are in lots of 100"
    return f"its history was re-adjusted by {overlap.ratio:.6g}"
