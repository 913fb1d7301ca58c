"""`tt db prune`: what of Dagster's history nothing shows any more, out of its database and off the disk.

Each step stands for itself and is looked up anew, so one that was interrupted is simply done by the next call: events
before their run, and files before the row that leads to them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

import dagster as dg

from tt_assets.assets.pictures import FOLDER as PICTURES
from tt_assets.postgres.database import Database
from tt_assets.runs.superseded import (
    Removed,
    referenced_pictures,
    remove_events,
    remove_superseded,
    unneeded_runs,
)

FAILURES_LOOKED_AT = 50
"""The latest runs that failed or were canceled explain what is missing (`tt status --partitions`), so they stay."""


@dataclass(frozen=True)
class Pruned:
    """What was removed: of the database, runs among it, and of the disk."""

    removed: Removed = field(default_factory=Removed)
    runs: int = 0
    files: int = 0
    bytes_of_files: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            self.removed + other.removed,
            self.runs + other.runs,
            self.files + other.files,
            self.bytes_of_files + other.bytes_of_files,
        )


def prune(
    instance: dg.DagsterInstance, database: Database, logs: Path, home: Path, before: datetime
) -> Iterator[Pruned]:
    """Remove runs, events and files that ended before a moment and that no page, status or ledger needs.

    Parameters
    ----------
    instance : the platform's.
    database : the tables'; Dagster's is found from it.
    logs : folder of what steps print, and of pictures.
    home : folder of Dagster's other files, with `storage` in it.
    before : aware.

    Yields
    ------
    What was removed since the last time; it is gone for good by then, and whoever stops here leaves everything whole.
    """
    storage = database.dagster()
    for removed, _ in remove_superseded(storage, before):
        yield Pruned(removed)
    for run_id in unneeded_runs(storage, before, looked_at=FAILURES_LOOKED_AT):
        for removed in remove_events(storage, run_id):
            yield Pruned(removed)
        files = _removed(logs / run_id) + _removed(home / "storage" / run_id)
        instance.delete_run(run_id)
        yield Pruned(runs=1) + files
    yield from _outputs(instance, logs, before)
    yield _pictures(storage, logs / PICTURES, before)


def _outputs(instance: dg.DagsterInstance, logs: Path, before: datetime) -> Iterator[Pruned]:
    """What the steps of old runs printed, be it of runs that stay: their events of it are gone."""
    for folder in list(logs.iterdir()) if logs.is_dir() else []:
        # Others are the pictures, and what ticks of sensors printed.
        if _is_run_id(folder.name) and folder.is_dir() and _is_older(folder, before):
            run = instance.get_run_by_id(folder.name)
            if run is None or run.is_finished:
                yield _removed(folder)


def _pictures(storage: Database, folder: Path, before: datetime) -> Pruned:
    """Pictures drawn before a moment that no event shows any more."""
    old = {file.stem: file for file in folder.glob("*.png") if _is_older(file, before)}
    shown = referenced_pictures(storage, list(old)) if old else set()
    pruned = Pruned()
    for name, file in old.items():
        if name not in shown and _is_older(file, before):  # else it was drawn again meanwhile
            size = file.stat().st_size
            file.unlink(missing_ok=True)
            pruned += Pruned(files=1, bytes_of_files=size)
    return pruned


def _is_run_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _is_older(file: Path, before: datetime) -> bool:
    return file.stat().st_mtime < before.timestamp()


def _removed(folder: Path) -> Pruned:
    if not folder.is_dir() or folder.is_symlink():
        return Pruned()
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    shutil.rmtree(folder)
    return Pruned(files=len(sizes), bytes_of_files=sum(sizes))
