"""A bar that changes makes what was computed from it fresh again: those cells and no others, with the reason."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from tt_assets.automation.agents import read_agents
from tt_assets.automation.market import read_market
from tt_assets.automation.restated_bars import Memory, Restated
from tt_assets.automation.restatement import Lineage
from tt_assets.grid.keys import CellKey
from tt_assets.market.calendar import sessions, shift_session
from tt_assets.postgres.episode_store import EpisodeHeader, EpisodeStore, EpisodeSummary
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES
from tt_assets_tests.automation.states import cells_of
from tt_assets_tests.automation.ticks import Ticking, carry_out
from tt_assets_tests.dagster_runs import cells, current_plan, keep_dates_of_sample, landed_cells, query, run_job, stored

FIRST, LAST = date(2012, 3, 1), date(2012, 6, 29)
CHANGED = "2012-04-10"
NAMES = ("AAPL", "GOOG")
DAYS = [day.strftime("%Y-%m-%d") for day in sessions(FIRST, LAST)]


def from_changed(steps: int) -> list[str]:
    """The sessions from the changed bar's to `steps` after it."""
    at = DAYS.index(CHANGED)
    return DAYS[at : at + steps + 1]


@pytest.fixture
def bars_file(tmp_path: Path, sample_bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bars.parquet"
    write(path, sample_bars)
    watchlist = tmp_path / "watchlist.csv"
    watchlist.write_text("symbol,portfolio\nAAPL,pair\nGOOG,pair\n")
    monkeypatch.setenv("TT_BARS_PATH", str(path))
    keep_dates_of_sample(monkeypatch)
    monkeypatch.setenv("TT_WATCHLIST", str(watchlist))
    monkeypatch.setenv("TT_END_DATE", "2013-03-01")
    return path


def write(path: Path, bars: pd.DataFrame) -> None:
    bars[bars["instrument"].isin(NAMES)].to_parquet(path)


@pytest.fixture
def loaded(postgres_instance: dg.DagsterInstance, bars_file: Path, connected) -> dg.DagsterInstance:
    """Two instruments over four months through the market tables."""
    postgres_instance.add_dynamic_partitions("traded", ["pair"])
    assert run_job(postgres_instance, MARKET_TABLES, f"{FIRST}|AAPL", f"{LAST}|GOOG").success
    return postgres_instance


def change(path: Path, bars: pd.DataFrame, **values: float) -> pd.DataFrame:
    """Give AAPL's bar of the changed session other `values` in the file; the bars as they are now."""
    place = (bars["instrument"] == "AAPL") & (bars["timestamp"] == CHANGED)
    for name, value in values.items():
        bars.loc[place, name] = value
    write(path, bars)
    return bars


def test_a_changed_bar_is_refreshed_through_the_tables_and_nothing_else_is_touched(
    loaded, bars_file, sample_bars, connected
):
    bars, downstream = Ticking(loaded, "bars_file"), Ticking(loaded, "restatement")
    assert downstream.tick() == []
    assert bars.tick() == bars.tick() == []
    before = {table: ids(connected, table) for table in MARKET_TABLES}

    old = query(connected, "SELECT close FROM tt_prices WHERE instrument = 'AAPL' AND timestamp = %s", CHANGED)[0][0]
    now = change(bars_file, sample_bars, close=old * 1.01, high=old * 1.02)
    assert bars.tick() == []  # it may still be being written
    (request,) = bars.tick()
    axes = read_market(loaded, current_plan()).axes
    assert cells_of(request, axes) == {("tt_prices", CHANGED, "AAPL")}
    assert f"{old:g}" in request.tags["tt/reason"]
    assert f"{old * 1.01:g}" in request.tags["tt/reason"]
    carry_out(loaded, [request])
    assert bars.tick() == []
    assert "those of the bars file" in bars.said

    (request,) = downstream.tick()
    assert "AAPL" in request.tags["tt/reason"]
    assert f"close was {old:g}, is {old * 1.01:g}" in request.tags["tt/reason"]
    (first,) = carry_out(loaded, [request])
    (request,) = downstream.tick()
    (second,) = carry_out(loaded, [request])
    assert downstream.tick() == []
    assert Memory.read(downstream.cursor).pending == ()

    behind_features, behind_scores = cells(from_changed(20), ["AAPL"]), cells(from_changed(39)[21:], ["AAPL"])
    assert set(landed_cells(loaded, "tt_features", first)) == behind_features
    assert set(landed_cells(loaded, "tt_signal_scores", first)) == behind_features
    assert set(landed_cells(loaded, "tt_features", second)) == set()
    assert set(landed_cells(loaded, "tt_signal_scores", second)) == behind_scores
    touched = {"tt_prices": [CHANGED], "tt_features": from_changed(20), "tt_signal_scores": from_changed(39)}
    for table, days in touched.items():
        after = ids(connected, table)
        renewed = {row[:2] for row in after - before[table]}
        assert renewed == {("AAPL", day) for day in days}, table

    # What stands in the tables now is what all of the changed bars give, computed in one go.
    span = now[now["instrument"].isin(NAMES) & now["timestamp"].between(str(FIRST), str(LAST))]
    features = compute_features(span, load_features())
    for table, frame in (
        ("tt_features", features),
        ("tt_signal_scores", compute_signals(span, features, load_signals())),
    ):
        assert stored(connected, table) == [tuple(row) for row in frame.itertuples(index=False)]


def test_a_rerun_that_changes_nothing_has_no_consequence(loaded, connected):
    downstream = Ticking(loaded, "restatement")
    assert downstream.tick() == []
    assert run_job(loaded, ["tt_prices"], f"{CHANGED}|AAPL", f"{LAST}|GOOG").success
    assert downstream.tick() == []
    assert Memory.read(downstream.cursor).pending == ()


@pytest.mark.parametrize("table", MARKET_TABLES[1:])
def test_a_bar_that_changes_while_what_reads_it_is_computed_makes_that_again(
    loaded, bars_file, sample_bars, connected, monkeypatch, table
):
    """The run has read the old bar and ends after the new one landed, so it is the younger of the two."""
    from tt_assets.assets import features, signals

    module, name = (features, "compute_features") if table == "tt_features" else (signals, "compute_signals")
    honest = getattr(module, name)
    bars, downstream = Ticking(loaded, "bars_file"), Ticking(loaded, "restatement")
    bars.tick(), bars.tick(), downstream.tick()

    def overtaken(*inputs):
        monkeypatch.setattr(module, name, honest)
        change(bars_file, sample_bars, close=99.0, high=101.0, low=98.0, open=100.0)
        assert run_job(loaded, ["tt_prices"], f"{CHANGED}|AAPL").success
        return honest(*inputs)

    monkeypatch.setattr(module, name, overtaken)
    # All that looks back over the bar is made by the run that was overtaken; a check may find it out or look elsewhere.
    run_job(loaded, MARKET_TABLES[1:], f"{CHANGED}|AAPL", f"{LAST}|AAPL")
    made = []
    for requests in iter(downstream.tick, []):
        made += [
            (table, day)
            for request in requests
            for table, day, _ in cells_of(request, read_market(loaded, current_plan()).axes)
        ]
        carry_out(loaded, requests)
    assert Memory.read(downstream.cursor).pending == ()
    behind = {"tt_features": from_changed(20), "tt_signal_scores": from_changed(39)}
    assert {day for of, day in made if of == table} == set(behind[table])

    now = pd.read_parquet(bars_file)
    span = now[now["timestamp"].between(str(FIRST), str(LAST))]
    computed = compute_features(span, load_features())
    for of, frame in (("tt_features", computed), ("tt_signal_scores", compute_signals(span, computed, load_signals()))):
        assert stored(connected, of) == [tuple(row) for row in frame.itertuples(index=False)], of


def test_a_bar_that_comes_late_is_a_change_for_what_was_computed_without_it(
    postgres_instance, bars_file, sample_bars, connected
):
    gone = (sample_bars["instrument"] == "AAPL") & (sample_bars["timestamp"] == CHANGED)
    write(bars_file, sample_bars[~gone])
    assert run_job(postgres_instance, MARKET_TABLES, f"{FIRST}|AAPL", f"{LAST}|GOOG").success
    bars, downstream = Ticking(postgres_instance, "bars_file"), Ticking(postgres_instance, "restatement")
    bars.tick(), bars.tick(), downstream.tick()
    write(bars_file, sample_bars)
    (request,) = [*bars.tick(), *bars.tick()]
    assert "absent" in request.tags["tt/reason"]
    carry_out(postgres_instance, [request])
    (request,) = downstream.tick()
    assert "a bar where none was" in request.tags["tt/reason"]
    span = request.partition_key_range
    assert (span.start, span.end) == (f"{CHANGED}|AAPL", f"{from_changed(20)[-1]}|AAPL")


def test_a_change_seen_by_nobody_for_several_runs_is_still_found(loaded, bars_file, sample_bars):
    downstream = Ticking(loaded, "restatement")
    downstream.tick()
    change(bars_file, sample_bars, volume=1.0)
    for _ in range(2):  # the second says nothing of a change
        assert run_job(loaded, ["tt_prices"], f"{CHANGED}|AAPL", f"{CHANGED}|AAPL").success
    (request,) = downstream.tick()
    assert "volume was" in request.tags["tt/reason"]
    lost = Ticking(loaded, "restatement")
    assert [again.partition_key_range for again in lost.tick()] == [request.partition_key_range]


def test_an_instrument_that_a_refresh_would_fail_for_is_asked_again_ever_more_rarely():
    entry = Restated("AAPL", (("2012-04-10", "2012-04-10"),), 7, "why").at("tt_features")
    waits = []
    for _ in range(3):
        entry = entry.tried(1000.0, 60.0)
        waits.append(entry.after - 1000.0)
    assert waits == [60.0, 240.0, 960.0]
    assert entry.at("tt_features").tries == 3
    assert entry.at("tt_signal_scores").tries == 0
    memory = Memory(9, 12, "2012-04-10|AAPL", (entry,))
    assert Memory.read(memory.text()) == memory
    assert Memory.read("[]") == Memory.read("{garbled") == Memory()


WINDOWS = ("2012-01-01", "2012-04-01", "2012-07-01", "2012-10-01")


def roll(instance, database, windows, traded) -> None:
    """Windows that have been rolled, as far as the sensors look: rows of tt_episode and events."""
    store = EpisodeStore(database)
    for start in windows:
        for name in traded:
            day = date.fromisoformat(start)
            header = EpisodeHeader(day, name, "cash", 0, None, datetime.fromisoformat(start), "{}")
            (number,) = store.open([(day, name)], [header])
            end = datetime(2012, 6, 29)
            store.finalize([EpisodeSummary(number, end, "evaluation_complete", 0.0, None, 0.0)])
            key = dg.MultiPartitionKey({"date": start, "instrument": name})
            for table in ("tt_policy", "tt_episode"):
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(table, partition=key, tags=CellKey.parse(key).event_tags())
                )


