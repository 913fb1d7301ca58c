"""Opening a session: the client id pool, and why a session cannot be had, in words a person can act on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from typing import TYPE_CHECKING

from tt_assets.market.ibkr.faults import (
    CLIENT_ID_IN_USE,
    LINK_LOST,
    LINK_RESTORED,
    LINK_RESTORED_EMPTY,
    ClientIdsInUseError,
    GatewayError,
    GatewayRefusedError,
    GatewaySilentError,
    GatewayUnreachableError,
    LoadGivenUp,
)
from tt_assets.market.ibkr.link import Link
from tt_assets.market.ibkr_config import IbkrConfig

if TYPE_CHECKING:
    from ib_insync import IB

HARMLESS = {LINK_LOST, LINK_RESTORED, LINK_RESTORED_EMPTY}
NO_REQUEST = -1
_jitter = random.Random()  # noqa: S311 - spreads retries in time, decides nothing


def backed_off(attempt: int, config: IbkrConfig) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): doubling, with jitter of a quarter either way."""
    return min(config.backoff * 2.0 ** (attempt - 1), config.longest_backoff) * _jitter.uniform(0.75, 1.25)


class Gateway:
    """The way to a session: opens it, waits while it is interrupted, opens it again when it is lost.

    `reconnects` counts the sessions after the first.
    """

    def __init__(self, config: IbkrConfig) -> None:
        self._config = config
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._given_up: str | None = None
        self.reconnects = 0

    async def link(self) -> Link:
        """A session that is up and serving.

        The first time, whatever stands in the way is raised as GatewayError at once. Later a lost session is tried
        again until `reconnect_for` is over; then, and ever after, LoadGivenUp is raised.
        """
        while True:
            async with self._opening:
                if self._given_up is not None:
                    raise LoadGivenUp(self._given_up)
                if self._link is None:
                    self._link = await open_link(self._config)
                elif not self._link.up:
                    self._link = await self._again(self._link)
                link = self._link
            if not await link.serving(self._config.reconnect_for):
                self._given_up = (
                    f"{self._config.address} had no connection to IBKR for {self._config.reconnect_for:g} s"
                )
            elif link.up:
                return link

    def serving(self) -> Link | None:
        """The session, if it is up and serving at this moment."""
        return self._link if self._link is not None and self._link.up and self._link.is_serving else None

    async def _again(self, lost: Link) -> Link:
        lost.close()
        deadline = time.monotonic() + self._config.reconnect_for
        attempt = 0
        while True:
            attempt += 1
            await asyncio.sleep(max(0.0, min(backed_off(attempt, self._config), deadline - time.monotonic())))
            try:
                link = await open_link(self._config)
            except GatewayError as error:
                if time.monotonic() >= deadline:
                    self._given_up = f"the connection was lost and did not come back: {error}"
                    raise LoadGivenUp(self._given_up) from error
            else:
                self.reconnects += 1
                return link

    def close(self) -> None:
        """End the session, if there is one."""
        if self._link is not None:
            self._link.close()


async def open_link(config: IbkrConfig) -> Link:
    """A session under the first free client id. Raises GatewayError."""
    for client_id in config.client_ids:
        link = await _open(config, client_id)
        if link is not None:
            return link
    ids = config.client_ids
    raise ClientIdsInUseError(
        f"All client ids of TT_IBKR_CLIENT_IDS ({', '.join(map(str, ids))}) are in use at {config.address} "
        f"(error {CLIENT_ID_IN_USE}). Stop the programs that hold them, or name other ids."
    )


async def _open(config: IbkrConfig, client_id: int) -> Link | None:
    """A session under this client id, None where it is in use."""
    from ib_insync import IB

    ib = IB()
    ib.RaiseRequestErrors = True
    refused: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    errors: list[str] = []

    def on_error(request: int, code: int, text: str, _contract: object) -> None:
        if request != NO_REQUEST or code in HARMLESS or 2100 <= code < 2200:
            return
        errors.append(f"error {code}: {text}")
        if not refused.done() and (code == CLIENT_ID_IN_USE or "read-only" in text.lower()):
            refused.set_result((code, text))

    def on_closed(_message: str) -> None:
        if not refused.done():
            refused.set_result((0, errors[-1] if errors else ""))

    ib.errorEvent += on_error
    ib.client.conn.disconnected += on_closed
    # Listening before the handshake is over: an interruption of the gateway's own link may come with its last message.
    link = Link(ib, config)
    task = asyncio.create_task(
        ib.connectAsync(config.host, config.port, client_id, timeout=config.connect_timeout, readonly=True)
    )
    try:
        await asyncio.wait({task, refused}, timeout=config.connect_timeout, return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            code, text = refused.result()
            if code == CLIENT_ID_IN_USE:
                return None
            raise _refusal(config, code, text or link.overflow)
        if not task.done():
            raise _silence(config, ib)
        _raise_unreachable(config, task)
        link.ready()
    finally:
        ib.errorEvent -= on_error
        ib.client.conn.disconnected -= on_closed
        if not task.done() or task.cancelled() or task.exception() is not None or refused.done():
            await _abandon(task, ib)
    return link


async def _abandon(task: asyncio.Task[IB], ib: IB) -> None:
    task.cancel()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await task
    with contextlib.suppress(ConnectionError):
        ib.disconnect()


def _raise_unreachable(config: IbkrConfig, task: asyncio.Task[IB]) -> None:
    error = task.exception()
    if error is None:
        return
    if isinstance(error, TimeoutError):
        raise GatewaySilentError(_silent_words(config)) from error
    if isinstance(error, OSError):
        # asyncio words its errors after the call that failed; the number says what happened.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or str(error) or type(error).__name__
        raise GatewayUnreachableError(
            f"Nothing answers at TT_IBKR_HOST:TT_IBKR_PORT = {config.address} ({why}). Start IB Gateway or TWS, enable "
            "its API, and use its port: Gateway 4002 (paper) or 4001 (live), TWS 7497 or 7496."
        ) from error
    raise error


def _silence(config: IbkrConfig, ib: IB) -> GatewayError:
    if ib.client.conn.isConnected():
        return GatewaySilentError(_silent_words(config))
    return GatewayUnreachableError(
        f"Nothing answers at TT_IBKR_HOST:TT_IBKR_PORT = {config.address} within {config.connect_timeout:g} s. Check "
        "host, port and firewall; Gateway listens on 4002 (paper) or 4001 (live), TWS on 7497 or 7496."
    )


def _silent_words(config: IbkrConfig) -> str:
    return (
        f"{config.address} takes the connection but does not finish the API handshake within "
        f"{config.connect_timeout:g} s. Log in to IB Gateway or TWS there, close any dialog it shows, and try again."
    )


def _refusal(config: IbkrConfig, code: int, text: str) -> GatewayError:
    if "read-only" in text.lower():
        return GatewayRefusedError(
            f"{config.address} refuses the read-only session (error {code}: {text.rstrip('. ')}). In its API settings "
            "leave Read-Only API on, clear the master client id, and try again."
        )
    ending = f" ({text.rstrip('. ')})" if text else ""
    return GatewayRefusedError(
        f"{config.address} closed the connection during the API handshake{ending}. In its API settings add this "
        "machine to the trusted IPs and enable socket clients; if that is done, the port belongs to another program."
    )
