"""Runs as jobs of Ray: a shell reads their commands as they were meant, a head that starts is waited for, and a run
that waits for others leaves them its processor.
"""

from __future__ import annotations

import inspect
import json
import shlex
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from tt_assets_tests.conftest import need_cluster

need_cluster("dagster_ray")

from dagster_ray import RayRunLauncher  # noqa: E402

from tt_assets.grid.run_tags import WAITS  # noqa: E402
from tt_assets.runtime import ray_launcher  # noqa: E402
from tt_assets.runtime.instance_file import A_RUN  # noqa: E402
from tt_assets.runtime.ray_launcher import RayLauncher, quoted  # noqa: E402

SAID = {"config_yaml": "class_name: Storage\nconfig_yaml: '{}\n\n  '\n", "dollar": "$HOME `id`"}
AS_DAGSTER_RAY = "dagster api execute_run '" + json.dumps(SAID) + "'"


def test_a_shell_reads_the_run_as_it_was_written() -> None:
    words = shlex.split(quoted(AS_DAGSTER_RAY))
    assert words[:3] == ["dagster", "api", "execute_run"]
    assert json.loads(words[3]) == SAID


@pytest.mark.parametrize(
    "well",
    [
        "dagster api execute_run '" + json.dumps({"a": "plain words"}) + "'",
        "dagster api execute_run " + shlex.quote(json.dumps(SAID)),
    ],
)
def test_a_command_that_is_right_stays_as_it_is(well: str) -> None:
    assert shlex.split(quoted(well)) == shlex.split(well)


def test_dagster_ray_still_needs_it() -> None:
    """The day it quotes by itself, `quoted` can go."""
    assert """args[-1] = "'" + args[-1] + "'\"""" in inspect.getsource(RayRunLauncher.launch_run)
    assert "shlex" not in inspect.getsource(inspect.getmodule(RayRunLauncher))  # type: ignore[arg-type]


class Head:
    """Stands in for the head of Ray: out of reach, then without an agent, then taking jobs."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles, self.taken = list(troubles), []

    def submit_job(self, **job: Any) -> None:
        """Take a job, or say why not."""
        if self.troubles:
            raise self.troubles.pop(0)
        self.taken.append(job)


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Launch a run at a head."""
    monkeypatch.setattr(ray_launcher, "PAUSE", 0.0)

    @dg.job
    def empty() -> None:
        """Nothing."""

    def launched(head: Head, **tags: str) -> None:
        from tt_assets.runs._dagster import code_origin, job_origin, submit

        queue = {"module": "tt_assets.runtime.dagster_instance", "class": "Queue"}
        with dg.instance_for_test(overrides={"run_coordinator": queue}) as instance:
            launcher = RayLauncher("http://head:8265", env_vars=["TT_WORKER=true"], num_cpus=A_RUN)
            launcher.register_instance(instance)
            launcher.__dict__["client"] = head
            run = instance.create_run_for_job(
                empty, remote_job_origin=job_origin("empty"), job_code_origin=code_origin("empty"), tags=tags
            )
            submit(instance, run.run_id)
            launcher.launch_run(SimpleNamespace(dagster_run=instance.get_run_by_id(run.run_id)))

    return launched


def test_a_head_that_is_being_started_is_waited_for(launch: Any) -> None:
    head = Head(ConnectionError("refused"), RuntimeError("status code 500: No available agent to submit job, ..."))
    launch(head)
    (job,) = head.taken
    assert job["runtime_env"]["env_vars"]["TT_WORKER"] == "true"
    assert shlex.split(job["entrypoint"])[:3] == ["dagster", "api", "execute_run"]


def test_a_refusal_of_the_head_ends_the_run_at_once(launch: Any) -> None:
    with pytest.raises(RuntimeError, match="already exists"):
        launch(Head(RuntimeError("Job with submission_id x already exists.")))


def test_patience_has_an_end(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_launcher, "PATIENCE", 0.0)
    with pytest.raises(ConnectionError):
        launch(Head(*[ConnectionError("refused")] * 1000))


def test_a_run_that_waits_and_one_that_works_share_a_processor(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TT_DATABASE_URL", "postgresql://me@db.example/tt")
    monkeypatch.setenv("TT_RUN_LAUNCHER", "ray")
    head = Head()
    for tags in ({}, {WAITS: "yes"}):
        launch(head, **tags)
    works, waits = (job["entrypoint_num_cpus"] for job in head.taken)
    assert 0 < waits < 0.01  # with none at all it would be the head's to carry out
    assert works > 0.5  # no two that work
    # In Ray's own ten thousandths of a processor.
    assert round(works * 10_000) + round(waits * 10_000) <= 10_000
    launch(head, **{WAITS: "yes", "dagster-ray/config": '{"num_cpus": 0.5}'})
    assert head.taken[-1]["entrypoint_num_cpus"] == 0.5
