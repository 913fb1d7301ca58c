"""Ways in which a gateway goes wrong, as reactions of the stand-in, and scripts that say when."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tt_assets.gateway import Kind, OpenRequest, Request, WireBar, answers
from tt_assets_tests.gateway.scripted import Reaction, Script

PACING = (162, "Historical Market Data Service error message:Historical data request pacing violation")
NO_DATA = (162, "Historical Market Data Service error message:HMDS query returned no data: X@SMART Trades")
NO_PERMISSION = (162, "Historical Market Data Service error message:No market data permissions for NYSE STK")
NO_DEFINITION = (200, "No security definition has been found for the request")
OTHER_ADDRESS = (
    162,
    "Historical Market Data Service error message:Trading TWS session is connected from a different IP address",
)
READ_ONLY = (321, "Error validating request.-'bD' : cause - The API interface is currently in Read-Only mode.")


@dataclass(frozen=True)
class Refuse:
    """An error with this code and text."""

    code: int
    text: str
    system: bool = False

    async def __call__(self, call: OpenRequest) -> None:
        call.send_error(self.code, self.text, system=self.system)


async def silent(_: OpenRequest) -> None:
    """No answer; the request stays open until it is cancelled or the connection ends."""
    await asyncio.Event().wait()


async def no_handshake(_: OpenRequest) -> None:
    """The greeting is taken and nothing follows."""


@dataclass(frozen=True)
class Late:
    """The right answer, seconds later."""

    seconds: float

    async def __call__(self, call: OpenRequest) -> None:
        await asyncio.sleep(self.seconds)
        await call.respond()


@dataclass(frozen=True)
class Drop:
    """The connection is cut after this share of the answer's bytes."""

    after: float = 0.0

    async def __call__(self, call: OpenRequest) -> None:
        if self.after:
            raw = answers.history(call.request_id, call.bars())
            call.send_raw(raw[: int(len(raw) * self.after)])
        call.drop()


@dataclass(frozen=True)
class Raw:
    """These bytes instead of an answer."""

    raw: bytes

    async def __call__(self, call: OpenRequest) -> None:
        call.send_raw(self.raw)


GARBAGE = Raw(struct.pack(">I", 0x7FFFFFFF) + b"\xff\xfe\x00garbage" * 8)
"""Announces a frame of 2 GB: whatever follows on this connection is swallowed."""
NOISE = Raw(struct.pack(">I", 9) + b"\xff\xfe\x00noise\x00")
"""A whole frame that says nothing."""


@dataclass(frozen=True)
class Bars:
    """The right answer with its bars changed."""

    change: Callable[[list[WireBar]], Sequence[WireBar]]

    async def __call__(self, call: OpenRequest) -> None:
        call.send_bars(self.change(call.bars()))


@dataclass(frozen=True)
class Matches:
    """This many contracts fit."""

    count: int

    async def __call__(self, call: OpenRequest) -> None:
        call.send_matches(self.count)


@dataclass(frozen=True)
class Outage:
    """The gateway loses IBKR for a while (1100, then `back`); the request itself is lost."""

    seconds: float
    back: int

    async def __call__(self, call: OpenRequest) -> None:
        call.send_error(1100, "Connectivity between IB and Trader Workstation has been lost.", system=True)
        await asyncio.sleep(self.seconds)
        words = "data maintained" if self.back == 1102 else "data lost"
        call.send_error(
            self.back, f"Connectivity between IB and Trader Workstation has been restored - {words}.", system=True
        )
        await asyncio.Event().wait()


async def id_in_use(call: OpenRequest) -> None:
    """Error 326, then the connection is closed."""
    call.send_error(
        326, "Unable to connect as the client id is already in use. Retry with a unique client id.", system=True
    )
    call.drop()


async def hang_up(call: OpenRequest) -> None:
    """The connection is closed without a word."""
    call.drop()


async def refuse_read_only(call: OpenRequest) -> None:
    """The session is refused with the error of the read-only mode."""
    call.send_error(*READ_ONLY, system=True)


def when(kind: Kind, symbol: str, *reactions: Reaction | None, always: bool = False) -> Script:
    """The first requests of this kind for this symbol meet these reactions in turn, with `always` the last for good."""

    def script(request: Request) -> Reaction | None:
        if request.kind is not kind or request.symbol != symbol:
            return None
        if request.nth <= len(reactions):
            return reactions[request.nth - 1]
        return reactions[-1] if always else None

    return script


def clients(reaction: Reaction, *ids: int) -> Script:
    """Sessions under these client ids meet the reaction."""
    return lambda request: reaction if request.kind is Kind.START and request.client_id in ids else None


def either(*scripts: Script) -> Script:
    """The first reaction any of the scripts has."""
    return lambda request: next((reaction for script in scripts if (reaction := script(request)) is not None), None)
