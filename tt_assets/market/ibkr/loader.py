"""Loading many instruments over one session: each is a task that asks, judges the answer, and asks again if it helps.

A task holds nothing of the connection. When the link is lost every open request ends with LinkDown, and
each task simply asks for the link again; so what is re-queued is exactly what is unfinished.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from tt_assets.market.ibkr.answer import Settled, Withheld, early_end, late_start, listing_agrees, settle
from tt_assets.market.ibkr.contracts import ContractBook
from tt_assets.market.ibkr.faults import GatewayError, LinkDown, LoadGivenUp, RequestFailed, reason
from tt_assets.market.ibkr.history_asks import HistoryAsk
from tt_assets.market.ibkr.link import Link
from tt_assets.market.ibkr.opening import Gateway, backed_off
from tt_assets.market.ibkr.pacing import NotReady, Pacer, clock, seconds_needed
from tt_assets.market.ibkr.wire import read_history
from tt_assets.market.ibkr_config import IbkrConfig
from tt_assets.market.sources import Outcome
from tt_assets.market.watchlist_format import Instrument

ATTEMPTS_WHEN_PACED = 8
"""Being told to slow down says nothing against the request itself."""
ATTEMPTS_WHEN_SHORT = 2
"""An answer that is whole but lacks sessions is asked for once more, then taken for what it is."""
MOST_DROPS = 5
"""Connections lost while one instrument was asked, before it counts as what drops them."""
SUSPECT_DROPS = 2
"""From so many on it is asked apart from other suspects, so that the guilty one does not take them with it."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The bars of one ask, with the sessions it does not vouch for; `listed` where it begins at the listing."""

    settled: Settled
    withheld: tuple[Withheld, ...] = ()
    listed: date | None = None

    @property
    def outcome(self) -> Outcome:
        """The answer in one word, as far as the sessions asked for go."""
        needed = self.settled.ask.needed
        if any(not isinstance(f.session, date) or pd.Timestamp(f.session) in needed for f in self.settled.faults):
            return Outcome.BAD_BARS
        return Outcome.BAD_DATA if self.withheld else Outcome.LOADED


