"""What a cell costs on its way through tt_prices, tt_features and tt_signal_scores, bookkeeping of Dagster included.

The bulk figure is the wall time of a whole `tt backfill market` process, from its first import to its
exit, because that is what a person waits for. The first time fills empty tables, every further time replaces all rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say, spread
from tt_assets_tests.benchmarks.home import names, session_list, temporary_home, write_market

SECONDS_PER_1000_CELLS = 1.2
FIRST_SINGLE_SESSION = 40
"""After the warm-up of every feature and signal, so that a single run writes all its rows."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    instruments: int = 40
    sessions: int = 500
    rounds: int = 3
    single_runs: int = 20

    @property
    def cells(self) -> int:
        return self.instruments * self.sessions


def measure(scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Seconds per 1,000 cells of range runs, then seconds per cell of runs of one cell each."""
    scale = scale or Scale()
    with temporary_home() as home:
        say(f"making a server and {scale.cells:,} bars")
        settings = write_market(home.folder, scale.instruments, scale.sessions)
        home.measure(["tt", "watchlist", "sync"], settings)
        yield {"cells": scale.cells, "tables": 3, "load": load()}
        seconds, busy = [], []
        for number in range(scale.rounds):
            whole = home.measure(["tt", "backfill", "market"], settings)
            seconds.append(whole.seconds * 1000 / scale.cells)
            if whole.busy_seconds is not None:
                busy.append(whole.busy_seconds * 1000 / scale.cells)
            say(f"range run {number + 1} of {scale.rounds}: {whole.seconds:.1f} s, {seconds[-1]:.2f} s per 1,000 cells")
        yield {
            "figure": "range run, seconds per 1,000 cells",
            **held_against(Aim.AT_MOST, SECONDS_PER_1000_CELLS, seconds),
            "filling_empty_tables": round(seconds[0], 3),
            "load_after": load(),
        }
        if busy:
            yield {"figure": "range run, processor seconds of the process per 1,000 cells", **spread(busy)}
        say(f"{scale.single_runs} runs of one cell in one process")
        together = json.loads(home.measure(["single-runs", str(scale.single_runs)], settings).output)
        yield {"figure": "one run per partition in one process, seconds per cell", **spread(together)}
        days = session_list(scale.sessions)[FIRST_SINGLE_SESSION : FIRST_SINGLE_SESSION + scale.single_runs]
        apart = []
        for number, day in enumerate(days, start=1):
            only = ["--from", f"{day:%Y-%m-%d}", "--to", f"{day:%Y-%m-%d}", "--instruments", names(1)[0]]
            apart.append(home.measure(["tt", "backfill", "market", *only], settings).seconds)
            say(f"process {number} of {scale.single_runs}: {apart[-1]:.1f} s for one cell")
        yield {"figure": "one process and run per partition, seconds per cell", **spread(apart)}
