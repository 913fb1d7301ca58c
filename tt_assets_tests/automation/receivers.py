"""Webhooks on this machine: one that takes messages, one that answers something else, one that never answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """A webhook. `code` and `headers` are what it answers; while `silent` is set it reads and says nothing."""

    url: str = ""
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    content_types: list[str] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiver(code: int = 200, *, silent: bool = False, **headers: str) -> Iterator[Receiver]:
    """A webhook that listens while the block runs; whoever it keeps waiting is let go at its end."""
    here = Receiver(code=code, headers={name.replace("_", "-"): value for name, value in headers.items()})
    if silent:
        here.silent.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert list(body) == ["text"]
            here.texts.append(body["text"])
            here.content_types.append(self.headers["Content-Type"])
            here.arrived.set()
            if here.silent.is_set():
                here.released.wait(60)
                return
            self.send_response(here.code)
            for name, value in here.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    here.url = f"http://127.0.0.1:{server.server_address[1]}/services/T0/B0/s3cr3t"
    try:
        yield here
    finally:
        here.released.set()
        server.shutdown()
        server.server_close()
