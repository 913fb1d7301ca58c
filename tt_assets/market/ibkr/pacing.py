"""When the next historical request may start.

Requests wait in one line, first come first served, so the rules (time between starts, how many are open,
the strict budget, the pause after a pacing violation) are checked in one place and an instrument never starves.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager

from tt_assets.market.ibkr_config import STRICT_REQUESTS, STRICT_WINDOW, IbkrConfig


class NotReady(Exception):
    """The turn came when there was nothing to ask; it was not taken."""


class Pacer:
    """Gives out turns. Times are seconds on `now`; `sleep` waits."""

    def __init__(
        self,
        config: IbkrConfig,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._now = now
        self._sleep = sleep
        self._line = asyncio.Lock()
        self._freed = asyncio.Event()
        self._recent: deque[float] = deque(maxlen=STRICT_REQUESTS)
        self._started: dict[Hashable, float] = {}
        self._paused_until = float("-inf")
        self._pauses = 0
        self.capacity = config.max_in_flight
        """How many requests may be open; halved by each pacing violation, never below 1."""
        self.in_flight = 0

    @asynccontextmanager
    async def turn(self, key: Hashable, ready: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
        """Wait until a request named `key` may start; the request is open while the block runs.

        Raises NotReady, and counts nothing, when `ready` says no as the turn comes.
        """
        await self._not_repeated(key)
        async with self._line:
            while self.in_flight >= self.capacity or (wait := self._earliest() - self._now()) > 0:
                if self.in_flight >= self.capacity:
                    self._freed.clear()
                    await self._freed.wait()
                else:
                    await self._sleep(wait)
            if not ready():
                raise NotReady
            self.in_flight += 1
            started = self._now()
            self._recent.append(started)
            self._started[key] = started
        try:
            yield
        finally:
            self.in_flight -= 1
            self._freed.set()

    def slow_down(self) -> float:
        """A pacing violation: pause everything and halve what may be open; returns the seconds of the pause.

        Violations reported while already pausing belong to the same crowd of requests and change nothing.
        """
        now = self._now()
        if now < self._paused_until:
            return self._paused_until - now
        pause = self._config.pacing_pause * 2.0**self._pauses
        self._pauses += 1
        self._paused_until = now + pause
        self.capacity = max(1, self.capacity // 2)
        return pause

    async def _not_repeated(self, key: Hashable) -> None:
        last = self._started.get(key)
        if last is not None and (wait := last + self._config.repeat_interval - self._now()) > 0:
            await self._sleep(wait)

    def _earliest(self) -> float:
        """The earliest moment the rules about starts allow."""
        moments = [self._paused_until]
        if self._recent:
            moments.append(self._recent[-1] + self._config.min_interval)
        if self._config.strict_budget and len(self._recent) == STRICT_REQUESTS:
            moments.append(self._recent[0] + STRICT_WINDOW)
        return max(moments)


def seconds_needed(requests: int, config: IbkrConfig, latency: float) -> float:
    """How long `requests` take at least at `latency` seconds an answer, by the rules of `config`."""
    if not requests:
        return 0.0
    by_interval = (requests - 1) * config.min_interval + latency
    by_concurrency = requests * latency / config.max_in_flight
    by_budget = (requests - 1) // STRICT_REQUESTS * STRICT_WINDOW + latency if config.strict_budget else 0.0
    return max(by_interval, by_concurrency, by_budget)


def clock(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
