"""`tt backfill` from outside: its exit codes, what it says, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tt_assets.settings import SAMPLE_BARS
from tt_assets_tests.e2e.command_line import Machine, machine, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here() -> Iterator[Machine]:
    with machine() as fresh:
        yield fresh


def test_status_before_any_schema_names_the_remedy(here: Machine) -> None:
    told = here.tt("status")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
    assert "run `tt db upgrade`" in told.stderr
    assert here.tt("db", "upgrade").returncode == 0
    assert here.tt("status", "--json").returncode == 0


@pytest.mark.parametrize("step", ["tt_prices", "tt_features"])
def test_ctrl_c_leaves_no_traceback_and_the_next_run_finishes_the_work(here: Machine, step: str) -> None:
    began = here.rows("SELECT coalesce(max(id), 0) FROM event_logs", "dagster")[0][0]
    running = here.start("backfill", "market", "--from", "2009-01-02")
    wait_until(
        lambda: bool(
            here.rows(
                f"SELECT 1 FROM event_logs WHERE id > {began} AND step_key = '{step}' "
                "AND dagster_event_type = 'STEP_START'",
                "dagster",
            )
        ),
        every=0.1,
    )
    os.killpg(running.pid, signal.SIGINT)
    told, complaint = running.communicate(timeout=120)
    assert running.returncode == 130, complaint
    assert "Traceback" not in complaint + told
    assert here.rows("SELECT count(*) FROM runs WHERE status IN ('STARTED', 'STARTING')", "dagster") == [(0,)]

    again = here.tt("backfill", "market", "--from", "2009-01-02")
    assert again.returncode == 0, again.stderr
    lines = {line["table"]: line for line in json.loads(here.tt("status", "--json").stdout)}
    assert lines["tt_prices"]["first"] == "2009-01-02"
    assert lines["tt_prices"]["materialized"] == lines["tt_signal_scores"]["materialized"] == 1047 * 5
    assert lines["tt_prices"]["failed"] == 0


def test_partitions_that_fail_are_listed_with_the_reason_and_exit_code_1(here: Machine, tmp_path: Path) -> None:
    bad = tmp_path / "bars.csv"
    lines = SAMPLE_BARS.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("IBM,2012-11-15"))
    cells = lines[place].split(",")
    lines[place] = ",".join([*cells[:2], "-1.0", *cells[3:]])
    bad.write_text("\n".join(lines))
    stored = here.rows("SELECT open, close FROM tt_prices WHERE instrument = 'IBM' AND timestamp = '2012-11-15'")
    span = ("--from", "2012-11-14", "--to", "2012-11-16")
    told = here.tt("backfill", "market", *span, TT_BARS_PATH=str(bad), TT_END_DATE="2013-03-01")
    assert told.returncode == 1
    assert "2012-11-15|IBM" in told.stderr
    assert "Traceback" not in told.stderr
    assert stored == here.rows(
        "SELECT open, close FROM tt_prices WHERE instrument = 'IBM' AND timestamp = '2012-11-15'"
    )


def test_a_portfolio_stands_for_its_symbols_in_a_market_table(here: Machine, tmp_path: Path) -> None:
    watchlist = tmp_path / "watchlist.csv"
    watchlist.write_text("symbol,portfolio\nAAPL,pair\nGOOG,\nIBM,pair\nMSFT,\n")
    told = here.tt(
        *("backfill", "prices", "policy", "--from", "2006-01-03", "--to", "2006-01-04", "--instruments", "pair"),
        TT_WATCHLIST=str(watchlist),
    )
    # The agents have no history to train on here; the prices were there before.
    assert told.returncode == 1
    assert "2006-01-01|pair" in told.stderr
    found = here.rows("SELECT DISTINCT instrument FROM tt_prices WHERE timestamp < '2007-01-01' ORDER BY 1")
    assert found == [("AAPL",), ("IBM",)]
