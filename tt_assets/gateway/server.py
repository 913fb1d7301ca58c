"""The stand-in gateway: an asyncio server that answers what ib_insync asks when it loads daily bars.

No reader ever waits for an answer. Every request is a task of its own, so slow, silent and cancelled
requests behave side by side as at a gateway.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from tt_assets.gateway import answers
from tt_assets.gateway.book import BarBook
from tt_assets.gateway.client_requests import Kind, Request
from tt_assets.gateway.frames import GREETING, NotTheProtocolError, frame, read_frame
from tt_assets.gateway.open_request import OpenRequest
from tt_assets.gateway.request_log import RequestLog, SeenRequest
from tt_assets.market import clock

NEWEST_VERSION = 176
OLDEST_VERSION = 157
MOST_OPEN = 50
"""Historical requests a gateway keeps open at once."""


class StandIn:
    """A gateway over a book of bars; `start` and `stop` belong to one event loop.

    A subclass that overrides `answer` stands between every request and its answer.

    Parameters
    ----------
    book : the bars it serves.
    latency : seconds before each answer; none before those of the handshake.
    today : New York date of the newest day it has bars of, asked anew for each request.
    version : server version it announces, OLDEST_VERSION to NEWEST_VERSION; ValueError outside.
    accounts : account names it announces, separated by commas.
    most_open : historical requests open at once; one more is refused with error 322.
    log : takes down each request; without one it keeps its own.
    """

    def __init__(
        self,
        book: BarBook,
        *,
        latency: float = 0.0,
        today: Callable[[], date] = clock.today,
        version: int = NEWEST_VERSION,
        accounts: str = "DU0000000",
        most_open: int = MOST_OPEN,
        log: RequestLog | None = None,
    ) -> None:
        if not OLDEST_VERSION <= version <= NEWEST_VERSION:
            raise ValueError(f"server version {version} is outside {OLDEST_VERSION} to {NEWEST_VERSION}")
        self.book = book
        self.latency = latency
        self.today = today
        self.version = version
        self.accounts = accounts
        self.most_open = most_open
        self.log = log or RequestLog()
        self.open_history = 0
        self.port = 0
        self.clients: set[_Client] = set()
        self._asked: Counter[tuple[Kind, str]] = Counter()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one and `port` says which. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection. It may be started again, on the same port."""
        if self._server is not None:
            self._server.close()
        self.drop_connections()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def answer(self, request: OpenRequest) -> None:
        """Answer one request, of whatever kind; called once for each, as a task of its own after the handshake."""
        await request.respond()

    def drop_connections(self) -> None:
        """Cut every connection, as a gateway that is killed."""
        for client in list(self.clients):
            client.drop()

    def count(self, kind: Kind, symbol: str) -> int:
        """How many-th request of this kind and symbol the next one is, from 1."""
        self._asked[kind, symbol] += 1
        return self._asked[kind, symbol]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self, reader, writer)
        self.clients.add(client)
        self.log.connections += 1
        try:
            await client.talk()
        except (asyncio.IncompleteReadError, ConnectionError, NotTheProtocolError, ValueError, IndexError):
            pass  # the peer went away or does not speak the protocol; a gateway hangs up too
        finally:
            self.clients.discard(client)
            client.drop()


@dataclass(frozen=True, eq=False)
class _Answering:
    """A request being answered; `counted` when it counts against the most that may be open."""

    task: asyncio.Task[None]
    seen: SeenRequest
    counted: bool


