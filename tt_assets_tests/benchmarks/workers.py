"""What a second machine is worth: a load and trainings through the queue on one worker of Ray, then on two.

The workers are on loopback and share this machine's processors with the server and the daemon, so the figure says what
the queue costs, not what a cluster brings; the processors are told beside it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tt_assets.postgres.database import Database
from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say
from tt_assets_tests.benchmarks.home import temporary_home
from tt_assets_tests.conftest import reachable_folder
from tt_assets_tests.e2e.command_line import free_port, machine, serve
from tt_assets_tests.e2e.ray_cluster import Cluster, ended, worker_environment

TIMES_ONE = 1.7
WORK = {
    "TT_START_DATE": "2011-01-03",
    "TT_END_DATE": "2012-03-30",
    "TT_TRAIN_WINDOWS": "2",
    "TT_SEEDS": "2",
    "TT_TRAIN_WORKERS": "1",
}
"""Three windows."""
TRADED = "AAPL,IBM,MSFT"
"""Three portfolios of two seeds: six trainings a window."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    workers: tuple[int, ...] = (1, 2)


def measure(scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Seconds of the load and of the trainings with each number of workers, then how many times one is worth."""
    scale = scale or Scale()
    loads, trainings = [], []
    yield {"processors": os.cpu_count(), "load": load()}
    for count in scale.workers:
        loaded, trained = _seconds(count)
        loads.append(loaded)
        trainings.append(trained)
        yield {"workers": count, "load_seconds": round(loaded, 1), "training_seconds": round(trained, 1)}
    for what, seconds in (("load", loads), ("training", trainings)):
        told = held_against(Aim.AT_LEAST, TIMES_ONE, [seconds[0] / seconds[-1]])
        yield {"figure": f"{what}, times as fast with the last number of workers as with the first", **told}


def _seconds(workers: int) -> tuple[float, float]:
    say(f"{workers} workers")
    folder = reachable_folder()
    with temporary_home() as home:
        home.server.ensure()
        cluster = Cluster(folder, Database.on(home.server).adbc_uri(), WORK)
        try:
            cluster.start_head()
            with machine(**cluster.settings) as head:
                serve(head, free_port())
                environment = worker_environment(head)
                for name in ("one", "two")[:workers]:
                    cluster.start_worker(name, environment)
                began = time.perf_counter()
                ended(head.start("backfill", "market", "--queue"))
                loaded = time.perf_counter()
                ended(head.start("train", "--queue", "--instruments", TRADED))
                return loaded - began, time.perf_counter() - loaded
        finally:
            cluster.stop()
            shutil.rmtree(folder, ignore_errors=True)
