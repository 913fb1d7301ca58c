"""What the database's sessions of a run are called, for whoever looks at `pg_stat_activity` or waits for a lock."""

from __future__ import annotations

import os

import dagster as dg

NAME = "PGAPPNAME"
"""libpq's variable; every driver here is libpq, Dagster's own too."""
SERVED = "tt up"


def name_after_run(context: dg.InitResourceContext) -> None:
    """Call the sessions of this process `tt run` and the run's short id, where it was served for that run alone.

    A run in the process of a command keeps the command's name, which says more.
    """
    if os.environ.get(NAME, "").startswith(SERVED) and context.run is not None:
        os.environ[NAME] = f"tt run {context.run.run_id[:8]}"
