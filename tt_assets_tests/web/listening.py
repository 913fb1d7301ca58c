"""Dagster's webserver as it is, and ours, each listening on a port of its own over an instance of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import uvicorn
from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette

from tt_assets.runs._dagster import workspace
from tt_assets.web.credentials import Credentials
from tt_assets.web.hosts import Hosts
from tt_assets.web.server import guarded
from tt_assets_tests.e2e.command_line import free_port, wait_until

POOL = "attacked"
ASSET = "forged"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Listening:
    """A server and the instance behind it."""

    port: int
    instance: dg.DagsterInstance

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def send(self, request: str) -> Answer:
        """The answer to a request written out, lines ended as a person writes them; the head alone for a WebSocket."""
        head, _, body = request.partition("\n\n")
        raw = head.replace("\n", "\r\n") + f"\r\nContent-Length: {len(body.encode())}\r\n\r\n" + body
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(raw.encode())
            received = b""
            while b"\r\n\r\n" not in received or not received.startswith(b"HTTP/1.1 101"):
                part = connection.recv(65_536)
                if not part:
                    break
                received += part
        answered, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = answered.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(first.split()[1]), headers, rest.decode("utf-8", "replace"))

    def state(self) -> tuple[Any, ...]:
        """All that an attack here could have changed."""
        limits = {info.name: info.limit for info in self.instance.event_log_storage.get_pool_limits()}
        forged = self.instance.get_latest_materialization_event(dg.AssetKey(ASSET))
        return limits.get(POOL), forged.timestamp if forged else None

    def ask(self, query: str) -> Any:
        """As the UI asks."""
        answer = self.send(
            f"POST /graphql HTTP/1.1\nHost: {self.host}\nOrigin: http://{self.host}\nSec-Fetch-Site: same-origin\n"
            f"Content-Type: application/json\nConnection: close\n\n{json.dumps({'query': query})}"
        )
        assert answer.status == 200, answer
        return json.loads(answer.body)["data"]


@contextmanager
def listening(
    folder: Path, *, guard: bool, credentials: Credentials | None = None, read_only: bool = False, port: int = 0
) -> Iterator[Listening]:
    """A server over an empty workspace and a new instance; gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workspace.yaml").write_text("load_from: []\n")
    port = port or free_port()
    with (
        dg.DagsterInstance.local_temp(str(folder)) as instance,
        workspace(instance, folder / "workspace.yaml", read_only=read_only) as context,
    ):
        app: Starlette = (
            guarded(context, Hosts.of("127.0.0.1", ["tt.example.com"]), credentials)
            if guard
            else DagsterWebserver(context).create_asgi_app()
        )
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started, every=0.05)
            yield Listening(port, instance)
        finally:
            server.should_exit = True
            thread.join(timeout=10)
