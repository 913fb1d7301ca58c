"""The platform at the size it is meant for: 150 instruments × 756 sessions, 113,400 cells per table.

Everything is measured on one home that was filled once, by the command a person would use, so that a
tick and a page have all those partitions behind them. The bars are synthetic (`home.MARKET_SEED`) and claim nothing of
markets. A page counts from the request to the moment its figures stand there, with an empty profile of the browser.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tt_assets.grain import DateGrain
from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say
from tt_assets_tests.benchmarks.home import Home, temporary_home, write_market
from tt_assets_tests.benchmarks.large import Market, filled

WHOLE_LOAD_SECONDS = 205.0
TICK_SECONDS = 5.0
PAGE_SECONDS = 3.0
TABLES_SHOWN = ("tt_prices", "tt_features")


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    instruments: int = 150
    sessions: int = 756
    ticks: int = 5
    page_rounds: int = 5
    grains: tuple[DateGrain, ...] = tuple(DateGrain)
    grain_instruments: int = 60
    """Of the market that is loaded at each grain, five years of sessions long, in a home of its own each."""
    grain_sessions: int = 1260

    @property
    def cells(self) -> int:
        return self.instruments * self.sessions


def measure(scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """The load of all market tables, then what a tick and a page cost with all of it stored."""
    scale = scale or Scale()
    with temporary_home() as home:
        say(f"making a server and {scale.cells:,} bars")
        settings = write_market(home.folder, scale.instruments, scale.sessions) | {"TT_AUTOMATION": "false"}
        home.measure(["tt", "watchlist", "sync"], settings)
        yield {"cells_per_table": scale.cells, "tables": 3, "load": load()}
        yield from _load(home, settings, scale)
        yield from _ticks(home, settings, scale)
        yield from _pages(home, settings, scale)
    for grain in scale.grains:
        with temporary_home() as home:
            yield from filled(home, Market(scale.grain_instruments, scale.grain_sessions, grain))


def _load(home: Home, settings: dict[str, str], scale: Scale) -> Iterator[dict[str, Any]]:
    say(f"filling three tables with {scale.cells:,} cells each, in range runs")
    whole = home.measure(["tt", "backfill", "market"], settings)
    yield {
        "figure": "whole load, seconds",
        **held_against(Aim.AT_MOST, WHOLE_LOAD_SECONDS, [whole.seconds], 1),
        "seconds_per_1000_cells": round(whole.seconds * 1000 / scale.cells, 3),
        "processor_seconds": None if whole.busy_seconds is None else round(whole.busy_seconds, 1),
        "peak_mb": None if whole.peak_bytes is None else round(whole.peak_bytes / 1e6),
        "load_after": load(),
    }


def _ticks(home: Home, settings: dict[str, str], scale: Scale) -> Iterator[dict[str, Any]]:
    say(f"{scale.ticks} ticks of every sensor")
    ticks: dict[str, list[float]] = json.loads(home.measure(["ticks", str(scale.ticks)], settings).output)
    for sensor, seconds in ticks.items():
        yield {
            "figure": f"tick of {sensor}, seconds",
            **held_against(Aim.AT_MOST, TICK_SECONDS, seconds, 2),
            "first": round(seconds[0], 2),
        }


def _pages(home: Home, settings: dict[str, str], scale: Scale) -> Iterator[dict[str, Any]]:
    from tt_assets_tests.benchmarks.browser import NoBrowser, find

    try:
        find()
    except NoBrowser as missing:
        yield {"figure": "pages of the UI, seconds", "not_measured": str(missing)}
        return
    say("opening pages of the UI")
    with home.serving(settings) as url:
        for figure, seconds in page_seconds(url, scale).items():
            yield {"figure": f"{figure}, seconds", **held_against(Aim.AT_MOST, PAGE_SECONDS, seconds, 2)}
    yield {"load_after": load()}


def page_seconds(url: str, scale: Scale) -> dict[str, list[float]]:
    """Seconds until each page shows its figures, round by round; the first visit, which warms the server, is left out.

    The asset page is there with the table's row count, the partition grid with the count of its partitions.
    """
    from tt_assets_tests.benchmarks.browser import WINDOW, chromium

    pages = {"catalog": ("/assets", f"{scale.cells:,} partitions")}
    for table in TABLES_SHOWN:
        pages[f"asset page of {table}"] = (f"/assets/{table}", "Row count")
        pages[f"partition grid of {table}"] = (f"/assets/{table}?view=partitions", f"Materialized ({scale.cells})")
    found: dict[str, list[float]] = {name: [] for name in pages}
    with chromium() as browser:
        for number in range(scale.page_rounds + 1):
            for name, (path, landmark) in pages.items():
                page = browser.new_context(viewport=WINDOW).new_page()
                began = time.perf_counter()
                page.goto(url + path, wait_until="commit")
                page.get_by_text(landmark).first.wait_for(timeout=120_000)
                if number:
                    found[name].append(time.perf_counter() - began)
                page.context.close()
    return found
