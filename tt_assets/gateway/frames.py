"""Framing of the TWS protocol: a 4-byte big-endian length, then text fields that each end in NUL."""

from __future__ import annotations

import asyncio
import struct

GREETING = b"API\0"
LONGEST_FRAME = 1 << 20
"""Bytes; a request is some hundred. A longer announcement is no request of this protocol."""


class NotTheProtocolError(Exception):
    """The peer does not speak the TWS protocol."""


def frame(*fields: object) -> bytes:
    """The bytes of one message. True and False go as 1 and 0, None as an empty field."""
    body = "".join(f"{_text(field)}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> list[str]:
    """The fields of the next message.

    Raises asyncio.IncompleteReadError at the end of the stream and NotTheProtocolError for an impossible length.
    """
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > LONGEST_FRAME:
        raise NotTheProtocolError(f"a frame of {length} bytes")
    body = await reader.readexactly(length)
    return body.decode(errors="backslashreplace").split("\0")[:-1]


def _text(field: object) -> str:
    if field is None:
        return ""
    return str(int(field)) if isinstance(field, bool) else str(field)
