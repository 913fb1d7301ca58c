"""`make soak`: a served platform whose file changes and whose processes are killed, for SOAK_MINUTES; then the tally.

Seeded by SOAK_SEED. Bars gain sessions and are restated while code server, daemon, webserver, postmaster and runs are
killed. At the end the sensors get the time to catch up; then every row of the market tables is compared with a platform
that nobody disturbed, and every row of the episodes with the same agents rolled anew. The tally is JSON lines.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import psycopg

from tt_assets.errors import UserError
from tt_assets.market.calendar import sessions
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.server.postmaster import running_postmaster
from tt_assets.runtime.children import CODE_SERVER, DAEMON, WEBSERVER
from tt_assets.runtime.supervisor import DATABASE
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES
from tt_assets_tests.e2e.command_line import Machine, Ui, free_port, machine, serve
from tt_assets_tests.faults.content import content
from tt_assets_tests.made_bars import made_bars

NAMES = ("ONE", "TWO", "TRE")
DAYS = sessions(pd.Timestamp("2020-01-02").date(), pd.Timestamp("2020-12-31").date())
STOCKED = 195
"""Sessions in the file at first, into the last quarter."""
RUN = "run"
ENDED = "('SUCCESS', 'FAILURE', 'CANCELED')"
BETWEEN_FAULTS = (16.0, 30.0)
"""Seconds; five deaths within a minute would end `tt up`, as they should."""
STANDS_STILL = 300.0
CATCHES_UP_WITHIN = 3_600.0
"""Seconds in which no run ends after which nothing more is expected, and in which all is caught up in any case."""
OF_AGE = 60.0
"""Seconds after its start from which the memory of a process counts."""


@dataclass
class Life:
    """Memory of one process: its first figure once it was of age, and the latest, MB; and its age then, seconds."""

    name: str
    first: float
    last: float
    age: float


@dataclass
class Soak:
    """What goes on, and what came of it."""

    here: Machine
    folder: Path
    draws: random.Random
    bars: pd.DataFrame
    shown: int = STOCKED
    faults: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    lives: dict[int, Life] = field(default_factory=dict)

    def write(self) -> None:
        """The bars file with the sessions shown so far, in its place in one step."""
        self.bars[self.bars["timestamp"] < DAYS[self.shown]].to_parquet(self.folder / "new.parquet")
        (self.folder / "new.parquet").replace(self.folder / "bars.parquet")

    def change(self) -> None:
        """A session more, or some bars restated."""
        if self.shown < len(DAYS) - 1 and self.draws.random() < 0.4:
            self.shown += 1
            self.changes["sessions"] += 1
        else:
            for _ in range(self.draws.randint(1, 4)):
                day, name = DAYS[self.draws.randrange(self.shown)], self.draws.choice(NAMES)
                place = (self.bars["instrument"] == name) & (self.bars["timestamp"] == day)
                self.bars.loc[place, ["open", "high", "low", "close"]] *= self.draws.uniform(0.99, 1.01)
                self.changes["restated bars"] += 1
        self.write()

    def pids(self) -> dict[str, int]:
        """The served processes by name, and a run in flight."""
        found: dict[str, int] = {}
        with suppress(OSError, ValueError, psutil.Error):
            record = json.loads((self.here.home / "up.json").read_text())
            found = {child["name"]: child["pid"] for child in record["children"] if child["pid"]}
            found["tt up"] = record["pid"]
            below = psutil.Process(found[CODE_SERVER]).children(recursive=True) if CODE_SERVER in found else []
            for process in below:
                words = process.cmdline()
                if "grpc" in words:
                    found["code"] = process.pid
                elif any("spawn_main" in word for word in words):
                    found[RUN] = process.pid
        if postmaster := running_postmaster(EmbeddedServer(self.here.home).data_dir):
            found[DATABASE] = postmaster
        return found

    def kill(self) -> None:
        """One of them, by SIGKILL."""
        pids = self.pids()
        name = self.draws.choice([CODE_SERVER, DAEMON, WEBSERVER, DATABASE, RUN, RUN])
        if name in pids:
            with suppress(ProcessLookupError):
                os.kill(pids[name], signal.SIGKILL)
                self.faults[name] += 1

    def weigh(self) -> None:
        """Note what every process holds."""
        for name, pid in self.pids().items():
            if name == RUN:
                continue
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                held, age = process.memory_info().rss / 1e6, time.time() - process.create_time()
                if age > OF_AGE:
                    life = self.lives.setdefault(pid, Life(name, held, held, age))
                    # One that is just ending has given its memory back already.
                    life.last, life.age = held or life.last, age

    def ended_runs(self) -> int:
        """How many runs have ended; 0 where the server is away."""
        with suppress(psycopg.Error, UserError):
            return int(self.here.rows(f"SELECT count(*) FROM runs WHERE status IN {ENDED}", "dagster")[0][0])
        return 0

    def is_quiet(self) -> bool:
        """Whether every table holds what it should, and nothing goes on."""
        try:
            rows = self.here.rows("SELECT count(*) FROM tt_prices")[0][0]
            going_on = self.here.rows(f"SELECT count(*) FROM runs WHERE status NOT IN {ENDED}", "dagster")[0][0]
        except (psycopg.Error, UserError):  # the server is being started again
            return False
        if going_on or rows != self.shown * len(NAMES):
            return False
        told = self.here.tt("status", "--json")
        return told.returncode == 0 and not any(line["behind"] + line["failed"] for line in json.loads(told.stdout))


def soak(minutes: float, seed: int) -> bool:
    """Soak and print the tally; whether nothing differed."""
    with tempfile.TemporaryDirectory(prefix="tt-soak-") as folder:
        return _soak(Path(folder), minutes, seed)


def _soak(folder: Path, minutes: float, seed: int) -> bool:
    settings = {
        "TT_AUTOMATION": "true",
        "TT_SENSOR_INTERVAL": "2",
        "TT_BARS_PATH": str(folder / "bars.parquet"),
        "TT_WATCHLIST": str(folder / "watchlist.csv"),
        "TT_START_DATE": "2020-01-01",
        "TT_END_DATE": "2020-12-31",
        "TT_AGENT": "ridge",
        "TT_SEEDS": "1",
        "TT_BASELINES": "cash,equal_weight_hold",
        "TT_GAP_TRIES": "20",
        "TT_PICTURES": "0",
    }
    (folder / "watchlist.csv").write_text("symbol,portfolio\n" + "".join(f"{name},all\n" for name in NAMES))
    with machine(**settings) as here:
        draws = random.Random(seed)
        state = Soak(here, folder, draws, made_bars(NAMES, DAYS, seed))
        state.write()
        ui = serve(here, free_port())
        began = time.monotonic()
        _caught_up(state, ui)
        say("filled", seconds=round(time.monotonic() - began))
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end and ui.owner.poll() is None:
            if draws.random() < 0.7:
                state.change()
            time.sleep(draws.uniform(0, 8))
            state.kill()
            pause = time.monotonic() + draws.uniform(*BETWEEN_FAULTS)
            while time.monotonic() < min(pause, end):
                state.weigh()
                time.sleep(2)
        lived = ui.owner.poll() is None
        quiet = lived and _caught_up(state, ui)
        state.weigh()
        return _tally(state, minutes, seed, lived=lived, quiet=quiet)


def _caught_up(state: Soak, ui: Ui) -> bool:
    began = moved = time.monotonic()
    ended = quiet = 0
    while ui.owner.poll() is None:
        now = time.monotonic()
        if now - moved > STANDS_STILL or now - began > CATCHES_UP_WITHIN:
            return False
        quiet = quiet + 1 if state.is_quiet() else 0
        if state.ended_runs() > ended:
            ended, moved = state.ended_runs(), now
        if quiet == 3:  # a changed file is compared once it has stayed as it is for a tick
            return True
        time.sleep(4)
    return False


def _tally(state: Soak, minutes: float, seed: int, *, lived: bool, quiet: bool) -> bool:
    """Compare, and print what came of it."""
    here = state.here
    say("soak", minutes=minutes, seed=seed, lived=lived, caught_up=quiet)
    say("changes", **state.changes)
    say("faults", **state.faults)
    longest: dict[str, Life] = {}
    for life in state.lives.values():
        if life.name not in longest or life.age > longest[life.name].age:
            longest[life.name] = life
    for name, life in sorted(longest.items()):
        figures = {"mb_at_first": round(life.first), "mb_at_last": round(life.last)}
        say("memory", process=name, minutes_lived=round(life.age / 60, 1), **figures)
    statuses = dict(here.rows("SELECT status, count(*) FROM runs GROUP BY 1", "dagster")) if lived else {}
    say("runs", **{str(status).lower(): count for status, count in statuses.items()})
    here.tt("down")
    here.tt("db", "start")
    soaked = content(_database(here))
    ((first, last),) = here.rows("SELECT min(window_start), max(timestamp)::date FROM tt_policy, tt_prices")
    traded = ",".join(name for (name,) in here.rows("SELECT DISTINCT instrument FROM tt_policy ORDER BY 1"))
    span = ("--from", f"{first}", "--instruments", traded)
    rolled = here.tt("backfill", *EPISODE_TABLES, *span, TT_AUTOMATION="false")
    anew = content(_database(here), *EPISODE_TABLES)
    with machine(**{**here.settings, "TT_AUTOMATION": "false"}) as other:
        filled = other.tt("backfill", "market", "--to", f"{last}")
        undisturbed = content(_database(other), *MARKET_TABLES) | anew
    failed = [made.stderr.strip().splitlines()[-1] for made in (rolled, filled) if made.returncode]
    different = [table for table in undisturbed if soaked[table] != undisturbed[table]]
    say(
        "compared",
        rows=sum(rows for rows, _ in undisturbed.values()),
        tables=len(undisturbed),
        differences=len(different),
        different=different,
        reference_ok=not failed,
        reference_said=failed,
    )
    return lived and quiet and not different and not failed


def _database(here: Machine) -> Database:
    here.tt("db", "start")
    return Database.on(EmbeddedServer(here.home))


def say(what: str, **figures: Any) -> None:
    """A line of the tally."""
    print(json.dumps({"soak": what, **figures}), flush=True)


if __name__ == "__main__":
    whole = soak(float(os.environ.get("SOAK_MINUTES", "60")), int(os.environ.get("SOAK_SEED", "1")))
    sys.exit(0 if whole else 1)
