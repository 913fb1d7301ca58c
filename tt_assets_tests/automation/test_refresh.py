"""`refresh_now`: what is missing lands, in order, and nothing else is touched; what cannot land is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tt_assets.automation import refresh as subject
from tt_assets.automation.refresh import refresh_agents, refresh_market
from tt_assets.runs.bulk import Outcome
from tt_assets.runs.queued import OnState, QueueState, materialize_queued
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.assets.sample_window import WINDOW, Rolled, sample_window
from tt_assets_tests.assets.test_prices import HEADER, line
from tt_assets_tests.conftest import INSTRUMENTS_OF_SAMPLE, empty
from tt_assets_tests.dagster_runs import (
    cells,
    current_definitions,
    current_plan,
    failure_text,
    job_of_the_daemon,
    keep_dates_of_sample,
    landed_cells,
    query,
    run_job,
    stored,
)
from tt_assets_tests.runs.test_queued import Daemon

DAYS = ["2005-03-01", "2005-03-02", "2005-03-03", "2005-03-04"]


def write_bars(path: Path, days: list[str], *, bad: tuple[str, str] | None = None) -> None:
    lines = [
        line(name, day, "-1" if (name, day) == bad else f"{10 + number}")
        for name in INSTRUMENTS_OF_SAMPLE
        for number, day in enumerate(days)
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n")


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bars file, three sessions long."""
    path = tmp_path / "bars.csv"
    write_bars(path, DAYS[:3])
    monkeypatch.setenv("TT_BARS_PATH", str(path))
    keep_dates_of_sample(monkeypatch)
    return path


def refresh(instance: dg.DagsterInstance) -> dg.JobExecutionResult:
    """The job as the daemon runs it: found by name in the code location."""
    return dg.execute_job(job_of_the_daemon("refresh_now"), instance=instance)


def materializations(instance: dg.DagsterInstance) -> list[int]:
    return [
        record.storage_id
        for table in MARKET_TABLES
        for record in instance.fetch_materializations(dg.AssetKey(table), limit=1_000).records
    ]


def test_missing_cells_land_once_and_what_is_there_is_left_alone(postgres_instance, connected, bars: Path) -> None:
    run_job(postgres_instance, ["tt_prices"], f"{DAYS[0]}|AAPL", f"{DAYS[1]}|AAPL")
    before = query(connected, "SELECT id FROM tt_prices ORDER BY id")

    assert refresh(postgres_instance).success

    for table in MARKET_TABLES:
        assert set(landed_cells(postgres_instance, table)) == cells(DAYS[:3], INSTRUMENTS_OF_SAMPLE), table
    assert query(connected, "SELECT id FROM tt_prices WHERE instrument = 'AAPL' AND timestamp < '2005-03-03'") == before
    assert query(connected, "SELECT count(*) FROM tt_features WHERE feature = 'return_1'") == [(10,)]

    made = len(materializations(postgres_instance))
    write_bars(bars, DAYS)
    assert refresh(postgres_instance).success
    assert set(landed_cells(postgres_instance, "tt_signal_scores")) == cells(DAYS, INSTRUMENTS_OF_SAMPLE)
    # The new session of every instrument and table, and not a cell more.
    assert len(materializations(postgres_instance)) - made == len(INSTRUMENTS_OF_SAMPLE) * len(MARKET_TABLES)


