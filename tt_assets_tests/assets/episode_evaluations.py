"""What Dagster stored of the checks of episodes."""

from __future__ import annotations

import dagster as dg

from tt_assets.assets.episode_checks import STORED

CHECK_STEP = "tt_episode_checks"


def evaluations_of(instance: dg.DagsterInstance, name: str) -> list[tuple[str, dg.AssetCheckEvaluation]]:
    """Run id and evaluation of every time a check was evaluated, oldest first."""
    records = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("tt_episode"), name), limit=1000
    )
    found = []
    for record in reversed(records):
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found.append((record.run_id, event.asset_check_evaluation_data))
    return found


def verdicts_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dg.AssetCheckEvaluation]:
    """What each check said of a run as a whole."""
    return {
        name: found
        for name in STORED
        for of_run, found in evaluations_of(instance, name)
        if of_run == run_id and found.partition is None
    }


def failing_partitions(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """Check → the partition keys it was reported to fail for by name, oldest first."""
    found = {name: [e for _, e in evaluations_of(instance, name) if e.partition] for name in STORED}
    assert not any(evaluation.passed for of_check in found.values() for evaluation in of_check)
    return {name: [str(evaluation.partition) for evaluation in of_check] for name, of_check in found.items()}
