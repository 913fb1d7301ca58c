"""`tt backfill --plan`: requests and time under the pacing rule, said without asking or changing anything."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from tt_assets.commands.partition_count import beyond_comfort
from tt_assets.market.calendar import sessions
from tt_assets.market.ibkr.empties import EmptySessions, Known
from tt_assets.market.ibkr.memory import identity
from tt_assets.market.watchlist import read_watchlist
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.settings import DateGrain, Settings
from tt_assets.tables import TABLES
from tt_assets_tests.commands.conftest import Tt
from tt_assets_tests.dagster_runs import stored
from tt_assets_tests.gateway.worlds import walk

SPAN = ("--from", "2024-01-16", "--to", "2024-03-01")
IBKR = {"TT_PRICE_SOURCE": "ibkr", "TT_START_DATE": "2023-01-03", "TT_IBKR_PORT": "1"}  # nobody listens there
FIRST, LAST = date(2024, 1, 16), date(2024, 3, 1)


def test_a_file_asks_nothing_over_the_network_and_no_home_is_made(tt: Tt):
    told = tt("backfill", "market", "--plan", "--from", "2012-01-03", "--to", "2012-01-31")
    assert told.code == 0
    assert "5 instruments × 20 sessions (2012-01-03 to 2012-01-31) × 3 tables: 300 partitions in 1 run" in told.out
    assert "nothing is asked over the network" in told.out
    assert not Settings().home.exists()


def test_a_first_load_is_one_request_an_instrument(tt: Tt):
    told = tt("backfill", "prices", "--plan", *SPAN, **IBKR)
    assert told.code == 0, told.err
    assert "5 historical requests and 5 for contract details to IBKR" in told.out
    assert "at least 1.1 s (0.15 s between starts, 8 open at once)" in told.out  # 4 × 0.15 s, and one answer
    assert not Settings().home.exists()


def test_the_interval_the_strict_budget_and_a_portfolio_count(tt: Tt, tmp_path):
    names = [f"S{number:03}" for number in range(150)]
    watchlist = tmp_path / "watchlist.csv"
    watchlist.write_text("symbol,portfolio\n" + "".join(f"{name},half\n" for name in names))
    told = tt("backfill", "market", "--plan", *SPAN, TT_WATCHLIST=str(watchlist), TT_IBKR_MIN_INTERVAL="2", **IBKR)
    assert "150 historical requests" in told.out
    assert "at least 5 min (2 s between starts" in told.out  # 149 × 2 s
    told = tt("backfill", "market", "--plan", *SPAN, TT_IBKR_STRICT_BUDGET="1")
    assert "at least 20 min (2 s between starts, 8 open at once, 60 in 10 minutes)" in told.out  # two windows passed
    assert "3 tables: 14,850 partitions in 1 run" in told.out  # 33 sessions


def test_tables_without_prices_ask_for_no_bar(tt: Tt):
    assert "No bar is asked for" in tt("backfill", "features", "--plan", *SPAN, **IBKR).out


def test_a_mistake_is_still_a_mistake(tt: Tt):
    assert tt("backfill", "market", "--plan", "--from", "1999-01-04").is_one_line_of_advice()


@pytest.fixture
def holding_aapl_and_half_of_goog(connected):
    bars = walk(["AAPL", "GOOG"], first=FIRST, last=LAST)
    bars = bars[(bars["instrument"] == "AAPL") | (bars["timestamp"] >= pd.Timestamp("2024-02-07"))]
    span = (pd.Timestamp(FIRST).to_pydatetime(), pd.Timestamp("2024-03-02").to_pydatetime())
    cells = Selection.of({name: (name, *span) for name in ("AAPL", "GOOG")})
    SliceStore(connected, TABLES["tt_prices"]).write(cells, bars)
    return connected


def test_what_is_stored_or_known_to_have_no_bar_is_not_counted_and_nothing_changes(
    tt: Tt, holding_aapl_and_half_of_goog
):
    database = holding_aapl_and_half_of_goog
    before = stored(database, "tt_prices")
    told = tt("backfill", "market", "--plan", *SPAN, **IBKR)
    assert "4 historical requests and 4 for contract details to IBKR; 1 instrument complete" in told.out

    goog = next(i for i in read_watchlist(Settings().watchlist).instruments if i.symbol == "GOOG")
    memory = EmptySessions(Settings().home / "cache" / "ibkr_empty_sessions.json")
    empty = frozenset(day.date() for day in sessions(FIRST, date(2024, 2, 6)))
    memory._known[identity(goog)] = Known(empty=empty)
    memory.save()
    assert "3 historical requests" in tt("backfill", "market", "--plan", *SPAN).out
    assert "5 historical requests" in tt("backfill", "market", "--plan", *SPAN, TT_IBKR_REFETCH="1").out
    only = tt("backfill", "market", "--plan", *SPAN, "--instruments", "AAPL,GOOG", TT_IBKR_REFETCH="0")
    assert "No request to IBKR; 2 instruments complete" in only.out
    assert stored(database, "tt_prices") == before


@pytest.mark.parametrize(
    ("partitions", "grain", "chosen"),
    [
        (89_999, DateGrain.SESSION, None),
        (90_000, DateGrain.SESSION, "month"),
        (100_001, DateGrain.SESSION, "month"),
        (500 * 2520, DateGrain.SESSION, "month"),
        (3_000 * 2520, DateGrain.SESSION, "year"),
        (8_000 * 7560, DateGrain.SESSION, "year"),
        (80_000, DateGrain.MONTH, None),
        (360_000, DateGrain.MONTH, "year"),
        (30_000, DateGrain.YEAR, None),
    ],
)
def test_too_many_partitions_for_dagster_are_said_with_the_grain_to_choose(partitions, grain, chosen):
    words = beyond_comfort(partitions, grain)
    assert bool(words) is (chosen is not None)
    if chosen:
        assert f"{partitions:,} partitions a table" in words
        assert f"TT_DATE_GRAIN={chosen}" in words
        assert ("more than" if partitions > 100_000 else "close to") in words


def test_beyond_the_widest_grain_fewer_instruments_are_advised():
    words = beyond_comfort(240_000, DateGrain.YEAR)
    assert "240,000 partitions a table are more than the 100,000" in words
    assert "widest" in words
    assert "TT_DATE_GRAIN" not in words


def test_a_plan_says_where_the_home_has_too_many_partitions(tt: Tt, tmp_path: Path) -> None:
    watchlist = tmp_path / "many.csv"
    watchlist.write_text("symbol\n" + "".join(f"S{number:03d}\n" for number in range(600)), encoding="utf-8")
    few = ("--from", "2012-05-01", "--to", "2012-05-31", "--instruments", "S000")
    told = tt("backfill", "prices", "--plan", *few, TT_WATCHLIST=str(watchlist))
    assert "close to" not in told.out
    assert "1,209,000 partitions a table are more than the 100,000" in told.out  # 2,015 sessions of the sample
    assert "TT_DATE_GRAIN=month" in told.out
    monthly = tt("backfill", "prices", "--plan", *few, TT_WATCHLIST=str(watchlist), TT_DATE_GRAIN="month")
    assert "that Dagster bears well" not in monthly.out
