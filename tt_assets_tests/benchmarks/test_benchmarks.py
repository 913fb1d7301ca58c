"""Every benchmark, on a small scale: it tells what it says it tells, of work that was really done."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest

from tt_assets.grain import DateGrain
from tt_assets_tests.benchmarks import backfill, browser, click, io, large, memory, scale, storage
from tt_assets_tests.dagster_runs import current_definitions


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch) -> Path:
    """The folder benchmarks make their homes in, open to the server's account."""
    folder = Path(tempfile.mkdtemp(prefix="tt-test-"))
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_io_tells_rates_of_all_contenders_and_ratios_with_their_aims_and_cleans_up(temporary_folder, capsys):
    scale = io.Scale(instruments=4, sessions=60, to_sql_rows=50, rounds=2)
    told = list(io.measure(scale))
    json.dumps(told)
    assert list(temporary_folder.iterdir()) == []
    temporary_folder.rmdir()
    assert told[0]["rows"] == 240
    rates = {line["contender"]: line for line in told if "contender" in line}
    assert {name for pair in io.AIMS for name in pair[:2]} == set(rates)
    assert {name for name, line in rates.items() if line["rows"] == 50} == {io.TO_SQL, io.TO_SQL_MULTI}
    assert {line["rows_per_second"]["rounds"] for line in rates.values()} == {2}
    aims = {line["ratio"]: line["aim"] for line in told if "aim" in line}
    assert aims["SliceStore.write / COPY of a text file"] == "at least 0.6"
    assert aims["SliceStore.write / to_sql"] == "at least 12"
    assert aims["SliceStore.read / read_sql"] == "at least 3"
    assert "round 2 of 2" in capsys.readouterr().err


def test_storage_tells_bytes_and_time_of_every_table(temporary_folder):
    told = list(storage.measure(storage.Scale(instruments=2, sessions=120, rounds=1)))
    json.dumps(told)
    assert list(temporary_folder.iterdir()) == []
    temporary_folder.rmdir()
    assert told[0]["bars"] == told[0]["tt_prices"] == 240
    jobs = [line for line in told if "processor seconds" in line.get("figure", "")]
    assert len(jobs) == 9
    assert told[-1]["aim"] == "at most 900"


@pytest.mark.slow
def test_backfill_tells_the_cost_of_a_cell_in_bulk_and_alone(temporary_folder):
    told = list(backfill.measure(backfill.Scale(instruments=2, sessions=60, rounds=1, single_runs=1)))
    json.dumps(told)
    assert list(temporary_folder.iterdir()) == []
    temporary_folder.rmdir()
    assert told[0]["cells"] == 120
    bulk, busy, together, apart = told[1:]
    assert bulk["aim"] == "at most 1.2"
    assert bulk["met"] is False  # a process for so few cells is mostly its imports
    assert 0 < busy["median"] < bulk["median"]  # it waits for the server, and works on one core
    assert together["rounds"] == apart["rounds"] == 1
    assert together["median"] < apart["median"]  # one pays for the imports every time


@pytest.mark.slow
def test_memory_tells_the_peak_of_a_range_run_and_of_a_training(temporary_folder):
    told = list(memory.measure(memory.Scale(instruments=2, sessions=60, train_steps=64)))
    json.dumps(told)
    assert list(temporary_folder.iterdir()) == []
    temporary_folder.rmdir()
    range_run, training = told[1:]
    assert 50 < range_run["median"] < training["median"]  # torch alone is larger than the whole of the market
    assert range_run["aim"] == "at most 600"
    assert training["aim"] == "at most 800"


@pytest.mark.slow
def test_scale_tells_the_load_every_tick_and_the_pages_or_why_there_are_none(temporary_folder):
    few = {"grains": (DateGrain.YEAR,), "grain_instruments": 2, "grain_sessions": 60}
    told = list(scale.measure(scale.Scale(instruments=2, sessions=60, ticks=2, page_rounds=1, **few)))
    json.dumps(told)
    assert list(temporary_folder.iterdir()) == []
    temporary_folder.rmdir()
    assert told[0]["cells_per_table"] == 120
    figures = {line["figure"]: line for line in told if "figure" in line}
    whole = figures["whole load, seconds"]
    assert whole["seconds_per_1000_cells"] == pytest.approx(whole["median"] / 0.12, rel=0.01)
    assert whole["met"] is True
    assert figures["peak memory of a load by year, bytes"]["bars"] == 120
    ticks = {name for name in figures if name.startswith("tick of ")}
    assert ticks == {
        f"tick of {sensor.name}, seconds"
        for sensor in current_definitions().sensors
        if "automation_cond" not in sensor.name
    }
    assert all(figures[name]["rounds"] == 2 for name in ticks)
    if "pages of the UI, seconds" in figures:
        with pytest.raises(browser.NoBrowser, match=re.escape(figures["pages of the UI, seconds"]["not_measured"])):
            browser.find()
    else:
        assert {"catalog, seconds", "partition grid of tt_prices, seconds"} <= set(figures)


@pytest.mark.slow
def test_large_tells_time_memory_bytes_and_ticks_of_every_market(temporary_folder):
    told = list(large.measure([large.Market(3, 60, DateGrain.MONTH, most_seconds=600, ticks=2)]))
    json.dumps(told)
    assert list(temporary_folder.iterdir()) == []
    temporary_folder.rmdir()
    market, seconds, peak, dagster_bytes, tick = told
    assert market["bars"] == peak["bars"] == 180
    assert (seconds["aim"], seconds["met"]) == ("at most 600", True)
    assert dagster_bytes["partitions"] == 3 * 3 * 3  # months from January to March, instruments, tables
    assert dagster_bytes["median"] > 500
    assert "on 9 partitions a table" in tick["figure"]
    assert tick["rounds"] == 1
    assert "aim" not in tick


@pytest.mark.slow
def test_click_tells_green_and_the_run_of_every_market_table(temporary_folder):
    told = list(click.measure(click.Scale(instruments=2, rounds=1)))
    json.dumps(told)
    assert list(temporary_folder.iterdir()) == []
    temporary_folder.rmdir()
    figures = {line["figure"]: line["median"] for line in told if "figure" in line}
    for table in ("tt_prices", "tt_features", "tt_signal_scores"):
        assert 0 < figures[f"{table}, the run alone, seconds"] < figures[f"{table}, click to green, seconds"]


def test_what_is_missing_for_a_browser_is_said_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(browser.NoBrowser, match=r"apt-get install chromium"):
        browser.find()
