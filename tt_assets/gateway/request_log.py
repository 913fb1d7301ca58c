"""What a stand-in gateway was asked: each request with its times, and how many were open at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tt_assets.gateway.client_requests import Kind, Request


@dataclass
class SeenRequest:
    """One request; times in seconds on the monotonic clock, `finished` None while it is open."""

    request: Request
    started: float
    open_then: int
    """Historical requests open at that moment, this one included."""
    finished: float | None = None


@dataclass
class RequestLog:
    """Every request in the order of arrival."""

    on_request: Callable[[SeenRequest], None] | None = None
    requests: list[SeenRequest] = field(default_factory=list)
    connections: int = 0

    def begin(self, request: Request, open_then: int) -> SeenRequest:
        """Write down that a request arrived."""
        seen = SeenRequest(request, time.monotonic(), open_then)
        self.requests.append(seen)
        if self.on_request is not None:
            self.on_request(seen)
        return seen

    @staticmethod
    def end(seen: SeenRequest) -> None:
        """Write down that it was answered, cancelled or dropped."""
        seen.finished = time.monotonic()

    def of(self, kind: Kind, symbol: str | None = None) -> list[SeenRequest]:
        """Requests of one kind, and with `symbol` of one instrument."""
        return [seen for seen in self.requests if seen.request.kind is kind and symbol in (None, seen.request.symbol)]

    @property
    def most_open(self) -> int:
        """Largest number of historical requests open at once."""
        return max((seen.open_then for seen in self.of(Kind.HISTORY)), default=0)

    def shortest_repeat(self) -> float:
        """Smallest time in seconds between the starts of two identical historical requests; infinite without one."""
        last: dict[tuple[str, str], float] = {}
        shortest = float("inf")
        for seen in self.of(Kind.HISTORY):
            key = (seen.request.symbol, seen.request.duration)
            shortest = min(shortest, seen.started - last.get(key, float("-inf")))
            last[key] = seen.started
        return shortest
