"""Bulk runs: what lies behind a failure still runs, and running again mends what a killed process left."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from tt_assets.automation import MARKET_JOB
from tt_assets.market.calendar import sessions
from tt_assets.runs._dagster import last_evaluation
from tt_assets.runs.bulk import Standing, materialize
from tt_assets.runs.owners import OWNER_TAG, bury_dead_runs
from tt_assets.settings import SAMPLE_FIRST_SESSION, SAMPLE_LAST_SESSION
from tt_assets_tests.assets.test_prices import HEADER, line
from tt_assets_tests.dagster_runs import current_definitions, keep_dates_of_sample, landed_cells, query, run_statuses

TABLES = ["tt_prices", "tt_features", "tt_signal_scores"]
SESSIONS = [f"{day:%Y-%m-%d}" for day in sessions(SAMPLE_FIRST_SESSION, SAMPLE_LAST_SESSION)]
SPAN = SESSIONS[SESSIONS.index("2012-05-01") : SESSIONS.index("2012-05-31") + 1]
NAMES = ["AAPL", "GOOG", "IBM", "MSFT", "FB"]


def write_bars(path: Path, names: list[str], scale: float, *, without: set[str] = frozenset(), bad: tuple = ()) -> None:
    lines = [
        line(name, day, f"{scale * (10 + 3 * index + (number % 7)):.2f}")
        for index, name in enumerate(names)
        for number, day in enumerate(SPAN)
        if f"{day}|{name}" not in without
    ]
    path.write_text("\n".join([HEADER, *lines, *bad]) + "\n", encoding="utf-8")


@pytest.fixture
def bars_file(tmp_path, monkeypatch, connected) -> Path:
    path = tmp_path / "bars.csv"
    monkeypatch.setenv("TT_BARS_PATH", str(path))
    keep_dates_of_sample(monkeypatch)
    return path


def run(instance: dg.DagsterInstance, tables, cells, **options):
    return materialize(
        instance,
        current_definitions().resolve_job_def(MARKET_JOB),
        tables,
        cells,
        SESSIONS,
        NAMES,
        **options,
    )


def test_a_check_that_stops_the_run_is_named_with_what_it_found(dagster_instance, connected):
    with connected.connect() as connection:
        connection.execute(
            "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
            "VALUES ('AAPL', '2012-05-28', 80, 80, 80, 80, 1)"
        )
    outcome = run(dagster_instance, TABLES, {(day, "AAPL") for day in SPAN})
    assert outcome.failed == {}
    (error,) = outcome.errors
    assert error.startswith(f"tt_prices_checks ({SPAN[0]}|AAPL to {SPAN[-1]}|AAPL): check bars_are_sound: ")
    assert error.endswith(
        f"1 of {len(SPAN)} partitions fail, the first is 2012-05-25|AAPL: 2012-05-28 no session on that day"
    )
    assert landed_cells(dagster_instance, "tt_features") == {}


def test_a_bad_bar_costs_its_own_cell_and_what_looks_back_over_it(dagster_instance, bars_file, connected):
    spoiled = f"{SPAN[3]}|GOOG"
    write_bars(bars_file, NAMES[:3], 1.0, without={spoiled}, bad=(line("GOOG", SPAN[3], "-1"),))
    outcome = run(dagster_instance, TABLES, {(day, name) for day in SPAN for name in NAMES[:3]})

    assert not outcome.ok
    assert list(outcome.failed) == ["tt_prices"]
    assert list(outcome.failed["tt_prices"]) == [spoiled]
    assert outcome.errors == []
    assert {name for (name,) in query(connected, "SELECT DISTINCT instrument FROM tt_prices")} == set(NAMES[:3])
    every = {f"{day}|{name}" for day in SPAN for name in NAMES[:3]}
    for table in TABLES[1:]:
        assert set(landed_cells(dagster_instance, table)) == every - {spoiled}
    # A return over the missing session would be one of two sessions: it is undefined, like that of the session itself.
    returns = "SELECT timestamp::date::text FROM tt_features WHERE feature = 'return_1' AND instrument = '{}'"
    assert {day for (day,) in query(connected, returns.format("AAPL"))} == set(SPAN[1:])
    assert {day for (day,) in query(connected, returns.format("GOOG"))} == set(SPAN[1:]) - {SPAN[3], SPAN[4]}


def test_an_error_of_the_whole_step_is_told_in_one_line_and_nothing_runs_behind_it(
    dagster_instance, bars_file, connected
):
    bars_file.write_text("instrument,timestamp\n", encoding="utf-8")
    outcome = run(dagster_instance, TABLES, {(SPAN[0], "AAPL")})
    assert len(outcome.errors) == 1
    assert "\n" not in outcome.errors[0]
    assert str(bars_file) in outcome.errors[0]
    assert landed_cells(dagster_instance, "tt_features") == {}


def test_a_ragged_selection_is_made_exactly_in_runs_of_the_size_asked(dagster_instance, bars_file, connected):
    write_bars(bars_file, NAMES[:3], 1.0)
    ragged = {(SPAN[0], "AAPL"), (SPAN[1], "AAPL"), (SPAN[4], "IBM"), (SPAN[1], "GOOG"), (SPAN[9], "GOOG")}
    outcome = run(dagster_instance, ["tt_prices"], ragged, most_cells=1)
    assert outcome.ok
    assert len(outcome.runs) == len(ragged)
    stored = query(connected, "SELECT timestamp::date::text, instrument FROM tt_prices")
    assert set(stored) == ragged
    assert set(landed_cells(dagster_instance, "tt_prices")) == {"|".join(cell) for cell in ragged}


def _started_run(instance: dg.DagsterInstance, owner: str | None) -> str:
    run = instance.create_run_for_job(
        current_definitions().resolve_job_def(MARKET_JOB), tags={OWNER_TAG: owner} if owner else {}
    )
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name, message="started"), run.run_id
    )
    assert run_statuses(instance)[run.run_id] == dg.DagsterRunStatus.STARTED
    return run.run_id


def _me(pid: int | None = None, started: float | None = None, host: str | None = None) -> str:
    import socket

    mine = psutil.Process()
    return f"{host or socket.gethostname()}:{pid or mine.pid}:{started or mine.create_time():.0f}"


def test_the_run_of_a_process_that_is_gone_is_failed_and_its_pool_slot_free(postgres_instance, connected):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    created = psutil.Process(gone.pid).create_time()
    gone.wait()
    run_id = _started_run(postgres_instance, _me(gone.pid, created))
    storage = postgres_instance.event_log_storage
    assert storage.claim_concurrency_slot("training", run_id, "tt_policy").is_claimed
    assert not storage.claim_concurrency_slot("training", "another-run", "tt_policy").is_claimed

    assert bury_dead_runs(postgres_instance) == [run_id]

    assert run_statuses(postgres_instance)[run_id] == dg.DagsterRunStatus.FAILURE
    assert storage.claim_concurrency_slot("training", "another-run", "tt_policy").is_claimed


@pytest.mark.parametrize("whose", ["this process", "another machine", "nobody of ours"])
def test_a_run_that_may_be_alive_is_left_alone(dagster_instance, whose):
    owner = {"this process": _me(), "another machine": _me(host="elsewhere"), "nobody of ours": None}[whose]
    run_id = _started_run(dagster_instance, owner)
    assert bury_dead_runs(dagster_instance) == []
    assert run_statuses(dagster_instance)[run_id] == dg.DagsterRunStatus.STARTED


def test_a_process_id_that_was_given_to_another_process_does_not_keep_a_run_alive(dagster_instance):
    run_id = _started_run(dagster_instance, _me(started=psutil.Process().create_time() - 3600))
    assert bury_dead_runs(dagster_instance) == [run_id]


def _cells(database, table: str) -> dict[tuple, tuple]:
    """(instrument, session) → all rows of the cell, without ids."""
    columns = {
        "tt_prices": "open, high, low, close, volume",
        "tt_features": "feature, value",
        "tt_signal_scores": "signal_name, score",
    }[table]
    found: dict[tuple, list] = {}
    for name, timestamp, *row in query(
        database, f"SELECT instrument, timestamp, {columns} FROM {table} ORDER BY 1, 2, 3"
    ):
        found.setdefault((name, timestamp), []).append(tuple(row))
    return {cell: tuple(rows) for cell, rows in found.items()}


@pytest.mark.slow
def test_a_backfill_killed_at_any_moment_leaves_each_partition_old_or_new_and_running_again_repairs(
    postgres_instance, connected, settings_environment, bars_file
):
    environment = settings_environment | {
        "TT_BARS_PATH": str(bars_file),
        "TT_START_DATE": SPAN[0],
        "TT_END_DATE": SPAN[-1],
        "TT_HOME": os.environ["TT_HOME"],
    }
    command = [str(Path(sys.executable).with_name("tt")), "backfill", *TABLES, "--instruments", "AAPL,GOOG,IBM"]

    def backfill() -> dict[str, dict]:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return {table: _cells(connected, table) for table in TABLES}

    moment = random.Random(20120518)
    write_bars(bars_file, NAMES[:3], 1.0)
    old = backfill()
    caught = 0
    for version, latest in ((2.0, 0.3), (3.0, 1.5)):
        write_bars(bars_file, NAMES[:3], version)
        before = set(run_statuses(postgres_instance))
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and set(run_statuses(postgres_instance)) == before:
            time.sleep(0.05)
        time.sleep(moment.uniform(0.0, latest))
        killed = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        (killed_run,) = set(run_statuses(postgres_instance)) - before

        found = {table: _cells(connected, table) for table in TABLES}
        new = backfill()
        assert new["tt_prices"] != old["tt_prices"]
        for table in TABLES:
            assert found[table].keys() <= old[table].keys() | new[table].keys()
            for cell, rows in found[table].items():
                assert rows in (old[table][cell], new[table][cell]), (table, cell)
        if killed:
            caught += 1
            assert run_statuses(postgres_instance)[killed_run] == dg.DagsterRunStatus.FAILURE
        old = new
    assert caught  # at least one was killed in the middle of its run
    unfinished = {dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED}
    assert not unfinished & set(run_statuses(postgres_instance).values())


def test_a_run_says_whose_job_it_is_so_that_the_ui_finds_it(dagster_instance, connected):
    outcome = run(dagster_instance, ["tt_prices"], {(SPAN[0], "AAPL")})
    (made,) = outcome.runs
    stored = dagster_instance.get_run_by_id(made)
    assert stored.tags_for_storage()[".dagster/repository"] == "__repository__@tt_assets.definitions"
    assert stored.remote_job_origin.job_name == stored.job_name == MARKET_JOB


def test_checks_behind_a_failure_are_said_to_be_not_run_and_keep_their_last_result(
    dagster_instance, bars_file, connected
):
    write_bars(bars_file, NAMES[:2], 1.0)
    good = run(dagster_instance, TABLES, {(day, name) for day in SPAN for name in NAMES[:2]})
    assert good.ok
    assert good.checks == []

    write_bars(bars_file, NAMES[:2], 1.0, bad=(line("GOOG", SPAN[3], "-1"),), without={f"{SPAN[3]}|GOOG"})
    outcome = run(dagster_instance, TABLES, {(SPAN[3], "GOOG")})
    missed = {(one.table, one.check) for one in outcome.checks}
    assert missed == good.held
    assert {(one.standing, one.said) for one in outcome.checks} == {(Standing.NOT_RUN, "tt_prices failed")}
    for table, check in sorted(missed):
        last, run_id = last_evaluation(dagster_instance, dg.AssetCheckKey(dg.AssetKey(table), check))
        assert last.passed
        assert last.description.startswith("not run: tt_prices failed; the last result: holds in ")
        assert run_id == outcome.runs[0]
