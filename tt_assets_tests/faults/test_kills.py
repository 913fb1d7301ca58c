"""A process killed at a named point: what it had committed is told and followed, what it had not never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from tt_assets.automation.market import read_market
from tt_assets.automation.sensors import settle
from tt_assets.postgres.database import Database
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests import agreement
from tt_assets_tests.automation.ticks import Ticking, carry_out
from tt_assets_tests.dagster_runs import current_plan, run_job, stored

FIRST, LAST, CHANGED = date(2012, 3, 1), date(2012, 6, 29), "2012-04-10"

pytestmark = pytest.mark.slow

KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from tt_assets.postgres import slice_store
    from tt_assets.runtime.platform import open_instance
    from tt_assets_tests.dagster_runs import run_job

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    point, tables, key = sys.argv[1:]
    honest = slice_store.SliceStore.write
    def write(self, *args, **named):
        honest(self, *args, **named)
        die()
    if point == "before COPY":
        slice_store.copy_into = die
    elif point == "before COMMIT":
        slice_store.write_entries = die
    else:
        slice_store.SliceStore.write = write
    with open_instance() as instance:
        run_job(instance, tables.split(","), key)
    """
)


@pytest.fixture
def bars_file(tmp_path: Path, sample_bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bars.parquet"
    sample_bars[sample_bars["instrument"].eq("AAPL")].to_parquet(path)
    (tmp_path / "watchlist.csv").write_text("symbol\nAAPL\n")
    monkeypatch.setenv("TT_BARS_PATH", str(path))
    monkeypatch.setenv("TT_WATCHLIST", str(tmp_path / "watchlist.csv"))
    monkeypatch.setenv("TT_START_DATE", str(FIRST))
    monkeypatch.setenv("TT_END_DATE", str(LAST))
    return path


def killed_at(point: str, *tables: str) -> None:
    """A run of one partition in a process of its own, which kills itself at `point`."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", KILLED, point, ",".join(tables), f"{CHANGED}|AAPL"], env=environment, capture_output=True
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()[-2_000:]


def end_what_died(instance: dg.DagsterInstance) -> None:
    """The run of the killed process is over, as run monitoring finds out."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        instance.report_run_failed(run, "its process is gone")


@pytest.mark.parametrize("point", ["before COPY", "before COMMIT", "after COMMIT"])
def test_what_was_committed_is_told_and_everything_behind_it_made_again(
    postgres_instance, bars_file, sample_bars, connected: Database, point
):
    assert run_job(postgres_instance, MARKET_TABLES, f"{FIRST}|AAPL", f"{LAST}|AAPL").success
    before = {table: stored(connected, table) for table in MARKET_TABLES}
    bars = sample_bars[sample_bars["instrument"].eq("AAPL")].copy()
    bars.loc[bars["timestamp"] == CHANGED, ["open", "high", "low", "close"]] = [100.0, 101.0, 98.0, 99.0]
    bars.to_parquet(bars_file)

    killed_at(point, "tt_prices")
    end_what_died(postgres_instance)
    committed = point == "after COMMIT"
    assert (stored(connected, "tt_prices") != before["tt_prices"]) is committed
    settle(postgres_instance, current_plan(), connected)
    newest = agreement.events(postgres_instance, "tt_prices")[f"{CHANGED}|AAPL"]
    assert newest == agreement.entries(connected, "tt_prices")[f"{CHANGED}|AAPL"]
    assert read_market(postgres_instance, current_plan(), connected).stale("tt_features").any() == committed
    if not committed:  # by hand
        assert run_job(postgres_instance, ["tt_prices"], f"{CHANGED}|AAPL").success
    downstream = Ticking(postgres_instance, "restatement")
    for requests in iter(downstream.tick, []):
        carry_out(postgres_instance, requests)
    agreement.rows_and_ledger_agree(connected)

    again = {table: stored(connected, table) for table in MARKET_TABLES}
    assert again["tt_features"] != before["tt_features"]
    with connected.connect() as connection:
        connection.execute("TRUNCATE tt_prices, tt_features, tt_signal_scores, tt_slice")
    assert run_job(postgres_instance, MARKET_TABLES, f"{FIRST}|AAPL", f"{LAST}|AAPL").success
    assert {table: stored(connected, table) for table in MARKET_TABLES} == again  # an undisturbed run
