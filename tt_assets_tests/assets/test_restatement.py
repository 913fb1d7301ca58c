"""A stored history the source tells otherwise: written and recorded in the same run, and nothing else is touched."""

from __future__ import annotations

from unittest.mock import ANY

import dagster as dg
import pandas as pd
import pytest

from tt_assets.gateway import Kind
from tt_assets.market.bars import NUMBER_COLUMNS, PRICE_COLUMNS
from tt_assets_tests.assets.ibkr_runs import FIRST, FRIDAY, WORLD, Desk, between, desk, rows_of
from tt_assets_tests.dagster_runs import current_plan, failure_text, partition_counts
from tt_assets_tests.gateway import faults
from tt_assets_tests.gateway.faults import when

__all__ = ["desk"]
THURSDAY = "2012-06-14"


def split(symbol: str, ratio: float) -> pd.DataFrame:
    """The world as told after a split of `symbol`: its prices times `ratio`, to the cent."""
    bars = WORLD.copy()
    rows = bars["instrument"] == symbol
    bars.loc[rows, list(PRICE_COLUMNS)] = (bars.loc[rows, list(PRICE_COLUMNS)] * ratio).round(2)
    bars.loc[rows, "volume"] = (bars.loc[rows, "volume"] / ratio).round()
    return bars


def revise(symbol: str, *days: str) -> pd.DataFrame:
    """The world with another close of `symbol` on these days."""
    bars = WORLD.copy()
    rows = (bars["instrument"] == symbol) & bars["timestamp"].isin(pd.to_datetime(list(days)))
    bars.loc[rows, "close"] = bars.loc[rows, "low"]
    return bars


def test_a_daily_refresh_of_an_unchanged_history_says_nothing_of_it(desk: Desk):
    assert desk.load(FIRST, THURSDAY).success
    result = desk.load(FRIDAY, FRIDAY)
    assert result.success
    assert set(desk.landed(result)) == {f"{FRIDAY}|{name}" for name in ("AAPL", "GOOG", "IBM")}
    assert desk.restated(result) == {}
    assert desk.stored() == rows_of(between(WORLD, FIRST, FRIDAY))


@pytest.mark.parametrize("ratio", [0.25, 3.0])
def test_a_split_reloads_the_whole_stored_history_of_its_instrument_in_the_same_run(desk: Desk, ratio: float):
    assert desk.load(FIRST, THURSDAY).success
    after = split("GOOG", ratio)
    result = desk.load(FRIDAY, FRIDAY, after)

    assert result.success
    assert desk.stored() == rows_of(between(after, FIRST, FRIDAY))
    restated = desk.restated(result)
    assert set(restated) == set(rows_of(between(after[after["instrument"] == "GOOG"], FIRST, THURSDAY)))
    old, new = rows_of(WORLD), rows_of(after)
    for key, said in restated.items():
        assert tuple(said["was"][name] for name in NUMBER_COLUMNS) == old[key]
        assert tuple(said["now"][name] for name in NUMBER_COLUMNS) == new[key]
        assert said["cause"] == "readjusted"
        assert said["ratio"] == pytest.approx(ratio, rel=1e-3)
    assert f"{FRIDAY}|GOOG" in desk.landed(result)
    (words,) = [said["restatements"] for said in desk.landed(result).values() if "restatements" in said]
    assert "GOOG: 32 stored bars changed (readjusted" in words
    assert [desk.requests(symbol) for symbol in ("AAPL", "GOOG", "IBM")] == [1, 2, 1]

    quiet = desk.load(FIRST, FRIDAY, after)
    assert quiet.success
    assert desk.gateway.log.requests == []
    assert desk.restated(quiet) == {}


def test_revised_bars_of_the_overlap_are_written_and_recorded_and_their_neighbours_are_not(desk: Desk):
    assert desk.load(FIRST, THURSDAY).success
    after = revise("IBM", "2012-06-08", "2012-06-12", "2012-05-02")  # the last lies before the overlap
    result = desk.load(FRIDAY, FRIDAY, after)
    assert result.success
    restated = desk.restated(result)
    assert set(restated) == {"2012-06-08|IBM", "2012-06-12|IBM"}
    assert {(said["cause"], said["ratio"]) for said in restated.values()} == {("revision", None)}
    expected = rows_of(between(after, FIRST, FRIDAY))
    expected["2012-05-02|IBM"] = rows_of(WORLD)["2012-05-02|IBM"]
    assert desk.stored() == expected
    assert desk.requests("IBM") == 1