class _Client:
    """One connection."""

    def __init__(self, gateway: StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gateway = gateway
        self.reader = reader
        self.writer = writer
        self.client_id = -1
        self._answering: set[_Answering] = set()
        self._by_id: dict[int, _Answering] = {}

    def send(self, raw: bytes) -> None:
        """Write, unless the connection is gone."""
        if not self.writer.is_closing():
            self.writer.write(raw)

    def drop(self) -> None:
        """Close the connection and forget what was being answered. Bytes already written still go out."""
        for being in list(self._answering):
            being.task.cancel()
        self.writer.close()

    async def talk(self) -> None:
        """Handshake, then one request after the other until the peer hangs up."""
        if await self.reader.readexactly(len(GREETING)) != GREETING:
            raise NotTheProtocolError("no greeting")
        await read_frame(self.reader)  # the versions the client knows; ib_insync says 157 to 176
        await self._shake_hands(Kind.GREETING)
        while True:
            await self._take(await read_frame(self.reader))

    async def _take(self, fields: list[str]) -> None:  # noqa: C901, PLR0912 - one case for each message
        match int(fields[0]):
            case 71:
                self.client_id = int(fields[2])
                await self._shake_hands(Kind.START)
            case 9:
                self._begin(Kind.DETAILS, int(fields[2]), fields[4], fields)
            case 20:
                wanted = answers.HistoryFields.of(fields)
                self._begin(Kind.HISTORY, int(fields[1]), self._symbol(wanted.contract_id, wanted.symbol), fields)
            case 87:
                self._begin(Kind.HEAD, int(fields[1]), self._symbol(int(fields[2] or 0), fields[3]), fields)
            case 25:
                self._cancel(int(fields[2]))
            case 49:
                self._begin(Kind.TIME, 0, "", fields)
            case 61:
                self.send(frame(62, 1))
            case 5:
                self.send(frame(53, 1))
            case 99:
                self.send(frame(102))
            case 6:
                self.send(frame(54, 1, fields[3]))
            case 62:
                self.send(frame(64, 1, fields[2]))
            case 76:
                self.send(frame(74, 1, fields[2]))
            case 7:
                self.send(frame(55, 1, fields[2]))
            case _:
                pass  # 90 (cancel of a head timestamp) and whatever else wants no answer

    async def _shake_hands(self, kind: Kind) -> None:
        request = Request(kind, self.client_id)
        await self.gateway.answer(OpenRequest(self.gateway, self, request))

    def _symbol(self, contract_id: int, symbol: str) -> str:
        return (self.gateway.book.symbol_of(contract_id) if contract_id else None) or symbol

    def _begin(self, kind: Kind, request_id: int, symbol: str, fields: Sequence[str]) -> None:
        gateway = self.gateway
        asked = answers.HistoryFields.of(fields) if kind is Kind.HISTORY else None
        duration, what = (asked.duration, asked.what) if asked else ("", "")
        request = Request(kind, self.client_id, symbol, duration, gateway.count(kind, symbol), what)
        counted = kind in (Kind.HISTORY, Kind.HEAD)
        gateway.open_history += counted
        seen = gateway.log.begin(request, gateway.open_history)
        opened = OpenRequest(gateway, self, request, request_id, fields)
        task = asyncio.create_task(self._answer(opened, counted))
        being = _Answering(task, seen, counted)
        self._answering.add(being)
        if kind is not Kind.TIME:
            self._by_id[request_id] = being
        # Not at the end of `_answer`: a task that is cancelled before its first step never gets there.
        task.add_done_callback(lambda _: self._over(being, request_id))

    def _over(self, being: _Answering, request_id: int) -> None:
        if being in self._answering:
            self._answering.discard(being)
            self.gateway.open_history -= being.counted
            self.gateway.log.end(being.seen)
            if self._by_id.get(request_id) is being:
                del self._by_id[request_id]

    async def _answer(self, request: OpenRequest, counted: bool) -> None:
        gateway = self.gateway
        if counted and gateway.open_history > gateway.most_open:
            cause = f"Only {gateway.most_open} simultaneous API historical data requests allowed."
            request.send_error(322, f"Error processing request.-'bN' : cause - {cause}")
            return
        await asyncio.sleep(gateway.latency)
        await gateway.answer(request)

    def _cancel(self, request_id: int) -> None:
        being = self._by_id.get(request_id)
        if being is None:
            text = f"No historical data query found for ticker id:{request_id}"
            self.send(answers.error(self.gateway.version, request_id, 366, text))
            return
        being.task.cancel()
        self._over(being, request_id)  # at once: the next request may stand in the buffer already
        text = f"Historical Market Data Service error message:API historical data query cancelled: {request_id}"
        self.send(answers.error(self.gateway.version, request_id, 162, text))
