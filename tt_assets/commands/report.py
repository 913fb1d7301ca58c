"""`tt report`: judge agents against the baselines and write the report of each traded key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from tt_assets.commands.backfill import progress_bar
from tt_assets.runs.bulk import Outcome, run_partition
from tt_assets.runtime.jobs_in_process import job_named
from tt_assets.runtime.platform import Platform


@dataclass(frozen=True)
class Written:
    """A report that was written: of what is traded, its HTML file, and its verdict in words."""

    traded: str
    path: Path
    verdict: str


def write_reports(
    platform: Platform, instance: dg.DagsterInstance, traded: Sequence[str]
) -> tuple[Outcome, list[Written]]:
    """Materialize `report` for every key of `traded`; the outcome and what was written."""
    from tt_assets.assets.report import report_file
    from tt_assets.automation import REPORT_JOB

    outcome = Outcome()
    written = []
    with progress_bar(len(traded), ["report"]) as on_event:
        for name in traded:
            part = run_partition(instance, job_named(platform.settings, REPORT_JOB), ["report"], name, on_event)
            outcome.add(part)
            if part.ok:
                file = report_file(platform.settings.shown, name)
                written.append(Written(name, file, _verdict(instance, name)))
    return outcome, written


def _verdict(instance: dg.DagsterInstance, name: str) -> str:
    """The verdict of the report as the asset's page shows it."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("report"), asset_partitions=[name])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        said = record.asset_materialization.metadata.get("verdict") if record.asset_materialization else None
        return str(said.value) if said else ""
    return ""


def reportable(platform: Platform) -> list[str]:
    """The traded keys with a finished episode of an agent, in the order of the watchlist."""
    with platform.database.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT instrument FROM tt_episode WHERE end_time IS NOT NULL AND strategy = 'agent'"
        ).fetchall()
    rolled = {name for (name,) in rows}
    return [name for name in platform.watchlist.traded if name in rolled]
