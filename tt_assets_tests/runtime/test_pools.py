"""Slots of Dagster's pools: given back by runs that have ended, respected where a run goes on."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from tt_assets.errors import UserError
from tt_assets.runtime.pools import free_slots_of_ended_runs, refuse_held


@dg.job
def empty() -> None:
    """Nothing; its runs only hold slots here."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as fresh:
        fresh.event_log_storage.set_concurrency_slots("training", 1)
        yield fresh


def _holding(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> str:
    run = instance.create_run_for_job(empty, status=status)
    claim = instance.event_log_storage.claim_concurrency_slot("training", run.run_id, "tt_policy")
    assert claim.is_claimed
    return run.run_id


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_run_that_ended_holds_no_slot(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    ended = _holding(instance, status)
    with pytest.raises(UserError):
        refuse_held(instance, "training")
    assert free_slots_of_ended_runs(instance) == [ended]
    refuse_held(instance, "training")
    assert free_slots_of_ended_runs(instance) == []


def test_the_slot_of_a_run_that_goes_on_is_respected_and_named(instance: dg.DagsterInstance) -> None:
    running = _holding(instance, dg.DagsterRunStatus.STARTED)
    assert free_slots_of_ended_runs(instance) == []
    with pytest.raises(UserError, match=rf"'training' is held by run {running[:8]}"):
        refuse_held(instance, "training")


def test_a_run_that_ended_while_it_waited_gives_up_its_place(instance: dg.DagsterInstance) -> None:
    running = _holding(instance, dg.DagsterRunStatus.STARTED)
    waiting = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.FAILURE)
    assert not instance.event_log_storage.claim_concurrency_slot("training", waiting.run_id, "tt_policy").is_claimed
    assert free_slots_of_ended_runs(instance) == [waiting.run_id]
    assert instance.event_log_storage.get_concurrency_info("training").active_run_ids == {running}


def test_a_pool_without_a_limit_is_never_held(instance: dg.DagsterInstance) -> None:
    refuse_held(instance, "nobody has heard of it")
