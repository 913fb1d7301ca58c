"""Sessions with the gateway: none to be had, lost and found again, and from whatever thread or process."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date

import pandas as pd
import pytest

from tt_assets.errors import UserError
from tt_assets.gateway import Kind
from tt_assets.market.ibkr import (
    ClientIdsInUseError,
    GatewayError,
    GatewayRefusedError,
    GatewaySilentError,
    GatewayUnreachableError,
    IbkrBars,
    IbkrConfig,
    IbkrConfigError,
    IbkrFetched,
)
from tt_assets.market.sources import NotFetched, Outcome
from tt_assets_tests.gateway import faults
from tt_assets_tests.gateway.faults import clients, when
from tt_assets_tests.gateway.thread import GatewayThread
from tt_assets_tests.gateway.worlds import EVENING, ask, of, quick, walk

Start = Callable[..., GatewayThread]
WORLD = walk("ABC")


def source(port: int, **config: object) -> IbkrBars:
    return IbkrBars(quick(port, **config), clock=lambda: EVENING)


def fetch_world(port: int) -> None:
    """Fetch A, B and C and hold every bar against the world; at the top of the module, so that a process can run it."""
    for result in source(port).fetch(ask("A", "B", "C")):
        assert isinstance(result, IbkrFetched), result
        pd.testing.assert_frame_equal(result.bars, of(WORLD, result.request.instrument), check_exact=True)


def refusal(port: int, **config: object) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        source(port, **config).fetch(ask("A"))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError)
    return caught.value


def test_a_wrong_port_says_which_ports_there_are(unused_port: int):
    error = refusal(unused_port)
    assert isinstance(error, GatewayUnreachableError)
    assert re.search(rf"127.0.0.1:{unused_port} .*refused.*4002.*4001.*7497.*7496", str(error))


def test_a_host_that_does_not_exist_is_named(unused_port: int):
    error = refusal(unused_port, host="gateway.invalid")
    assert isinstance(error, GatewayUnreachableError)
    assert "gateway.invalid" in str(error)


def test_a_gateway_nobody_logged_in_to_is_told_from_a_wrong_port(gateway: Start):
    port = gateway(WORLD, lambda ask: faults.no_handshake if ask.kind is Kind.GREETING else None).port
    error = refusal(port, connect_timeout=0.5)
    assert isinstance(error, GatewaySilentError)
    assert re.search(r"does not finish the API handshake within 0.5 s.*Log in", str(error))


def test_a_session_announced_and_never_answered_is_silent_too(gateway: Start):
    port = gateway(WORLD, clients(faults.no_handshake, 81, 82, 83)).port
    assert isinstance(refusal(port, connect_timeout=0.5), GatewaySilentError)


def test_a_silent_gateway_is_tried_once_and_given_up_within_twenty_seconds(gateway: Start):
    thread = gateway(WORLD, lambda ask: faults.no_handshake if ask.kind is Kind.GREETING else None)
    refusal(thread.port, connect_timeout=0.5, client_ids=tuple(range(1, 30)))
    assert thread.gateway.log.connections == 1
    assert IbkrConfig().connect_timeout < 20


def test_a_refused_read_only_session_says_where_to_set_it(gateway: Start):
    error = refusal(gateway(WORLD, clients(faults.refuse_read_only, 81)).port)
    assert isinstance(error, GatewayRefusedError)
    assert re.search(r"refuses the read-only session \(error 321.*leave Read-Only API on", str(error))


def test_a_connection_closed_in_the_handshake_names_the_trusted_addresses(gateway: Start):
    error = refusal(gateway(WORLD, clients(faults.hang_up, 81)).port)
    assert isinstance(error, GatewayRefusedError)
    assert "trusted IPs" in str(error)


def test_a_port_of_another_program_is_refused(gateway: Start):
    port = gateway(WORLD, lambda ask: faults.NOISE if ask.kind is Kind.GREETING else None).port
    assert isinstance(refusal(port, connect_timeout=0.5), GatewayRefusedError)


def test_a_client_id_in_use_is_skipped_at_once(gateway: Start):
    thread = gateway(WORLD, clients(faults.id_in_use, 81, 82))
    fetch_world(thread.port)
    assert {request.request.client_id for request in thread.gateway.log.of(Kind.HISTORY)} == {83}


def test_a_pool_of_client_ids_all_in_use_is_named(gateway: Start):
    error = refusal(gateway(WORLD, clients(faults.id_in_use, 81, 82, 83)).port, connect_timeout=30.0)
    assert isinstance(error, ClientIdsInUseError)
    assert re.search(r"TT_IBKR_CLIENT_IDS \(81, 82, 83\) are in use.*name other ids", str(error))


@pytest.mark.parametrize(
    ("field", "value"),
    [("port", 0), ("port", 70_000), ("client_ids", ()), ("client_ids", (0,)), ("client_ids", (5, 5)), ("timeout", 0.0),
     ("min_interval", -0.1), ("max_in_flight", 51), ("host", " ")],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named_with_its_value(field: str, value: object):
    with pytest.raises(IbkrConfigError, match="; set it to "):
        IbkrConfig(**{field: value})  # type: ignore[arg-type]


def test_no_session_is_opened_when_nothing_is_missing(gateway: Start):
    thread = gateway(WORLD)
    from tt_assets_tests.gateway.worlds import stored

    bars = IbkrBars(quick(thread.port), read_stored=stored(WORLD), clock=lambda: EVENING)
    done = bars.load(ask("A", "B", "C"))
    for result in done.results:
        assert isinstance(result, IbkrFetched)
        assert result.outcome is Outcome.LOADED
        pd.testing.assert_frame_equal(result.bars, of(WORLD, result.request.instrument), check_exact=True)
    assert thread.gateway.log.connections == 0
    assert str(done.plan) == "No request to IBKR; 3 instruments complete."


def test_a_gateway_killed_in_the_middle_and_started_again_ends_with_every_bar(gateway: Start):
    symbols = [f"S{n:03}" for n in range(150)]
    world = walk(symbols)
    thread = gateway(world, latency=0.03)
    killed = threading.Event()
    notes = []

    def on_progress(progress: object) -> None:
        notes.append(progress)
        if len(notes) == 40:
            killed.set()

    def restart() -> None:
        killed.wait(30)
        thread.stop()
        time.sleep(0.5)
        thread.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    bars = IbkrBars(quick(thread.port), on_progress=on_progress, clock=lambda: EVENING)
    done = bars.load(ask(*symbols))
    restarting.join(30)
    for result in done.results:
        assert isinstance(result, IbkrFetched), result
        pd.testing.assert_frame_equal(result.bars, of(world, result.request.instrument), check_exact=True)
    assert done.report.reconnects >= 1
    # Only what was open when the gateway fell is asked twice.
    assert done.report.history_requests <= 150 + done.report.reconnects * bars.config.max_in_flight
    assert len(notes) == 150
    assert (notes[-1].done, notes[-1].total, notes[-1].seconds_left) == (150, 150, 0.0)


def test_a_gateway_that_stays_away_fails_the_rest_with_the_reason_and_keeps_what_came(gateway: Start):
    symbols = [f"S{n:02}" for n in range(30)]
    thread = gateway(walk(symbols), latency=0.03)
    stopping = threading.Thread(target=thread.stop)
    begun = []

    def on_progress(progress: object) -> None:
        begun.append(progress)
        if len(begun) == 8:
            stopping.start()

    bars = IbkrBars(
        quick(thread.port, reconnect_for=0.6, max_in_flight=2), on_progress=on_progress, clock=lambda: EVENING
    )
    results = bars.fetch(ask(*symbols))
    stopping.join(30)
    lost = [result for result in results if isinstance(result, NotFetched)]
    assert 8 <= len(results) - len(lost) < 30
    for result in lost:
        assert result.outcome is Outcome.UNAVAILABLE
        assert re.search(r"did not come back: Nothing answers.*Run it again", result.reason)


def test_a_link_that_goes_deaf_is_opened_again(gateway: Start):
    deaf = when(Kind.HISTORY, "B", faults.silent)
    thread = gateway(
        WORLD, faults.either(deaf, lambda ask: faults.silent if ask.kind is Kind.TIME and ask.nth == 1 else None)
    )
    done = source(thread.port, timeout=0.4, alive_timeout=0.2).load(ask("A", "B", "C"))
    assert set(done.by_outcome()) == {Outcome.LOADED}
    assert done.report.reconnects == 1


def test_a_slow_instrument_does_not_cost_the_link(gateway: Start):
    thread = gateway(WORLD, when(Kind.HISTORY, "B", faults.silent))
    done = source(thread.port, timeout=0.4).load(ask("A", "B", "C"))
    assert set(done.by_outcome()) == {Outcome.LOADED}
    assert done.report.reconnects == 0
    assert len(thread.gateway.log.of(Kind.TIME)) == 1


@pytest.mark.parametrize("version", range(157, 177))
def test_every_server_version_from_157_to_176_is_understood(gateway: Start, version: int):
    fetch_world(gateway(WORLD, version=version).port)


def test_it_works_from_a_thread_without_a_loop(gateway: Start):
    port = gateway(WORLD).port
    errors: list[BaseException] = []

    def body() -> None:
        try:
            fetch_world(port)
        except BaseException as error:  # noqa: BLE001 - told on the test's thread
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(30)
    assert errors == []


def test_it_works_after_asyncio_run_and_inside_a_running_loop(gateway: Start):
    port = gateway(WORLD).port
    asyncio.run(asyncio.sleep(0))
    fetch_world(port)

    async def inside() -> None:
        fetch_world(port)

    asyncio.run(inside())


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_works_in_a_process_of_its_own(gateway: Start, method: str):
    port = gateway(WORLD).port
    fetch_world(port)  # a fork inherits what a load leaves behind
    process = multiprocessing.get_context(method).Process(target=fetch_world, args=(port,))
    process.start()
    process.join(50)
    assert process.exitcode == 0


def test_an_interrupted_load_ends_its_session_and_its_thread(gateway: Start):
    thread = gateway(WORLD, when(Kind.HISTORY, "B", faults.silent, always=True))
    code = (
        "import signal, sys, threading; from tt_assets_tests.gateway.worlds import *; "
        "from tt_assets.market.ibkr import IbkrBars\n"
        "signal.setitimer(signal.ITIMER_REAL, 3.0); signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        f"bars = IbkrBars(quick({thread.port}, timeout=50.0), clock=lambda: EVENING)\n"
        "try:\n    bars.fetch(ask('A', 'B'))\nexcept KeyboardInterrupt:\n"
        "    sys.exit(8 if any(t.name == 'ibkr' and t.is_alive() for t in threading.enumerate()) else 7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=40, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert done.stderr == ""


def test_importing_the_adapter_imports_neither_ib_insync_nor_anything_of_the_platform():
    code = (
        "import sys, tt_assets.market.ibkr, tt_assets.gateway; "
        "heavy = {'ib_insync', 'eventkit', 'dagster', 'sqlalchemy', 'tt_assets.postgres', 'tt_assets.settings'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_writes_nothing_to_the_terminal(gateway: Start, capfd: pytest.CaptureFixture[str]):
    thread = gateway(WORLD, when(Kind.HISTORY, "B", faults.Refuse(*faults.NO_DATA)))
    port = thread.port
    code = (
        "from tt_assets_tests.gateway.worlds import *; from tt_assets.market.ibkr import IbkrBars; "
        f"IbkrBars(quick({port}), clock=lambda: EVENING).fetch(ask('A', 'B', 'C'))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port nobody listens on: it is bound while the test runs, without listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_two_loads_on_one_source_ask_for_the_contract_details_once(gateway: Start):
    thread = gateway(WORLD)
    bars = source(thread.port)
    bars.fetch(ask("A"))
    bars.fetch(ask("A", "B", last=date(2024, 2, 29)))
    assert [len(thread.gateway.log.of(Kind.DETAILS, symbol)) for symbol in "AB"] == [1, 1]