@dataclass(frozen=True)
class Failure:
    """No bars: the outcome and one line for people."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Retry:
    """An attempt that failed and was repeated."""

    instrument: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class LoadProgress:
    """`done` of `total` instruments are finished, `instrument` as the last; `seconds_left` is an estimate."""

    done: int
    total: int
    instrument: str
    outcome: Outcome
    seconds_left: float

    def left(self) -> str:
        """The estimate for people."""
        return f"{clock(self.seconds_left)} left"


@dataclass
class Tally:
    """What a load took."""

    history: int = 0
    heads: int = 0
    retries: list[Retry] = field(default_factory=list)


@dataclass
class _State:
    """Where one instrument stands."""

    attempts: int = 0
    drops: int = 0
    short: int = 0


class Loader:
    """Loads asks over `gateway`; `latest` is the newest session whose bar is final. Belongs to one event loop."""

    def __init__(
        self,
        config: IbkrConfig,
        gateway: Gateway,
        contracts: ContractBook,
        latest: date,
        on_progress: Callable[[LoadProgress], None] | None = None,
    ) -> None:
        self._config = config
        self._gateway = gateway
        self._contracts = contracts
        self._latest = latest
        self._on_progress = on_progress
        self._pacer = Pacer(config)
        # Contract details keep pace with the bars and no more: ib_insync sends 45 messages a second, and details that
        # run ahead take the places of requests for bars.
        self._details = asyncio.Semaphore(config.max_in_flight)
        self._suspects = asyncio.Lock()
        self.tally = Tally()

    async def load(self, asks: Sequence[HistoryAsk]) -> list[Answer | Failure]:
        """One answer or failure per ask, in their order. Raises GatewayError when no session can be had at all."""
        if asks:
            await self._first_link()
        started, done = time.monotonic(), 0

        async def one(ask: HistoryAsk) -> Answer | Failure:
            nonlocal done
            result = await self._one(ask)
            done += 1
            if self._on_progress is not None:
                left = self._seconds_left(done, len(asks), time.monotonic() - started)
                self._on_progress(LoadProgress(done, len(asks), ask.symbol, result.outcome, left))
            return result

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(ask)) for ask in asks]
        return [task.result() for task in running]

    async def _first_link(self) -> None:
        try:
            await self._gateway.link()
        except LoadGivenUp as over:
            raise GatewayError(f"{over}. Look at the gateway, then run it again.") from over

    def _seconds_left(self, done: int, total: int, elapsed: float) -> float:
        return max(elapsed / done * (total - done), seconds_needed(total - done, self._config, 0.0))

    async def _one(self, ask: HistoryAsk) -> Answer | Failure:
        state = _State()
        while True:
            try:
                answer = await self._attempt(ask, state)
            except NotReady:
                continue
            except LinkDown as down:
                state.drops += 1
                if state.drops >= MOST_DROPS:
                    words = f"the connection was lost {state.drops} times while it was asked"
                    return self._failure(ask, state, RequestFailed(Outcome.UNAVAILABLE, words))
                self._repeat(ask, RequestFailed(Outcome.UNAVAILABLE, str(down)))
            except LoadGivenUp as over:
                return self._failure(ask, state, RequestFailed(Outcome.UNAVAILABLE, str(over)))
            except RequestFailed as failed:
                if not await self._again(ask, state, failed):
                    return self._failure(ask, state, failed)
            else:
                if answer is not None:
                    return answer

    async def _attempt(self, ask: HistoryAsk, state: _State) -> Answer | None:
        """Ask once; None where the answer lacks sessions and asking once more may help."""
        contract = await self._contract(ask.instrument)
        async with self._suspects if state.drops >= SUSPECT_DROPS else nullcontext():
            fields = await self._history(ask, contract)
        # Reading takes milliseconds, in which the loop had better start the next request.
        settled = await asyncio.to_thread(self._read, ask, fields)
        withheld: list[Withheld] = []
        listed = None
        if settled.ends_early:
            withheld.append(early_end(settled))
        if settled.starts_late:
            unexplained = await self._late_start(settled, contract, asked_before=state.short > 0)
            if unexplained is None:
                listed = settled.first
            else:
                withheld.append(unexplained)
        state.short += 1
        if withheld and state.short < ATTEMPTS_WHEN_SHORT:
            self._repeat(ask, RequestFailed(Outcome.BAD_DATA, withheld[0].reason))
            return None
        return Answer(settled, tuple(withheld), listed)

    def _read(self, ask: HistoryAsk, fields: Sequence[str]) -> Settled:
        return settle(ask, read_history(ask.symbol, fields), self._latest)

    async def _contract(self, instrument: Instrument) -> int:
        known = self._contracts.known(instrument)
        if known is not None:
            return known
        async with self._details:
            link = await self._gateway.link()
            try:
                return await self._contracts.ask(instrument, link)
            except RequestFailed as failed:
                await self._hear(link, failed)
                raise

    async def _history(self, ask: HistoryAsk, contract: int) -> list[str]:
        async with self._turn((contract, ask.duration)) as link:
            self.tally.history += 1
            try:
                return await link.history(ask.instrument, contract, ask.duration)
            except RequestFailed as failed:
                await self._hear(link, failed)
                if failed.outcome is Outcome.UNKNOWN_INSTRUMENT and self._contracts.forget(ask.instrument):
                    raise RequestFailed(Outcome.UNAVAILABLE, f"the remembered contract {contract} is gone") from failed
                raise

    @asynccontextmanager
    async def _turn(self, key: Hashable) -> AsyncIterator[Link]:
        """A turn under the pacing rules and the link to use it on; nobody waits for the link while holding a turn."""
        await self._gateway.link()
        async with self._pacer.turn(key, lambda: self._gateway.serving() is not None):
            link = self._gateway.serving()
            if link is None:  # nothing ran since the pacer looked
                raise NotReady
            yield link

    async def _late_start(self, settled: Settled, contract: int, asked_before: bool) -> Withheld | None:
        """None where IBKR's earliest trade explains the late start, else the sessions that are missing.

        Where IBKR has no earliest trade to tell, a second answer that begins as late is believed.
        """
        instrument = settled.ask.instrument
        async with self._turn((contract, "head")) as link:
            self.tally.heads += 1
            try:
                first_day = await link.first_day(instrument, contract)
            except RequestFailed as failed:
                await self._hear(link, failed)
                if asked_before and not failed.outcome.retried:
                    return None
                return late_start(settled, f"and when it was listed could not be learned ({failed.detail})")
        if listing_agrees(settled, first_day):
            return None
        return late_start(settled, f"although it trades since {first_day}")

    async def _hear(self, link: Link, failed: RequestFailed) -> None:
        """What a failed request says about everybody else's: slow down, or the link is deaf."""
        if failed.outcome is Outcome.PACED:
            self._pacer.slow_down()
        elif failed.outcome is Outcome.TIMED_OUT and link.up and not await link.alive():
            link.close("the gateway does not answer any more")

    async def _again(self, ask: HistoryAsk, state: _State, failed: RequestFailed) -> bool:
        """Wait before another attempt; False where another would not help."""
        state.attempts += 1
        paced = failed.outcome is Outcome.PACED
        most = max(ATTEMPTS_WHEN_PACED, self._config.attempts) if paced else self._config.attempts
        if not failed.outcome.retried or state.attempts >= most:
            return False
        self._repeat(ask, failed)
        if not paced:  # the pacer makes everybody wait
            await asyncio.sleep(backed_off(state.attempts, self._config))
        return True

    def _repeat(self, ask: HistoryAsk, failed: RequestFailed) -> None:
        self.tally.retries.append(Retry(ask.symbol, failed.outcome, failed.detail))

    def _failure(self, ask: HistoryAsk, state: _State, failed: RequestFailed) -> Failure:
        return Failure(failed.outcome, reason(ask.symbol, failed, max(state.attempts, 1), self._config))
