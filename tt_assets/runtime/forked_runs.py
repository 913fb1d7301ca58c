"""Runs that begin warm: forked from a process that has imported the platform already.

Dagster's code server starts a process for each run, and imports are two thirds of what the run of one partition takes.
What it would spawn is forked instead, from the fork server of the standard library, which begins when the code server
does, has one Python thread and no connection, ends with the code server, and is started again if it dies.
"""

from __future__ import annotations

import multiprocessing.forkserver
import os
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing.context import ForkServerProcess

from tt_assets.runs._dagster import start_runs_as
from tt_assets.runtime.children import SERVED_CODE

LOOKED_EVERY = 1.0  # seconds


class ForkedRun(ForkServerProcess):
    """The process of one run: it ends with what it was forked from, and knows the dates of the bars as they are."""

    def run(self) -> None:
        """What the process does."""
        end_with_parent()
        with suppress(Exception):  # the run imports the same, and can say why it cannot
            import_module(SERVED_CODE).follow_bars()
        super().run()


def end_with_parent() -> None:
    """Have this process end within a second or two of the one that forked it.

    Only that one can tell the code server that a run goes on. Without it Dagster takes the run for dead, and may make
    its partitions again while this process still writes them.
    """
    threading.Thread(target=_end_without, args=(os.getppid(),), name="end-with-parent", daemon=True).start()


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOKED_EVERY)
    os._exit(1)  # as when it is killed: transactions are undone, and nobody waits for its threads


def fork_runs() -> None:
    """Have what the code server in this process would spawn forked from a process that begins to import now."""
    imported = [name for name in sys.modules if name.partition(".")[0] == "dagster"]
    multiprocessing.forkserver.set_forkserver_preload(["tt_assets.runtime.warmed", *imported])
    multiprocessing.forkserver.ensure_running()
    start_runs_as(ForkedRun)
