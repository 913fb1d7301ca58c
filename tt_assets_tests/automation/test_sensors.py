"""Sensors on an instance: what they read off runs and partitions, and what they make of broken files."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from tt_assets.automation import MARKET_JOB
from tt_assets.automation.ended_runs import reckon_ended_runs
from tt_assets.automation.partition_states import Axes, cells_in_flight, read_cells
from tt_assets.automation.tries import tries_of
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES, TABLES
from tt_assets_tests.automation.ticks import Ticking, record, recorded_run
from tt_assets_tests.conftest import INSTRUMENTS_OF_SAMPLE
from tt_assets_tests.dagster_runs import current_definitions, current_plan, keep_dates_of_sample, range_tags

pytestmark = pytest.mark.usefixtures("connected")

SENSOR_NAMES = {"watchlist", "sessions", "agents", "gaps", "bars_file", "restatement"}


@pytest.fixture
def watchlist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "watchlist.csv"
    path.write_text("symbol,portfolio\nAAPL,pair\nGOOG,pair\n")
    monkeypatch.setenv("TT_WATCHLIST", str(path))
    return path


def market_partitions() -> dg.MultiPartitionsDefinition:
    return current_plan().market_partitions


def run_of(instance: dg.DagsterInstance, tags: dict[str, str], status=dg.DagsterRunStatus.STARTED, tables=None):
    return recorded_run(instance, MARKET_JOB, tags, status, tables)


def test_every_sensor_is_loaded_switched_on_and_says_what_it_does():
    assert {sensor.name for sensor in current_definitions().sensors} >= SENSOR_NAMES | {
        "default_automation_condition_sensor"
    }
    for sensor in current_definitions().sensors:
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.description


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_cells_of_unfinished_runs_are_in_flight_whoever_started_them(dagster_instance, status):
    run_of(dagster_instance, range_tags("2012-05-17|GOOG", "2012-05-18|MSFT"), status, ["tt_features"])
    run_of(dagster_instance, {"dagster/partition": "2012-05-21|FB"}, status)
    run_of(dagster_instance, range_tags("2012-06-01|AAPL", "2012-06-04|FB"), dg.DagsterRunStatus.SUCCESS)
    axes = Axes.of(dagster_instance, market_partitions())
    found = cells_in_flight(dagster_instance, axes, (*MARKET_TABLES, "tt_policy"))
    single = {("2012-05-21", "FB")}
    rectangle = {(day, name) for day in ("2012-05-17", "2012-05-18") for name in ("GOOG", "IBM", "MSFT")}
    assert axes.pairs(found["tt_prices"]) == axes.pairs(found["tt_signal_scores"]) == single
    assert axes.pairs(found["tt_features"]) == single | rectangle
    assert not found["tt_policy"].any()


def test_a_run_that_was_never_handed_over_is_forgotten_after_an_hour(dagster_instance, monkeypatch):
    run_of(dagster_instance, {"dagster/partition": "2012-05-21|FB"}, dg.DagsterRunStatus.NOT_STARTED)
    axes = Axes.of(dagster_instance, market_partitions())
    assert cells_in_flight(dagster_instance, axes, ["tt_prices"])["tt_prices"].any()
    monkeypatch.setattr("tt_assets.automation.partition_states.FORGOTTEN_AFTER", -1.0)
    assert not cells_in_flight(dagster_instance, axes, ["tt_prices"])["tt_prices"].any()


def test_what_ended_runs_left_is_entered_once_and_counts_for_their_state_of_the_source(dagster_instance, connected):
    plan = current_plan()
    tags = {**range_tags("2012-05-17|AAPL", "2012-05-18|GOOG"), "tt/source": "now", "tt/sensor": "sessions"}
    run_of(dagster_instance, tags, dg.DagsterRunStatus.SUCCESS)
    for _ in range(2):
        run_of(dagster_instance, tags, dg.DagsterRunStatus.FAILURE, ["tt_prices", "tt_features"])
        assert reckon_ended_runs(dagster_instance, connected, plan.market_partitions, plan.window_partitions) == 1
        assert reckon_ended_runs(dagster_instance, connected, plan.market_partitions, plan.window_partitions) == 0
        time.sleep(1.1)  # Dagster keeps the second in which a run was made
    cells = read_cells(dagster_instance, connected, plan.market_partitions, MARKET_TABLES)
    tries = tries_of(cells, "now")
    assert {(day, name) for day, name in cells.axes.pairs(tries["tt_prices"].count > 0)} == {
        (day, name) for day in ("2012-05-17", "2012-05-18") for name in ("AAPL", "GOOG")
    }
    assert set(np.unique(tries["tt_features"].count)) == {0, 2}
    assert (tries["tt_prices"].last[tries["tt_prices"].count > 0] > 1e9).all()
    assert cells["tt_prices"].failed.sum() == 4
    assert not tries["tt_signal_scores"].count.any()
    assert not tries_of(cells, "before")["tt_prices"].count.any()


def test_a_fresh_machine_asks_for_all_of_the_sample_once(dagster_instance):
    ticking, others = (
        Ticking(dagster_instance, "watchlist"),
        [Ticking(dagster_instance, n) for n in ("sessions", "gaps")],
    )
    (request,) = ticking.tick()
    assert request.partition_key_range.start == "2005-03-01|AAPL"
    assert request.partition_key_range.end == "2013-03-01|FB"
    assert [key.path[-1] for key in request.asset_selection] == list(MARKET_TABLES)
    assert [other.tick() for other in others] == [[], []]
    record(dagster_instance, request, dg.DagsterRunStatus.STARTING)
    assert ticking.tick() == []


def test_a_new_line_of_the_watchlist_becomes_keys_and_a_request_in_one_tick(dagster_instance, watchlist):
    ticking = Ticking(dagster_instance, "watchlist")
    record(dagster_instance, ticking.tick()[0], dg.DagsterRunStatus.STARTING)
    watchlist.write_text("symbol,portfolio\nAAPL,pair\nGOOG,pair\nNEW,three\n")
    (request,) = ticking.tick()
    assert request.partition_key_range.start == "2005-03-01|NEW"
    assert request.partition_key_range.end == "2013-03-01|NEW"
    assert list(dagster_instance.get_dynamic_partitions("instrument")) == [*INSTRUMENTS_OF_SAMPLE, "NEW"]
    assert {"pair", "three", "NEW"} <= set(dagster_instance.get_dynamic_partitions("traded"))


def test_a_broken_watchlist_is_reported_once_and_the_last_good_one_stays_in_force(dagster_instance, watchlist, capfd):
    ticking = Ticking(dagster_instance, "watchlist")
    record(dagster_instance, ticking.tick()[0], dg.DagsterRunStatus.STARTING)
    watchlist.write_text("symbol,portfolio\nAAPL,pair\nAAPL,pair\n")
    capfd.readouterr()
    assert ticking.tick() == []
    assert "AAPL" in ticking.said
    assert "stays in force" in ticking.said
    assert ticking.tick() == []
    assert capfd.readouterr().err.count("stays in force") == 1
    assert Ticking(dagster_instance, "sessions").tick() == []
    watchlist.write_text("symbol,portfolio\nAAPL,pair\nGOOG,pair\nNEW,\n")
    assert [request.partition_key_range.start for request in ticking.tick()] == ["2005-03-01|NEW"]


@pytest.mark.parametrize("name", sorted(SENSOR_NAMES))
def test_no_watchlist_at_all_is_said_in_a_line(dagster_instance, watchlist, name):
    watchlist.unlink()
    ticking = Ticking(dagster_instance, name)
    assert ticking.tick() == []
    assert "there is no watchlist" in ticking.said


@pytest.mark.parametrize("content", [None, "", "no,bars\n1,2\n"])
@pytest.mark.parametrize("name", ["watchlist", "sessions", "gaps", "bars_file"])
def test_a_bars_file_that_cannot_be_read_asks_for_nothing_and_says_so(
    dagster_instance, tmp_path, monkeypatch, name, content
):
    path = tmp_path / "bars.csv"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("TT_BARS_PATH", str(path))
    keep_dates_of_sample(monkeypatch)
    ticking = Ticking(dagster_instance, name)
    assert ticking.tick() == []
    assert "bars.csv" in ticking.said


def test_a_lost_or_garbled_cursor_asks_for_nothing_twice(dagster_instance):
    for name in SENSOR_NAMES - {"agents", "restatement"}:
        ticking = Ticking(dagster_instance, name)
        for request in ticking.tick():
            record(dagster_instance, request, dg.DagsterRunStatus.STARTING)
        ticking.cursor = "{no json"
        assert ticking.tick() == []


def test_what_failed_as_a_whole_is_tried_again_after_a_wait_by_the_gap_sensor_alone(dagster_instance):
    (request,) = Ticking(dagster_instance, "watchlist").tick()
    record(dagster_instance, request, dg.DagsterRunStatus.FAILURE)
    assert Ticking(dagster_instance, "watchlist").tick() == []
    gaps = Ticking(dagster_instance, "gaps")
    assert gaps.tick() == []
    assert "wait" in gaps.said


def test_tables_of_the_agents_job_are_all_of_the_episodes():
    assert set(TABLES) == {*MARKET_TABLES, "tt_policy", *EPISODE_TABLES}
