"""How large processes get: a range run of 25,000 cells, and a training.

The peak is what the operating system says of the process after its end (`ru_maxrss`), the largest of its
children included, in MB of 10^6 bytes. Shared libraries count in full, so several such processes need less together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say
from tt_assets_tests.benchmarks.home import BenchmarkFailed, Home, temporary_home, write_market

RANGE_RUN_MB = 600.0
TRAINING_MB = 800.0
TRADED = 5
"""Instruments of the bars the training learns from; more of them widen the observation, which is small beside torch."""


@dataclass(frozen=True)
class Scale:
    """How much is measured; `train_steps` None is the platform's own setting."""

    instruments: int = 50
    sessions: int = 500
    train_steps: int | None = None


def measure(scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Peak of a range run over the whole grid in one run, then of `tt train` for one window of one instrument."""
    scale = scale or Scale()
    yield {"cells": scale.instruments * scale.sessions, "load": load()}
    with temporary_home() as home:
        say(f"a range run of {scale.instruments * scale.sessions:,} cells")
        settings = write_market(home.folder, scale.instruments, scale.sessions)
        home.measure(["tt", "watchlist", "sync"], settings)
        peak = _peak(home, ["one-run"], settings)
        yield {"figure": "range run, peak MB", **held_against(Aim.AT_MOST, RANGE_RUN_MB, [peak], 0)}
    with temporary_home() as home:
        say("a training")
        settings = write_market(home.folder, TRADED, 500)  # 2005 and 2006: a year to learn from and a window to trade
        if scale.train_steps is not None:
            settings["TT_TRAIN_STEPS"] = str(scale.train_steps)
        home.measure(["tt", "backfill", "market"], settings)
        window = ["--from", "2006-04-03", "--to", "2006-04-03", "--instruments", "S0000"]
        peak = _peak(home, ["tt", "backfill", "tt_policy", *window], settings)
        yield {"figure": "training, peak MB", **held_against(Aim.AT_MOST, TRAINING_MB, [peak], 0)}


def _peak(home: Home, arguments: list[str], settings: dict[str, str]) -> float:
    """Megabytes of 10^6 bytes."""
    peak = home.measure(arguments, settings).peak_bytes
    if peak is None:
        raise BenchmarkFailed("This system does not tell the peak memory of a process; run it on Linux or macOS.")
    return peak / 1e6
