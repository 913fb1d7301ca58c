"""Evaluations of single partitions: what the event log holds after a range run that failed in some of them."""

from collections.abc import Iterator

import dagster as dg
import pytest

from tt_assets.runs import _dagster
from tt_assets.runs.check_events import PartitionEvaluation, report_partitions

DAYS = [f"2012-01-{day:02d}" for day in range(1, 8)]
CHECK = dg.AssetCheckKey(dg.AssetKey("bars"), "whole")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run_of(instance: dg.DagsterInstance, *failing: str, looked_at: list[str] = DAYS) -> None:
    """One run that says of each partition in `looked_at` whether it is whole."""

    @dg.asset(name="bars", check_specs=[dg.AssetCheckSpec("whole", asset="bars")])
    def bars(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        found = [PartitionEvaluation("whole", day, passed=day not in failing) for day in looked_at]
        report_partitions(context.instance, context.run, "bars", found)
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=not failing)])

    assert dg.materialize([bars], instance=instance).success


def said(instance: dg.DagsterInstance) -> list[tuple[str, bool]]:
    """(partition, passed) of every event about one partition, oldest first."""
    records = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=1000)
    found = [record.event.dagster_event.asset_check_evaluation_data for record in reversed(records)]
    return [(evaluation.partition, evaluation.passed) for evaluation in found if evaluation.partition]


def latest(instance: dg.DagsterInstance) -> dict[str, str]:
    """Partition → what Dagster holds to be its status."""
    known = instance.event_log_storage.get_asset_check_partition_info([CHECK])
    return {info.partition_key: info.latest_execution_status.value for info in known if info.partition_key}


def test_a_partition_that_always_held_has_no_event(instance):
    run_of(instance)
    run_of(instance, DAYS[2])
    assert said(instance) == [(DAYS[2], False)]


def test_a_partition_that_holds_again_passes_once(instance):
    run_of(instance, DAYS[1], DAYS[2])
    for _ in range(2):
        run_of(instance)
    assert sorted(said(instance)) == [(day, passed) for day in DAYS[1:3] for passed in (False, True)]
    assert latest(instance) == {DAYS[1]: "SUCCEEDED", DAYS[2]: "SUCCEEDED"}


def test_a_failure_that_was_not_looked_at_again_stays(instance):
    run_of(instance, DAYS[0], DAYS[5])
    run_of(instance, looked_at=DAYS[:3])
    assert latest(instance) == {DAYS[0]: "SUCCEEDED", DAYS[5]: "FAILED"}


def test_a_partition_that_fails_twice_says_so_twice_and_passes_after_that(instance):
    for failing in ([DAYS[0]], [DAYS[0]], []):
        run_of(instance, *failing)
    assert said(instance) == [(DAYS[0], False), (DAYS[0], False), (DAYS[0], True)]


def test_the_last_word_of_a_run_that_mends_and_breaks_is_the_failure(instance):
    run_of(instance, DAYS[0])
    run_of(instance, DAYS[6])
    assert said(instance)[-1] == (DAYS[6], False)
    assert latest(instance) == {DAYS[0]: "SUCCEEDED", DAYS[6]: "FAILED"}


def test_more_partitions_than_are_asked_for_at_once(instance, monkeypatch):
    monkeypatch.setattr(_dagster, "ASKED_AT_ONCE", 2)
    run_of(instance, *DAYS)
    run_of(instance)
    assert set(latest(instance).values()) == {"SUCCEEDED"}
    assert len(said(instance)) == 2 * len(DAYS)
