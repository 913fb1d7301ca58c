"""One session with the gateway through ib_insync: what is asked, and how each way to fail is told apart.

Requests are sent and awaited here and not by ib_insync's `req…Async`, because those turn a time-out, an
error and a lost connection into the same empty list. ib_insync is imported by `open_link`, on the thread and loop that
use it; imported elsewhere it binds to a loop that may not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from tt_assets.market.ibkr.faults import (
    LINK_LOST,
    LINK_RESTORED,
    LINK_RESTORED_EMPTY,
    LinkDown,
    RequestFailed,
    classify,
)
from tt_assets.market.ibkr.intake import Intake
from tt_assets.market.ibkr_config import IbkrConfig
from tt_assets.market.sources import Outcome
from tt_assets.market.watchlist_format import Instrument

if TYPE_CHECKING:
    from ib_insync import IB, Contract

HISTORY_MESSAGE = 17
BEST_ROUTE = "SMART"

# What the library logs is in the outcomes; without a handler Python would print it to stderr.
logging.getLogger("ib_insync").addHandler(logging.NullHandler())
logging.getLogger("eventkit").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ContractMatch:
    """One contract that fits an instrument."""

    contract_id: int
    primary_exchange: str
    currency: str


class Link:
    """An open session. `up` turns False for good when the connection is lost; LinkDown then meets every request."""

    def __init__(self, ib: IB, config: IbkrConfig) -> None:
        self._ib = ib
        self._config = config
        self._open: set[asyncio.Future[Any]] = set()
        self._serving = asyncio.Event()
        self._serving.set()
        self._probe: asyncio.Task[bool] | None = None
        self.up = True
        self.overflow = ""
        """Why the peer was cut off, where it sent more than it may."""
        self._intake = Intake(ib.client, self._cut)
        ib.disconnectedEvent += self._on_disconnected
        ib.errorEvent += self._on_error
        ib.client.decoder.handlers[HISTORY_MESSAGE] = self._on_history

    def ready(self) -> None:
        """The handshake is over: answers may be long from here on."""
        self._intake.ready()

    async def matches(self, instrument: Instrument) -> list[ContractMatch]:
        """Contracts that fit `instrument`. Raises RequestFailed, LinkDown."""
        found = await self._ask(
            lambda request: self._ib.client.reqContractDetails(request, stock(instrument)),
        )
        return [ContractMatch(d.contract.conId, d.contract.primaryExchange, d.contract.currency) for d in found]

    async def history(self, instrument: Instrument, contract_id: int, duration: str) -> list[str]:
        """Daily bars of the regular session up to now: the fields of message 17 (see wire.read_history).

        Raises RequestFailed, LinkDown.
        """
        client = self._ib.client
        fields: list[str] = await self._ask(
            lambda request: client.reqHistoricalData(
                request,
                stock(instrument, contract_id),
                endDateTime="",
                durationStr=duration,
                barSizeSetting="1 day",
                # ADJUSTED_LAST is given up to now only, which every request of ours asks for.
                whatToShow=self._config.what_to_show,
                useRTH=True,
                formatDate=1,
                keepUpToDate=False,
                chartOptions=None,
            ),
            client.cancelHistoricalData,
        )
        return fields

    async def first_day(self, instrument: Instrument, contract_id: int) -> date:
        """The day of the earliest trade IBKR has. Raises RequestFailed, LinkDown."""
        client = self._ib.client
        moment: date = await self._ask(
            lambda request: client.reqHeadTimeStamp(request, stock(instrument, contract_id), "TRADES", True, 1),
            client.cancelHeadTimeStamp,
        )
        return moment.date() if isinstance(moment, datetime) else moment

    async def alive(self) -> bool:
        """Whether the gateway still answers at all; everybody who asks at the same time shares one question."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask_the_time())
        return await asyncio.shield(self._probe)

    @property
    def is_serving(self) -> bool:
        """Whether the gateway is connected to IBKR's servers."""
        return self._serving.is_set()

    async def serving(self, patience: float) -> bool:
        """Wait until the gateway is connected to IBKR or this link is down; False after `patience` seconds."""
        if not self._serving.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._serving.wait(), patience)
        return self._serving.is_set()

    def close(self, why: str = "closed") -> None:
        """End the session; requests that are open get LinkDown."""
        self._fall(why)
        self._ib.disconnect()

    async def _ask(self, send: Callable[[int], None], cancel: Callable[[int], None] | None = None) -> Any:
        if not (self.up and self._serving.is_set()):
            raise LinkDown("the link is down")
        wrapper = self._ib.wrapper
        try:
            request = self._ib.client.getReqId()
            future = wrapper.startReq(request)
            send(request)
        except ConnectionError as lost:
            raise LinkDown(str(lost)) from lost
        try:
            return await self._answer(future, request, cancel)
        finally:
            # What is never answered must not pile up over a long load.
            self._forget(request)

    async def _answer(self, future: asyncio.Future[Any], request: int, cancel: Callable[[int], None] | None) -> Any:
        from ib_insync import RequestError

        self._open.add(future)
        try:
            answer = await asyncio.wait_for(future, self._config.timeout)
            self._intake.answered()
            return answer
        except TimeoutError:
            if cancel is not None:
                with contextlib.suppress(ConnectionError):
                    cancel(request)
            raise RequestFailed(Outcome.TIMED_OUT, f"nothing came within {self._config.timeout:g} s") from None
        except RequestError as error:
            detail = f"error {error.code}: {error.message}"
            raise RequestFailed(classify(error.code, error.message), detail) from None
        except ConnectionError as lost:
            raise LinkDown(str(lost)) from lost
        finally:
            self._open.discard(future)

    async def _ask_the_time(self) -> bool:
        key = "currentTime"
        try:
            future = self._ib.wrapper.startReq(key)
            self._ib.client.reqCurrentTime()
            await asyncio.wait_for(future, self._config.alive_timeout)
        except (TimeoutError, ConnectionError):
            return False
        finally:
            self._forget(key)
        return True

    def _forget(self, key: Hashable) -> None:
        wrapper = self._ib.wrapper
        registries: tuple[dict[Any, Any], ...] = (wrapper._futures, wrapper._results, wrapper._reqId2Contract)
        for registry in registries:
            registry.pop(key, None)

    def _on_history(self, fields: Sequence[str]) -> None:
        """Stands in for ib_insync's reader of message 17: the answer goes to whoever waits for it, as it came."""
        try:
            request = int(fields[1])
        except (IndexError, ValueError):
            return  # it names no request; whoever waits for it runs into the timeout
        self._ib.wrapper._endReq(request, list(fields))

    def _on_error(self, _request: int, code: int, text: str, _contract: object) -> None:
        if code == LINK_LOST:
            self._serving.clear()
            self._break_off(f"error {code}: {text}")
        elif code in (LINK_RESTORED, LINK_RESTORED_EMPTY):
            self._serving.set()

    def _on_disconnected(self) -> None:
        self._fall("the gateway closed the connection")

    def _cut(self, why: str) -> None:
        """Hang up on a peer that sends without an end; nothing of what it still sends is read."""
        self.overflow = why
        self._fall(why)
        if (transport := self._ib.client.conn.transport) is not None:
            transport.abort()

    def _fall(self, why: str) -> None:
        self.up = False
        self._serving.set()
        self._break_off(why)

    def _break_off(self, why: str) -> None:
        for future in list(self._open):
            if not future.done():
                future.set_exception(LinkDown(why))


def stock(instrument: Instrument, contract_id: int = 0) -> Contract:
    """The contract of a share as IBKR wants it.

    It is always routed SMART, so that bars hold the trades of all exchanges; an exchange the watchlist names says where
    the share is listed.
    """
    from ib_insync import Stock

    listed = instrument.primary_exchange or ("" if instrument.exchange == BEST_ROUTE else instrument.exchange)
    return Stock(instrument.symbol, BEST_ROUTE, instrument.currency, primaryExchange=listed, conId=contract_id)
