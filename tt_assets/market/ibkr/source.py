"""Interactive Brokers as a price source.

A load lives on a thread of its own with its own event loop, whatever the caller runs on. So it works from
a thread without a loop, beside a running loop, and in a process of its own; the session ends with the load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime

import pandas as pd

from tt_assets.market.calendar import FIRST_DAY
from tt_assets.market.clock import now_in_new_york
from tt_assets.market.ibkr.contracts import ContractBook
from tt_assets.market.ibkr.empties import EmptySessions
from tt_assets.market.ibkr.history_asks import HistoryAsk
from tt_assets.market.ibkr.load_report import IbkrLoad, LoadReport
from tt_assets.market.ibkr.loader import Answer, Failure, Loader, LoadProgress
from tt_assets.market.ibkr.opening import Gateway
from tt_assets.market.ibkr.overlap import Overlap, compare
from tt_assets.market.ibkr.plan import IbkrPlan, ReadStored, nothing_stored, plan
from tt_assets.market.ibkr.results import result_of
from tt_assets.market.ibkr.threads import run_on_thread
from tt_assets.market.ibkr_config import IbkrConfig
from tt_assets.market.sources import BarRequest, FetchResult
from tt_assets.market.watchlist_format import Instrument


class IbkrBars:
    """Daily bars from Interactive Brokers (see PriceSource): split-adjusted trades of the regular session, in USD.

    Parameters
    ----------
    config : where the gateway is and how it is treated.
    instruments : the watchlist's lines; a symbol without one is a US share.
    read_stored : gives the bars that are stored already; those, and the sessions IBKR is known to have no bar of, are
        not asked for again, unless `config.refetch` says so.
    on_progress : called after each instrument, on the load's thread.
    on_done : called after a `fetch`, with everything that is known of it.
    clock : this moment, with a time zone.
    """

    def __init__(
        self,
        config: IbkrConfig,
        instruments: Sequence[Instrument] = (),
        read_stored: ReadStored = nothing_stored,
        *,
        on_progress: Callable[[LoadProgress], None] | None = None,
        on_done: Callable[[IbkrLoad], None] = lambda _: None,
        clock: Callable[[], datetime] = now_in_new_york,
    ) -> None:
        self.config = config
        self._instruments = tuple(instruments)
        self._read_stored = read_stored
        self._on_progress = on_progress
        self._on_done = on_done
        self._clock = clock
        self._contracts = ContractBook(config.contracts_path)
        self._empty = EmptySessions(config.empty_sessions_path)

    def fetch(self, requests: Sequence[BarRequest]) -> list[FetchResult]:
        """Bars of each request, see PriceSource.

        Raises
        ------
        GatewayError : no session with the gateway can be had.
        """
        load = self.load(requests)
        self._on_done(load)
        return list(load.results)

    def plan(self, requests: Sequence[BarRequest]) -> IbkrPlan:
        """What `fetch` would ask now; asks nothing of IBKR."""
        now = self._clock()
        planned = plan(requests, self.config, now, self._instruments, self._read_stored, self._empty.of)
        new = sum(self._contracts.known(ask.instrument) is None for ask in planned.asks)
        return replace(planned, new_contracts=new)

    def load(self, requests: Sequence[BarRequest]) -> IbkrLoad:
        """As `fetch`, with the plan and a report. No connection is made where nothing is missing."""
        started = time.monotonic()
        planned = self.plan(requests)
        answers: dict[str, Answer | Failure] = {}
        overlaps: dict[str, Overlap] = {}
        histories: dict[str, pd.DataFrame] = {}
        report = LoadReport()
        if planned.asks:
            answers, overlaps, histories, report = run_on_thread(self._session(planned, started))
            self._contracts.save()
            for answer in answers.values():
                if isinstance(answer, Answer):
                    self._empty.learn(answer)
            self._empty.save()
        results = tuple(result_of(request, planned, answers, overlaps, histories) for request in requests)
        return IbkrLoad(results, planned, report)

    async def _session(
        self, planned: IbkrPlan, started: float
    ) -> tuple[dict[str, Answer | Failure], dict[str, Overlap], dict[str, pd.DataFrame], LoadReport]:
        """Load what is planned, then the whole history of what turns out re-adjusted."""
        gateway = Gateway(self.config)
        asked_before = self._contracts.asked
        loader = Loader(self.config, gateway, self._contracts, planned.latest, self._on_progress)
        try:
            answers = dict(zip([a.symbol for a in planned.asks], await loader.load(planned.asks), strict=True))
            overlaps = {
                symbol: compare(planned.stored.of(symbol), answer.settled.bars)
                for symbol, answer in answers.items()
                if isinstance(answer, Answer)
            }
            readjusted = [symbol for symbol, overlap in overlaps.items() if overlap.reloads_history]
            stored = self._read_stored(readjusted, FIRST_DAY, planned.latest) if readjusted else planned.stored
            histories = {symbol: stored.of(symbol) for symbol in readjusted}
            reloads = [_reload(ask, histories[ask.symbol]) for ask in planned.asks if ask.symbol in histories]
            # An answer that already reaches back to the first stored session is the history.
            short = [ask for ask in reloads if ask.oldest < _reach(answers[ask.symbol])]
            again = await loader.load(short)
            answers |= dict(zip([ask.symbol for ask in short], again, strict=True))
        finally:
            gateway.close()
        tally = loader.tally
        report = LoadReport(
            tally.history,
            tally.heads,
            self._contracts.asked - asked_before,
            gateway.reconnects,
            tuple(tally.retries),
            time.monotonic() - started,
        )
        return answers, overlaps, histories, report


def _reload(ask: HistoryAsk, history: pd.DataFrame) -> HistoryAsk:
    """The ask for every session of the stored `history`, and those of `ask`."""
    needed = ask.needed.union(pd.DatetimeIndex(history["timestamp"].to_numpy(dtype="datetime64[ns]")))
    return HistoryAsk(ask.instrument, needed, min(needed[0].date(), ask.first), ask.today)


def _reach(answer: Answer | Failure) -> date:
    first = answer.settled.first if isinstance(answer, Answer) else None
    return first or date.max
