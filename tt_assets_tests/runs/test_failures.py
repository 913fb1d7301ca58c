"""Reasons of failed partitions, as a failed step hands them on."""

from __future__ import annotations

import dagster as dg
import pytest

from tt_assets.runs.failures import failure_of_run, failure_reasons
from tt_assets.runs.io_managers import NAMED, PartitionsFailed


@pytest.mark.parametrize("count", [3, NAMED, 2 * NAMED + 500])
def test_every_failed_partition_is_handed_on_with_its_reason_however_many_there_are(count: int) -> None:
    failed = {f"{number:06d}|A": f"reason {number % 7}" for number in range(count)}

    @dg.op
    def fails() -> None:
        raise PartitionsFailed(failed, "many failed")

    @dg.job(executor_def=dg.in_process_executor)
    def one() -> None:
        fails()

    result = one.execute_in_process(raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure_reasons(failure) == (failed, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [("its machine is gone", "its machine is gone"), (None, "its process ended in the middle without")],
)
def test_a_run_that_somebody_else_ended_says_what_they_said(words: str | None, told: str) -> None:
    @dg.job
    def empty() -> None:
        """Nothing."""

    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(run, words)
        (entry,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert failure_of_run(entry.dagster_event).startswith(told)
