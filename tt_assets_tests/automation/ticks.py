"""Sensors ticking on an instance, and their requests carried out as the daemon would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import uuid4

import dagster as dg

from tt_assets_tests.dagster_runs import current_definitions, run_job


class Ticking:
    """One sensor over several ticks, under the settings of each: it keeps its cursor, as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance, name: str) -> None:
        self.instance = instance
        self.name = name
        self.cursor: str | None = None
        self.said: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        """The requests of the next tick."""
        repository = current_definitions().get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=repository,
            sensor_name=self.name,
        )
        answer = repository.get_sensor_def(self.name).evaluate_tick(context)
        self.cursor, self.said = answer.cursor, answer.skip_message
        return list(answer.run_requests)


def carry_out(instance: dg.DagsterInstance, requests: Iterable[dg.RunRequest]) -> list[str]:
    """Run the requests in this process; their run ids."""
    ids = []
    for request in requests:
        span = request.partition_key_range
        result = run_job(instance, [key.path[-1] for key in request.asset_selection], span.start, span.end)
        assert result.success
        ids.append(result.run_id)
    return ids


def recorded_run(
    instance: dg.DagsterInstance,
    job: str,
    tags: Mapping[str, str],
    status: dg.DagsterRunStatus,
    tables: Iterable[str] | None = None,
) -> dg.DagsterRun:
    """A run of `job` on record with `status`, nothing carried out and no event of it."""
    chosen = frozenset(dg.AssetKey(table) for table in tables) if tables else None
    run = dg.DagsterRun(job_name=job, run_id=str(uuid4()), status=status, tags=dict(tags), asset_selection=chosen)
    return instance.add_run(run)


def record(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """What the daemon puts on record for a request."""
    tables = [key.path[-1] for key in request.asset_selection]
    return recorded_run(instance, request.job_name, request.tags, status, tables)
