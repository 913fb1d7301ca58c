"""A stand-in gateway per test, and the load against it."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from datetime import date, datetime

import pandas as pd
import pytest

from tt_assets.gateway import BarBook
from tt_assets.market.ibkr import IbkrBars, IbkrLoad
from tt_assets.market.sources import BarRequest
from tt_assets_tests.gateway.scripted import Script, ScriptedStandIn, no_script
from tt_assets_tests.gateway.thread import GatewayThread
from tt_assets_tests.gateway.worlds import EVENING, FRIDAY, ask, quick, walk

LONGEST_TEST = 60.0
"""Seconds; a test that takes longer hangs, and the process ends with the stacks of all threads."""


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(LONGEST_TEST, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def gateway() -> Iterator[Callable[..., GatewayThread]]:
    """Starts a gateway over bars, with a script of faults; stopped after the test."""
    started: list[GatewayThread] = []

    def start(bars: pd.DataFrame, script: Script = no_script, today: date = FRIDAY, **options: object) -> GatewayThread:
        options = {"latency": 0.005} | options
        stand_in = ScriptedStandIn(BarBook(bars), script=script, today=lambda: today, **options)  # type: ignore[arg-type]
        started.append(GatewayThread(stand_in).start())
        return started[-1]

    yield start
    for thread in started:
        thread.stop()


@pytest.fixture
def load(gateway: Callable[..., GatewayThread]) -> Callable[..., tuple[IbkrLoad, GatewayThread]]:
    """Loads A, B and C (or `requests`) from a gateway with these bars and this script."""

    def run(
        script: Script = no_script,
        bars: pd.DataFrame | None = None,
        requests: list[BarRequest] | None = None,
        clock: datetime = EVENING,
        today: date = FRIDAY,
        source: dict[str, object] | None = None,
        **config: object,
    ) -> tuple[IbkrLoad, GatewayThread]:
        thread = gateway(walk("ABC") if bars is None else bars, script, today)
        opened = IbkrBars(quick(thread.port, **config), clock=lambda: clock, **(source or {}))  # type: ignore[arg-type]
        return opened.load(ask("A", "B", "C") if requests is None else requests), thread

    return run
