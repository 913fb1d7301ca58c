"""The smallest platform that has everything: one instrument, eight months, one quarter of them traded."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from tt_assets.automation import agents, market
from tt_assets.automation.refresh import refresh_agents, refresh_market
from tt_assets.automation.sensors import settle
from tt_assets.commands.policies_group import prune
from tt_assets.postgres.database import Database
from tt_assets_tests.automation.ticks import Ticking
from tt_assets_tests.dagster_runs import current_definitions, current_plan, run_job

INSTRUMENT = "AAPL"
SETTINGS = {
    "TT_START_DATE": "2011-11-01",
    "TT_END_DATE": "2012-06-29",
    "TT_TRAIN_WINDOWS": "1",
    "TT_AGENT": "ridge",
    "TT_SEEDS": "1",
    "TT_BASELINES": "cash,equal_weight_hold",
}
WINDOW = "2012-04-01"
CHANGED = "2012-05-15"
"""A session of the last window."""
WRITTEN_OVER = ["2012-05-15", "2012-05-16", "2012-05-17"]
"""The sessions of a run that loads it."""
SENSORS = ("watchlist", "sessions", "bars_file", "restatement", "gaps")
MOST_ROUNDS = 30


class SmallPlatform:
    """A bars file, a watchlist and a Dagster instance, with a clock that the sensors believe."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        database: Database,
        folder: Path,
        bars: pd.DataFrame,
        patch: pytest.MonkeyPatch,
        *,
        trades: bool,
    ) -> None:
        """Without `trades` it has no agents, as where the sensor of agents is switched off."""
        self.instance, self.database, self.path = instance, database, folder / "bars.parquet"
        self.bars = bars[bars["instrument"].eq(INSTRUMENT)].reset_index(drop=True)
        self.now, self.trades = time.time(), trades
        self._sensors = [Ticking(instance, name) for name in (*SENSORS, *(["agents"] if trades else []))]
        (folder / "watchlist.csv").write_text(f"symbol\n{INSTRUMENT}\n")
        patch.setattr(agents, "WINDOWS_FOLLOWED", 1)
        patch.setattr(market, "time", SimpleNamespace(time=lambda: self.now))

    def write(self, version: int) -> None:
        """Put the bars file of `version` in its place: each tells one session of its own way."""
        bars = self.bars.copy()
        bars.loc[bars["timestamp"] == CHANGED, ["open", "high", "low", "close"]] = [
            part + version for part in (78.0, 80.0, 76.0, 79.0)
        ]
        staged = self.path.with_suffix(".new")
        bars.to_parquet(staged)
        staged.replace(self.path)

    def sensors(self) -> None:
        """Tick every sensor and carry out what it asks for, until none of them asks for anything."""
        quiet = 0
        for _ in range(MOST_ROUNDS):
            settle(self.instance, current_plan(), self.database)
            asked = [request for sensor in self._sensors for request in sensor.tick()]
            quiet = 0 if asked else quiet + 1
            if quiet == 2:  # a bars file that changed is compared once it has stayed as it is for one tick
                return
            self._carry_out(asked)
            self.now += 100_000.0  # whatever waits to be tried again is due
        raise AssertionError(f"the sensors still ask after {MOST_ROUNDS} rounds: {asked}")

    def refresh(self) -> None:
        """What the job `refresh_now` does."""
        settle(self.instance, current_plan(), self.database)
        jobs = current_definitions().resolve_job_def
        for made in (refresh_market, *([refresh_agents] if self.trades else [])):
            outcome = made(self.instance, current_plan(), self.database, jobs, print)
            assert outcome.ok, outcome

    def prune(self) -> None:
        """Let go of the agents that others took the place of."""
        prune(self.database, 0)

    def _carry_out(self, requests: Iterable[dg.RunRequest]) -> None:
        for request in requests:
            span = request.partition_key_range
            assert span is not None
            run_job(self.instance, [key.path[-1] for key in request.asset_selection or ()], span.start, span.end)
