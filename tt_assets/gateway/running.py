"""Running a stand-in gateway in the foreground for a person."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

from tt_assets.errors import UserError
from tt_assets.gateway.request_log import SeenRequest
from tt_assets.gateway.server import StandIn


class PortTakenError(UserError):
    """The gateway's port cannot be listened on."""


def serve(gateway: StandIn, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, saying each request on a line.

    Raises PortTakenError when the port cannot be listened on.
    """
    gateway.log.on_request = lambda seen: say(_line(seen))
    asyncio.run(_serve(gateway, host, port, say))


async def _serve(gateway: StandIn, host: str, port: int, say: Callable[[str], None]) -> None:
    try:
        await gateway.start(host, port)
    except OSError as error:
        raise PortTakenError(
            f"Cannot listen on {host}:{port} ({error.strerror or error}). Stop what uses it, or choose another --port."
        ) from error
    count = len(gateway.book.instruments)
    say(f"Stand-in gateway (not Interactive Brokers) on {host}:{gateway.port} with bars of {count} instruments.")
    if gateway.book.left_out:
        say(f"{gateway.book.left_out} rows of the bars file break the bar contract and are not served.")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signal handlers on the loop; there Ctrl-C ends asyncio.run itself.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        await gateway.stop()


def _line(seen: SeenRequest) -> str:
    request = seen.request
    what = " ".join(filter(None, (str(request.kind), request.symbol, request.duration)))
    return f"client {request.client_id}: {what} ({seen.open_then} open)"
