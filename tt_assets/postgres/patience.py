"""Waiting for locks, and for a server that has gone silent: not for ever, and never without a word.

Work on the database is done within `patiently` (or by what is marked `@patient` or `@patient_on_database`). A thread
watches it from a connection of its own: it finds out who holds the lock that is waited for, and notices that nothing
gets through any more. A wait for a lock ends after some seconds, which rolls back and so lets go of what this side
holds; then the work is begun again, until patience is at its end.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Protocol

import psycopg
from psycopg.rows import class_row

from tt_assets.errors import UserError

if TYPE_CHECKING:
    from tt_assets.postgres.database import Database

LOCK_TIMEOUT = 10.0
"""Seconds that one try waits for a lock."""
PATIENCE, PATIENCE_WITH_OURS = 60.0, 900.0
"""Seconds until it is given up, and where the holder is a `tt` command, which ends by itself."""
WAITS_NO_LONGER = f"-c lock_timeout={PATIENCE * 1000:.0f}"
"""The `options` of libpq of a connection that nobody watches."""
FIRST_LOOK, LOOK_EVERY = 2.0, 2.0
STALLED_AFTER = 20.0
"""Seconds without any word from the server after which a connection counts as dead."""
NO_WORD = 5
"""Seconds within which a server that is there lets a new connection in or refuses it."""
OURS = ("tt ", "tt_assets")
"""How the application names of our own connections begin."""

_words = logging.getLogger(__name__)
_HOLDERS = """
    SELECT pid, coalesce(usename, '') AS "user", coalesce(application_name, '') AS application,
           xact_start AS since, coalesce(state, '') AS state, left(coalesce(query, ''), 80) AS query
    FROM pg_stat_activity WHERE pid IN (SELECT unnest(pg_blocking_pids(w)) FROM unnest(%s::int[]) AS w)
    ORDER BY xact_start
