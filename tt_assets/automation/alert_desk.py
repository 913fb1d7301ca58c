"""Where an alert goes: a line in a log, and a message to a webhook at most once in a while for each kind.

Whoever raises an alert waits for nothing and fails at nothing. Messages wait in an outbox on disk, which
a thread empties; what a slow or broken receiver did not take is tried again some times, across restarts too, then given
up with a line in the log. The log has every alert, the webhook the first of a kind and the number of those held back.
"""

from __future__ import annotations

import json
import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tt_assets.automation import webhook as http
from tt_assets.settings import Settings

LOG_BYTES, LOGS_KEPT = 1_000_000, 5
TRIES = 5
FIRST_WAIT = 30.0
"""Seconds until the second try; each further wait is twice the one before."""
LONGEST_MESSAGE = 2_000
"""Characters of a message; what is cut off is in the run the message links to."""

_words = logging.getLogger(__name__)
_writing = threading.Lock()
_delivering = threading.Lock()


class AlertKind(StrEnum):
    """What an alert is about; each kind has a rate of its own."""

    RUN_FAILURE = "run failure"
    FAILING_CHECK = "failing check"
    STALE_DATA = "stale data"
    DEAD_PROCESS = "dead process"


@dataclass(frozen=True)
class Alert:
    """One thing a person should know.

    Parameters
    ----------
    kind : each has a rate of its own.
    message : what it is, the value and the remedy.
    link : where to look, or empty.
    urgent : False: it goes to the log only.
    """

    kind: AlertKind
    message: str
    link: str = ""
    urgent: bool = True


Post = Callable[[str, str], http.Delivery]


