"""`tt grain`: a home that was loaded by session and moved is the home that was loaded by year, also after two kills."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tt_assets.market.calendar import sessions
from tt_assets.tables import MARKET_TABLES, TABLES
from tt_assets_tests.e2e.command_line import Machine, machine
from tt_assets_tests.made_bars import made_bars

pytestmark = pytest.mark.slow

DAYS = sessions(pd.Timestamp("2011-01-03").date(), pd.Timestamp("2012-05-15").date())
LISTED, ENDED, HALTED = pd.Timestamp("2011-09-14"), pd.Timestamp("2012-02-10"), pd.Timestamp("2011-11-16")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    bars = made_bars(["AA", "BB", "LATE", "GONE"], DAYS, seed=11)
    gone = (bars["instrument"] == "LATE") & (bars["timestamp"] < LISTED)
    gone |= (bars["instrument"] == "GONE") & (bars["timestamp"] > ENDED)
    gone |= (bars["instrument"] == "BB") & (bars["timestamp"] == HALTED)
    bars[~gone].to_csv(tmp_path / "bars.csv", index=False)
    (tmp_path / "watchlist.csv").write_text("symbol,portfolio\nAA,both\nBB,both\nLATE,\nGONE,\n")
    return {
        "TT_BARS_PATH": f"{tmp_path / 'bars.csv'}",
        "TT_WATCHLIST": f"{tmp_path / 'watchlist.csv'}",
        "TT_SEEDS": "1",
        "TT_TRAIN_STEPS": "1024",
        "TT_BASELINES": "cash",
        "TT_PICTURES": "0",
    }


@pytest.fixture
def moved(settings: dict[str, str]) -> Iterator[Machine]:
    with machine(**settings) as here:
        yield here


@pytest.fixture
def loaded_by_year(settings: dict[str, str]) -> Iterator[Machine]:
    with machine(TT_DATE_GRAIN="year", **settings) as here:
        yield here


def ran(here: Machine, *command: str) -> str:
    told = here.tt(*command)
    assert told.returncode == 0, told.stderr
    return told.stdout


def rows(here: Machine) -> dict[str, list[tuple[Any, ...]]]:
    digest = "md5(string_agg(t::text, '' ORDER BY t::text))"
    return {table: here.rows(f"SELECT {digest} FROM {table} AS t") for table in TABLES}


def ledger(here: Machine) -> list[tuple[Any, ...]]:
    return here.rows(
        "SELECT table_name, date::text, instrument, rows, digest, reads, code, outcome, failure::text, told "
        f"FROM tt_slice WHERE table_name IN ('{"', '".join(MARKET_TABLES)}') ORDER BY 1, 2, 3"
    )


def events(here: Machine) -> dict[str, list[str]]:
    """The partitions that Dagster shows as materialized, by table."""
    script = (
        "import json, dagster as dg\n"
        "from tt_assets.runtime.current import current_settings\n"
        "from tt_assets.runtime.platform import attach, open_instance\n"
        "from tt_assets.tables import TABLES\n"
        "attach(current_settings())\n"
        "instance = open_instance()\n"
        "print(json.dumps({t: sorted(instance.get_materialized_partitions(dg.AssetKey(t))) for t in TABLES}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=here.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def killed_in(here: Machine, function: str, grain: str) -> None:
    """`tt grain`, killed where it calls `function`."""
    script = (
        "import os, sys\n"
        "from tt_assets.commands import grain\n"
        "from tt_assets.runtime.current import current_settings\n"
        "from tt_assets.grain import DateGrain\n"
        f"grain.{function} = lambda *_: os._exit(9)\n"
        f"grain.move(current_settings(), DateGrain('{grain}'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=here.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 9, done.stderr
    told = here.tt("status")
    assert told.returncode == 2
    assert f"`tt grain {grain}` was stopped half way" in told.stderr


def test_a_moved_home_is_the_home_that_was_loaded_at_that_grain(moved: Machine, loaded_by_year: Machine):
    ran(moved, "backfill", "market")
    ran(moved, "train", "--from", "2012-04-02", "--to", "2012-05-15", "--instruments", "both")
    stored = rows(moved)

    killed_in(moved, "replace_window_reads", "month")  # in the transaction
    assert "One partition is one month now." in ran(moved, "grain", "month")
    assert (moved.home / ".env").read_text() == "TT_DATE_GRAIN=month\n"
    status = {row["table"]: row for row in json.loads(ran(moved, "status", "--json"))}
    assert {table: status[table]["materialized"] for table in MARKET_TABLES} == dict.fromkeys(MARKET_TABLES, 4 * 17)
    assert {row["behind"] for row in status.values()} == {0}

    killed_in(moved, "tell", "year")  # the ledger is moved, and Dagster has forgotten
    ran(moved, "grain", "year")
    assert (moved.home / ".env").read_text() == "TT_DATE_GRAIN=year\n"
    assert rows(moved) == stored
    assert {row["behind"] for row in json.loads(ran(moved, "status", "--json"))} == {0}
    shown = events(moved)
    years = [f"{year}-01-01|{name}" for year in (2011, 2012) for name in ("AA", "BB", "GONE", "LATE")]
    assert [shown[table] for table in MARKET_TABLES] == [years] * 3
    assert shown["tt_episode"] == ["2012-04-01|both"]

    ran(loaded_by_year, "backfill", "market")
    assert ledger(moved) == ledger(loaded_by_year)

    refused = moved.tt("status", TT_DATE_GRAIN="session")
    assert refused.returncode == 2
    assert "the partitions on record are those of a year" in refused.stderr
    outweighed = moved.tt("grain", "month", TT_DATE_GRAIN="year")
    assert "TT_DATE_GRAIN=year stands in the environment" in outweighed.stderr

    ran(moved, "grain", "session")
    assert rows(moved) == stored
    said = dict(
        moved.rows("SELECT date::text || instrument, outcome FROM tt_slice WHERE table_name = 'tt_prices' AND rows = 0")
    )
    assert said["2011-09-13LATE"] == "not listed yet"
    assert said["2012-02-13GONE"] == "after the instrument's last bar"
    assert said["2011-11-16BB"] == "no bar in the source: halted, or a gap"
    assert len(ledger(moved)) == 3 * 4 * len(DAYS)


def test_a_home_out_of_a_dump_has_its_grain(loaded_by_year: Machine, moved: Machine, tmp_path: Path) -> None:
    ran(loaded_by_year, "backfill", "prices")
    ran(loaded_by_year, "db", "dump", str(tmp_path / "whole.dump"))
    assert "one year" in ran(moved, "db", "restore", str(tmp_path / "whole.dump"))
    assert json.loads(ran(moved, "status", "--json")) == json.loads(ran(loaded_by_year, "status", "--json"))
