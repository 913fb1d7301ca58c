"""A benchmark's home is its own: no setting of the user's reaches it, and nothing of it stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tt_assets.market.files import FileBars
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets_tests.benchmarks.home import BenchmarkFailed, synthetic_bars, temporary_home, write_market


def test_no_setting_of_the_users_reaches_a_measured_process(monkeypatch):
    monkeypatch.setenv("TT_DATABASE_URL", "postgresql://me@production/tt")
    monkeypatch.setenv("TT_DATE_GRAIN", "month")
    monkeypatch.setenv("DAGSTER_HOME", "/home/me/dagster")
    with temporary_home() as home:
        environment = home.environment({"TT_TRAIN_STEPS": "64"})
        (home.folder / ".env").write_text("TT_DATABASE_URL=postgresql://me@production/tt\n")
        told = home.measure(["tt", "settings", "--json"], {}).output
    assert {name for name in environment if name.startswith(("TT_", "DAGSTER_"))} <= {
        "TT_HOME",
        "TT_TRAIN_STEPS",
        "TT_PG_BIN",
    }
    assert environment["TT_TRAIN_STEPS"] == "64"
    assert "production" not in told
    assert str(home.folder) in told


def test_a_home_is_gone_afterwards_also_after_an_error():
    homes = []

    def broken_benchmark() -> None:
        with temporary_home() as home:
            homes.append(home)
            (home.folder / "bars.csv").touch()
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        broken_benchmark()
    assert not homes[0].folder.exists()


KILLED = textwrap.dedent(
    """
    import time
    from tt_assets_tests.benchmarks.home import temporary_home
    with temporary_home() as home:
        home.server.ensure()
        print(home.folder, flush=True)
        time.sleep(60)
    """
)


def test_a_terminated_benchmark_leaves_neither_a_server_nor_a_folder():
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        folder = Path(process.stdout.readline().decode().strip())
        server = EmbeddedServer(folder / "home")
        assert server.is_running()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert not folder.exists()
    assert not server.is_running()


def test_a_measured_process_that_fails_is_named_with_its_last_line():
    with temporary_home() as home, pytest.raises(BenchmarkFailed, match=r"`tt bogus` ended with 2: .*bogus") as caught:
        home.measure(["tt", "bogus"], {})
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell")
def test_the_peak_of_a_measured_process_counts_what_it_held_and_let_go(monkeypatch):
    held = 300_000_000
    hungry = f"b'x' * {held}\nimport time"
    with temporary_home() as home:
        sitecustomize = home.folder / "sitecustomize.py"
        sitecustomize.write_text("")
        monkeypatch.setenv("PYTHONPATH", str(home.folder))
        little = home.measure(["tt", "--version"], {}).peak_bytes
        sitecustomize.write_text(hungry)
        much = home.measure(["tt", "--version"], {}).peak_bytes
    assert much >= held
    assert little < much


def test_synthetic_bars_break_no_rule_and_are_the_same_every_time(tmp_path):
    settings = write_market(tmp_path, instruments=3, count=300)
    checked = FileBars(Path(settings["TT_BARS_PATH"]), known={"S0000", "S0001", "S0002"}).check()
    assert not checked.faults
    assert len(checked.clean) == 900
    assert np.array_equal(checked.clean["close"], synthetic_bars(3, 300)["close"])  # no digit is lost in the file
    pd.testing.assert_frame_equal(synthetic_bars(3, 300), synthetic_bars(3, 300))