class AlertDesk:
    """Takes alerts in and sends them on. Safe across threads and processes; no method raises for disk or network.

    Parameters
    ----------
    log : file of every alert, one JSON object a line, times in UTC.
    outbox : SQLite file of messages that wait, shared by all processes of a home.
    webhook : address that messages are posted to; None: none are.
    interval : least time between two messages of a kind, seconds.
    clock : gives seconds since 1970.
    post : sends a text to an address and says whether it was taken; raises nothing.
    """

    def __init__(
        self,
        log: Path,
        outbox: Path,
        webhook: str | None,
        interval: float,
        *,
        clock: Callable[[], float] = time.time,
        post: Post = http.post,
    ) -> None:
        self._log, self._outbox, self._webhook, self._interval = log, outbox, webhook, interval
        self._clock, self._post = clock, post

    @classmethod
    def of(cls, settings: Settings) -> AlertDesk:
        """The desk of this home."""
        webhook = settings.alert_webhook.get_secret_value() if settings.alert_webhook else None
        return cls(settings.alert_log, settings.home / "alerts.sqlite", webhook, settings.alert_interval)

    def take(self, alert: Alert) -> None:
        """Write `alert` to the log and put it in the outbox, or count it where its kind had a message just now."""
        self._write(alert.kind, alert.message, alert.link)
        if self._webhook is None or not alert.urgent:
            return
        try:
            with self._open() as store:
                sent_at, held = _kind(store, alert.kind)
                now = self._clock()
                if sent_at is None or now - sent_at >= self._interval:
                    _queue(store, alert.kind, self._worded(alert, held), now)
                else:
                    store.execute(
                        "UPDATE kinds SET held = held + 1, latest = ? WHERE kind = ?", (_body(alert), alert.kind)
                    )
        except (OSError, sqlite3.Error) as error:
            self._cannot_keep(error)

    def deliver(self) -> None:
        """Send what is due; at most one message that is not taken, because the next would not be either."""
        if self._webhook is None:
            return
        try:
            self._queue_held_back()
            while (due := self._claim()) is not None and self._send(self._webhook, *due):
                pass
        except (OSError, sqlite3.Error) as error:
            self._cannot_keep(error)

    def _send(self, webhook: str, number: int, text: str, tries: int) -> bool:
        """Send one message for the `tries`th time; whether it was taken."""
        done = self._post(webhook, text)
        if not done.taken and done.again and tries < TRIES:
            wait = max(FIRST_WAIT * 2 ** (tries - 1), done.wait)
            with self._open() as store:
                store.execute("UPDATE outbox SET due = ? WHERE number = ?", (self._clock() + wait, number))
            return False
        with self._open() as store:
            store.execute("DELETE FROM outbox WHERE number = ?", (number,))
        if not done.taken:
            self._write(
                "webhook",
                f"{http.masked(webhook)} did not take a message ({done.problem}; tried {tries} of {TRIES} times); it "
                f"is given up. Check TT_ALERT_WEBHOOK. The message: {text}",
            )
        return done.taken

    def deliver_soon(self) -> None:
        """`deliver` in a thread that nobody waits for; nothing where one is at it."""
        if self._webhook is not None and _delivering.acquire(blocking=False):
            threading.Thread(target=self._deliver_and_release, name="alerts", daemon=True).start()

    def _deliver_and_release(self) -> None:
        try:
            self.deliver()
        finally:
            _delivering.release()

    def _queue_held_back(self) -> None:
        """A message for each kind whose time has come and that nothing new will bring up."""
        with self._open() as store:
            now = self._clock()
            waiting = store.execute(
                "SELECT kind, held, latest FROM kinds WHERE held > 0 AND sent_at <= ?", (now - self._interval,)
            ).fetchall()
            for kind, held, latest in waiting:
                said = "1 was" if held == 1 else f"{held} were"
                _queue(store, kind, f"{_head(kind)} {said} held back; the latest: {latest}"[:LONGEST_MESSAGE], now)

    def _claim(self) -> tuple[int, str, int] | None:
        """The oldest message that is due, with the number of the try; nobody else gets it while it is being sent."""
        found: tuple[int, str, int] | None = None
        with self._open() as store:
            now = self._clock()
            row = store.execute(
                "SELECT number, text, tries FROM outbox WHERE due <= ? ORDER BY number LIMIT 1", (now,)
            ).fetchone()
            if row is not None:
                number, text, tries = row
                # Whoever is killed while sending has used up one try.
                store.execute(
                    "UPDATE outbox SET tries = tries + 1, due = ? WHERE number = ?",
                    (now + FIRST_WAIT * 2**tries, number),
                )
                found = (number, text, tries + 1)
        return found

    def _worded(self, alert: Alert, held: int) -> str:
        before = f" ({held} more since the last message; {self._log} has them)" if held else ""
        room = LONGEST_MESSAGE - len(before) - len(_head(alert.kind)) - 1
        return f"{_head(alert.kind)} {_body(alert, room)}{before}"

    def _write(self, kind: str, message: str, link: str = "") -> None:
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        line = {"at": at, "kind": str(kind), "message": message, **({"link": link} if link else {})}
        try:
            with _writing:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                handler = RotatingFileHandler(self._log, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, encoding="utf-8")
                try:
                    handler.emit(logging.makeLogRecord({"msg": json.dumps(line, ensure_ascii=False)}))
                finally:
                    handler.close()
        except OSError as error:
            _words.warning("%s cannot be written (%s); it would say: %s", self._log, error.strerror, message)

    def _cannot_keep(self, error: Exception) -> None:
        self._write("webhook", f"{self._outbox} cannot be used ({error}); nothing is sent until it can. Delete it.")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the outbox that no other process shares."""
        store: sqlite3.Connection | None = None
        try:
            self._outbox.parent.mkdir(parents=True, exist_ok=True)
            store = sqlite3.connect(self._outbox, timeout=5, isolation_level=None)
            store.execute("BEGIN IMMEDIATE")
            store.execute(
                "CREATE TABLE IF NOT EXISTS kinds (kind TEXT PRIMARY KEY, sent_at REAL, held INT, latest TEXT)"
            )
            store.execute(
                "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, text TEXT, tries INT, due REAL)"
            )
            yield store
            store.execute("COMMIT")
        finally:
            if store is not None:
                store.close()


def _kind(store: sqlite3.Connection, kind: str) -> tuple[float | None, int]:
    """When a message of `kind` was last queued and how many were held back since."""
    row = store.execute("SELECT sent_at, held FROM kinds WHERE kind = ?", (kind,)).fetchone()
    return (row[0], row[1]) if row else (None, 0)


def _queue(store: sqlite3.Connection, kind: str, text: str, now: float) -> None:
    store.execute("INSERT INTO outbox (text, tries, due) VALUES (?, 0, ?)", (text, now))
    store.execute("INSERT OR REPLACE INTO kinds (kind, sent_at, held, latest) VALUES (?, ?, 0, NULL)", (kind, now))


def _head(kind: str) -> str:
    return f"tt_assets on {socket.gethostname()}: {kind}."


def _body(alert: Alert, room: int = LONGEST_MESSAGE) -> str:
    """The message in at most `room` characters with the link behind it."""
    link = f" {alert.link}" if alert.link else ""
    space = room - len(link)
    return (alert.message if len(alert.message) <= space else alert.message[: space - 1] + "…") + link