def test_the_episodes_that_traded_a_changed_bar_are_rolled_again_and_no_others(
    loaded, bars_file, sample_bars, connected
):
    roll(loaded, connected, WINDOWS, ("pair", "GOOG"))
    downstream = Ticking(loaded, "restatement")
    downstream.tick()
    change(bars_file, sample_bars, volume=1.0)
    assert run_job(loaded, ["tt_prices"], f"{CHANGED}|AAPL", f"{CHANGED}|AAPL").success
    carry_out(loaded, downstream.tick())
    carry_out(loaded, downstream.tick())
    requests = downstream.tick()
    agents = read_agents(loaded, read_market(loaded, current_plan()), connected)
    asked = {cell for request in requests for cell in cells_of(request, agents.cells.axes)}
    # GOOG alone never saw a bar of AAPL, and the quarter before ended before it. Nothing is trained again.
    assert {cell[1:] for cell in asked} == {("2012-04-01", "pair")}
    assert {cell[0] for cell in asked} == set(EPISODE_TABLES)
    assert "volume was" in requests[0].tags["tt/reason"]
    roll(loaded, connected, ["2012-04-01"], ["pair"])
    assert downstream.tick() == []
    assert Memory.read(downstream.cursor).pending == ()


def test_a_window_is_touched_by_cells_inside_it_and_by_those_its_first_observation_looks_back_over(
    postgres_instance, bars_file, connected
):
    postgres_instance.add_dynamic_partitions("traded", ["pair"])
    roll(postgres_instance, connected, WINDOWS, ("pair", "GOOG"))
    market = read_market(postgres_instance, current_plan())
    lineage = Lineage(postgres_instance, market, read_agents(postgres_instance, market, connected))
    lineage.agents.last_bars.update(dict.fromkeys(lineage.agents.covered, LAST))
    opening = date(2012, 7, 2)
    for day, touched in (
        ("2012-04-10", {"2012-04-01"}),
        (str(shift_session(opening, -21)), {"2012-04-01"}),
        (str(shift_session(opening, -20)), {"2012-04-01", "2012-07-01"}),
        ("2012-07-02", {"2012-07-01"}),
        ("2012-03-30", {"2012-01-01", "2012-04-01"}),
    ):
        found = lineage.windows("AAPL", market.axes.cells([f"{day}|AAPL"]))
        assert {str(window.start) for window in found} == touched, day
        assert {window.traded for window in found} == {"pair"}
    assert (lineage.feature_reach, lineage.score_reach) == (20, 39)


def ids(database, table: str) -> set[tuple[str, str, int]]:
    """(instrument, session, row id) of every row."""
    return {(name, str(stamp)[:10], number) for name, stamp, number in query(
        database, f"SELECT instrument, timestamp, id FROM {table}"
    )}  # fmt: skip
