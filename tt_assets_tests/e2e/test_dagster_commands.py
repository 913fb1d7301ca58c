"""Dagster's own commands in a checkout, for whoever knows Dagster and not `tt`: no variable set, `tt` never run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.settings import checkout
from tt_assets_tests.e2e.command_line import GENEROUS, free_port, wait_until

pytestmark = pytest.mark.slow

PROGRAMS = Path(sys.executable).parent
OF_THE_CHECKOUT = ("dagster.yaml", "workspace.yaml", "pyproject.toml", "setup.py", "README.md")


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """A checkout as it is cloned. Its server is stopped and it is removed afterwards."""
    top = checkout()
    assert top is not None
    folder = Path(tempfile.mkdtemp(prefix="tt-checkout-"))
    folder.chmod(0o755)  # the server's account has to reach the home in it
    for name in OF_THE_CHECKOUT:
        shutil.copyfile(top / name, folder / name)
    shutil.copytree(top / "tt_assets", folder / "tt_assets", ignore=shutil.ignore_patterns("__pycache__"))
    try:
        yield folder
    finally:
        EmbeddedServer(folder / ".tt").stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _environment(source: Path, **variables: str) -> dict[str, str]:
    """No variable of ours or Dagster's. PYTHONPATH stands for an installation of this checkout and no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TT_", "DAGSTER_"))}
    return {**kept, "PYTHONPATH": str(source), **variables}


def _run(source: Path, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=source,
        env=_environment(source, **variables),
        capture_output=True,
        text=True,
        timeout=GENEROUS,
        check=False,
    )


def _status(source: Path, table: str) -> dict[str, object]:
    told = _run(source, "tt", "status", "--json")
    assert told.returncode == 0, told.stderr
    return next(line for line in json.loads(told.stdout) if line["table"] == table)


def test_one_partition_is_materialized_in_a_checkout_that_was_never_used(source: Path) -> None:
    told = _run(
        source,
        "dagster",
        *("asset", "materialize", "-m", "tt_assets.definitions"),
        *("--select", "tt_prices", "--partition", "2012-05-18|AAPL"),
    )
    assert told.returncode == 0, told.stderr[-3000:]
    line = _status(source, "tt_prices")
    assert (line["rows"], line["first"], line["materialized"], line["failed"]) == (1, "2012-05-18", 1, 0)


def test_the_definitions_validate_against_the_workspace_file(source: Path) -> None:
    told = _run(source, "dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert told.returncode == 0, told.stderr[-3000:]
    assert "All code locations passed validation" in told.stdout + told.stderr
    assert "DAGSTER_HOME is" not in told.stdout + told.stderr


def test_dg_lists_the_definitions(source: Path) -> None:
    told = _run(source, "dg", "list", "defs", "--json")
    assert told.returncode == 0, told.stderr[-3000:]
    listed = told.stdout[told.stdout.index("{") :] if "{" in told.stdout else told.stdout
    assert {"tt_prices", "tt_policy", "tt_equity_curve", "report"} <= {
        asset["asset_key"] for asset in json.loads(listed)["assets"]
    }


def test_dagster_dev_serves_the_instance_of_tt_and_launches_runs_on_it(source: Path) -> None:
    port = free_port()
    log = source / "dev.log"
    with log.open("w") as sink:
        dev = subprocess.Popen(
            [PROGRAMS / "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)],
            cwd=source,
            env=_environment(source, TT_AUTOMATION="false"),  # the sensors would load everything
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: dev.poll() is not None or _answers(port))
        assert dev.poll() is None, log.read_text()[-3000:]
        before = _ask(port, "{runsOrError{... on Runs{results{status assetSelection{path}}}}}")["runsOrError"]
        assert {"status": "SUCCESS", "assetSelection": [{"path": ["tt_prices"]}]} in before["results"]
        job = next(
            name
            for node in _ask(port, "{assetNodes{assetKey{path} jobNames}}")["assetNodes"]
            if node["assetKey"]["path"] == ["tt_prices"]
            for name in node["jobNames"]
            if name.startswith("__ASSET_JOB")
        )
        launched = _ask(port, LAUNCH, params=_of_one_partition(job, "2012-05-21", "AAPL"))["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = launched["run"]["id"]
        wait_until(lambda: _status_of(port, run) in {"SUCCESS", "FAILURE", "CANCELED"})
        assert _status_of(port, run) == "SUCCESS", log.read_text()[-3000:]
        assert _status(source, "tt_prices")["rows"] == 2
        # Nothing that a process list shows has a secret or an address in it.
        assert "postgresql" not in log.read_text().lower() or "@" not in log.read_text()
    finally:
        dev.send_signal(signal.SIGTERM)
        dev.wait(timeout=GENEROUS)


def test_another_dagster_home_is_answered_with_one_line(source: Path, tmp_path: Path) -> None:
    told = _run(source, "dagster", "definitions", "validate", "-w", "workspace.yaml", DAGSTER_HOME=str(tmp_path))
    (line,) = [line for line in (told.stdout + told.stderr).splitlines() if "not that of tt" in line]
    assert f"DAGSTER_HOME is {tmp_path}" in line
    assert 'eval "$(tt env)"' in line


def test_what_tt_env_prints_makes_dagster_find_the_instance_from_any_folder(source: Path, tmp_path: Path) -> None:
    command = (
        f'eval "$({PROGRAMS / "tt"} env)" && cd {tmp_path} && '
        f"{PROGRAMS / 'dagster'} asset materialize -m tt_assets.definitions --select tt_prices "
        "--partition '2012-05-22|AAPL'"
    )
    told = subprocess.run(
        ["bash", "-c", command],
        cwd=source,
        env=_environment(source),
        capture_output=True,
        text=True,
        timeout=GENEROUS,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    stored = _run(source, "tt", "status", "--partitions", "--json", "--from", "2012-05-22", "--to", "2012-05-22")
    assert {(cell["instrument"], cell["state"]) for cell in json.loads(stored.stdout)} >= {("AAPL", "materialized")}


LAUNCH = """mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess {run {id}} ... on PythonError {message}
  }
}"""


def _of_one_partition(job: str, day: str, instrument: str) -> dict[str, object]:
    return {
        "mode": "default",
        "runConfigData": "{}",
        "selector": {
            "repositoryName": "__repository__",
            "repositoryLocationName": "tt_assets.definitions",
            "pipelineName": job,
            "assetSelection": [{"path": ["tt_prices"]}],
            "assetCheckSelection": [],
        },
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": f"{day}|{instrument}"}]},
    }


def _answers(port: int) -> bool:
    try:
        nodes = _ask(port, "{assetNodes{assetKey{path}}}")["assetNodes"]
    except (urllib.error.URLError, OSError, AssertionError):
        return False
    return bool(nodes)


def _ask(port: int, query: str, **variables: object) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer["errors"]
    return dict(answer["data"])


def _status_of(port: int, run: str) -> str:
    return str(_ask(port, f'{{runOrError(runId: "{run}"){{... on Run{{status}}}}}}')["runOrError"]["status"])
