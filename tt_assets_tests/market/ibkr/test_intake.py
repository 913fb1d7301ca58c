"""A gateway that sends without an end, or announces what nobody could hold, is cut off early."""

from __future__ import annotations

import asyncio
import struct

import psutil
import pytest

from tt_assets.market.ibkr import intake
from tt_assets.market.ibkr.faults import GatewayError
from tt_assets.market.ibkr.opening import open_link
from tt_assets.market.ibkr_config import IbkrConfig

CONFIG = {"client_ids": (1, 2, 3), "connect_timeout": 20.0}
SMALL = struct.pack(">I", 4) + b"x\0y\0"
HELLO = struct.pack(">I", 13) + b"176\x0020140102\0"


async def _against(first: bytes, again: bytes, sent: list[int]) -> str:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(first)
            while True:
                writer.write(again)
                sent[0] += len(again)
                await writer.drain()
                await asyncio.sleep(0)
        except (ConnectionError, OSError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(GatewayError) as caught:
        await open_link(IbkrConfig(port=port, **CONFIG))
    server.close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("first", "again", "words"),
    [
        (b"", b"x" * 65_536, "announced a message of 2,021,161,080 bytes|no message|more than 1 MB"),
        (struct.pack(">I", 2**32 - 1), b"x" * 65_536, "announced a message of 4,294,967,295 bytes"),
        (HELLO, SMALL * 10_000, "no message of the protocol|more than 1 MB"),
        (HELLO, (struct.pack(">I", 6) + b"4\x002\x00-1\x00") * 5_000, "no message|more than 1 MB|handshake"),
    ],
)
def test_it_is_cut_off_in_the_handshake(first: bytes, again: bytes, words: str) -> None:
    import re

    sent = [0]
    before = psutil.Process().memory_info().rss
    said = asyncio.run(_against(first, again, sent))
    assert re.search(words, said), said
    assert "\n" not in said
    # What was sent and not read stands in the buffers of the two sockets.
    assert sent[0] < 40 << 20
    assert psutil.Process().memory_info().rss - before < 100 << 20


def test_the_bounds_leave_room_for_forty_years_of_bars() -> None:
    bar = len("20140102\x001234.56\x001234.56\x001234.56\x001234.56\x001234567890\x001234.567\x001234567\x00")
    assert 40 * 252 * bar * 2 < intake.LONGEST_MESSAGE
    assert 50 * 40 * 252 * bar < intake.MOST_WITHOUT_ANSWER
