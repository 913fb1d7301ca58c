"""Figures as lines: a median with its spread, beside the aim it is held against."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any


class Aim(StrEnum):
    """Which side of its aim a figure has to be on."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Median, smallest and largest of one figure's rounds, and how many rounds there were."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "rounds": len(values),
    }


def held_against(side: Aim, aim: float, values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """`spread` of `values` with the aim and whether their median, unrounded, meets it."""
    median = statistics.median(values)
    met = median >= aim if side is Aim.AT_LEAST else median <= aim
    return {**spread(values, digits), "aim": f"{side} {aim:g}", "met": met}


def load() -> float | None:
    """Processes waiting for a core over the last minute: other people's work makes absolute times meaningless."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def say(words: str) -> None:
    """Progress, for a person who waits; standard output is left to the figures."""
    print(f"bench: {words}", file=sys.stderr, flush=True)
