"""Reasons of failed partitions, as a failed step hands them on."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from tt_assets.grid.rectangles import Rectangle
from tt_assets.runs.failures import failure_reasons
from tt_assets.runs.io_managers import NAMED, PartitionsFailed
from tt_assets.runs.queued import Piece, outcome_of
from tt_assets_tests.dagster_runs import say_error, say_process


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


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def begun(instance: dg.DagsterInstance) -> dg.DagsterRun:
    @dg.job
    def empty() -> None:
        """Nothing."""

    return instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTING)


def told_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """What a person who asked the queue for the run is told of it, after its stored events."""
    failed = instance.get_run_by_id(run.run_id)
    assert failed is not None
    whole = Piece(("tt_prices",), Rectangle("2012-05-24", "2012-05-25", ("A",), 2))
    (error,) = outcome_of(instance, failed, whole).errors
    return error.removeprefix(f"run {run.run_id}: ")


def test_a_run_that_somebody_else_ended_says_what_they_said(instance: dg.DagsterInstance) -> None:
    run = begun(instance)
    say_process(instance, run, 1)
    instance.report_run_failed(run, "its machine is gone")
    assert told_of(instance, run) == "its machine is gone"


def test_a_run_whose_process_was_killed_says_that_it_ended_in_the_middle(instance: dg.DagsterInstance) -> None:
    run = begun(instance)
    # The queue could not reach the code server at first; the process was started after that.
    say_error(instance, run, "dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach it")
    say_process(instance, run, 1)
    instance.report_run_failed(run)
    assert told_of(instance, run).startswith("its process ended in the middle without a word (killed, or the memory")


def test_a_run_that_could_not_be_launched_says_why_in_one_line(instance: dg.DagsterInstance) -> None:
    run = begun(instance)
    say_error(
        instance,
        run,
        "dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach user code server. gRPC Error code: X\n",
        "grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:\n\tstatus = X\n>\n",
    )
    instance.report_run_failed(run)
    assert told_of(instance, run) == "it never began: Could not reach user code server. gRPC Error code: X"


def test_a_run_whose_definitions_cannot_be_loaded_says_what_was_raised_first(instance: dg.DagsterInstance) -> None:
    run = begun(instance)
    say_process(instance, run, 1)
    say_error(
        instance,
        run,
        "dagster._core.errors.DagsterUserCodeLoadError: Error occurred during the loading of a definition\n",
        "tt_assets.errors.UserError: my_features.py has no feature.\n",
    )
    instance.report_run_failed(run)
    assert told_of(instance, run) == "my_features.py has no feature."


def test_a_run_that_never_began_and_nobody_knows_why_does_not_claim_that_it_was_killed(
    instance: dg.DagsterInstance,
) -> None:
    run = begun(instance)
    instance.report_run_failed(run)
    assert told_of(instance, run).startswith("it never began, and Dagster does not say why")
