"""The jobs of the code location, for commands that run them in this process."""

from __future__ import annotations

import dagster as dg

from tt_assets.settings import Settings


def job_named(settings: Settings, name: str) -> dg.JobDefinition:
    """The job `name` of the definitions that `settings` make."""
    from tt_assets.definitions import definitions

    return definitions(settings).resolve_job_def(name)
