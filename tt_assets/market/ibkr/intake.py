"""What comes in over the wire, bounded: a peer that sends without an end is cut off before memory and time are gone.

ib_insync keeps whatever arrives until a message is whole, and believes any length that a message announces. It is fed
here, in pieces, and what it holds is looked at after each.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ib_insync.client import Client

LONGEST_MESSAGE = 16 << 20
"""Bytes; forty years of daily bars are one."""
MOST_BEFORE_READY = 1 << 20
"""Bytes that the handshake may take; it takes some hundred."""
MOST_WITHOUT_ANSWER = 128 << 20
"""Bytes from one answer that was waited for to the next; fifty open requests for forty years are fifty."""
_PIECE = 4 << 10
"""Bytes handed on at once: ib_insync copies the rest of what it was given with every message it takes off it."""


class Intake:
    """Stands between the socket of `client` and its reader.

    Parameters
    ----------
    client : of a session that is not connected yet.
    overflow : called once, with the reason in words, when the peer sends more than it may; nothing is read after it.
    """

    def __init__(self, client: Client, overflow: Callable[[str], None]) -> None:
        self._client = client
        self._overflow = overflow
        self._most = MOST_BEFORE_READY
        self._since_answer = 0
        self.over = False
        client.conn.hasData -= client._onSocketHasData
        client.conn.hasData += self._take

    def ready(self) -> None:
        """The handshake is over."""
        self._most = MOST_WITHOUT_ANSWER
        self.answered()

    def answered(self) -> None:
        """Something came that was waited for."""
        self._since_answer = 0

    def _take(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self.over:
            # The start of a long message is kept whole: small pieces of it would be copied over and over.
            piece = view if len(self._client._data) > 16 * _PIECE else view[:_PIECE]
            view = view[len(piece) :]
            self._since_answer += len(piece)
            if self._since_answer > self._most:
                self._give_up(f"it sent more than {self._most >> 20} MB that nobody asked for")
                return
            try:
                self._client._onSocketHasData(bytes(piece))
            except (ValueError, IndexError, OverflowError):
                self._give_up("it sent what is no message of the protocol")
                return
            held = self._client._data
            if len(held) >= 4 and (announced := struct.unpack(">I", held[:4])[0]) > LONGEST_MESSAGE:
                self._give_up(f"it announced a message of {announced:,} bytes")

    def _give_up(self, why: str) -> None:
        self.over = True
        self._client._data = b""
        self._overflow(why)