def test_a_refetch_records_what_changed_inside_the_run(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    assert desk.load(FIRST, FRIDAY).success
    monkeypatch.setenv("TT_IBKR_REFETCH", "1")
    after = revise("AAPL", "2012-05-02")
    result = desk.load(FIRST, FRIDAY, after)
    assert result.success
    assert set(desk.restated(result)) == {"2012-05-02|AAPL"}
    assert len(desk.landed(result)) == 3 * 33
    assert desk.stored() == rows_of(between(after, FIRST, FRIDAY))


def test_a_split_whose_history_is_refused_fails_its_instrument_and_leaves_every_stored_row(desk: Desk):
    assert desk.load(FIRST, THURSDAY).success
    script = when(Kind.HISTORY, "GOOG", None, faults.Refuse(*faults.NO_PERMISSION))
    result = desk.load(FRIDAY, FRIDAY, split("GOOG", 0.5), script)
    said = failure_text(result, "tt_prices")
    assert "GOOG: its history was re-adjusted by 0.5" in said
    assert "could not be loaded again" in said
    expected = rows_of(between(WORLD, FIRST, THURSDAY))
    expected |= {f"{FRIDAY}|{name}": rows_of(WORLD)[f"{FRIDAY}|{name}"] for name in ("AAPL", "IBM")}
    assert desk.stored() == expected


def test_a_reloaded_history_with_a_bad_bar_is_not_written_beside_unadjusted_rows(desk: Desk):
    assert desk.load(FIRST, THURSDAY).success
    spoil = faults.Bars(lambda bars: [bar._replace(low="-1") if bar.date == "20120509" else bar for bar in bars])
    result = desk.load(FRIDAY, FRIDAY, split("GOOG", 0.5), when(Kind.HISTORY, "GOOG", None, spoil))
    said = failure_text(result, "tt_prices")
    assert "lacks a good bar of 1 stored sessions, 2012-05-09 first" in said
    assert "price not finite and positive" in said
    kept = {key: row for key, row in desk.stored().items() if key.endswith("GOOG")}
    assert kept == rows_of(between(WORLD[WORLD["instrument"] == "GOOG"], FIRST, THURSDAY))


def test_a_history_in_the_middle_of_a_ragged_selection_is_reloaded_too(desk: Desk):
    assert desk.load(FIRST, THURSDAY, symbols=("GOOG", "GOOG")).success
    # The run asks for a hole and the newest session; what lies between them is no part of it.
    with desk.database.connect() as connection:
        connection.execute("DELETE FROM tt_prices WHERE timestamp = '2012-05-08'")
    after = split("GOOG", 0.5)
    result = desk.load("2012-05-08", "2012-05-08", after, symbols=("GOOG", "GOOG"))
    assert result.success
    assert desk.stored() == rows_of(between(after[after["instrument"] == "GOOG"], FIRST, THURSDAY))
    assert len(desk.restated(result)) == 32 - 1
    assert set(desk.landed(result)) == set(desk.stored())


def test_a_run_of_one_partition_reloads_the_history_too_and_dagster_counts_its_cells(
    desk: Desk, postgres_instance: dg.DagsterInstance
):
    desk.instance = postgres_instance
    assert desk.load(FIRST, THURSDAY).success
    before = partition_counts(postgres_instance, "tt_prices", current_plan().market_partitions)[0]
    after = split("GOOG", 0.5)
    result = desk.load(FRIDAY, None, after, symbols=("GOOG", "GOOG"))
    assert result.success
    assert desk.stored() == rows_of(
        pd.concat([between(WORLD[WORLD["instrument"] != "GOOG"], FIRST, THURSDAY),
                   between(after[after["instrument"] == "GOOG"], FIRST, FRIDAY)])
    )  # fmt: skip
    assert len(desk.restated(result)) == 32
    assert partition_counts(postgres_instance, "tt_prices", current_plan().market_partitions) == (before + 1, ANY, 0)
