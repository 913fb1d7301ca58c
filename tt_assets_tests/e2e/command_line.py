"""The `tt` command and what it serves, as a person on a machine of their own has them: processes, files and HTTP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.runtime import served
from tt_assets.settings import checkout

GENEROUS = 300.0
TT = Path(sys.executable).with_name("tt")


@dataclass(frozen=True)
class Machine:
    """A home of its own, and the settings every command on it is given."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self, **settings: str) -> dict[str, str]:
        """This process's environment without anybody's settings, with those of the machine."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TT_", "DAGSTER_")) and name != "PYTHONPATH"
        }
        # Nothing runs behind a test's back; a test of the sensors switches them on.
        return {**kept, "TT_HOME": str(self.home), "TT_AUTOMATION": "false", **self.settings, **settings}

    def tt(self, *arguments: str, cwd: Path | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `tt` to its end."""
        return subprocess.run(
            [TT, *arguments],
            env=self.environment(**settings),
            cwd=cwd or self.home.parent,
            capture_output=True,
            text=True,
            timeout=GENEROUS,
            check=False,
        )

    def rows(self, statement: str, database: str = "tt") -> list[tuple[Any, ...]]:
        """The answer of the embedded server to `statement`, empty for one that answers nothing."""
        import psycopg

        from tt_assets.postgres.database import Database

        with psycopg.connect(Database.on(EmbeddedServer(self.home), database).adbc_uri()) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def start(self, *arguments: str, cwd: Path | None = None, **settings: str) -> subprocess.Popen[str]:
        """Start `tt` in a process group of its own, with Ctrl-C as a terminal has it."""
        return subprocess.Popen(
            [TT, *arguments],
            env=self.environment(**settings),
            cwd=cwd or self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_take_ctrl_c,
        )

    def token(self) -> str:
        """The token of what `tt up` serves."""
        return str(json.loads((self.home / "up.json").read_text())["token"])


@contextmanager
def machine(**settings: str) -> Iterator[Machine]:
    """A machine with nothing on it; whatever was started on it is gone afterwards."""
    top = checkout()
    if top and (top / ".env").exists():
        pytest.skip(f"{top / '.env'} would reach the commands under test; move it away to run them.")
    folder = Path(tempfile.mkdtemp(prefix="tt-machine-"))
    folder.chmod(0o755)  # the server's account has to reach it
    here = Machine(folder / "home", settings)
    try:
        yield here
    finally:
        if (here.home / "up.json").exists():
            here.tt("down")
        for process in _processes_of(here.home):
            process.kill()
        EmbeddedServer(here.home).stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TT_HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return found


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Ui:
    """The served UI: its address and the process that owns it."""

    url: str
    owner: subprocess.Popen[str]
    token: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer to a GraphQL query; fails with the errors it names."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def family(self) -> list[psutil.Process]:
        """The processes that serve it."""
        return served.family(self.token)


def serve(here: Machine, port: int, cwd: Path | None = None, **settings: str) -> Ui:
    """`tt up`, ready to answer."""
    owner = here.start("up", "--port", str(port), cwd=cwd, **settings)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        if owner.poll() is not None:
            raise AssertionError(f"tt up ended with {owner.returncode}: {owner.communicate()}")
        try:
            # What a killed owner left behind may answer here too: ours is the one on record.
            record = json.loads((here.home / "up.json").read_text())
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):
                return int(record["pid"]) == owner.pid
        except (urllib.error.URLError, OSError, ValueError):
            return False

    wait_until(answers)
    return Ui(url, owner, here.token())


def wait_until(holds: Callable[[], bool], within: float = GENEROUS, every: float = 0.5) -> None:
    """Wait for a condition; fails when it has not come true in time."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not true within {within:.0f} s"
        time.sleep(every)


def _take_ctrl_c() -> None:
    # A test session that was started in the background ignores it, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
