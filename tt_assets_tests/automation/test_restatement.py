"""A bar that changes makes what was computed from it fresh again: those cells and no others, with the reason."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from tt_assets.automation.agents import read_agents
from tt_assets.automation.market import read_market
from tt_assets.grid.partitions import Window
from tt_assets.market.calendar import sessions, shift_session
from tt_assets.postgres.episode_store import EpisodeHeader, EpisodeStore, EpisodeSummary
from tt_assets.postgres.ledger import Provenance
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets.runs.telling import tell
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES, TABLES
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
    axes = read_market(loaded, current_plan(), connected).axes
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
            for table, day, _ in cells_of(request, read_market(loaded, current_plan(), connected).axes)
        ]
        carry_out(loaded, requests)
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


WINDOWS = ("2012-01-01", "2012-04-01", "2012-07-01", "2012-10-01")


def roll(instance, database, windows, traded) -> None:
    """Windows that have been rolled on what there is now, as far as the sensors look: agents, and closed episodes."""
    grid = {}
    for start in windows:
        for name in traded:
            day = date.fromisoformat(start)
            end = datetime.combine(Window(day, name).end, datetime.min.time())
            grid[f"{start}|{name}"] = (name, datetime.fromisoformat(start), end)
    frame = pd.DataFrame(
        {
            "window_start": [pd.Timestamp(start) for _, start, _ in grid.values()],
            "instrument": [name for name, _, _ in grid.values()],
            "seed": 0,
            "weights": [b"x"] * len(grid),
            "config_json": "{}",
            "sha256": "x",
        }
    )
    SliceStore(database, TABLES["tt_policy"], "window_start").write(Selection.of(grid), frame)
    store = EpisodeStore(database)
    agents = read_agents(instance, read_market(instance, current_plan(), database), database)
    for key, (name, start, end) in grid.items():
        ((policy,),) = query(
            database, "SELECT id FROM tt_policy WHERE window_start = %s AND instrument = %s", start.date(), name
        )
        header = EpisodeHeader(start.date(), name, "agent", 0, policy, start, "{}")
        (number,) = store.open([(start.date(), name)], [header])
        place = agents.cells.axes.date_at[key[:10]], agents.cells.axes.instrument_at[name]
        summary = EpisodeSummary(number, datetime(2012, 6, 29), "evaluation_complete", 0.0, None, 0.0)
        window = Selection.of({key: (name, start, end)})
        store.finalize([summary], window, Provenance(reads={key: int(agents.sums[place])}))


def test_the_episodes_that_traded_a_changed_bar_are_rolled_again_and_no_others(
    loaded, bars_file, sample_bars, connected
):
    roll(loaded, connected, WINDOWS, ("pair", "GOOG"))
    downstream, windows = Ticking(loaded, "restatement"), Ticking(loaded, "agents")
    assert downstream.tick() == windows.tick() == []
    change(bars_file, sample_bars, volume=1.0)
    assert run_job(loaded, ["tt_prices"], f"{CHANGED}|AAPL", f"{CHANGED}|AAPL").success
    assert windows.tick() == []  # its features and scores are still to come
    carry_out(loaded, downstream.tick())
    carry_out(loaded, downstream.tick())
    assert downstream.tick() == []
    requests = windows.tick()
    agents = read_agents(loaded, read_market(loaded, current_plan(), connected), connected)
    asked = {cell for request in requests for cell in cells_of(request, agents.cells.axes)}
    # GOOG alone never saw a bar of AAPL, and the quarter before ended before it. Nothing is trained again.
    assert {cell[1:] for cell in asked} == {("2012-04-01", "pair")}
    assert {cell[0] for cell in asked} == set(EPISODE_TABLES)
    roll(loaded, connected, ["2012-04-01"], ["pair"])
    assert windows.tick() == []
    tell(loaded, connected)  # of what was rolled here without a run


def test_a_window_is_touched_by_cells_inside_it_and_by_those_its_first_observation_looks_back_over(
    postgres_instance, bars_file, sample_bars, connected
):
    postgres_instance.add_dynamic_partitions("traded", ["pair"])
    opening = date(2012, 7, 2)
    store = SliceStore(connected, TABLES["tt_prices"])
    before = read_agents(postgres_instance, read_market(postgres_instance, current_plan(), connected), connected)
    for day, touched in (
        ("2012-04-10", {"2012-04-01"}),
        (str(shift_session(opening, -21)), {"2012-04-01"}),
        (str(shift_session(opening, -20)), {"2012-04-01", "2012-07-01"}),
        ("2012-07-03", {"2012-07-01"}),
        ("2012-03-30", {"2012-01-01", "2012-04-01"}),
    ):
        start = datetime.fromisoformat(day)
        bar = sample_bars[(sample_bars["instrument"] == "AAPL") & (sample_bars["timestamp"] == day)]
        store.write(Selection.of({f"{day}|AAPL": ("AAPL", start, start + timedelta(days=1))}), bar)
        after = read_agents(postgres_instance, read_market(postgres_instance, current_plan(), connected), connected)
        others = before.cells.axes.pairs(before.sums != after.sums)
        assert {key.date for key in others if key.instrument == "pair"} == touched, day
        assert {key.instrument for key in others} == {"pair", "AAPL"}
        before = after
    tell(postgres_instance, connected)  # no run did


def ids(database, table: str) -> set[tuple[str, str, int]]:
    """(instrument, session, row id) of every row."""
    return {(name, str(stamp)[:10], number) for name, stamp, number in query(
        database, f"SELECT instrument, timestamp, id FROM {table}"
    )}  # fmt: skip
