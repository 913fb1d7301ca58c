import dataclasses
import subprocess
import sys

import psutil
import pytest

from tt_assets.trading.agents import batch
from tt_assets.trading.agents.batch import TrainingJob, train_many
from tt_assets.trading.errors import ConfigError, NotEnoughHistory
from tt_assets_tests.e2e.command_line import wait_until


@pytest.fixture
def jobs(training_panel, panel_of, small_config) -> list[TrainingJob]:
    return [
        TrainingJob("first", training_panel, small_config, 1),
        TrainingJob("too short", panel_of("2012-01-03", "2012-02-01"), small_config, 1),
        TrainingJob("unknown", training_panel, small_config.replace(action_scheme="x"), 1),
        TrainingJob("last", training_panel, small_config, 2),
    ]


def check(results, small_policy):
    assert [result.name for result in results] == ["first", "too short", "unknown", "last"]
    assert results[0].policy.sha256 == small_policy.sha256
    assert results[3].policy.sha256 != small_policy.sha256
    for result, kind in ((results[1], NotEnoughHistory), (results[2], ConfigError)):
        assert result.policy is None
        assert isinstance(result.error, kind)
        assert result.traceback == ""


@pytest.mark.slow
def test_trainings_in_other_processes_give_the_same_bits_in_the_order_of_the_jobs(jobs, small_policy):
    seen = []
    results = train_many(jobs, workers=2, report=lambda *step: seen.append(step))
    check(results, small_policy)
    assert [(done, total) for done, total, _ in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {name for *_, name in seen} == {job.name for job in jobs}


def test_one_worker_trains_in_this_process(jobs, small_policy, monkeypatch):
    monkeypatch.setattr(batch, "ProcessPoolExecutor", None)
    check(train_many(jobs, workers=1), small_policy)


def test_no_jobs_give_no_results():
    assert train_many([], workers=2) == []


def test_a_defect_in_one_training_is_a_result_with_its_traceback(training_panel, small_config):
    panel = dataclasses.replace(training_panel)
    object.__setattr__(panel, "close", None)
    (result,) = train_many([TrainingJob("broken", panel, small_config, 0)], workers=1)
    assert result.policy is None
    assert "Traceback" in result.traceback


class _Fatal(int):
    """A seed that ends the process that unpickles it."""

    def __reduce__(self):
        import os

        return os._exit, (9,)


def test_a_worker_that_dies_is_an_error_of_its_jobs_and_not_of_the_batch(training_panel, small_config):
    jobs = [TrainingJob(name, training_panel, small_config, _Fatal(1)) for name in ("one", "two")]
    results = train_many(jobs, workers=2)
    assert [result.name for result in results] == ["one", "two"]
    assert all(result.policy is None and result.error is not None for result in results)


WAITING = """
import os, time
from tt_assets.trading.agents.batch import training_pool
if __name__ == "__main__":
    with training_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def test_a_training_that_is_killed_takes_its_processes_with_it():
    asking = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    try:
        worker = psutil.Process(int(asking.stdout.readline()))
        assert worker.is_running()
    finally:
        asking.kill()
        asking.wait()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
