"""What the code server of `tt up` loads: the platform, and runs that begin warm where the system bears it."""

from __future__ import annotations

import multiprocessing
import sys

from tt_assets.definitions import definitions_of_bars, defs, settings
from tt_assets.runtime.children import CODE_PROCESS
from tt_assets.settings import RunLauncherName, Settings

__all__ = ["defs"]


def starts_runs(settings: Settings) -> bool:
    """Whether this is the process of the code server that starts a process for each run."""
    # Libraries of macOS do not bear a fork, and Windows has none. A run has the command line of what started it.
    return (
        tuple(sys.argv[1:3]) == CODE_PROCESS
        and multiprocessing.parent_process() is None
        and settings.run_launcher is RunLauncherName.LOCAL
        and sys.platform == "linux"
    )


def follow_bars() -> None:
    """Make the definitions of this process anew where the bars have come to span other dates."""
    global defs  # noqa: PLW0603 - Dagster reads them off the module
    defs = definitions_of_bars(settings)


if starts_runs(settings):
    from tt_assets.runtime.forked_runs import fork_runs

    fork_runs()
