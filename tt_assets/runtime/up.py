"""`tt up`: serves the UI and runs the daemon in the foreground, and stops all it started."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from tt_assets.runtime import code_socket
from tt_assets.runtime.addresses import Address
from tt_assets.runtime.children import specs
from tt_assets.runtime.database_watch import DatabaseWatch
from tt_assets.runtime.lost_runs import end_lost_runs, unfinished_runs
from tt_assets.runtime.platform import Platform, open_instance
from tt_assets.runtime.supervisor import TICK, Supervisor
from tt_assets.runtime.up_record import Owner
from tt_assets.settings import Settings

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


class Stopping:
    """Whether somebody has asked this process to stop; set by signals while the block of `listening` runs."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, *_: object) -> None:
        self.asked = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C, SIGTERM and a closed terminal as a wish to stop; child processes get the default back."""
        previous = {number: signal.signal(number, self._ask) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def serve(platform: Platform, record: Owner, address: Address, stopping: Stopping, say: Callable[[str], None]) -> None:
    """Serve the UI and run the daemon until `stopping` is asked; every process that dies is started again.

    The environment is that of `platform.adopt`. Everything started is gone on return. Raises UserError where the
    processes die five times within a minute.
    """
    settings = platform.settings
    socket = code_socket.prepare(settings.home)
    with open_instance() as instance:
        children = specs(settings.home, socket, address.host, address.port, read_only=address.read_only)
        family = Supervisor(settings, record, children, socket, instance, say)
        try:
            with DatabaseWatch(settings, platform.database, family.outages.put) as watch:
                told = False
                while not stopping.asked:
                    family.tick(watch)
                    if not told and family.all_up:
                        told = True
                        family.told_up()
                        for line in address.said(settings):
                            say(line)
                        say(f"Alerts: {settings.alert_log}{_receiver(settings)}.")
                    time.sleep(TICK)
        finally:
            try:
                say("Stopping.")
            finally:  # a terminal that was closed, or a pipe nobody reads, answers with an error
                family.stop()


def end_abandoned_runs(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """End the runs that an earlier code server of this home had in hand and have them made again; returns their ids.

    To be called by the owner before it serves: the only code server of this home is the owner's, so a run that was
    started by one and has not ended cannot end any more. The embedded server is this home's alone; on another one the
    runs may be another machine's, and only those that carry this home's socket are touched.
    """
    socket = code_socket.of(settings.home) if settings.database_url else None
    why = "The `tt up` that ran it ended without a word; it is made again once."
    return end_lost_runs(instance, unfinished_runs(instance, socket), why, again=True)


def _receiver(settings: Settings) -> str:
    """Where alerts go besides the log, without what is secret in it."""
    from tt_assets.automation.webhook import masked

    if settings.alert_webhook is None:
        return "; set TT_ALERT_WEBHOOK to have them sent, too"
    return f", and {masked(settings.alert_webhook.get_secret_value())} (TT_ALERT_WEBHOOK)"
