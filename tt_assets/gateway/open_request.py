"""A request being answered: the right answer of each kind, and the messages an answer is made of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Protocol

from tt_assets.gateway import answers
from tt_assets.gateway.book import BarBook, WireBar
from tt_assets.gateway.client_requests import Kind, Request
from tt_assets.gateway.frames import frame
from tt_assets.market.clock import now_in_new_york

FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefnj"),
)
NO_REQUEST = -1
"""Request id of a message that answers no request."""


class Served(Protocol):
    """What an answer needs to know of its gateway."""

    book: BarBook
    version: int
    accounts: str
    today: Callable[[], date]


class Peer(Protocol):
    """The connection a request came in on."""

    def send(self, raw: bytes) -> None:
        """Write, unless the connection is gone."""
        ...

    def drop(self) -> None:
        """Cut the connection at once; what was sent before still goes out."""
        ...


class OpenRequest:
    """A request being answered. One that is never answered stays open until it is cancelled."""

    def __init__(
        self, served: Served, peer: Peer, request: Request, request_id: int = NO_REQUEST, fields: Sequence[str] = ()
    ) -> None:
        self.request = request
        self.request_id = request_id
        self._served = served
        self._peer = peer
        self._fields = fields

    async def respond(self) -> None:
        """Send what a gateway in good health answers."""
        book, symbol = self._served.book, self.request.symbol
        match self.request.kind:
            case Kind.GREETING:
                self.send_raw(frame(self._served.version, f"{now_in_new_york():%Y%m%d %H:%M:%S} EST"))
            case Kind.START:
                self._send_session()
            case Kind.TIME:
                self.send_raw(frame(49, 1, int(time.time())))
            case Kind.DETAILS if symbol in book.contract_ids:
                self.send_matches(1)
            case Kind.HEAD if symbol in book.contract_ids:
                self.send_raw(frame(88, self.request_id, f"{book.first_day(symbol):%Y%m%d}-14:30:00"))
            case Kind.HISTORY if symbol in book.contract_ids:
                # A refusal has been sent by then.
                with contextlib.suppress(answers.BadRequestError):
                    self._send_history()
            case _:
                self.send_error(200, "No security definition has been found for the request")

    def bars(self) -> list[WireBar]:
        """The bars a gateway in good health would send, ascending.

        Raises answers.BadRequestError when a gateway would refuse the request; the refusal is sent.
        """
        today = self._served.today()
        try:
            first, last = answers.HistoryFields.of(self._fields).span(today)
        except answers.BadRequestError as refused:
            self.send_error(321, f"Error validating request.-'bI' : cause - {refused}")
            raise
        return self._served.book.between(self.request.symbol, first, min(last, today))

    def send_bars(self, bars: Sequence[WireBar]) -> None:
        """Answer a historical request with these bars."""
        self.send_raw(answers.history(self.request_id, bars))

    def send_matches(self, count: int) -> None:
        """Answer a request for contract details with `count` contracts on different exchanges."""
        served = self._served
        self.send_raw(
            answers.contract_details(served.version, self.request_id, served.book, self.request.symbol, count)
        )

    def send_error(self, code: int, text: str, *, system: bool = False) -> None:
        """Send an error of this request, or with `system` one of no request."""
        self.send_raw(answers.error(self._served.version, NO_REQUEST if system else self.request_id, code, text))

    def send_raw(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self._peer.send(raw)

    def drop(self) -> None:
        """Cut the connection at once; what was sent before still goes out."""
        self._peer.drop()

    def _send_session(self) -> None:
        self.send_raw(frame(15, 1, self._served.accounts) + frame(9, 1, 1))
        for code, text in FARMS:
            self.send_error(code, text, system=True)

    def _send_history(self) -> None:
        bars = self.bars()
        if bars:
            self.send_bars(bars)
        else:
            self.send_error(162, "Historical Market Data Service error message:HMDS query returned no data")
