"""Machines of Ray on loopback: a head that carries out nothing, and workers with homes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tt_assets.settings import SAMPLE_BARS, SAMPLE_WATCHLIST
from tt_assets_tests.conftest import judges_a_change
from tt_assets_tests.e2e.command_line import GENEROUS, TT, Machine, free_port, wait_until

STORE = 80 * 1024**2
"""Bytes of a node's object store; runs keep nothing in it."""
TRIES = 3
"""A node of Ray gives up after half a minute, which a busy machine may need."""
UP = b"will now block forever"
"""What a node says that has joined."""


class NoRay(Exception):
    """Ray's own head ended before it took a job: nothing of ours had a part in it."""


@dataclass
class Cluster:
    """A head of Ray that carries out nothing, and workers; each process of a worker knows whose it is by its home."""

    folder: Path
    database_url: str
    work: dict[str, str]
    """Settings of what is to be done."""
    port: int = field(default_factory=free_port)
    jobs: int = field(default_factory=free_port)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """What the machine that queues has to be told."""
        return {
            **self.work,
            "TT_DATABASE_URL": self.database_url,
            "TT_RUN_LAUNCHER": "ray",
            "TT_RAY_ADDRESS": f"http://127.0.0.1:{self.jobs}",
            "TT_MAX_RUNS": "2",
            "TT_TRAIN_SLOTS": "2",
            "TT_SHARED_FOLDER": str(self.folder / "shared"),
        }

    def start_head(self) -> None:
        """Start the head, and wait until it takes jobs. Raises NoRay where Ray itself does not start."""
        (self.folder / "shared").mkdir()
        node = self._ray(
            "head",
            {},
            *("--head", "--port", f"{self.port}", "--num-cpus", "0", "--include-dashboard", "true"),
            *("--dashboard-port", f"{self.jobs}", "--ray-client-server-port", f"{free_port()}"),
        )
        from ray.job_submission import JobSubmissionClient

        def takes_jobs() -> bool:
            if node.poll() is not None:
                raise NoRay((self.folder / "head.log").read_text()[-500:])
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


def head_or_skip(cluster: Cluster) -> None:
    """Start the head; skip the test where Ray does not start. Where every change is judged it fails instead."""
    try:
        cluster.start_head()
    except NoRay as why:
        if judges_a_change():
            raise
        pytest.skip(f"Ray does not start here: {why}")


def _clean() -> dict[str, str]:
    """This process's environment without anybody's settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TT_", "DAGSTER_", "RAY_")) and name != "PYTHONPATH"
    }


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
