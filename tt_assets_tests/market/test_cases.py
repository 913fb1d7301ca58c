"""Small inputs that people have, each with what must come of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from tt_assets.market.bars import BarRule, Mending
from tt_assets.market.errors import BarsFileError
from tt_assets.market.files import FileBars
from tt_assets.market.sources import BarRequest, Fetched
from tt_assets.market.watchlist import read_watchlist
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals

CASES = Path(__file__).with_name("cases")
EXACT = {
    "2014-01-02": [40.369999, 40.490002, 39.310001, 39.59, 21504200.0],
    "2014-01-15": [41.060001, 41.310001, 40.759998, 41.07, 9475500.0],
}
TWO_DIGITS = {
    "2014-01-02": [40.37, 40.49, 39.31, 39.59, 21504200.0],
    "2014-01-15": [41.06, 41.31, 40.76, 41.07, 9475500.0],
}


def case(number: str, name: str) -> FileBars:
    """The bars of a case, with its watchlist where it has one."""
    (folder,) = CASES.glob(f"{number}-*")
    listed = folder / "w.csv"
    return FileBars(folder / name, read_watchlist(listed).symbols if listed.exists() else None)


def rows_of(bars: FileBars) -> dict[str, list[float]]:
    clean = bars.check().clean
    assert set(clean["instrument"]) == {"ACME"}
    assert len(clean) == 10
    return {f"{row[1]:%Y-%m-%d}": list(row[2:]) for row in clean.itertuples(index=False)}


@pytest.mark.parametrize(
    ("number", "name", "values"),
    [
        ("01", "bars", EXACT),
        ("02", "yf.csv", EXACT),
        ("04", "HistoricalData.csv", TWO_DIGITS),
        ("05", "acme.us.txt", EXACT),
        ("06", "daily_ACME.csv", EXACT),
        ("07", "alpaca.csv", EXACT),
        ("09", "kurse.csv", TWO_DIGITS),
        ("15", "dup.csv", EXACT),
        ("18", "ok.csv", EXACT),
        ("25", "ok.csv", EXACT),
    ],
)
def test_it_loads_with_the_values_that_stand_in_it(number: str, name: str, values: dict[str, list[float]]):
    bars = case(number, name)
    assert bars.check().faults == ()
    assert {day: row for day, row in rows_of(bars).items() if day in values} == values


def test_the_adjusted_close_that_is_left_out_is_said_in_one_line():
    (said,) = case("01", "bars").warnings()
    assert said.startswith("the column Adj Close is there and is left out; TT_BARS_ADJUST=adj_close")


def test_a_close_that_alone_is_adjusted_is_refused_in_one_sentence():
    with pytest.raises(
        BarsFileError, match="close of ACME lies outside low to high in 8 of 8 bars: close is adjusted for "
    ):
        case("11", "finrl.csv").check()


def test_a_high_one_ulp_below_the_close_is_raised_and_counted():
    checked = case("12", "ulp.csv").check()
    (row,) = checked.clean[checked.clean["timestamp"] == "2014-01-08"].itertuples()
    assert row.high == 41.290001
    assert len(checked.clean) == 10
    assert any(
        Mending.ROUNDED in line and "1 row (ACME 2014-01-08)" in line for line in case("12", "ulp.csv").warnings()
    )


def test_a_partial_row_costs_its_own_session_and_what_looks_back_over_it():
    checked = case("13", "hole.csv").check()
    assert [(fault.instrument, fault.said()) for fault in checked.faults] == [
        ("HOLE", "price not finite and positive open= low=, line 21")
    ]
    long = compute_features(checked.clean, load_features(()))
    returns = long[(long["feature"] == "return_1") & (long["timestamp"] >= "2017-07-28")]
    days = {name: rows["timestamp"].dt.strftime("%m-%d").tolist() for name, rows in returns.groupby("instrument")}
    assert days["WHOLE"][:4] == ["07-28", "07-31", "08-01", "08-02"]
    assert days["HOLE"][:2] == ["07-28", "08-02"]


def test_a_row_that_is_there_twice_is_one_row_and_said_so():
    assert any(Mending.TWICE in line for line in case("15", "dup.csv").warnings())


def test_an_unadjusted_split_is_asked_about():
    (said,) = case("16", "split.csv").warnings()
    assert "ACME 2014-06-09 close moved -85.5%, open 1/7 of the close before: an unadjusted 7:1 split?" in said
    assert "Use split-adjusted prices" in said


def test_bars_before_1990_lie_on_sessions():
    checked = case("19", "old.csv").check()
    assert checked.clean["timestamp"].min() == pd.Timestamp("1989-12-18")
    assert [(fault.rule, fault.session) for fault in checked.faults] == [(BarRule.CLOSED_DAY, date(1989, 12, 25))]


def test_bars_of_seven_days_a_week_are_refused_and_the_calendar_is_named():
    with pytest.raises(BarsFileError, match=r"25% of the rows .* most of COIN.* Set TT_CALENDAR to 24/7"):
        case("21", "coin.csv").check()


def test_the_reason_of_a_session_names_its_own_row():
    (result,) = case("24", "two.csv").fetch([BarRequest("ACME", date(2014, 1, 2), date(2014, 1, 15))])
    assert isinstance(result, Fetched)
    assert {str(fault.session): fault.said() for fault in result.faults} == {
        "2014-01-03": "high below low high=1.0 low=39.82, line 3",
        "2014-01-15": "volume not finite and >= 0 volume=-1, line 11",
    }


def test_built_in_scores_never_leave_their_bounds_by_rounding():
    clean = case("29", "edge.csv").check().clean
    features = load_features(())
    long = compute_features(clean, features)
    scores = compute_signals(clean, long, load_signals((), features))
    edge = (scores["instrument"] == "EDGE") & (scores["timestamp"] == "2014-03-11")
    assert scores[edge & (scores["signal_name"] == "rsi_reversal_14d")]["score"].tolist() == [-1.0]
    rsi = long[long["feature"] == "rsi_14"]
    assert rsi["value"].between(0, 100).all()
    assert rsi[(rsi["instrument"] == "EDGE") & (rsi["timestamp"] == "2014-03-11")]["value"].tolist() == [100.0]
