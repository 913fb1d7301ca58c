"""The loop of `tt up`: starts the served processes in order, and each again when it dies or falls silent.

One thread does everything; only the database is watched by another. What happens is told in one line a time to the
terminal, to `up.json` and, for a death, to the alert desk.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
from sqlalchemy.exc import SQLAlchemyError

from tt_assets.automation.alert_desk import Alert, AlertDesk, AlertKind
from tt_assets.errors import UserError
from tt_assets.runtime import served, up_record
from tt_assets.runtime.children import CODE_PROCESS, CODE_SERVER, WEBSERVER, ChildSpec
from tt_assets.runtime.database_watch import DatabaseWatch, Outage
from tt_assets.runtime.deaths import WITHIN, Deaths
from tt_assets.runtime.lost_runs import LostRuns, end_lost_runs, end_unstarted, unfinished_runs
from tt_assets.runtime.up_record import ChildHealth, Death, Owner
from tt_assets.settings import Settings

TICK = 0.2
READY_WITHIN = 180.0
"""Seconds that a process may take to answer for the first time."""
ASKED_EVERY, SILENT_FOR = 2.0, 90.0
"""A process that answers is asked so often, and started again when it was silent so long; seconds."""
RUNS_EVERY = 10.0
DATABASE = "database"

Say = Callable[[str], None]


@dataclass
class Child:
    """One served process over its lives."""

    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    state: str = "waiting"
    since: str = ""
    starts: int = 0
    started: float = 0.0
    due: float = 0.0
    asked: float = 0.0
    answered: bool = False
    renewed: bool = False
    silent: float | None = None
    orphaned: int = 0

    def health(self) -> ChildHealth:
        """What `tt doctor` and the page of `tt up` show of it."""
        return ChildHealth(
            self.spec.name, self.process.pid if self.process else None, self.state, self.since, self.starts
        )


class Supervisor:
    """The served processes of one `tt up`, until `stop` or an error."""

    def __init__(
        self,
        settings: Settings,
        record: Owner,
        specs: Sequence[ChildSpec],
        socket: Path,
        instance: dg.DagsterInstance,
        say: Say,
    ) -> None:
        self.settings, self.record, self.socket, self.instance, self.say = settings, record, socket, instance, say
        self.children = [Child(spec) for spec in specs]
        self.deaths = Deaths()
        self.desk = AlertDesk.of(settings)
        self.outages: queue.SimpleQueue[Outage] = queue.SimpleQueue()
        self.lost = LostRuns(socket, self._works_for_code_server)
        self._runs_looked_at = 0.0
        self._left_behind: list[dg.DagsterRun] | None = []
        self._told_up = False
        self._database_state = ("up", _now())

    @property
    def all_up(self) -> bool:
        """Whether every process has answered."""
        return all(child.state == "up" for child in self.children)

    def tick(self, watch: DatabaseWatch) -> None:
        """One look at everything. Raises UserError where they die faster than anybody could look."""
        while not self.outages.empty():
            self._hear(self.outages.get())
        for child in self.children:
            if child.process is not None and (code := child.process.poll()) is not None:
                self._died(child, _how(code), watch)
        if watch.is_up:
            if self._left_behind is None and not self._count_runs_of_the_dead():
                return  # first who it left behind, then the next code server, so that none of its runs is taken for one
            for child in self.children:
                if not self._start_or_ask(child, watch):
                    break  # the rest only after it answers
            if self.children[0].state == "up":
                self._end_runs_of_the_dead()
                self._look_for_lost_runs()

    def stop(self) -> None:
        """End every process, then the runs that could not say themselves that they were interrupted."""
        served.stop(self.record.token)
        with suppress(dg.DagsterError, SQLAlchemyError, UserError):
            end_lost_runs(
                self.instance,
                unfinished_runs(self.instance, self.socket),
                "The `tt up` that ran it was stopped; materialize the partitions again.",
                again=False,
            )

    def _start_or_ask(self, child: Child, watch: DatabaseWatch) -> bool:
        """Start `child` when it is due, or ask it whether it answers; False while those after it have to wait."""
        now = time.monotonic()
        if child.process is None:
            if now >= child.due:
                child.process = served.start(child.spec, self.record.token)
                child.starts += 1
                child.started, child.silent, child.orphaned = now, None, 0
                self._becomes(child, "starting")
        elif child.state == "starting":
            # One that is not asked is taken at its word when it has not died at once.
            answers = child.spec.answers() if child.spec.answers else now - child.started > 1
            if answers:
                child.answered = True
                self._becomes(child, "up")
                if self._told_up:
                    self.say(f"{_clock()} The {child.spec.name} is back.")
            elif now - child.started > READY_WITHIN:
                self._kill(child, f"it did not answer within {READY_WITHIN:.0f} s", watch)
        elif now - child.asked > ASKED_EVERY:
            child.asked = now
            self._ask(child, now, watch)
        return child.answered or child.spec.name != CODE_SERVER

    def _ask(self, child: Child, now: float, watch: DatabaseWatch) -> None:
        stopped = _is_stopped(child)
        if not stopped and (child.spec.answers is None or child.spec.answers()):
            child.silent, child.orphaned = None, 0
            if child.state == "silent":
                self._becomes(child, "up")
            return
        if child.silent is None:
            child.silent = now
        elif child.state == "up":
            self._becomes(child, "silent")
        # The process that holds the code can die behind a code server that lives on and knows no way to replace it.
        child.orphaned = child.orphaned + 1 if child.spec.name == CODE_SERVER and not self._code_process() else 0
        if child.orphaned >= 2:
            self._kill(child, "the process that holds the code is gone", watch)
        elif now - child.silent > SILENT_FOR:
            how = "was stopped" if stopped else "did not answer"
            self._kill(child, f"it {how} for {SILENT_FOR:.0f} s", watch)

    def _kill(self, child: Child, why: str, watch: DatabaseWatch) -> None:
        assert child.process is not None  # noqa: S101 - only a live one falls silent
        child.process.kill()
        child.process.wait()
        self._died(child, why, watch)

    def _died(self, child: Child, why: str, watch: DatabaseWatch) -> None:
        now = time.monotonic()
        lived, child.process = now - child.started, None
        if child.renewed:
            child.renewed, child.due = False, now
            self._becomes(child, "waiting")
            return
        served.kill(self.record.token, child.spec.name)  # what descends from it: for the code server, the runs
        if child.spec.name == CODE_SERVER:
            self._left_behind = None
        self._becomes(child, "waiting")
        if not watch.is_up:  # it may have died of that, and starts again when the database is back
            child.due = now
            self._note(child.spec.name, why, "it starts again when the database is back")
            return
        wait = self.deaths.note(child.spec.name, lived, now)
        child.due = now + wait
        if self.deaths.hopeless():
            raise self._gives_up(child.spec.name, f"{why}; {_last_line(child.spec.log)}", child.spec.log)
        self._note(child.spec.name, why, f"it starts again{f' in {wait:g} s' if wait else ''}")

    def _hear(self, outage: Outage) -> None:
        """Tell of an outage of the database."""
        if outage.over:
            # The webserver keeps connections; each one that broke would answer one more page with an error.
            for child in self.children:
                if child.spec.name == WEBSERVER and child.process is not None:
                    child.renewed = True
                    self._becomes(child, "waiting")
                    child.process.terminate()
            self._becomes_database("up")
            self.say(f"{_clock()} The database is back.")
        elif outage.hopeless:
            self.deaths.note(DATABASE, 0, time.monotonic())
            if self.deaths.hopeless():
                raise UserError(f"The embedded server cannot be started again: {outage.why}")
        else:
            remedy = (
                "start it, or mend the network; what is served waits for it"
                if self.settings.database_url
                else "it starts again"
            )
            self._becomes_database("down")
            self._note(DATABASE, outage.why, remedy)

    def _count_runs_of_the_dead(self) -> bool:
        """Note the runs that the dead code server left in progress; False where Dagster's storage does not say."""
        try:
            self._left_behind = unfinished_runs(self.instance, self.socket)
        except (dg.DagsterError, SQLAlchemyError):
            return False
        return True

    def _end_runs_of_the_dead(self) -> None:
        """End them once the next code server answers: Dagster asks it for the job when it makes a run again."""
        if not self._left_behind:
            return
        with suppress(dg.DagsterError, SQLAlchemyError):
            why = "The code server died under it; it is made again once."
            ended = end_lost_runs(self.instance, self._left_behind, why, again=True)
            self._left_behind = []
            self._tell_of(ended, "ended with the code server")

    def _look_for_lost_runs(self) -> None:
        if self._left_behind or time.monotonic() - self._runs_looked_at < RUNS_EVERY:
            return
        self._runs_looked_at = time.monotonic()
        with suppress(dg.DagsterError, SQLAlchemyError):
            self._tell_of(self.lost.end(self.instance), "had lost their process")
            if self.settings.several_machines:
                self._tell_of(end_unstarted(self.instance), "could not be started, their pages say why,")

    def _tell_of(self, ended: Sequence[str], how: str) -> None:
        if ended:
            named = ", ".join(run_id[:8] for run_id in ended)
            self.say(f"{_clock()} {len(ended)} runs {how} and are made again: {named}.")

    def _works_for_code_server(self, pid: int) -> bool:
        return pid in {process.pid for process in served.family(self.record.token, CODE_SERVER)}

    def _code_process(self) -> bool:
        for process in served.family(self.record.token, CODE_SERVER):
            with suppress(psutil.Error):
                words = process.cmdline()
                if any(words[at : at + 2] == list(CODE_PROCESS) for at in range(len(words))):
                    return True
        return False

    def _note(self, name: str, why: str, next_: str) -> None:
        """A death: on the terminal, in the record and to the alert desk."""
        log = next((child.spec.log for child in self.children if child.spec.name == name), None)
        said = f"The {name} died ({why}); {next_}."
        self.say(f"{_clock()} {said}{f' See {log}.' if log else ''}")
        self.record = replace(self.record, deaths=(*self.record.deaths, Death(_now(), name, why)))
        self._write()
        self.desk.take(Alert(AlertKind.DEAD_PROCESS, f"{said} `tt doctor` shows how it is now.", self.record.url))
        self.desk.deliver_soon()

    def _gives_up(self, name: str, why: str, log: Path) -> UserError:
        said = (
            f"The processes of tt up died {len(self.deaths.at)} times within {WITHIN:.0f} s, at last the {name} "
            f"({why.rstrip('.')}): mend that, then run `tt up` again. See {log}."
        )
        self.desk.take(Alert(AlertKind.DEAD_PROCESS, said))
        self.desk.deliver()
        return UserError(said)

    def _becomes(self, child: Child, state: str) -> None:
        child.state, child.since = state, _now()
        self._write()

    def _becomes_database(self, state: str) -> None:
        self._database_state = (state, _now())
        self._write()

    def _write(self) -> None:
        state, since = self._database_state
        database = ChildHealth(DATABASE, None, state, since, 0)
        self.record = replace(self.record, children=(database, *(child.health() for child in self.children)))
        with suppress(OSError):
            up_record.write(self.settings, self.record)

    def told_up(self) -> None:
        """From here on a process that answers again is told of."""
        self._told_up = True


def _is_stopped(child: Child) -> bool:
    """Whether the process was halted, as by SIGSTOP: it lives, and does nothing until somebody lets it go on."""
    with suppress(psutil.Error):
        stopped = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return child.process is not None and psutil.Process(child.process.pid).status() in stopped
    return False


def _how(code: int) -> str:
    """What an exit code says."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def _last_line(log: Path) -> str:
    """The last line a process wrote before it died."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 10_000))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return lines[-1][:300]
    return "it said nothing"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
