"""The cases people sent, from the command line: each on a machine of its own, with what is said and what is stored."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

import tt_assets_tests.market
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets_tests.e2e.command_line import machine

pytestmark = pytest.mark.slow

CASES = Path(tt_assets_tests.market.__file__).with_name("cases")
FIRST = ("ACME", date(2014, 1, 2), 40.369999, 40.490002, 39.310001, 39.59, 21504200.0)
LAST = ("ACME", date(2014, 1, 15), 41.060001, 41.310001, 40.759998, 41.07, 9475500.0)
CENTS_FIRST = ("ACME", date(2014, 1, 2), 40.37, 40.49, 39.31, 39.59, 21504200.0)
CENTS_LAST = ("ACME", date(2014, 1, 15), 41.06, 41.31, 40.76, 41.07, 9475500.0)
Row = tuple[str, date, float, float, float, float, float]


@dataclass(frozen=True)
class Case:
    """A command in the folder of a case, and what must come of it.

    `said` are pieces of what is printed; `rows` is how many bars each instrument has after it, `among` bars that are
    there bit for bit, `truths` are conditions that hold in the database.
    """

    number: str
    bars: str
    command: str
    code: int = 0
    said: Sequence[str] = ()
    rows: dict[str, int] = field(default_factory=lambda: {"ACME": 10})
    among: Sequence[Row] = ()
    truths: Sequence[str] = ()
    settings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.number} {self.bars}"


LEFT_OUT = "the column Adj Close is there and is left out"
PRICES = "backfill tt_prices"
RETURNS = "SELECT count(*) = {count} FROM tt_features WHERE feature = 'return_1' AND instrument = 'HOLE' AND timestamp "
ALL = [
    Case("01", "bars", "demo", 1, [LEFT_OUT, "no walk-forward window"], among=[FIRST, LAST]),
    Case("02", "yf.csv", PRICES, said=[LEFT_OUT], among=[FIRST, LAST]),
    Case("04", "HistoricalData.csv", PRICES, among=[CENTS_FIRST, CENTS_LAST]),
    Case("05", "acme.us.txt", PRICES, among=[FIRST, LAST]),
    Case("06", "daily_ACME.csv", PRICES, among=[FIRST, LAST]),
    Case("07", "alpaca.csv", PRICES, among=[FIRST, LAST]),
    Case("09", "kurse.csv", PRICES, among=[CENTS_FIRST, CENTS_LAST]),
    Case(
        "11",
        "finrl.csv",
        "backfill market --to 2020-07-13",
        2,
        ["close of ACME lies outside low to high in 8 of 8 bars: close is adjusted for dividends and the other prices"],
        {},
    ),
    Case(
        "12",
        "ulp.csv",
        "backfill market --to 2014-01-15",
        said=["by less than a millionth: 1 row (ACME 2014-01-08)"],
        truths=["SELECT high = 41.290001 FROM tt_prices WHERE timestamp = '2014-01-08'"],
    ),
    Case(
        "13",
        "hole.csv",
        "backfill market --to 2017-08-11",
        1,
        ["2017-07-31|HOLE: price not finite and positive open= low=, line 21", "tt_prices: 1 partition"],
        {"HOLE": 28, "WHOLE": 29},
        truths=[
            RETURNS.format(count=0) + "IN ('2017-07-31', '2017-08-01')",
            RETURNS.format(count=9) + ">= '2017-07-28'",
            (
                "SELECT count(*) = 10 FROM tt_features WHERE feature = 'return_1' AND instrument = 'WHOLE' "
                "AND timestamp >= '2017-07-31'"
            ),
        ],
    ),
    Case(
        "15", "dup.csv", "backfill market --to 2014-01-15", said=["taken once: 1 row (ACME 2014-01-15)"], among=[LAST]
    ),
    Case(
        "16",
        "split.csv",
        "backfill market --to 2014-07-15",
        said=[
            "ACME 2014-06-09 close moved -85.5%, open 1/7 of the close before: an unadjusted 7:1 split?",
            "warning: check no_jumps of tt_prices",
            "Remedy: adjust the bars",
        ],
        rows={"ACME": 63},
    ),
    Case("18", "ok.csv", "backfill tt_prices --from 2014-01-02 --to 2014-01-15", among=[FIRST, LAST]),
    Case("19", "old.csv", PRICES, said=["no session on that day: 1 (ACME 1989-12-25, line 7)"], rows={"ACME": 9}),
    Case(
        "21",
        "coin.csv",
        "backfill tt_prices --to 2019-01-29",
        2,
        [
            "25% of the rows (4 of 16; most of COIN) lie on days on which the New York exchange was closed",
            "TT_CALENDAR",
        ],
        {},
    ),
    Case("21", "coin.csv", PRICES, rows={"COIN": 16}, settings={"TT_CALENDAR": "24/7"}),
    Case(
        "23",
        "ok.csv",
        "backfill market --to 2014-02-28",
        1,
        ["short_lb reads more than the 2 sessions before that it declares"],
        {"ACME": 40},
        settings={"TT_FEATURE_MODULES": "short", "PYTHONPATH": "mods"},
    ),
    Case(
        "24",
        "two.csv",
        "backfill tt_prices --to 2014-01-15",
        1,
        [
            "  2014-01-03|ACME: high below low high=1.0 low=39.82, line 3\n",
            "  2014-01-15|ACME: volume not finite and >= 0 volume=-1, line 11\n",
        ],
        {"ACME": 8},
    ),
    Case("25", "ok.csv", PRICES, among=[FIRST, LAST]),
    Case(
        "28",
        "ok.csv",
        "backfill market --to 2014-02-28",
        1,
        ["5 of 5 sessions looked at (40 in the run) fail: peek_1, zall, short_lb"],
        {"ACME": 40},
        settings={"TT_FEATURE_MODULES": "peek", "PYTHONPATH": "mods"},
    ),
    Case(
        "29",
        "edge.csv",
        "backfill market --to 2014-03-14",
        rows={"FINE": 26, "EDGE": 26},
        truths=[
            (
                "SELECT score = -1.0 FROM tt_signal_scores WHERE instrument = 'EDGE' AND timestamp = '2014-03-11' "
                "AND signal_name = 'rsi_reversal_14d'"
            ),
        ],
    ),
]


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """A home with an empty database, which costs more to make than most cases."""
    with machine() as here:
        told = here.tt("db", "upgrade")
        assert told.returncode == 0, told.stderr
        EmbeddedServer(here.home).stop("fast")
        yield here.home


@pytest.mark.parametrize("case", ALL, ids=str)
def test_the_case_ends_as_a_person_expects(tmp_path: Path, prepared: Path, case: Case):
    (kept,) = CASES.glob(f"{case.number}-*")
    folder = shutil.copytree(kept, tmp_path / "case")
    settings = {"TT_BARS_PATH": case.bars, "TT_PICTURES": "0", **case.settings}
    if (folder / "w.csv").exists():
        settings["TT_WATCHLIST"] = "w.csv"
    with machine() as here:
        if case.rows:  # what is refused must not even make a home
            subprocess.run(["cp", "-a", prepared, here.home], check=True)  # with the owner of each file
        told = here.tt(*case.command.split(), cwd=folder, **settings)
        printed = told.stdout + told.stderr
        assert told.returncode == case.code, printed
        assert "Traceback" not in printed
        for piece in case.said:
            assert piece in printed
        if not case.rows:
            assert not (here.home / "pgdata").exists(), "refused bars start nothing"
            return
        assert dict(here.rows("SELECT instrument, count(*) FROM tt_prices GROUP BY 1")) == case.rows
        stored = here.rows("SELECT instrument, timestamp::date, open, high, low, close, volume FROM tt_prices")
        assert set(case.among) <= set(stored)
        for truth in case.truths:
            assert here.rows(truth) == [(True,)], truth
