"""Dagster's runs as jobs of Ray. `dagster.yaml` names it where TT_RUN_LAUNCHER=ray; only that imports it."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress

import dagster as dg
from dagster_ray import RayRunLauncher

PATIENCE, PAUSE = 120.0, 5.0
"""Seconds for a head that is being started, and between two tries: an error here would end the run."""
NOBODY_YET = "No available agent"
"""What a head says that takes jobs and has no process to start them with yet."""


class RayLauncher(RayRunLauncher):
    """As dagster-ray's, with commands that a shell reads as they were meant, and patience with a head that starts."""

    def _launch_ray_job(self, submission_id: str, entrypoint: str, run: dg.DagsterRun) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                super()._launch_ray_job(submission_id, quoted(entrypoint), run)
                return
            except (ConnectionError, RuntimeError) as error:
                waits = isinstance(error, ConnectionError) or NOBODY_YET in str(error)
                if not waits or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE)


def quoted(command: str) -> str:
    """`command`, whose last word is the JSON of a run, with that quoted for a shell.

    dagster-ray 0.4.8 puts the JSON between two single quotes and leaves those within as they are, and an instance file
    whose classes have no configuration has some. A command that a shell reads well is left alone.
    """
    head, _, inside = command.partition(" '")
    inside = inside.removesuffix("'")
    with suppress(ValueError):
        words = shlex.split(command)
        if len(words) == len(head.split()) + 1 and ("'" in words[-1]) is ("'" in inside):
            return command
    return f"{head} {shlex.quote(inside)}"
