"""The jobs of the code location, for commands that run them in this process."""

from __future__ import annotations

import dagster as dg


def job_named(name: str) -> dg.JobDefinition:
    """The job `name` of the definitions."""
    from tt_assets.definitions import defs

    return defs.resolve_job_def(name)
