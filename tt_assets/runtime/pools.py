"""Dagster's pools as commands meet them: slots that nobody gives back, and slots that somebody holds.

A command never waits for a pool. In this process Dagster would wait at full speed, deaf to Ctrl-C, so
what is held is said and the person decides.
"""

from __future__ import annotations

import dagster as dg

from tt_assets.errors import UserError


def free_slots_of_ended_runs(instance: dg.DagsterInstance) -> list[str]:
    """Give back the slots of runs that have ended; returns these runs' ids.

    An interrupted run ends without it, and only the daemon, which need not run, would do it after some minutes.
    """
    storage = instance.event_log_storage
    freed = []
    for limit in storage.get_pool_limits():
        pool = storage.get_concurrency_info(limit.name)
        for run_id in sorted(pool.active_run_ids | pool.assigned_run_ids | pool.pending_run_ids):
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
                freed.append(run_id)
    return freed


def refuse_held(instance: dg.DagsterInstance, name: str) -> None:
    """Raise `UserError` where every slot of the pool `name` is held by runs that go on."""
    pool = instance.event_log_storage.get_concurrency_info(name)
    holders = sorted(pool.active_run_ids)
    if pool.slot_count and len(pool.claimed_slots) >= pool.slot_count:
        raise UserError(
            f"The pool {name!r} is held by run {', '.join(run_id[:8] for run_id in holders)}; wait for its end "
            "(`tt status` shows what has landed), or terminate it in the UI."
        )
