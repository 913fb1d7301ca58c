"""TT_PRICE_SOURCE=ibkr from outside, against `tt gateway`: the same rows as from the file, and what a person reads."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tt_assets.market.bars import BAR_COLUMNS
from tt_assets.tables import MARKET_TABLES, TABLES, content_columns, key_columns
from tt_assets_tests.benchmarks.home import write_market
from tt_assets_tests.e2e.command_line import GENEROUS, Machine, free_port, machine

pytestmark = pytest.mark.slow

DATES = {"TT_START_DATE": "2012-04-02", "TT_END_DATE": "2012-07-31"}  # Facebook is listed in between


@pytest.fixture(scope="module")
def here() -> Iterator[Machine]:
    with machine(**DATES) as made:
        yield made


@pytest.fixture(scope="module")
def ibkr(here: Machine) -> Iterator[dict[str, str]]:
    """The settings of the IBKR path while `tt gateway` serves the bundled bars."""
    port = free_port()
    gateway = here.start("gateway", "--port", str(port))
    assert gateway.stdout is not None
    assert "Stand-in gateway (not Interactive Brokers)" in gateway.stdout.readline()
    yield {"TT_PRICE_SOURCE": "ibkr", "TT_IBKR_PORT": str(port)}
    gateway.terminate()
    gateway.communicate(timeout=30)


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def digests(here: Machine) -> dict[str, tuple[int, str]]:
    """Rows of each market table and a digest of them all in key order, as the server writes them."""
    found = {}
    for table in MARKET_TABLES:
        columns = ", ".join(content_columns(TABLES[table]))
        keys = ", ".join(key_columns(TABLES[table]))
        text = f"SELECT count(*), md5(string_agg(({columns})::text, E'\\n' ORDER BY {keys})) FROM {table}"
        found[table] = here.rows(text)[0]
    return found


def test_the_gateway_fills_the_market_tables_with_the_rows_of_the_file(here: Machine, ibkr: dict[str, str]) -> None:
    assert "5 historical requests and 5 for contract details" in said(here.tt("backfill", "market", "--plan", **ibkr))
    assert not here.home.exists()
    assert "IBKR: 5 historical requests in" in said(here.tt("backfill", "market", **ibkr))
    through_gateway = digests(here)
    assert through_gateway["tt_prices"][0] == 4 * 84 + 51  # sessions, and Facebook's since 18 May
    assert "No request to IBKR; 5 instruments complete" in said(here.tt("backfill", "market", "--plan", **ibkr))

    here.rows("TRUNCATE tt_prices, tt_feature_bar, tt_signal_bar, tt_slice")
    said(here.tt("backfill", "market"))
    assert digests(here) == through_gateway


def test_a_wrong_port_is_one_line_with_the_remedy(here: Machine) -> None:
    wrong = {"TT_PRICE_SOURCE": "ibkr", "TT_IBKR_PORT": str(free_port()), "TT_IBKR_REFETCH": "1"}
    done = here.tt("backfill", "prices", "--from", "2012-06-01", "--to", "2012-06-01", **wrong)
    assert done.returncode == 1
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("failed: ")]
    assert "Nothing answers at TT_IBKR_HOST:TT_IBKR_PORT" in line
    assert "Gateway 4002 (paper) or 4001 (live)" in line
    assert "GatewayUnreachableError" not in line


INSTRUMENTS, SESSIONS = 150, 252


@pytest.fixture
def large() -> Iterator[tuple[Machine, Path, dict[str, str]]]:
    """A machine that is to load a year of 150 instruments, the bars, and the settings of the IBKR path."""
    with machine(TT_IBKR_MIN_INTERVAL="0.1") as made:
        settings = write_market(made.home.parent, INSTRUMENTS, SESSIONS)
        bars = Path(settings.pop("TT_BARS_PATH"))
        yield made, bars, {**settings, "TT_PRICE_SOURCE": "ibkr", "TT_IBKR_PORT": str(free_port())}


def test_a_gateway_killed_in_the_middle_of_a_large_load_costs_no_bar(
    large: tuple[Machine, Path, dict[str, str]],
) -> None:
    here, bars, ibkr = large
    arguments = ("gateway", "--bars", str(bars), "--port", ibkr["TT_IBKR_PORT"], "--latency", "0.3")

    def serving() -> subprocess.Popen[str]:
        gateway = here.start(*arguments)
        assert gateway.stdout is not None
        assert "Stand-in gateway" in gateway.stdout.readline()
        return gateway

    first = serving()
    load = here.start("backfill", "prices", **ibkr)
    deadline = time.monotonic() + GENEROUS
    while not any(link.status == psutil.CONN_ESTABLISHED for link in psutil.Process(first.pid).net_connections()):
        assert load.poll() is None, load.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(5)  # of the fifteen that 150 requests take
    assert load.poll() is None
    first.kill()
    first.wait()
    second = serving()
    out, err = load.communicate(timeout=GENEROUS)
    second.kill()
    assert load.returncode == 0, err
    # One request an instrument; those that were in flight, eight at most, are made again and no others.
    asked = sum(map(int, re.findall(r"IBKR: (\d+) historical requests", out + err)))
    assert INSTRUMENTS < asked <= INSTRUMENTS + 8, err

    stored = here.rows("SELECT instrument, timestamp, open, high, low, close, volume FROM tt_prices ORDER BY 1, 2")
    wanted = pd.read_csv(bars, parse_dates=["timestamp"], float_precision="round_trip").sort_values(
        ["instrument", "timestamp"]
    )
    assert stored == list(wanted[list(BAR_COLUMNS)].itertuples(index=False, name=None))
