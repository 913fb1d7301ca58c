"""A request to the stand-in gateway, and the seam at which a test makes it answer wrongly.

The server answers rightly unless a `Reaction` stands in the way; faults live with the tests and use only
what `Call` offers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tt_assets.gateway.book import WireBar


class Kind(StrEnum):
    """What can be asked, as far as a reaction may stand in its way."""

    GREETING = "greeting"
    """The handshake's first message."""
    START = "start"
    """The client id is announced."""
    DETAILS = "contract details"
    HISTORY = "historical bars"
    HEAD = "head timestamp"
    TIME = "current time"


@dataclass(frozen=True)
class Ask:
    """One request. `nth` counts from 1 within kind and symbol over the life of the server, over all connections."""

    kind: Kind
    client_id: int
    symbol: str = ""
    duration: str = ""
    """As sent, e.g. `15 D`; empty unless kind is HISTORY."""
    nth: int = 1


class Call(Protocol):
    """A request being answered."""

    ask: Ask

    async def reply(self) -> None:
        """Answer as a gateway in good health does."""
        ...

    def bars(self) -> list[WireBar]:
        """The bars a gateway in good health would send."""
        ...

    def send_bars(self, bars: Sequence[WireBar]) -> None:
        """Answer a historical request with these bars."""
        ...

    def send_matches(self, count: int) -> None:
        """Answer a request for contract details with `count` contracts on different exchanges."""
        ...

    def send_error(self, code: int, text: str, *, system: bool = False) -> None:
        """An error of this request, or with `system` one of no request (id -1)."""
        ...

    def send_raw(self, raw: bytes) -> None:
        """Bytes as they are."""
        ...

    def answer_bytes(self) -> bytes:
        """The bytes of the right answer to a historical request."""
        ...

    def drop(self) -> None:
        """Cut the connection at once; what was sent before still goes out."""
        ...


class Reaction(Protocol):
    """What happens instead of the right answer. A request that is never answered stays open until it is cancelled."""

    async def __call__(self, call: Call) -> None:
        """Answer `call`, rightly, wrongly or not at all."""
        ...


Script = Callable[[Ask], Reaction | None]
"""Which reaction, if any, stands in the way of a request."""


def no_script(_: Ask) -> None:
    """Every request is answered rightly."""
