"""A home of a benchmark's own: settings nobody set, an embedded server nobody else uses, synthetic bars.

A benchmark never reads `.env` or a `TT_*` variable, because one of them may name the user's database.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from tt_assets.errors import UserError
from tt_assets.market.calendar import sessions
from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.slices import Selection
from tt_assets_tests.benchmarks.child import PEAK_FILE

MARKET_SEED = 20_050_103
FIRST_DAY = date(2005, 1, 3)
SERVED_WITHIN = 180.0
KEPT_VARIABLES = ("TT_PG_BIN",)
"""The one setting that says how to run a server rather than which."""


CHECKOUT = Path(__file__).parents[2]


class BenchmarkFailed(UserError):
    """A process that was being measured did not do its work."""


@dataclass(frozen=True)
class Measured:
    """One process from its start to its end."""

    seconds: float
    busy_seconds: float | None
    """Processor time of the process and its children, which other people's work changes far less than `seconds`."""
    peak_bytes: int | None
    """Largest resident set of the process or of any of its children. Both are None where the system does not say."""
    output: str


@dataclass(frozen=True)
class Home:
    """A folder under which everything a benchmark makes lives, and its server."""

    folder: Path
    server: EmbeddedServer

    def empty_tables(self) -> Database:
        """The server's `tt` database, made, with empty tables."""
        self.server.ensure()
        database = Database.on(self.server)
        database.create_databases()
        schema.upgrade(database)
        return database

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """This process' environment without any setting of the user's, with `settings` and this home."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(("TT_", "DAGSTER_")) or name in KEPT_VARIABLES
        }
        # Only the package itself is installed; the benchmarks are found where they lie.
        found = os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), str(CHECKOUT))))
        return kept | {"PYTHONPATH": found, "TT_HOME": str(self.server.home)} | dict(settings)

    def measure(self, arguments: Sequence[str], settings: Mapping[str, str]) -> Measured:
        """Run `arguments` of `tt_assets_tests.benchmarks.child` in a fresh process and wait for it.

        Raises BenchmarkFailed with the last line it said when it fails.
        """
        peak_file = self.folder / "peak"
        peak_file.unlink(missing_ok=True)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "tt_assets_tests.benchmarks.child", *arguments],
                env=self.environment(settings) | {PEAK_FILE: str(peak_file)},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                busy = _wait(process)
            except BaseException:
                process.kill()
                process.wait()
                raise
            seconds = time.perf_counter() - began
            out.seek(0)
            err.seek(0)
            said = [line for line in err.read().splitlines() if line.strip()]
            output = out.read()
        if process.returncode:
            raise BenchmarkFailed(
                f"`{' '.join(arguments)}` ended with {process.returncode}: {said[-1] if said else 'it said nothing'}."
            )
        peak = int(peak_file.read_text(encoding="utf-8")) if peak_file.exists() else None
        return Measured(seconds, busy, peak, output)

    @contextmanager
    def serving(self, settings: Mapping[str, str]) -> Iterator[str]:
        """`tt up` on a free port while the block runs; yields the address of the UI.

        Raises BenchmarkFailed where it does not come up.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with subprocess.Popen(
            [sys.executable, "-m", "tt_assets_tests.benchmarks.child", "tt", "up", "--port", str(port)],
            env=self.environment(settings),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as owner:
            try:
                _wait_until_served(url, owner)
                yield url
            finally:
                owner.terminate()


@contextmanager
def temporary_home() -> Iterator[Home]:
    """An empty home; its server is stopped and all of it removed afterwards, also after Ctrl-C or SIGTERM."""
    folder = Path(tempfile.mkdtemp(prefix="tt-bench-"))
    folder.chmod(0o755)  # the server's account must be able to enter
    pg_bin = os.environ.get("TT_PG_BIN")
    server = EmbeddedServer(folder / "home", Path(pg_bin) if pg_bin else None)
    try:
        with _terminated_like_interrupted():
            yield Home(folder, server)
    finally:
        server.stop("immediate")
        shutil.rmtree(server.data_dir, ignore_errors=True)  # elsewhere where the temporary folder is closed to it
        shutil.rmtree(folder, ignore_errors=True)


def synthetic_bars(instruments: int, count: int) -> pd.DataFrame:
    """`count` sessions of each of `instruments`: geometric random walks with all the columns of tt_prices, USD.

    Sorted by instrument and session; prices with all the digits of a double, so text forms are as long as they get.
    The same arguments give the same bars.
    """
    random = np.random.default_rng(MARKET_SEED)
    days = session_list(count)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.015, (instruments, count)), axis=1))
    opened = close * np.exp(random.normal(0, 0.005, close.shape))
    width = np.exp(np.abs(random.normal(0, 0.004, close.shape)))
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * width,
        "low": np.minimum(opened, close) / width,
        "close": close,
        "volume": np.floor(random.lognormal(15, 1, close.shape)),
    }
    return pd.DataFrame(
        {
            "instrument": np.repeat(np.array(names(instruments), dtype=object), count),
            "timestamp": np.tile(days.to_numpy(dtype="datetime64[ns]"), instruments),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )


def session_list(count: int) -> pd.DatetimeIndex:
    """The first `count` sessions the synthetic bars have; holidays are left out, as on the exchange."""
    return sessions(FIRST_DAY, date(FIRST_DAY.year + count // 250 + 1, 12, 31))[:count]


def names(instruments: int) -> list[str]:
    """Symbols of the synthetic instruments, ascending."""
    return [f"S{number:04d}" for number in range(instruments)]


def cells_by_month(instruments: int, count: int) -> Selection:
    """One cell an instrument and month of the synthetic bars, as a home of a large market has them."""
    months = sorted({datetime(day.year, day.month, 1) for day in session_list(count)})
    ends = [*months[1:], (months[-1] + timedelta(days=32)).replace(day=1)]
    return Selection.of(
        {
            f"{start:%Y-%m-%d}|{name}": (name, start, end)
            for name in names(instruments)
            for start, end in zip(months, ends, strict=True)
        }
    )


def write_market(folder: Path, instruments: int, count: int) -> dict[str, str]:
    """Write a bars file and a watchlist into `folder`; the settings that make a platform of them."""
    bars, watchlist = folder / "bars.csv", folder / "watchlist.csv"
    frame = synthetic_bars(instruments, count)
    frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%d")).to_csv(bars, index=False)
    watchlist.write_text("\n".join(["symbol", *names(instruments), ""]), encoding="utf-8")
    days = session_list(count)
    return {
        "TT_BARS_PATH": str(bars),
        "TT_WATCHLIST": str(watchlist),
        "TT_START_DATE": f"{days[0]:%Y-%m-%d}",
        "TT_END_DATE": f"{days[-1]:%Y-%m-%d}",
    }


def _wait_until_served(url: str, owner: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SERVED_WITHIN
    while owner.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise BenchmarkFailed(f"`tt up` did not serve {url} within {SERVED_WITHIN:.0f} s (exit code {owner.poll()}).")


def _wait(process: subprocess.Popen[Any]) -> float | None:
    """Wait for `process`; its processor time in seconds."""
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does, so that no server outlives its benchmark."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
