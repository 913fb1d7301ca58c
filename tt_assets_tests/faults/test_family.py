"""Every process of a real `tt up` is killed with SIGKILL; what it did goes on, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.server.postmaster import running_postmaster
from tt_assets.runtime.children import CODE_SERVER, DAEMON, WEBSERVER
from tt_assets.runtime.supervisor import DATABASE
from tt_assets_tests.e2e.command_line import Machine, Ui, free_port, machine, serve, wait_until

pytestmark = pytest.mark.slow

DAY = "2012-11-15|IBM"
REPOSITORY = {"repositoryLocationName": "tt_assets.definitions", "repositoryName": "__repository__"}
HOLDING_FEATURE = """
import time
from pathlib import Path
from tt_assets.research.registry import feature

@feature(name='held_up', lookback=0, unit='fraction')
def held_up(bars):
    'Nothing; the first to find the file `hold` waits until its new name is gone.'
    hold, held = Path({folder!r}) / 'hold', Path({folder!r}) / 'held'
    try:
        hold.rename(held)
    except OSError:
        return bars.close * 0
    while held.exists():
        time.sleep(0.1)
    return bars.close * 0
"""


class Served:
    """A `tt up` whose runs can be held in the middle of a step."""

    def __init__(self, here: Machine, ui: Ui, folder: Path) -> None:
        self.here, self.ui, self.folder = here, ui, folder

    def record(self) -> dict[str, Any]:
        return json.loads((self.here.home / "up.json").read_text())

    def child(self, name: str) -> dict[str, Any]:
        return next(child for child in self.record()["children"] if child["name"] == name)

    def deaths(self, name: str) -> list[str]:
        return [death["why"] for death in self.record()["deaths"] if death["name"] == name]

    def alerts(self) -> list[str]:
        lines = (self.here.home / "logs" / "alerts.log").read_text().splitlines()
        return [alert["message"] for alert in map(json.loads, lines) if alert["kind"] == "dead process"]

    def is_whole(self) -> bool:
        return all(child["state"] == "up" for child in self.record()["children"])

    def launch(self, *tables: str) -> str:
        """Launch a run of one partition as the UI does, once the UI has the code location; its id."""
        query = "{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{__typename}}}}}"

        def loaded() -> bool:
            (entry,) = self.ui.ask(query)["workspaceOrError"]["locationEntries"]
            return entry["locationOrLoadError"]["__typename"] == "RepositoryLocation"

        wait_until(loaded)
        answer = self.ui.ask(
            """mutation($params: [ExecutionParams!]!) {launchMultipleRuns(executionParamsList: $params) {
                 ... on LaunchMultipleRunsResult {launchMultipleRunsResult {
                   __typename ... on LaunchRunSuccess {run {id}} ... on InvalidSubsetError {message}
                   ... on PythonError {message}}}
                 ... on PythonError {message}}}""",
            params=[
                {
                    "mode": "default",
                    "runConfigData": "{}\n",
                    "selector": {
                        **REPOSITORY,
                        "pipelineName": "__ASSET_JOB",
                        "assetSelection": [{"path": [table]} for table in tables],
                        "assetCheckSelection": [],
                    },
                    "executionMetadata": {
                        "tags": [
                            {"key": "dagster/partition/date", "value": DAY[:10]},
                            {"key": "dagster/partition/instrument", "value": DAY[11:]},
                            {"key": "dagster/partition", "value": DAY},
                        ]
                    },
                }
            ],
        )["launchMultipleRuns"]
        (launched,) = answer["launchMultipleRunsResult"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["id"])

    def held_run(self) -> str:
        """A run that is in the middle of a step."""
        (self.folder / "hold").touch()
        run = self.launch("tt_features")
        wait_until((self.folder / "held").exists)
        return run

    def let_go(self) -> None:
        (self.folder / "held").unlink(missing_ok=True)
        (self.folder / "hold").unlink(missing_ok=True)

    def status(self, run: str) -> str:
        return self.ui.ask("query($id: ID!) {runOrError(runId: $id) {... on Run {status}}}", id=run)["runOrError"][
            "status"
        ]

    def again(self, run: str) -> list[str]:
        """The runs that were made of `run` again."""
        rows = self.here.rows(
            f"SELECT run_id FROM run_tags WHERE key = 'dagster/parent_run_id' AND value = '{run}'", "dagster"
        )
        return [run_id for (run_id,) in rows]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "holding.py").write_text(HOLDING_FEATURE.format(folder=str(folder)))
    with machine(TT_FEATURE_MODULES="holding") as here:
        span = ("--from", "2012-10-01", "--to", "2012-11-30", "--instruments", "IBM")
        told = here.tt("backfill", "prices", *span, cwd=folder)
        assert told.returncode == 0, told.stderr
        yield Served(here, serve(here, free_port(), cwd=folder), folder)


@pytest.fixture(autouse=True)
def whole(served: Served) -> Iterator[None]:
    wait_until(served.is_whole)
    yield
    served.let_go()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_run_whose_code_server_is_killed_ends_and_is_made_again_once(served: Served) -> None:
    run = served.held_run()
    before, deaths = served.child(CODE_SERVER), len(served.deaths(CODE_SERVER))
    workers = psutil.Process(before["pid"]).children(recursive=True)
    kill(before["pid"])
    wait_until(lambda: len(served.deaths(CODE_SERVER)) > deaths)
    assert served.deaths(CODE_SERVER)[-1] == "killed by SIGKILL"
    psutil.wait_procs(workers, timeout=60)
    assert not any(worker.is_running() for worker in workers)
    wait_until(lambda: served.status(run) == "FAILURE")
    wait_until(lambda: len(served.again(run)) == 1)
    (again,) = served.again(run)
    wait_until(lambda: served.status(again) == "SUCCESS")
    wait_until(served.is_whole)
    assert served.child(CODE_SERVER)["pid"] != before["pid"]
    assert served.again(again) == []
    assert any(message.startswith("The code server died (killed by SIGKILL)") for message in served.alerts())
    unfinished = served.here.rows("SELECT run_id FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE')", "dagster")
    assert unfinished == []


def test_a_code_server_that_lost_the_process_with_the_code_is_replaced(served: Served) -> None:
    server = served.child(CODE_SERVER)["pid"]
    (holder,) = (process for process in psutil.Process(server).children() if "grpc" in process.cmdline())
    kill(holder.pid)
    wait_until(lambda: served.child(CODE_SERVER)["pid"] not in (None, server))
    wait_until(served.is_whole)
    run = served.launch("tt_features")
    wait_until(lambda: served.status(run) == "SUCCESS")


@pytest.mark.parametrize("name", [WEBSERVER, DAEMON])
def test_a_killed_process_is_back_and_the_others_never_left(served: Served, name: str) -> None:
    before = {child["name"]: child["pid"] for child in served.record()["children"]}
    kill(before[name])
    wait_until(lambda: served.child(name)["pid"] not in (None, before[name]))
    wait_until(served.is_whole)
    after = {child["name"]: child["pid"] for child in served.record()["children"]}
    assert {other for other in before if before[other] != after[other]} == {name}
    assert served.ui.ask("{version}")["version"]
    run = served.launch("tt_features")  # it takes the daemon to start one
    wait_until(lambda: served.status(run) == "SUCCESS")


def test_a_killed_postmaster_is_replaced_with_a_run_in_flight(served: Served) -> None:
    run = served.held_run()
    data = EmbeddedServer(served.here.home).data_dir
    before, deaths = running_postmaster(data), len(served.deaths(DATABASE))
    assert before is not None
    kill(before)
    wait_until(lambda: len(served.deaths(DATABASE)) > deaths)
    wait_until(lambda: running_postmaster(data) not in (None, before))
    wait_until(served.is_whole)
    served.let_go()

    def ended() -> bool:
        last = (served.again(run) or [run])[-1]
        return served.status(last) in ("SUCCESS", "FAILURE") and served.status(run) in ("SUCCESS", "FAILURE")

    wait_until(ended)
    assert served.status((served.again(run) or [run])[-1]) == "SUCCESS"
    assert any(message.startswith("The database died") for message in served.alerts())
    fresh = served.launch("tt_features")
    wait_until(lambda: served.status(fresh) == "SUCCESS")


def fork_server(served: Served) -> psutil.Process:
    """The process that the runs of the served code are forked from."""
    (found,) = (
        process
        for holder in psutil.Process(served.child(CODE_SERVER)["pid"]).children()
        for process in holder.children()
        if any("forkserver" in word for word in process.cmdline())
    )
    return found


def test_a_run_whose_own_process_is_killed_does_not_stay_in_progress(served: Served) -> None:
    run = served.held_run()
    (worker,) = fork_server(served).children()
    kill(worker.pid)
    wait_until(lambda: served.status(run) == "FAILURE")


def test_what_runs_are_forked_from_is_replaced_when_it_is_killed(served: Served) -> None:
    run = served.held_run()
    before = fork_server(served)
    (worker,) = before.children()
    kill(before.pid)
    # Nobody can tell any more how the run ends, so it does: it may not write beside the next one.
    worker.wait(10)
    assert (served.folder / "held").exists()
    wait_until(lambda: served.status(run) == "FAILURE")
    served.let_go()
    fresh = served.launch("tt_features")
    wait_until(lambda: served.status(fresh) == "SUCCESS")
    assert fork_server(served).pid != before.pid


def test_runs_are_made_of_what_was_reloaded_in_the_ui(served: Served) -> None:
    module = served.folder / "holding.py"
    module.write_text(module.read_text().replace("bars.close * 0", "bars.close * 0 + 7"))
    reload = "mutation($name: String!) {reloadRepositoryLocation(repositoryLocationName: $name) {__typename}}"
    served.ui.ask(reload, name=REPOSITORY["repositoryLocationName"])
    run = served.launch("tt_features")
    wait_until(lambda: served.status(run) == "SUCCESS")
    values = served.here.rows(
        "SELECT value FROM tt_features WHERE feature = 'held_up' AND instrument = 'IBM' AND timestamp = '2012-11-15'"
    )
    assert values == [(7.0,)]


def test_five_deaths_within_a_minute_end_it_with_one_line() -> None:
    with machine() as here:
        ui = serve(here, free_port())
        killed: set[int] = set()

        def over() -> bool:
            if ui.owner.poll() is not None:
                return True
            try:
                children = json.loads((here.home / "up.json").read_text())["children"]
            except (OSError, ValueError):
                return False
            pid = next(child["pid"] for child in children if child["name"] == DAEMON)
            if pid is not None and pid not in killed:
                killed.add(pid)
                kill(pid)
            return False

        wait_until(over, every=0.1)
        told, complaint = ui.owner.communicate()
        assert ui.owner.returncode == 2, told
        (line,) = complaint.splitlines()
        assert "died 5 times within 60 s, at last the daemon (killed by SIGKILL" in line
        assert ui.family() == []


def test_down_ends_everything_with_a_run_in_flight_and_leaves_none_unfinished(served: Served) -> None:
    run = served.held_run()
    family = served.ui.family()
    assert len(family) >= 5
    assert served.here.tt("down").returncode == 0
    served.ui.owner.communicate(timeout=60)
    assert served.ui.owner.returncode == 0
    assert not any(process.is_running() for process in family)
    assert not EmbeddedServer(served.here.home).is_running()
    served.here.tt("db", "start")
    assert served.here.rows(f"SELECT status FROM runs WHERE run_id = '{run}'", "dagster") == [("FAILURE",)]
    served.here.tt("db", "stop")
