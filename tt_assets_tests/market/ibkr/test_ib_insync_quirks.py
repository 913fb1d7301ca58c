"""What ib_insync 0.9.86 does with faults; the adapter goes around each. A test that fails here frees us of a detour."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tt_assets.gateway import Kind
from tt_assets_tests.gateway import faults
from tt_assets_tests.gateway.faults import Bars, clients, when
from tt_assets_tests.gateway.thread import GatewayThread
from tt_assets_tests.gateway.worlds import walk

Start = Callable[..., GatewayThread]
WORLD = walk("A")


def bars_of_ib_insync(port: int, raise_errors: bool = True) -> list[Any]:
    async def session() -> Any:
        from ib_insync import IB, Stock

        ib = IB()
        ib.RaiseRequestErrors = raise_errors
        await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=5, readonly=True)
        try:
            share = Stock("A", "SMART", "USD")
            return list(await ib.reqHistoricalDataAsync(share, "", "10 D", "1 day", "TRADES", True, timeout=0.5))
        finally:
            ib.disconnect()

    return asyncio.run(session())


def test_a_time_out_is_an_empty_list(gateway: Start):
    assert bars_of_ib_insync(gateway(WORLD, when(Kind.HISTORY, "A", faults.silent)).port) == []


def test_an_answer_with_one_unreadable_cell_is_an_empty_list_after_the_time_out(gateway: Start):
    unreadable = Bars(lambda bars: [bars[0]._replace(open="n/a"), *bars[1:]])
    assert bars_of_ib_insync(gateway(WORLD, when(Kind.HISTORY, "A", unreadable)).port) == []


def test_an_error_is_an_empty_list_unless_asked_to_raise(gateway: Start):
    thread = gateway(WORLD, when(Kind.HISTORY, "A", faults.Refuse(*faults.PACING), always=True))
    assert bars_of_ib_insync(thread.port, raise_errors=False) == []


def test_a_client_id_in_use_is_only_noticed_by_the_time_out(gateway: Start):
    port = gateway(WORLD, clients(faults.id_in_use, 1)).port

    async def connect() -> None:
        from ib_insync import IB

        await IB().connectAsync("127.0.0.1", port, clientId=1, timeout=0.5, readonly=True)

    with pytest.raises(TimeoutError):
        asyncio.run(connect())


def test_it_cannot_be_imported_in_a_thread_without_a_loop():
    code = (
        "import threading, sys\n"
        "def body():\n"
        "    try:\n        import ib_insync\n"
        "    except RuntimeError:\n        sys.stdout.write('no loop')\n"
        "thread = threading.Thread(target=body); thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "no loop"


def test_the_inner_parts_the_adapter_holds_on_to_are_there():
    async def look() -> Any:
        from ib_insync import IB

        return IB()

    ib = asyncio.run(look())
    assert 17 in ib.client.decoder.handlers
    for registry in ("_futures", "_results", "_reqId2Contract"):
        assert isinstance(getattr(ib.wrapper, registry), dict)
    assert callable(ib.wrapper._endReq)
    assert callable(ib.wrapper.startReq)
    assert len(ib.client.conn.disconnected) == 1
