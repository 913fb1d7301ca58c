"""Two machines that carry out the runs of one queue, one of them killed in the middle: the tables are one machine's.

The machines are Ray's nodes on loopback. Each has a home of its own and only the database in common.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.settings import SAMPLE_BARS, SAMPLE_WATCHLIST
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.conftest import PG_BIN, reachable_folder
from tt_assets_tests.e2e.command_line import GENEROUS, TT, Machine, free_port, machine, serve, wait_until
from tt_assets_tests.faults.content import content

pytest.importorskip("dagster_ray")
pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("FAULTS") != "all", reason="five minutes of two cores: FAULTS=all runs it, as make soak does"
    ),
]

WORK = {
    "TT_START_DATE": "2011-01-03",
    "TT_END_DATE": "2012-03-30",
    "TT_TRAIN_WINDOWS": "2",
    "TT_SEEDS": "1",
    "TT_TRAIN_STEPS": "4000",
    "TT_TRAIN_WORKERS": "1",
    "TT_BASELINES": "cash,equal_weight_hold",
    "TT_PICTURES": "1",
}
"""Five instruments, five quarters; three windows of one agent each."""
TRADED = "AAPL,IBM"
STORE = 80 * 1024**2
"""Bytes of a node's object store; runs keep nothing in it."""
TRIES = 3
"""A node of Ray gives up after half a minute, which a busy machine may need."""
UP = b"will now block forever"
"""What a node says that has joined."""


@dataclass
class Cluster:
    """A head of Ray that carries out nothing, and workers; each process of a worker knows whose it is by its home."""

    folder: Path
    database_url: str
    port: int = field(default_factory=free_port)
    jobs: int = field(default_factory=free_port)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """What the machine that queues has to be told."""
        return {
            **WORK,
            "TT_DATABASE_URL": self.database_url,
            "TT_RUN_LAUNCHER": "ray",
            "TT_RAY_ADDRESS": f"http://127.0.0.1:{self.jobs}",
            "TT_MAX_RUNS": "2",
            "TT_TRAIN_SLOTS": "2",
            "TT_SHARED_FOLDER": str(self.folder / "shared"),
        }

    def start_head(self) -> None:
        """Start the head, and wait until it takes jobs."""
        (self.folder / "shared").mkdir()
        self._ray(
            "head",
            {},
            *("--head", "--port", f"{self.port}", "--num-cpus", "0", "--include-dashboard", "true"),
            *("--dashboard-port", f"{self.jobs}", "--ray-client-server-port", f"{free_port()}"),
        )
        from ray.job_submission import JobSubmissionClient

        def takes_jobs() -> bool:
            try:
                JobSubmissionClient(f"http://127.0.0.1:{self.jobs}").list_jobs()
            except (RuntimeError, ConnectionError):
                return False
            return True

        wait_until(takes_jobs, within=90)

    def start_worker(self, name: str, environment: dict[str, str]) -> None:
        """Start a machine of one processor with a home and a copy of the bars of its own."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        for file in (SAMPLE_BARS, SAMPLE_WATCHLIST):
            shutil.copy(file, own)
        copies = {
            "TT_HOME": str(own / "home"),
            "TT_BARS_PATH": str(own / SAMPLE_BARS.name),
            "TT_WATCHLIST": str(own / SAMPLE_WATCHLIST.name),
        }
        join = ("--address", f"127.0.0.1:{self.port}", "--num-cpus", "1")
        log = self.folder / f"{name}.log"
        for _ in range(TRIES):
            begun = log.stat().st_size if log.exists() else 0
            node = self._ray(name, environment | copies, *join)
            wait_until(lambda: UP in log.read_bytes()[begun:] or node.poll() is not None, within=120)  # noqa: B023
            if node.poll() is None:
                return
        raise AssertionError(log.read_text()[-2000:])

    def processes(self, name: str) -> list[psutil.Process]:
        """Every process of a machine."""
        home, found = str(self.folder / name / "home"), []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TT_HOME") == home:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
        return found

    def at_work(self, name: str) -> bool:
        """Whether the machine carries out a run."""
        for process in self.processes(name):
            try:
                if {"execute_run", "resume_run"} & set(process.cmdline()):
                    return True
            except psutil.Error:
                continue
        return False

    def kill(self, name: str) -> None:
        """kill -9 of the whole machine: it says nothing to anybody."""
        for process in self.processes(name):
            process.kill()

    def stop(self) -> None:
        """End everything that was started."""
        for name in ("one", "two"):
            self.kill(name)
        for process in self.started:
            for each in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.kill()
            process.wait()

    def _ray(self, name: str, environment: dict[str, str], *options: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            node = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
                    *("--object-store-memory", f"{STORE}", "--node-ip-address", "127.0.0.1", *options),
                ],
                env={**_clean(), **environment, "PATH": f"{TT.parent}{os.pathsep}{os.environ['PATH']}"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )
        self.started.append(node)
        return node


def _clean() -> dict[str, str]:
    """This process's environment without anybody's settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TT_", "DAGSTER_", "RAY_")) and name != "PYTHONPATH"
    }


