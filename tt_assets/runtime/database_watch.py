"""A thread that asks the database every second whether it is there, and starts the embedded one again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from tt_assets.errors import UserError
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.settings import Settings

EVERY = 1.0
LOOKS = 2
"""The embedded server is started again, an external one called down, when so many looks in a row found nobody."""


@dataclass(frozen=True)
class Outage:
    """The database was away, or is: why, and whether it is `over`; `hopeless` means that it could not be started."""

    why: str
    over: bool
    hopeless: bool = False


class DatabaseWatch:
    """Whether the database answers, as of a moment ago. `with` runs the thread."""

    def __init__(self, settings: Settings, database: Database, tell: Callable[[Outage], None]) -> None:
        """`tell` hears of every outage, its end included, from the thread."""
        self._server = (
            None if settings.database_url else EmbeddedServer(settings.home, settings.pg_bin, settings.pg_port)
        )
        self._database = database
        self._tell = tell
        self._over = threading.Event()
        self._missed = 0
        self.is_up = True
        self._thread = threading.Thread(target=self._run, name="database watch", daemon=True)

    def __enter__(self) -> DatabaseWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            if self._database.answers():
                self._missed = 0
                if not self.is_up:
                    self.is_up = True
                    self._tell(Outage("", over=True))
                continue
            self._missed += 1
            if self._missed < LOOKS:
                continue
            if self.is_up:
                self.is_up = False
                self._tell(Outage("it does not answer", over=False))
            if self._server is not None and not self._over.is_set():
                self._start(self._server)

    def _start(self, server: EmbeddedServer) -> None:
        try:
            server.ensure()
        except UserError as error:
            self._tell(Outage(str(error), over=False, hopeless=True))
            self._over.wait(5)
