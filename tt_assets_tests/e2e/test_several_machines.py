"""Two machines that carry out the runs of one queue, one of them killed in the middle: the tables are one machine's.

The machines are Ray's nodes on loopback. Each has a home of its own and only the database in common.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.conftest import PG_BIN, need_cluster, reachable_folder
from tt_assets_tests.e2e.command_line import free_port, machine, serve, wait_until
from tt_assets_tests.e2e.ray_cluster import Cluster, ended, head_or_skip, worker_environment
from tt_assets_tests.faults.content import content

need_cluster("dagster_ray", "ray")

pytestmark = pytest.mark.slow

WORK = {
    "TT_START_DATE": "2011-01-03",
    "TT_END_DATE": "2012-03-30",
    "TT_TRAIN_WINDOWS": "2",
    "TT_SEEDS": "1",
    "TT_TRAIN_STEPS": "2000",
    "TT_TRAIN_WORKERS": "1",
    "TT_BASELINES": "cash,equal_weight_hold",
    "TT_PICTURES": "1",
}
"""Five instruments, five quarters; three windows of one agent each."""
TRADED = "AAPL"


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
    made = Cluster(folder, Database.on(server).adbc_uri(), WORK)
    try:
        head_or_skip(made)
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writes_wait(database: Database, table: str) -> Iterator[None]:
    """Nobody writes to the table, as behind a slow statement of ours: a run that got there stays in its middle."""
    with database.connect() as connection:
        connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield


def killed_in_the_middle(
    cluster: Cluster, victim: str, command: subprocess.Popen[str], database: Database, written: str
) -> None:
    """Kill a machine while both carry out a run for the command that has yet to write the table `written`."""

    def both_work() -> bool:
        if command.poll() is not None:
            return True
        with database.dagster().connect() as connection:
            (count,) = connection.execute("SELECT count(*) FROM runs WHERE status = 'STARTED'").fetchall()[0]
        return bool(count == 2) and cluster.at_work(victim)

    with writes_wait(database, written):
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
        killed_in_the_middle(cluster, "one", load, Database.on(server), "tt_feature_bar")
        assert "2 running" in ended(load)
        cluster.start_worker("one", environment)

        # The page of a run shows what it printed, wherever it was made.
        assert list((cluster.folder / "shared" / "dagster" / "logs").rglob("*.err"))
        assert list((cluster.folder / "shared" / "dagster" / "logs" / "pictures").iterdir())

        training = head.start("train", "--queue", "--instruments", TRADED)
        killed_in_the_middle(cluster, "two", training, Database.on(server), "tt_policy")
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
