"""One partition from the UI's dialog: from the click to green, and its run alone.

`tt up` serves, and the same query goes to it that the dialog sends. Partitions of one instrument are made one after
another, each table behind the one that it reads.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say
from tt_assets_tests.benchmarks.home import BenchmarkFailed, names, session_list, temporary_home, write_market

CLICK_SECONDS, RUN_SECONDS = 5.0, 3.0
STORED = 250
"""Sessions that stand there before the first click: every feature has its look-back."""
ASKED_EVERY = 0.05
"""Seconds; the UI asks less often."""

JOBS = "{assetNodes{jobNames}}"
LAUNCH = """mutation($params: [ExecutionParams!]!) {
  launchMultipleRuns(executionParamsList: $params) {
    ... on LaunchMultipleRunsResult {launchMultipleRunsResult {... on LaunchRunSuccess {run {id}}}}
  }
}"""
STATE = "query($id: ID!) {runOrError(runId: $id) {... on Run {status startTime endTime}}}"


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    instruments: int = 3
    rounds: int = 10


def measure(scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Seconds from the click to green and from a run's start to its end, by table."""
    scale = scale or Scale()
    with temporary_home() as home:
        settings = write_market(home.folder, scale.instruments, STORED + scale.rounds) | {"TT_AUTOMATION": "false"}
        days = [f"{day:%Y-%m-%d}" for day in session_list(STORED + scale.rounds)]
        home.measure(["tt", "backfill", "market", "--to", days[STORED - 1]], settings)
        yield {"rounds": scale.rounds, "load": load()}
        say("serving")
        found: dict[str, list[tuple[float, float]]] = {table: [] for table in MARKET_TABLES}
        with home.serving(settings) as url:
            job = _job(url)
            for day in days[STORED:]:
                for table in MARKET_TABLES:
                    found[table].append(_clicked(url, job, table, day, names(1)[0]))
                    say(f"{table} of {day}: {found[table][-1][0]:.2f} s")
    for table, rounds in found.items():
        clicks, runs = zip(*rounds, strict=True)
        yield {"figure": f"{table}, click to green, seconds", **held_against(Aim.AT_MOST, CLICK_SECONDS, clicks, 2)}
        yield {"figure": f"{table}, the run alone, seconds", **held_against(Aim.AT_MOST, RUN_SECONDS, runs, 2)}
    yield {"load_after": load()}


def _job(url: str) -> str:
    """The job that the dialog of an asset starts; there once the code is loaded."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        jobs = {name for node in _asked(url, JOBS)["assetNodes"] for name in node["jobNames"]}
        if of_assets := [name for name in sorted(jobs) if name.startswith("__ASSET_JOB")]:
            return of_assets[0]
        time.sleep(0.3)
    raise BenchmarkFailed("`tt up` serves no assets after two minutes.")


def _clicked(url: str, job: str, table: str, day: str, instrument: str) -> tuple[float, float]:
    """Seconds until one partition is green, and of those its run's own. Raises BenchmarkFailed where it is not."""
    keys = {"dagster/partition": f"{day}|{instrument}", "dagster/partition/date": day}
    keys["dagster/partition/instrument"] = instrument
    params = {
        "mode": "default",
        "runConfigData": "{}\n",
        "selector": {
            "repositoryName": "__repository__",
            "repositoryLocationName": "tt_assets.definitions",
            "pipelineName": job,
            "assetSelection": [{"path": [table]}],
            "assetCheckSelection": [],
        },
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in keys.items()]},
    }
    began = time.perf_counter()
    (launched,) = _asked(url, LAUNCH, params=[params])["launchMultipleRuns"]["launchMultipleRunsResult"]
    while True:
        run = _asked(url, STATE, id=launched["run"]["id"])["runOrError"]
        if run["status"] == "SUCCESS":
            return time.perf_counter() - began, run["endTime"] - run["startTime"]
        if run["status"] in ("FAILURE", "CANCELED"):
            raise BenchmarkFailed(f"{table} of {day} and {instrument} ended as {run['status']}.")
        time.sleep(ASKED_EVERY)


def _asked(url: str, query: str, **variables: object) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        told = json.load(answer)
    if "errors" in told:
        raise BenchmarkFailed(f"The UI answered {told['errors'][0]['message']}")
    return told["data"]
