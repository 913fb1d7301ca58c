"""A stand-in gateway in a thread beside a test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType

from tt_assets.gateway import StandIn

_PATIENCE = 10.0
"""Seconds a thread gets to start or stop."""


class GatewayThread:
    """A stand-in gateway on an event loop and a thread of its own; a context manager.

    It can be stopped and started again on the same port, as a gateway that restarts.
    """

    def __init__(self, gateway: StandIn, host: str = "127.0.0.1", port: int = 0) -> None:
        self.gateway = gateway
        self.host = host
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> GatewayThread:
        """Return once the port is listened on. Raises OSError when it is taken."""
        ready = threading.Event()
        failures: list[OSError] = []
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(ready, failures)), name="stand-in gateway", daemon=True
        )
        self._thread.start()
        if not ready.wait(_PATIENCE):
            raise TimeoutError("the stand-in gateway did not start")
        if failures:
            raise failures[0]
        return self

    async def _run(self, ready: threading.Event, failures: list[OSError]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            await self.gateway.start(self.host, self.port)
        except OSError as error:
            failures.append(error)
            return
        finally:
            ready.set()
        self.port = self.gateway.port
        await self._stop.wait()
        await self.gateway.stop()

    def stop(self) -> None:
        """Cut every connection, free the port, end the thread; nothing when it is not running."""
        if self._thread is None or self._loop is None:
            return
        with contextlib.suppress(RuntimeError):  # its loop is closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)
        self._thread = None

    def drop_connections(self) -> None:
        """Cut every connection but go on listening."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.gateway.drop_connections)

    def __enter__(self) -> GatewayThread:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