def test_on_one_machine_no_run_takes_the_place_of_one_that_is_waited_for(
    postgres_instance, connected, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TT_MAX_RUNS", "1")
    assert refresh(postgres_instance).success
    made = postgres_instance.get_runs()
    assert len(made) > 1
    for run in made:  # in the process of the first one
        assert not postgres_instance.all_logs(run.run_id, of_type=dg.DagsterEventType.PIPELINE_ENQUEUED)


def test_on_several_machines_the_queue_makes_what_one_machine_makes_and_its_progress_is_said(
    postgres_instance, connected, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = current_definitions().resolve_job_def
    here, said = current_plan(), []
    monkeypatch.setenv("TT_RUN_LAUNCHER", "ray")
    there = current_plan()
    daemon = Daemon(postgres_instance)

    def worked_off(*asked: Any, on_state: OnState, **options: Any) -> Outcome:
        """As the product's, with a daemon that works the queue off at every look."""

        def looked(state: QueueState) -> None:
            on_state(state)
            daemon(state)

        return materialize_queued(*asked, on_state=looked, every=0.0, **options)

    monkeypatch.setattr(subject, "materialize_queued", worked_off)
    outcome = refresh_market(postgres_instance, there, connected, jobs, said.append)
    assert outcome.ok
    together = [stored(connected, table) for table in MARKET_TABLES]
    everything = cells(DAYS[:3], INSTRUMENTS_OF_SAMPLE)
    for table in MARKET_TABLES:
        assert set(landed_cells(postgres_instance, table)) == everything, table
    assert said == [
        "tt_prices, tt_features, tt_signal_scores: 15 partitions",
        "tt_prices: 0 running, 1 waiting, 0 ended, 0 partitions landed",
        "tt_prices: 0 running, 0 waiting, 1 ended, 45 partitions landed",
    ]

    empty(connected)
    postgres_instance.wipe()
    assert refresh_market(postgres_instance, here, connected, jobs, said.append).ok
    assert [stored(connected, table) for table in MARKET_TABLES] == together


def test_what_cannot_land_is_named_and_the_rest_lands(postgres_instance, connected, bars: Path) -> None:
    write_bars(bars, DAYS[:3], bad=("IBM", DAYS[1]))
    result = refresh(postgres_instance)
    assert not result.success
    said = failure_text(result, "load_what_is_missing")
    assert said.startswith(f"tt_prices: {DAYS[1]}|IBM: ")
    for table in MARKET_TABLES:
        landed = set(landed_cells(postgres_instance, table))
        assert landed == cells(DAYS[:3], INSTRUMENTS_OF_SAMPLE) - {f"{DAYS[1]}|IBM"}, table


def test_a_source_that_cannot_be_read_is_said(postgres_instance, connected, bars: Path) -> None:
    bars.unlink()
    result = refresh(postgres_instance)
    assert not result.success
    assert str(bars) in failure_text(result, "load_what_is_missing")


@pytest.fixture
def window(postgres, tmp_path: Path) -> Iterator[Rolled]:
    """A year of bars up to the end of `WINDOW`, and no agent yet."""
    settings = {"TT_TRAIN_STEPS": "64", "TT_SEEDS": "1", "TT_BASELINES": "cash", "TT_TRAIN_WORKERS": "1"}
    with sample_window(postgres, tmp_path / "home", ["sample"], **settings) as rolled:
        yield rolled


@pytest.mark.slow
def test_agents_are_trained_and_rolled_where_behind_and_each_window_is_tried_once(window: Rolled) -> None:
    said: list[str] = []
    outcome = refresh_agents(
        window.instance, current_plan(), window.database, current_definitions().resolve_job_def, said.append
    )
    # The bars begin in September 2011: too late for the training span of the first of the last four windows.
    assert set(outcome.failed["tt_policy"]) == {"2011-10-01|sample"}
    assert said == ["agents and episodes: 4 windows"]
    trained = query(window.database, "SELECT id, window_start::text, sha256 FROM tt_policy ORDER BY id")
    assert {start for _, start, _ in trained} == {"2012-01-01", "2012-04-01", WINDOW}
    episodes = "SELECT id FROM tt_episode WHERE window_start = %s ORDER BY id"
    earlier, latest = (query(window.database, episodes, start) for start in ("2012-04-01", WINDOW))
    assert len(earlier) == len(latest) == 2  # an agent and a baseline each

    with window.database.connect() as connection:  # as if the last sessions had come since
        connection.execute(
            "UPDATE tt_slice SET reads = reads + 1, written_in = pg_current_xact_id()::text::bigint "
            "WHERE table_name = 'tt_episode' AND date = %s",
            [WINDOW],
        )
    refresh_agents(window.instance, current_plan(), window.database, current_definitions().resolve_job_def, said.append)
    assert said[1:] == ["agents and episodes: 1 windows", "episodes: 1 windows"]
    assert query(window.database, "SELECT id, window_start::text, sha256 FROM tt_policy ORDER BY id") == trained
    assert query(window.database, episodes, "2012-04-01") == earlier
    assert not set(query(window.database, episodes, WINDOW)) & set(latest)
    ended = "SELECT DISTINCT end_time::date::text FROM tt_episode WHERE window_start = %s"
    assert query(window.database, ended, WINDOW) == [("2012-09-28",)]