"""


class Locked(UserError):
    """Somebody else holds a lock for longer than this side waits."""


class Stalled(UserError):
    """The server, or the network to it, went silent in the middle of a statement."""


@dataclass(frozen=True)
class Holder:
    """A session that others wait for.

    Parameters
    ----------
    pid : of its server process. user, application : who it is.
    since : when its transaction began; None where it is in none.
    state : as pg_stat_activity says. query : its last statement.
    """

    pid: int
    user: str
    application: str
    since: datetime | None
    state: str
    query: str

    @property
    def is_ours(self) -> bool:
        """Whether it is a process of tt_assets, which goes on to its end."""
        return self.application.startswith(OURS)

    def __str__(self) -> str:
        since = f", in a transaction since {self.since:%H:%M:%S}" if self.since else ""
        last = " ".join(self.query.split())
        return (
            f'process {self.pid} (user "{self.user}", application "{self.application}"{since}, {self.state}'
            f"{f', last statement: {last}' if last else ''})"
        )


class Watch:
    """Looks from time to time whom the watched connections wait for, and whether the server still says anything."""

    def __init__(self, database: Database) -> None:
        self.holder: Holder | None = None
        self.stalled = threading.Event()
        self._database = database
        self._pids: list[int] = []
        self._sockets: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lock watch", daemon=True)

    def add(self, pid: int, descriptor: int | None = None) -> None:
        """Watch a connection.

        Parameters
        ----------
        pid : of its server process.
        descriptor : of its socket, which is cut off when the server goes silent; None: it cannot be.
        """
        self._pids.append(pid)
        if descriptor is not None:
            self._sockets.append(descriptor)
        if not self._thread.is_alive() and not self._over.is_set():
            with suppress(RuntimeError):  # another connection of the same work was faster
                self._thread.start()

    @property
    def server_options(self) -> str:
        """The `options` of libpq with which a watched connection is opened."""
        return f"-c lock_timeout={LOCK_TIMEOUT * 1000:.0f}"

    def end(self) -> None:
        """Stop looking; the sockets may be closed and their numbers reused from here on."""
        self._over.set()

    def _run(self) -> None:
        silent_since: float | None = None
        wait = FIRST_LOOK
        while not self._over.wait(wait):
            wait = LOOK_EVERY
            try:
                self._look()
            except _NoWord:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > STALLED_AFTER and not self._over.is_set():
                    self._cut()
                    return
            except (UserError, psycopg.Error):
                continue  # it answers, only not this: too many connections, say
            else:
                silent_since = None

    def _look(self) -> None:
        began = time.monotonic()
        try:
            with self._database.connect(autocommit=True, watched=False, connect_timeout=NO_WORD) as connection:
                cursor = connection.cursor(row_factory=class_row(Holder))
                with _cut_after(NO_WORD, connection.fileno()):
                    holders = cursor.execute(_HOLDERS, [self._pids]).fetchall()
        except (UserError, psycopg.Error):
            if time.monotonic() - began > 0.9 * NO_WORD:
                raise _NoWord from None
            raise
        if holders:
            self.holder = holders[0]

    def _cut(self) -> None:
        self.stalled.set()
        for descriptor in self._sockets:
            with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as end:
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def _cut_after(seconds: float, descriptor: int) -> Iterator[None]:
    """Cut off the connection on the socket `descriptor` if the block takes longer: a driver waits for ever."""
    with socket.socket(fileno=os.dup(descriptor)) as end:

        def cut() -> None:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


class _NoWord(Exception):
    """The server neither let in nor refused."""


_current: ContextVar[Watch | None] = ContextVar("watch", default=None)


def current_watch() -> Watch | None:
    """The watch of the work in hand; connections add themselves to it."""
    return _current.get()


def watch_reader(cursor: Any) -> None:
    """Have the connection of an ADBC `cursor` watched, and wait for a lock for some seconds only, where work is."""
    if (watch := _current.get()) is not None:
        cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT * 1000:.0f}")
        cursor.execute("SELECT pg_backend_pid()")
        watch.add(cursor.fetchone()[0])


def patiently[T](database: Database, work: Callable[[], T], *, abandon: bool = False) -> T:
    """The result of work that waits for locks, begun again from its start where they are held too long.

    Parameters
    ----------
    database : where the locks are.
    work : opens its own connections and bears to be begun again. Within another `patiently` it is begun
        again by that one.
    abandon : whether it is done in a thread that is left behind when the server goes silent, for drivers whose
        connections cannot be cut off.

    Raises
    ------
    Locked : somebody holds a lock for longer than is waited; names the holder.
    Stalled : the server, or the network to it, went silent.
    """
    if (watch := _current.get()) is not None:
        return _in_a_thread(work, watch) if abandon else work()
    began = time.monotonic()
    while True:
        failure: UserError
        with _watching(database) as watch:
            try:
                return _in_a_thread(work, watch) if abandon else work()
            except Exception as error:
                if watch.stalled.is_set():
                    failure = Stalled(
                        f"Nothing comes from {database.masked()} any more, for {STALLED_AFTER:.0f} s and in the middle "
                        "of a statement: see to the network and the server, then run this again; what was not "
                        "committed is not stored."
                    )
                elif not _is_lock_timeout(error):
                    raise
                else:
                    waited, holder = time.monotonic() - began, watch.holder
                    enough = waited >= (PATIENCE_WITH_OURS if holder and holder.is_ours else PATIENCE)
                    failure = _locked(database, holder, waited, given_up=enough)
                    if not enough:
                        _words.warning("%s", failure)
                        continue
        raise failure  # outside the handler, so that the driver's error is not even its context


def patient[Owner: HasDatabase, **P, T](
    method: Callable[Concatenate[Owner, P], T],
) -> Callable[Concatenate[Owner, P], T]:
    """Mark a method of something with a `database` to be done `patiently`; its arguments must bear a second reading."""

    @functools.wraps(method)
    def done(self: Owner, /, *args: P.args, **options: P.kwargs) -> T:
        return patiently(self.database, lambda: method(self, *args, **options))

    return done


def patient_on_database[**P, T](
    function: Callable[Concatenate[Database, P], T],
) -> Callable[Concatenate[Database, P], T]:
    """As `patient`, for a function whose first argument is the database."""

    @functools.wraps(function)
    def done(database: Database, /, *args: P.args, **options: P.kwargs) -> T:
        return patiently(database, lambda: function(database, *args, **options))

    return done


class HasDatabase(Protocol):
    """What works on one database."""

    @property
    def database(self) -> Database:
        """Where it works."""


@contextmanager
def _watching(database: Database) -> Iterator[Watch]:
    watch = Watch(database)
    token = _current.set(watch)
    try:
        yield watch
    finally:
        watch.end()
        _current.reset(token)


def _in_a_thread[T](work: Callable[[], T], watch: Watch) -> T:
    results: list[T] = []
    errors: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            errors.append(error)
        finally:
            over.set()

    threading.Thread(target=copy_context().run, args=(run,), name="reader", daemon=True).start()
    while not over.wait(0.5):
        if watch.stalled.is_set():
            raise TimeoutError
    if errors:
        raise errors[0]
    return results[0]


def _is_lock_timeout(error: Any) -> bool:
    """Whether `error` is a lock timeout (55P03), in the words of psycopg, SQLAlchemy or ADBC."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state in ("55P03", b"55P03")


def _locked(database: Database, holder: Holder | None, waited: float, *, given_up: bool) -> Locked:
    who = f"which {holder} holds" if holder else "whose holder has gone meanwhile"
    said = f'Waiting for {waited:.0f} s for a lock in the database "{database.name}", {who}'
    if not given_up:
        return Locked(f"{said}; trying again.")
    end = f", or end it with SELECT pg_terminate_backend({holder.pid})" if holder else ""
    return Locked(f"{said}: have that transaction ended{end}, then run this again. Nothing was changed.")