@pytest.fixture
def server(server_home: Path) -> EmbeddedServer:
    """A server of nobody's home."""
    made = EmbeddedServer(server_home, PG_BIN)
    made.ensure()
    return made


@pytest.fixture
def cluster(server: EmbeddedServer) -> Iterator[Cluster]:
    """Ray's head, running; nobody works yet."""
    folder = reachable_folder()
    made = Cluster(folder, Database.on(server).adbc_uri())
    try:
        made.start_head()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def worker_environment(head: Machine) -> dict[str, str]:
    """What `tt cluster env` gives a worker."""
    told = head.tt("cluster", "env", "--no-export", "--show-password")
    assert told.returncode == 0, told.stderr
    return dict(line.split("=", 1) for line in told.stdout.replace("'", "").splitlines() if not line.startswith("#"))


def ended(process: subprocess.Popen[str]) -> str:
    """What a command said that ended well."""
    out, err = process.communicate(timeout=2 * GENEROUS)
    assert process.returncode == 0, out + err
    return out + err


def killed_in_the_middle(cluster: Cluster, victim: str, command: subprocess.Popen[str], storage: Database) -> None:
    """Kill a machine while both carry out a run for the command."""

    def both_work() -> bool:
        if command.poll() is not None:
            return True
        with storage.connect() as connection:
            (count,) = connection.execute("SELECT count(*) FROM runs WHERE status = 'STARTED'").fetchall()[0]
        return bool(count == 2) and cluster.at_work(victim)

    wait_until(both_work, within=180, every=0.2)
    assert command.poll() is None, command.communicate()
    cluster.kill(victim)


def test_a_machine_that_is_killed_costs_nothing_but_time(cluster: Cluster, server: EmbeddedServer) -> None:
    with machine(**cluster.settings) as head:
        serve(head, free_port())
        environment = worker_environment(head)
        for name in ("one", "two"):
            cluster.start_worker(name, environment)

        load = head.start("backfill", "market", "--queue")
        killed_in_the_middle(cluster, "one", load, Database.on(server).dagster())
        assert "2 running" in ended(load)
        cluster.start_worker("one", environment)

        # The page of a run shows what it printed, wherever it was made.
        assert list((cluster.folder / "shared" / "dagster" / "logs").rglob("*.err"))
        assert list((cluster.folder / "shared" / "dagster" / "logs" / "pictures").iterdir())

        training = head.start("train", "--queue", "--instruments", TRADED)
        killed_in_the_middle(cluster, "two", training, Database.on(server).dagster())
        ended(training)
        together = content(Database.on(server))
        with Database.on(server).dagster().connect() as connection:
            taken_up = connection.execute(
                "SELECT count(DISTINCT run_id) FROM event_logs WHERE event LIKE '%Resuming run%'"
            ).fetchall()
        assert taken_up == [(2,)]  # one of the load, one of the training

        with machine(**WORK) as alone:
            assert alone.tt("backfill", "market").returncode == 0
            assert alone.tt("train", "--instruments", TRADED).returncode == 0
            assert together == content(Database.on(EmbeddedServer(alone.home)))
    assert all(together[table][0] for table in (*MARKET_TABLES, "tt_policy", "tt_episode"))
