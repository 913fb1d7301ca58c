"""Runs of `tt up` end with what they were forked from, know the dates of the bars as they are, and fork none."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tt_assets.runtime import served_code
from tt_assets.runtime.children import CODE_PROCESS
from tt_assets.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux alone")

ORPHAN = """
import time
import psutil
from tt_assets.runtime.forked_runs import ForkedRun
run = ForkedRun(target=time.sleep, args=(60,))
run.start()
worker = psutil.Process(run.pid)
while worker.num_threads() < 2:
    time.sleep(0.05)
worker.parent().kill()
gone, alive = psutil.wait_procs([worker], timeout=20)
for process in alive:
    process.kill()
print(len(gone))
"""


def test_a_run_ends_when_what_it_was_forked_from_is_killed(settings_environment: dict[str, str]) -> None:
    said = subprocess.run(
        [sys.executable, "-c", ORPHAN], env=settings_environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["1"]


def test_a_run_makes_no_fork_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the command line of the code server, and may be the first in its process to import the platform."""
    monkeypatch.setattr(sys, "argv", ["dagster", *CODE_PROCESS])
    assert served_code.starts_runs(Settings())
    monkeypatch.setattr(multiprocessing, "parent_process", multiprocessing.current_process)
    assert not served_code.starts_runs(Settings())


def test_a_run_has_partitions_of_the_bars_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = tmp_path / "bars.csv"

    def write(*days: str) -> None:
        rows = "".join(f"AAPL,{day},1,1,1,1,1\n" for day in days)
        bars.write_text("instrument,timestamp,open,high,low,close,volume\n" + rows, encoding="utf-8")

    def dates() -> list[str]:
        grid = served_code.defs.resolve_asset_graph().get(dg.AssetKey("tt_prices")).partitions_def
        return grid.get_partitions_def_for_dimension("date").get_partition_keys()

    write("2020-03-02", "2020-03-06")
    monkeypatch.setattr(served_code, "settings", Settings(bars_path=bars))
    monkeypatch.setattr(served_code, "defs", None)
    served_code.follow_bars()
    began = served_code.defs
    assert (dates()[0], dates()[-1]) == ("2020-03-02", "2020-03-06")
    served_code.follow_bars()
    assert served_code.defs is began  # what is as it was costs nothing

    write("2020-02-27", "2020-03-10")
    served_code.follow_bars()
    assert (dates()[0], dates()[-1]) == ("2020-02-27", "2020-03-10")
