"""`tt doctor`: what of the platform is there, what is missing and what died, each with its remedy."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tt_assets import __version__
from tt_assets.commands.database import describe
from tt_assets.errors import UserError
from tt_assets.grid.bars_files import watchlist_of
from tt_assets.runtime.up_record import read
from tt_assets.settings import Settings, database_of

PACKAGES = ("dagster", "dagster-webserver", "dagster-postgres", "psycopg", "torch", "tensortrade", "ib_insync")
LEAST_FREE = 2 * 1024**3
"""Bytes; a fresh home with its server needs about one GB."""


def examine(settings: Settings) -> dict[str, Any]:
    """Everything `tt doctor` says: versions, database, home, free disk, served processes, last deaths, what is wrong.

    Starts and changes nothing. `wrong` is a list of lines that each end with a remedy; empty where all is well.
    """
    database = describe(settings)
    wrong = (
        [] if database["ready"] else [str(database.get("reason", "The database is not ready: run `tt db upgrade`."))]
    )
    if database["ready"]:
        wrong += _complaint(lambda: database_of(settings).check_dagster())
    wrong += _complaint(lambda: watchlist_of(settings))
    if settings.home.exists() and not os.access(settings.home, os.W_OK):
        wrong.append(f"{settings.home} cannot be written: make it writable, or set TT_HOME to another folder.")
    free = _free(settings.home)
    if free is not None and free < LEAST_FREE:
        wrong.append(f"Only {free / 1024**3:.1f} GB are free under {settings.home}: free some, or move TT_HOME.")
    versions = {name: _version(name) for name in PACKAGES}
    wrong += [
        f"The package {name} is missing: run pip install {name}." for name, found in versions.items() if not found
    ]
    record = read(settings)
    running = record is not None and record.process() is not None
    if record is not None and not running:
        wrong.append(f"tt up (process {record.pid}) was killed: `tt down` clears up after it, `tt up` serves again.")
    if record is not None and running:
        wrong += [
            f"The {child.name} of tt up is {child.state} since {child.since}: see {settings.home / 'logs'}."
            for child in record.children
            if child.state != "up"
        ]
    return {
        "tt_assets": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": versions,
        "home": str(settings.home),
        "free_gb": None if free is None else round(free / 1024**3, 1),
        "database": database,
        "up": record.url if record is not None and running else None,
        "children": [asdict(child) for child in record.children] if record is not None and running else [],
        "deaths": [asdict(death) for death in record.deaths] if record is not None else [],
        "wrong": wrong,
    }


def rows(found: dict[str, Any]) -> dict[str, Any]:
    """What `examine` found, a line for each thing, as a person reads it."""
    database = found["database"]
    children = [f"{child['name']} {child['state']} since {child['since']}" for child in found["children"]]
    deaths = [f"{death['at']} {death['name']} ({death['why']})" for death in found["deaths"][-5:]]
    return {
        "tt_assets": f"{found['tt_assets']}, Python {found['python']}, {found['system']}",
        "packages": ", ".join(f"{name} {number or 'missing'}" for name, number in found["packages"].items()),
        "home": f"{found['home']} ({found['free_gb']} GB free)",
        "database": f"{database['server']} {database['url']}",
        "PostgreSQL": database["version"] or "does not answer",
        "schema": f"{database['revision'] or 'none'} (newest {database['newest_revision']})",
        "tt up": found["up"] or "does not run",
        "processes": "\n".join(children) or "none",
        "last deaths": "\n".join(deaths) or "none",
        "wrong": "\n".join(found["wrong"]) or "nothing",
    }


def _complaint(look: Any) -> list[str]:
    try:
        look()
    except UserError as error:
        return [str(error)]
    return []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _free(home: Path) -> int | None:
    """Bytes that are free where `home` is, or would be made."""
    there = next((folder for folder in (home, *home.parents) if folder.is_dir()), None)
    return None if there is None else shutil.disk_usage(there).free
