"""Cells that a failed step did not make: counted as failed, each with its reason and its run."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tt_assets.commands.partition_list import CellState, read_matrix
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.runs.failed_partitions import NAME
from tt_assets.settings import Settings
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.assets.test_prices import DAYS, good_lines, line, write
from tt_assets_tests.dagster_runs import cells, current_plan, keep_dates_of_sample, partition_counts, run_job

SPAN = (f"{DAYS[0]}|AAPL", f"{DAYS[-1]}|GOOG")
EVERYTHING = cells(DAYS, ["AAPL", "GOOG"])


@pytest.fixture
def bars_file(tmp_path, monkeypatch, connected) -> Path:
    monkeypatch.setenv("TT_BARS_PATH", str(tmp_path / "bars.csv"))
    keep_dates_of_sample(monkeypatch)
    return tmp_path / "bars.csv"


def observed(instance: dg.DagsterInstance, table: str) -> dict[str, tuple[str, str]]:
    """Partition key → the reason and the run that its latest observation names."""
    records = instance.fetch_observations(dg.AssetKey(table), limit=1_000).records
    found: dict[str, tuple[str, str]] = {}
    for record in records:  # the newest first
        metadata = record.event_log_entry.asset_observation.metadata
        said = (str(metadata["failed"].value), str(metadata["run"].value))
        found.setdefault(record.event_log_entry.asset_observation.partition, said)
    return found


def run_named_by_the_page(instance: dg.DagsterInstance, table: str, key: str) -> str | None:
    """The run that the page of a partition goes by: where it failed, the page says so."""
    found = instance.get_latest_planned_materialization_info(dg.AssetKey(table), partition=key)
    return found.run_id if found else None


def test_a_cell_that_failed_in_the_fetch_says_why_and_in_which_run(postgres_instance, bars_file):
    spoiled = f"{DAYS[2]}|GOOG"
    lines = [text for text in good_lines() if not text.startswith(f"GOOG,{DAYS[2]}")]
    write(bars_file, [*lines, line("GOOG", DAYS[2], low="-1")])
    result = run_job(postgres_instance, ["tt_prices"], *SPAN)
    assert not result.success
    said = observed(postgres_instance, "tt_prices")
    assert set(said) == {spoiled}
    reason, run_id = said[spoiled]
    assert reason.startswith(f"{spoiled}: ")
    assert "price not finite and positive" in reason
    assert run_id == result.run_id

    write(bars_file, good_lines())
    assert run_job(postgres_instance, ["tt_prices"], spoiled).success
    assert partition_counts(postgres_instance, "tt_prices", current_plan().market_partitions)[::2] == (10, 0)


@pytest.mark.parametrize("table", MARKET_TABLES)
def test_every_cell_of_a_step_that_failed_as_a_whole_says_so_and_what_was_stored_stays(
    postgres_instance,
    bars_file,
    connected,
    monkeypatch,
    table,
):
    write(bars_file, good_lines())
    assert run_job(postgres_instance, list(MARKET_TABLES), *SPAN).success

    def full(self, *_args, **_more):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(SliceStore, "write", full)
        result = run_job(postgres_instance, [table], *SPAN)
    assert not result.success
    assert partition_counts(postgres_instance, table, current_plan().market_partitions)[::2] == (0, 10)
    assert observed(postgres_instance, table) == {
        key: (f"{key}: OSError: the disk is full", result.run_id) for key in EVERYTHING
    }
    matrix = read_matrix(connected, postgres_instance, Settings(), table)
    assert set(matrix.keys(CellState.FAILED)) == EVERYTHING
    assert {matrix.reasons[key] for key in EVERYTHING} == {"OSError: the disk is full"}

    mended = run_job(postgres_instance, [table], *SPAN)
    assert mended.success
    assert partition_counts(postgres_instance, table, current_plan().market_partitions)[::2] == (10, 0)
    assert {run_named_by_the_page(postgres_instance, table, key) for key in EVERYTHING} == {mended.run_id}
    assert run_job(postgres_instance, [table], *SPAN).success
    # What landed since needs no such event; it would be one a cell and run.
    assert {run_named_by_the_page(postgres_instance, table, key) for key in EVERYTHING} == {mended.run_id}


def test_a_step_that_succeeds_says_nothing(postgres_instance, bars_file):
    write(bars_file, good_lines())
    result = run_job(postgres_instance, list(MARKET_TABLES), *SPAN)
    assert result.success
    assert all(observed(postgres_instance, table) == {} for table in MARKET_TABLES)
    hooks = [event for event in result.all_events if event.is_hook_event]
    assert hooks
    assert {event.event_type for event in hooks} == {dg.DagsterEventType.HOOK_SKIPPED}
    assert all(NAME in str(event.message) for event in hooks)


def test_cells_behind_a_step_that_failed_are_missing_and_say_what_came_before(postgres_instance, bars_file, connected):
    lines = [text for text in good_lines() if not text.startswith(f"GOOG,{DAYS[2]}")]
    write(bars_file, [*lines, line("GOOG", DAYS[2], low="-1")])
    result = run_job(postgres_instance, list(MARKET_TABLES), *SPAN)
    assert not result.success
    for table in MARKET_TABLES[1:]:
        matrix = read_matrix(connected, postgres_instance, Settings(), table, instruments="AAPL,GOOG")
        told = {key: matrix.reasons[key] for key in matrix.keys(CellState.MISSING) if key in matrix.reasons}
        assert set(told) == EVERYTHING
        assert set(told.values()) == {f"run {result.run_id[:8]} ended before it"}
