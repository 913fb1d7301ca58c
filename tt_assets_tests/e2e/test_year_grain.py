"""A home with TT_DATE_GRAIN=year: what a person asks for, what a file that ends in May leaves, what comes after it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tt_assets.market.calendar import sessions
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.e2e.command_line import Machine, machine
from tt_assets_tests.made_bars import made_bars

pytestmark = pytest.mark.slow

DAYS = sessions(pd.Timestamp("2010-07-01").date(), pd.Timestamp("2012-06-29").date())
ENDS = pd.Timestamp("2012-05-15")
LISTED, DELISTED = pd.Timestamp("2011-03-14"), pd.Timestamp("2011-08-12")
NAMES = ("AA", "BB", "LATE", "GONE")


def market() -> pd.DataFrame:
    bars = made_bars(NAMES, DAYS, seed=7)
    late = (bars["instrument"] == "LATE") & (bars["timestamp"] < LISTED)
    gone = (bars["instrument"] == "GONE") & (bars["timestamp"] > DELISTED)
    return bars[~late & ~gone]


@pytest.fixture
def years(tmp_path: Path) -> Iterator[Machine]:
    bars = market()
    bars[bars["timestamp"] <= ENDS].to_csv(tmp_path / "bars.csv", index=False)
    (tmp_path / "watchlist.csv").write_text("symbol,portfolio\nAA,both\nBB,both\nLATE,\nGONE,\n")
    quick = {"TT_SEEDS": "1", "TT_TRAIN_STEPS": "1024", "TT_BASELINES": "cash", "TT_PICTURES": "0"}
    own = {"TT_BARS_PATH": f"{tmp_path / 'bars.csv'}", "TT_WATCHLIST": f"{tmp_path / 'watchlist.csv'}"}
    # The partitions go on behind the end of the file, as those of a feed do.
    with machine(TT_DATE_GRAIN="year", TT_END_DATE="2012-06-29", **quick, **own) as here:
        yield here


def test_a_year_lands_with_what_there_is_and_takes_the_rest_in_when_it_comes(years: Machine, tmp_path: Path):
    told = years.tt("backfill", "market", "--from", "2011-02-01", "--to", "2012-05-15")
    assert told.returncode == 0, told.stderr
    bars = market()
    until = bars[(bars["timestamp"] >= "2011-01-01") & (bars["timestamp"] <= ENDS)]
    truth = until.groupby([until["instrument"], until["timestamp"].dt.year])["timestamp"].agg(["size", "max"])

    def held() -> dict[tuple[str, int], int]:
        rows = years.rows("SELECT instrument, extract(year FROM date)::int, rows FROM tt_slice "
                          "WHERE table_name = 'tt_prices'")  # fmt: skip
        return {(name, year): count for name, year, count in rows}

    # Whole years, and of the running one what the file has; a name that has ended has an empty one.
    assert held() == {key: int(size) for key, size in truth["size"].items()} | {("GONE", 2012): 0}
    outcomes = dict(years.rows("SELECT date::text || instrument, outcome FROM tt_slice WHERE table_name = 'tt_prices'"))
    assert outcomes["2012-01-01AA"] == "loaded"
    assert outcomes["2011-01-01LATE"] == "not listed yet, loaded"
    assert outcomes["2011-01-01GONE"] == "loaded, after the instrument's last bar"
    # The look-back of January reaches into the year before, of which nothing was asked for.
    first = years.rows(
        "SELECT min(timestamp)::date::text FROM tt_features WHERE feature = 'vol_20' AND instrument = 'AA'"
    )
    assert first == [(f"{DAYS[DAYS.searchsorted(pd.Timestamp('2011-01-03')) + 20]:%Y-%m-%d}",)]

    told = years.tt("backfill", "market", "--from", "2010-07-01", "--to", "2010-12-31")
    assert told.returncode == 0, told.stderr
    # January of 2011 was computed without December; LATE has none.
    assert behind(years)["tt_features"] == 3
    told = years.tt("train", "--from", "2012-04-02", "--to", "2012-05-15", "--instruments", "both")
    assert told.returncode == 0, told.stderr

    bars.to_csv(tmp_path / "bars.csv", index=False)
    assert behind(years) == {**behind(years), "tt_prices": 3}
    refresh(years)
    assert set(behind(years).values()) == {0}
    for table in MARKET_TABLES:
        ends = dict(years.rows(f"SELECT instrument, max(timestamp) FROM {table} GROUP BY 1"))
        assert ends == bars.groupby("instrument")["timestamp"].max().to_dict()
    assert years.rows("SELECT count(*) FROM tt_prices") == [(len(bars),)]
    assert years.rows("SELECT max(end_time)::date::text FROM tt_episode WHERE strategy = 'cash'") == [("2012-06-29",)]
    # A file that is cut takes nothing away.
    bars[bars["timestamp"] <= ENDS].to_csv(tmp_path / "bars.csv", index=False)
    told = years.tt("backfill", "tt_prices", "--from", "2012-01-03", "--to", "2012-05-15")
    assert told.returncode == 1
    assert "holds a bar that the source no longer has" in told.stderr
    assert years.rows("SELECT count(*) FROM tt_prices") == [(len(bars),)]


# What the job `refresh_now` does, in a process of its own.
REFRESH = """
from tt_assets.automation.refresh import refresh_agents, refresh_market
from tt_assets.grid.blueprint import blueprint
from tt_assets.runtime.current import current_settings
from tt_assets.runtime.jobs_in_process import job_named
from tt_assets.runtime.platform import open_instance, prepare

settings = current_settings()
platform, plan = prepare(settings), blueprint(settings)
for made in (refresh_market, refresh_agents):
    outcome = made(open_instance(), plan, platform.database, lambda name: job_named(settings, name), print)
    assert outcome.ok, outcome
"""


def refresh(here: Machine) -> None:
    """Bring everything up to the last session."""
    done = subprocess.run(
        [sys.executable, "-c", REFRESH], env=here.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def behind(here: Machine) -> dict[str, int]:
    """Partitions of each table that are behind."""
    return {row["table"]: row["behind"] for row in json.loads(here.tt("status", "--json").stdout)}
