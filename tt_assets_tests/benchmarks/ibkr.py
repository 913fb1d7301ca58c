"""Loading from a gateway: how near the adapter comes to what its pacing rules allow.

The gateway is the stand-in, in a process of its own, so that its work does not slow down the adapter's;
what is measured is the adapter, not Interactive Brokers.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd

from tt_assets.market.bars import BAR_COLUMNS
from tt_assets.market.calendar import NEW_YORK, sessions
from tt_assets.market.ibkr import IbkrBars, IbkrConfig
from tt_assets.market.ibkr.pacing import seconds_needed
from tt_assets.market.sources import BarRequest, Fetched, Outcome

INSTRUMENTS = 150
LAST = date(2024, 3, 1)
YEARS = 3
LATENCY = 0.3
"""Seconds the gateway takes for each answer."""
INTERVALS = (0.15, 0.0)
"""Seconds between the starts of two requests: the default, and none."""
AIM = 1.5
"""Wall time over the ideal."""


def measure() -> Iterator[dict[str, object]]:
    """One line per interval: wall time, requests and most open as the gateway saw them, and the ratio to the ideal."""
    for interval in INTERVALS:
        yield one_load(interval)


def one_load(
    interval: float, instruments: int = INSTRUMENTS, years: int = YEARS, latency: float = LATENCY
) -> dict[str, object]:
    """Load `years` of `instruments` at `latency`, with `interval` between starts. Times in seconds, memory in MB."""
    first = date(LAST.year - years, LAST.month, LAST.day)
    bars = random_bars(instruments, first, LAST)
    with tempfile.TemporaryDirectory(prefix="tt-bench-") as folder:
        path = Path(folder) / "bars.parquet"
        bars.to_parquet(path)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(path, latency, theirs))
        process.start()
        try:
            return _measure(interval, bars, first, latency, ours)
        finally:
            ours.send("stop")
            process.join(10)


def _measure(
    interval: float, bars: pd.DataFrame, first: date, latency: float, gateway: Connection
) -> dict[str, object]:
    config = IbkrConfig(port=gateway.recv(), min_interval=interval)
    symbols = bars["instrument"].unique().tolist()
    requests = [BarRequest(symbol, first, LAST) for symbol in symbols]
    evening = datetime(LAST.year, LAST.month, LAST.day, 20, tzinfo=NEW_YORK)
    source = IbkrBars(config, clock=lambda: evening)
    memory = _peak_megabytes()
    started, busy = time.perf_counter(), time.process_time()
    load = source.load(requests)
    wall, busy = time.perf_counter() - started, time.process_time() - busy
    gateway.send("counts")
    seen, most_open, shortest_repeat = gateway.recv()
    count = len(symbols)
    ideal = max(count * latency / config.max_in_flight, count * interval)
    landed = pd.concat(
        [result.bars for result in load.results if isinstance(result, Fetched) and result.outcome is Outcome.LOADED],
        ignore_index=True,
    )
    return {
        "benchmark": "ibkr",
        "instruments": count,
        "bars": len(landed),
        "bars_right": bool(landed.equals(bars)),
        "latency_s": latency,
        "interval_s": interval,
        "wall_s": round(wall, 2),
        "cpu_s": round(busy, 2),
        "ideal_s": round(ideal, 2),
        "estimated_s": round(seconds_needed(count, config, latency), 2),
        "ratio_to_ideal": round(wall / ideal, 2),
        "aim": f"<= {AIM} x ideal, {count} requests",
        "aim_met": wall <= AIM * ideal and seen == count,
        "requests": seen,
        "most_open": most_open,
        "most_open_allowed": config.max_in_flight,
        "shortest_repeat_s": None if np.isinf(shortest_repeat) else round(shortest_repeat, 2),
        "peak_memory_grown_mb": round(_peak_megabytes() - memory, 1),
    }


def random_bars(instruments: int, first: date, last: date) -> pd.DataFrame:
    """Seeded random daily bars in cents with BAR_COLUMNS, sorted by instrument and session."""
    draws = np.random.default_rng(0)
    stamps = sessions(first, last)
    shape = (instruments, len(stamps))
    close = np.round(100 * np.exp(np.cumsum(draws.normal(0, 0.015, shape), axis=1)), 2) + 1
    opened = np.round(close * np.exp(draws.normal(0, 0.005, shape)), 2)
    spread = np.round(draws.uniform(0, 0.5, (2, *shape)), 2)
    columns = {
        "instrument": np.repeat([f"S{number:03}" for number in range(instruments)], len(stamps)),
        "timestamp": np.tile(stamps.to_numpy(), instruments),
        "open": opened.ravel(),
        "high": (np.maximum(opened, close) + spread[0]).ravel(),
        "low": (np.minimum(opened, close) - spread[1]).ravel(),
        "close": close.ravel(),
        "volume": draws.integers(100_000, 50_000_000, shape).astype(np.float64).ravel(),
    }
    return pd.DataFrame(columns)[list(BAR_COLUMNS)]


def _serve(path: Path, latency: float, pipe: Connection) -> None:
    """The gateway's process: serve until told to stop, telling the counts when asked."""
    from tt_assets.gateway import BarBook, Kind, StandIn
    from tt_assets_tests.gateway.thread import GatewayThread

    book = BarBook.from_file(path)
    for symbol in book.instruments:  # the texts of the bars are made beforehand, so that latency is all it takes
        book.between(symbol, LAST - timedelta(days=1), LAST)
    with GatewayThread(StandIn(book, latency=latency, today=lambda: LAST)) as running:
        pipe.send(running.port)
        while pipe.recv() == "counts":
            log = running.gateway.log
            pipe.send((len(log.of(Kind.HISTORY)), log.most_open, log.shortest_repeat()))


def _peak_megabytes() -> float:
    """Peak resident memory of this process in 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
