"""The stand-in gateway against the unmodified ib_insync client, and as people start it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tt_assets.gateway import BarBook, Kind, StandIn, serve
from tt_assets.gateway.running import PortTakenError
from tt_assets_tests.gateway import faults
from tt_assets_tests.gateway.faults import when
from tt_assets_tests.gateway.scripted import ScriptedStandIn
from tt_assets_tests.gateway.thread import GatewayThread
from tt_assets_tests.gateway.worlds import FRIDAY, of, walk

WORLD = walk(["A", "BRK B"], first=date(2022, 1, 3))


@pytest.fixture
def gateway() -> Iterator[GatewayThread]:
    script = when(Kind.HISTORY, "BRK B", faults.silent, always=True)
    with GatewayThread(ScriptedStandIn(BarBook(WORLD), today=lambda: FRIDAY, script=script, most_open=2)) as running:
        yield running


def with_client[T](port: int, talk: Callable[[Any], Awaitable[T]]) -> T:
    """What `talk` returns when given an ib_insync client connected to the port."""

    async def session() -> T:
        from ib_insync import IB

        ib = IB()
        ib.RaiseRequestErrors = True
        await ib.connectAsync("127.0.0.1", port, clientId=7, timeout=5, readonly=True)
        try:
            return await asyncio.wait_for(talk(ib), 20)
        finally:
            ib.disconnect()

    return asyncio.run(session())


def share(symbol: str) -> Any:
    from ib_insync import Stock

    return Stock(symbol, "SMART", "USD")


async def daily(ib: Any, symbol: str, duration: str, timeout: float = 5, end: str = "") -> Any:  # noqa: ASYNC109
    return await ib.reqHistoricalDataAsync(share(symbol), end, duration, "1 day", "TRADES", True, timeout=timeout)


def test_bars_come_through_bit_for_bit(gateway: GatewayThread):
    async def talk(ib: Any) -> Any:
        return await daily(ib, "A", "3 Y")

    bars = with_client(gateway.port, talk)
    expected = of(WORLD, "A")
    assert [bar.date for bar in bars] == expected["timestamp"].dt.date.tolist()
    for column in ("open", "high", "low", "close", "volume"):
        assert [getattr(bar, column) for bar in bars] == expected[column].tolist()


@pytest.mark.parametrize(
    ("duration", "end", "first", "last"),
    [
        ("5 D", "", "2024-02-26", "2024-03-01"),
        ("10 D", "20240223 23:59:59", "2024-02-09", "2024-02-23"),  # counts sessions over Presidents' Day
        ("2 W", "", "2024-02-20", "2024-03-01"),
        ("1 M", "", "2024-02-01", "2024-03-01"),
        ("1 Y", "", "2023-03-01", "2024-03-01"),
    ],
)
def test_durations_reach_back_as_a_gateway_counts_them(
    gateway: GatewayThread, duration: str, end: str, first: str, last: str
):
    async def talk(ib: Any) -> Any:
        return await daily(ib, "A", duration, end=end)

    bars = with_client(gateway.port, talk)
    assert (str(bars[0].date), str(bars[-1].date)) == (first, last)


@pytest.mark.parametrize("duration", ["366 D", "53 W", "13 M", "69 Y", "0 D", "600 S", "D"])
def test_a_duration_a_gateway_refuses_is_error_321(gateway: GatewayThread, duration: str):
    async def talk(ib: Any) -> Any:
        from ib_insync import RequestError

        with pytest.raises(RequestError, match="321"):
            await daily(ib, "A", duration)

    with_client(gateway.port, talk)


def test_details_head_timestamp_and_time_are_answered(gateway: GatewayThread):
    async def talk(ib: Any) -> Any:
        (details,) = await ib.reqContractDetailsAsync(share("BRK B"))
        head = await ib.reqHeadTimeStampAsync(share("A"), "TRADES", True, 1)
        return details.contract, head, await ib.reqCurrentTimeAsync()

    contract, head, now = with_client(gateway.port, talk)
    assert (contract.symbol, contract.conId, contract.currency) == ("BRK B", 1002, "USD")
    assert head.date() == date(2022, 1, 3)
    assert abs((now - pd.Timestamp.now(tz="UTC")).total_seconds()) < 60


def test_an_unknown_symbol_is_error_200(gateway: GatewayThread):
    async def talk(ib: Any) -> Any:
        from ib_insync import RequestError

        with pytest.raises(RequestError, match="200"):
            await ib.reqContractDetailsAsync(share("ZZZ"))

    with_client(gateway.port, talk)


def test_more_open_requests_than_allowed_are_refused_and_a_cancel_frees_one(gateway: GatewayThread):
    async def talk(ib: Any) -> Any:
        from ib_insync import RequestError

        waiting = [asyncio.create_task(daily(ib, "BRK B", f"{n} D", timeout=0.5)) for n in (5, 6)]
        await asyncio.sleep(0.2)
        with pytest.raises(RequestError, match="322"):
            await daily(ib, "A", "5 D")
        assert [len(bars) for bars in await asyncio.gather(*waiting)] == [0, 0]  # timed out, which cancels them
        return await daily(ib, "A", "5 D")

    assert len(with_client(gateway.port, talk)) == 5
    gateway.stop()
    assert gateway.gateway.open_history == 0
    assert gateway.gateway.log.most_open == 3


def test_requests_are_counted_and_timed(gateway: GatewayThread):
    gateway.gateway.latency = 0.1

    async def talk(ib: Any) -> Any:
        for _ in range(2):
            await daily(ib, "A", "5 D")

    with_client(gateway.port, talk)
    first, second = gateway.gateway.log.of(Kind.HISTORY, "A")
    assert [(seen.request.duration, seen.request.nth, seen.request.client_id) for seen in (first, second)] == [
        ("5 D", 1, 7),
        ("5 D", 2, 7),
    ]
    assert first.finished is not None
    assert first.finished - first.started >= 0.1
    assert gateway.gateway.log.shortest_repeat() == second.started - first.started


def test_it_starts_again_on_the_same_port(gateway: GatewayThread):
    port = gateway.port
    for _ in range(3):
        gateway.stop()
        gateway.start()
    assert gateway.port == port

    async def talk(ib: Any) -> Any:
        return await daily(ib, "A", "5 D")

    assert len(with_client(port, talk)) == 5


def test_a_peer_that_speaks_something_else_is_hung_up_on(gateway: GatewayThread):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert peer.recv(100) == b""


def test_rows_that_break_the_bar_contract_are_not_served(tmp_path: Path):
    path = tmp_path / "bars.csv"
    bad = of(WORLD, "A").tail(3).copy()
    bad.iloc[1, bad.columns.get_loc("high")] = 0.5
    bad.to_csv(path, index=False)
    book = BarBook.from_file(path)
    assert book.left_out == 1
    assert [bar.date for bar in book.between("A", date(2024, 1, 1), FRIDAY)] == ["20240228", "20240301"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_says_what_it_serves_and_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals):
    path = tmp_path / "bars.csv"
    WORLD.to_csv(path, index=False)
    code = (
        "from pathlib import Path; from tt_assets.gateway import BarBook, StandIn, serve; "
        f"serve(StandIn(BarBook.from_file(Path({str(path)!r}))), '127.0.0.1', 0, lambda line: print(line, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        assert first.startswith("Stand-in gateway (not Interactive Brokers) on 127.0.0.1:")
        assert first.endswith("with bars of 2 instruments.\n")

        async def talk(ib: Any) -> Any:
            return await daily(ib, "A", "10 Y")

        with_client(int(first.split(":")[1].split()[0]), talk)
        assert run.stdout.readline() == "client 7: historical bars A 10 Y (1 open)\n"
        run.send_signal(number)
        assert run.wait(20) == 0
        assert run.stderr is not None
        assert run.stderr.read() == ""


def test_a_taken_port_is_named_with_the_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"Cannot listen on 127.0.0.1:{port} .*another --port"):
            serve(StandIn(BarBook(WORLD)), "127.0.0.1", port, print)
