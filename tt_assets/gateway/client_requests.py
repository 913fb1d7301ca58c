"""What a client can ask of the stand-in gateway."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is asked."""

    GREETING = "greeting"
    """The handshake's first message."""
    START = "start"
    """The client id is announced."""
    DETAILS = "contract details"
    HISTORY = "historical bars"
    HEAD = "head timestamp"
    TIME = "current time"


@dataclass(frozen=True)
class Request:
    """One request. `nth` counts from 1 within kind and symbol over the life of the server, over all connections."""

    kind: Kind
    client_id: int
    symbol: str = ""
    duration: str = ""
    """As sent, e.g. `15 D`; empty unless kind is HISTORY."""
    nth: int = 1
    what: str = ""
    """As sent, TRADES or ADJUSTED_LAST; empty unless kind is HISTORY."""
