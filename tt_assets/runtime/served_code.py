"""What the code server of `tt up` loads: the platform, and runs that begin warm.

Dagster's code server starts a process for each run, and imports are two thirds of what the run of one partition takes.
So these processes are forked from one that has imported the platform already: the fork server of the standard library,
which begins when the code server does, has one Python thread and no connection, ends with the code server, and is
started again if it dies.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import sys

from tt_assets.definitions import defs, settings
from tt_assets.runtime.children import CODE_PROCESS
from tt_assets.settings import RunLauncherName, Settings

__all__ = ["defs"]


def starts_runs(settings: Settings) -> bool:
    """Whether this is the process of the code server that starts a process for each run."""
    # Libraries of macOS do not bear a fork, and Windows has none.
    return (
        tuple(sys.argv[1:3]) == CODE_PROCESS
        and settings.run_launcher is RunLauncherName.LOCAL
        and sys.platform == "linux"
    )


def fork_runs() -> None:
    """Have what this process would spawn forked from one that begins to import now."""
    imported = [name for name in sys.modules if name.partition(".")[0] == "dagster"]
    multiprocessing.forkserver.set_forkserver_preload(["tt_assets.runtime.warmed", *imported])
    multiprocessing.forkserver.ensure_running()
    # Dagster asks for "spawn"; the queues and events it makes with it go to either kind of process.
    forked = multiprocessing.get_context("forkserver").Process
    multiprocessing.get_context("spawn").Process = forked  # type: ignore[assignment,misc]


if starts_runs(settings):
    fork_runs()
