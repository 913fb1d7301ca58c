"""The platform on bars that are not the bundled ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tt_assets.market.calendar import sessions
from tt_assets.tables import TABLES
from tt_assets_tests.e2e.command_line import Machine, free_port, machine, serve

pytestmark = pytest.mark.slow

FIRST, LAST = date(2020, 1, 2), date(2022, 12, 30)
LISTED, DELISTED = date(2021, 3, 1), date(2022, 8, 12)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three years of three instruments as parquet: one whole, one listed late, one delisted midway."""
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    draws = np.random.default_rng(7)
    frames = []
    for name, first, last in (("OLD", FIRST, LAST), ("LATE", LISTED, LAST), ("GONE", FIRST, DELISTED)):
        days = sessions(first, last)
        close = 50 * np.exp(np.cumsum(draws.normal(0.0003, 0.015, len(days))))
        opening = close * np.exp(draws.normal(0, 0.005, len(days)))
        spread = np.exp(np.abs(draws.normal(0, 0.004, len(days))))
        frames.append(
            pd.DataFrame(
                {
                    "instrument": name,
                    "timestamp": days,
                    "open": opening,
                    "high": np.maximum(opening, close) * spread,
                    "low": np.minimum(opening, close) / spread,
                    "close": close,
                    "volume": draws.integers(10_000, 1_000_000, len(days)).astype(float),
                }
            )
        )
    pd.concat(frames).to_parquet(path)
    return path


@pytest.fixture(scope="module", params=["with a portfolio", "without portfolios"])
def shown(request: pytest.FixtureRequest, bars: Path) -> Iterator[tuple[Machine, list[dict[str, object]], bool]]:
    """A machine after `tt demo --json` on these bars, and what it printed."""
    grouped = request.param == "with a portfolio"
    watchlist = bars.with_name("grouped.csv" if grouped else "plain.csv")
    watchlist.write_text("symbol,portfolio\nOLD,both\nLATE,both\nGONE,\n" if grouped else "OLD,LATE,GONE\n")
    with machine(TT_BARS_PATH=str(bars), TT_WATCHLIST=str(watchlist), TT_TRAIN_STEPS="512") as here:
        told = here.tt("demo", "--json")
        assert told.returncode == (0 if grouped else 1), told.stderr
        yield here, json.loads(told.stdout), grouped


def test_the_demo_fills_all_thirteen_tables(shown: tuple[Machine, list[dict[str, object]], bool]) -> None:
    here, printed, _ = shown
    assert [line["table"] for line in printed] == list(TABLES)
    for line in printed:
        (stored,) = here.rows(f"SELECT count(*) FROM {line['table']}")
        assert stored[0] == line["rows"], line
        assert stored[0] > 0, line


def test_every_bar_of_the_file_lands_and_no_other(
    shown: tuple[Machine, list[dict[str, object]], bool], bars: Path
) -> None:
    here, _, _ = shown
    wanted = pd.read_parquet(bars).sort_values(["instrument", "timestamp"])
    stored = here.rows(
        'SELECT instrument, timestamp, open, high, low, close, volume FROM tt_prices ORDER BY instrument COLLATE "C", 2'
    )
    assert stored == [tuple(row) for row in wanted.itertuples(index=False)]


def test_sessions_before_the_listing_and_after_the_delisting_are_done_without_a_row(
    shown: tuple[Machine, list[dict[str, object]], bool],
) -> None:
    _, printed, _ = shown
    prices = next(line for line in printed if line["table"] == "tt_prices")
    assert (prices["first"], prices["last"]) == (FIRST.isoformat(), LAST.isoformat())
    assert prices["materialized"] == 3 * len(sessions(FIRST, LAST))
    assert prices["failed"] == 0


def test_what_is_traded_is_the_portfolios_or_else_the_symbols(
    shown: tuple[Machine, list[dict[str, object]], bool],
) -> None:
    here, _, grouped = shown
    traded = {name for (name,) in here.rows("SELECT DISTINCT instrument FROM tt_episode WHERE end_time IS NOT NULL")}
    assert traded == ({"both"} if grouped else {"OLD", "LATE", "GONE"})
    late = here.rows("SELECT max(t.timestamp) FROM tt_order t WHERE t.instrument = 'GONE'")
    assert late[0][0] is None or late[0][0].date() <= DELISTED


def test_bars_that_begin_earlier_and_go_on_are_loaded_by_the_queue_of_a_platform_that_began_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bars.csv"

    def write(first: date, last: date) -> int:
        days = sessions(first, last)
        prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
        pd.DataFrame({"instrument": "OLD", "timestamp": days, **prices}).to_csv(path, index=False)
        return len(days)

    write(date(2021, 3, 1), date(2021, 3, 31))
    with machine(TT_BARS_PATH=str(path)) as here:
        serve(here, free_port())
        wanted = write(date(2021, 2, 1), date(2021, 4, 30))
        told = here.tt("backfill", "prices", "--queue")
        assert told.returncode == 0, told.stderr
        assert here.rows("SELECT count(*) FROM tt_prices") == [(wanted,)]
