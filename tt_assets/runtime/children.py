"""The processes that `tt up` serves with: what each is started with, in their order, and how each shows that it works.

This is the one place that knows their commands. The code server comes first: webserver and daemon meet its socket when
they start, and wait for it at that socket when it is gone for a while.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import yaml

from tt_assets.runs._dagster import DAEMON_MODULE
from tt_assets.runtime import code_socket

LOCATION = "tt_assets.definitions"
"""What Dagster knows the platform by."""
SERVED_CODE = "tt_assets.runtime.served_code"
CODE_SERVER, DAEMON, WEBSERVER = "code server", "daemon", "webserver"
CODE_PROCESS = ("api", "grpc")
"""Words of the command of the process behind the code server that holds the code and starts the runs."""
_PATIENCE = 2.0  # seconds for one answer


@dataclass(frozen=True)
class ChildSpec:
    """One process of the family: its name, its command, its log, and whether it answers now (None: it is not asked)."""

    name: str
    command: tuple[str, ...]
    log: Path
    answers: Callable[[], bool] | None


def specs(home: Path, socket: Path, host: str, port: int, *, read_only: bool = False) -> tuple[ChildSpec, ...]:
    """The processes that serve `home` at `host`:`port`, in the order they are started; `socket` is the code server's.

    With `read_only` the UI changes nothing; the daemon works on.

    Writes the workspace file that leads webserver and daemon to the socket.
    """
    workspace = home / "dagster" / "workspace.yaml"
    _write_workspace(workspace, socket)
    logs = home / "logs"
    python = (sys.executable, "-m")
    address = ("--host", host, "--port", str(port), *(("--read-only",) if read_only else ()))
    loaded = ("-m", SERVED_CODE, "--location-name", LOCATION)
    return (
        ChildSpec(
            CODE_SERVER,
            (*python, "dagster", "code-server", "start", *code_socket.listen_options(socket), *loaded),
            logs / "code-server.log",
            lambda: code_server_answers(socket),
        ),
        ChildSpec(DAEMON, (*python, DAEMON_MODULE, "run", "-w", str(workspace)), logs / "daemon.log", None),
        ChildSpec(
            WEBSERVER,
            (*python, "tt_assets.runtime.webserver", "--workspace", str(workspace), *address),
            logs / "webserver.log",
            lambda: webserver_answers(host, port),
        ),
    )


def code_server_answers(socket: Path) -> bool:
    """Whether the process that holds the code answers through the code server's socket."""
    try:
        with grpc.insecure_channel(code_socket.target(socket)) as channel:
            # An empty message is a valid ping, so Dagster's generated classes are not needed.
            channel.unary_unary("/api.DagsterApi/Ping")(b"", timeout=_PATIENCE)
    except grpc.RpcError:
        return False
    return True


def webserver_answers(host: str, port: int) -> bool:
    """Whether the webserver answers over HTTP at all; one that demands a token first answers, too."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    # Whatever it answers: under a token, or a name it does not know, that is a refusal.
    connection = http.client.HTTPConnection(local, port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/server_info")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _write_workspace(path: Path, socket: Path) -> None:
    server = {**code_socket.server(socket), "location_name": LOCATION}
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(f".{os.getpid()}.new")
    staged.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
    staged.replace(path)
