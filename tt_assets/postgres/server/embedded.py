"""A real PostgreSQL server of one's own under `TT_HOME`, for people who have none.

The server is asked, its files are not believed. Whether it runs is what answers on its address; a file
lock, which the kernel drops with its holder, lets one process at a time initialise, start or stop it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from tt_assets.postgres.server.account import ServerAccount, server_account
from tt_assets.postgres.server.address import SUPERUSER, ServerAddress, prepare_address, server_address
from tt_assets.postgres.server.binaries import Binaries, find_binaries, reachable_binaries
from tt_assets.postgres.server.cluster import (
    EmbeddedServerError,
    initialise,
    refuse_other_major,
    server_environment,
    sweep,
    telling_line,
    write_settings,
)
from tt_assets.postgres.server.postmaster import disown_reused_pids, quit_orphans, running_postmaster

CLOSED_HOMES = Path("/var/lib/tt_assets")
"""Where root keeps the cluster of a home that the server's account cannot reach."""

_START_SECONDS = 180.0  # long enough for crash recovery of max_wal_size
_ORPHAN_PATIENCE = 3.0  # seconds for backends to notice that their postmaster is dead
_LARGEST_LOG = 16 * 1024**2  # bytes
_threads = threading.RLock()  # a file lock holds between processes, not between threads of one

StopMode = Literal["smart", "fast", "immediate"]


class EmbeddedServer:
    """The server whose cluster lives in `<home>/pgdata`, whether it runs or not.

    `home` need not exist. `pg_bin` is the folder of PostgreSQL's programs; None takes the wheel's, else the system's.
    `tcp_port` is where a start has it let readers in over 127.0.0.1; None: nowhere.
    """

    def __init__(self, home: Path, pg_bin: Path | None = None, tcp_port: int | None = None) -> None:
        self.home = Path(os.path.abspath(home))  # noqa: PTH100 - keeps symbolic links
        self.pg_bin = pg_bin
        self.tcp_port = tcp_port

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.home)!r})"

    @property
    def data_dir(self) -> Path:
        """The cluster's folder: under `home`, or under CLOSED_HOMES where the server's account cannot enter `home`."""
        return self._root() / "pgdata"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.data_dir / "server.log"

    @property
    def version(self) -> str:
        """Version of the programs a start would use, such as `18.6`."""
        return find_binaries(self.pg_bin).version

    @property
    def address(self) -> ServerAddress:
        """Where the server listens when it runs."""
        return server_address(self.data_dir)

    def url(self, database: str) -> URL:
        """SQLAlchemy URL (psycopg 3) of `database` as the superuser."""
        address = self.address
        if address.socket_folder is None:
            return URL.create("postgresql+psycopg", SUPERUSER, address.password, address.host, address.port, database)
        query = {"host": address.host, "port": str(address.port)}
        return URL.create("postgresql+psycopg", SUPERUSER, database=database, query=query)

    def is_running(self) -> bool:
        """Whether the server answers, be it that it is still starting."""
        return self._ping() in (pq.Ping.OK, pq.Ping.REJECT)

    def ensure(self) -> None:
        """Have the server accept connections when this returns: initialise and start it where needed.

        Cheap and without a lock when it already runs. Any number of processes may call it at once.
        Raises EmbeddedServerError (or another UserError) with the reason when it cannot be started.
        """
        if self._ping() is pq.Ping.OK:
            return
        with self._lock():
            if self._ping() is pq.Ping.OK:
                return
            data = self.data_dir
            self._refuse_foreign_cluster(data)
            account = server_account(data)
            binaries = reachable_binaries(find_binaries(self.pg_bin), account, data.parent)
            if (data / "PG_VERSION").exists():
                refuse_other_major(data, binaries)
            else:
                initialise(data, binaries, account)
            self._start(data, binaries, account)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and wait for it; nothing happens where it does not run.

        `smart` waits for clients to leave, `fast` rolls back and disconnects them, `immediate` skips the checkpoint.
        """
        if not self.home.exists() or not os.path.lexists(self.data_dir):
            return
        with self._lock():
            data = self.data_dir
            self._refuse_foreign_cluster(data)
            # Without this question pg_ctl would send its signal to whoever holds the recorded process id now.
            if running_postmaster(data) is None:
                return
            account = server_account(data)
            binaries = reachable_binaries(find_binaries(self.pg_bin), account, data.parent)
            self._pg_ctl_stop(data, binaries, account, mode)
            sockets = self.address.socket_folder
            if sockets is not None and sockets != data:
                with suppress(OSError):  # next time it is made again
                    sockets.rmdir()

    def _root(self) -> Path:
        if os.path.lexists(self.home / "pgdata"):
            return self.home
        closed = CLOSED_HOMES / hashlib.sha256(os.fsencode(os.path.realpath(self.home))).hexdigest()[:16]
        if os.path.lexists(closed / "pgdata"):
            return closed
        there = next(folder for folder in (self.home, *self.home.parents) if folder.exists())
        return self.home if server_account(self.home / "pgdata").reaches(there) else closed

    def _ping(self) -> pq.Ping:
        address = self.address
        question = make_conninfo(host=address.host, port=address.port, user=SUPERUSER, dbname="postgres")
        # The compiled psycopg answers with a plain number.
        return pq.Ping(pq.PGconn.ping(make_conninfo(question, connect_timeout=5).encode()))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the cluster's file lock; makes `home` first."""
        import fasteners

        with _threads:
            try:
                self.home.mkdir(parents=True, exist_ok=True)
                root = self._root()
                if root != self.home:
                    root.mkdir(parents=True, exist_ok=True)
                    for folder in (CLOSED_HOMES, root):
                        folder.chmod(0o755)  # ours, whatever the umask
                # As root in a person's own home: leave nothing behind that they cannot open.
                lock = self.home / ".postgres.lock"
                if not lock.exists():
                    lock.touch(mode=0o600)
                    if hasattr(os, "geteuid") and os.geteuid() == 0:
                        owner = self.home.stat()
                        os.chown(lock, owner.st_uid, owner.st_gid, follow_symlinks=False)
                lock.open("a").close()
            except OSError as error:
                raise EmbeddedServerError(
                    f'TT_HOME "{self.home}" cannot be used ({error.strerror}: "{error.filename}"): '
                    "set TT_HOME to a folder you can write to, or set TT_DATABASE_URL."
                ) from None
            with fasteners.InterProcessLock(lock):
                yield

    def _refuse_foreign_cluster(self, data: Path) -> None:
        if os.path.lexists(data) and not os.access(data, os.R_OK | os.W_OK | os.X_OK):
            raise EmbeddedServerError(
                f'The cluster in "{data}" belongs to the account {data.owner()}: run as root or as {data.owner()}, '
                "or set TT_HOME to a folder of your own."
            )

    def _start(self, data: Path, binaries: Binaries, account: ServerAccount) -> None:
        address = prepare_address(data, account, self.tcp_port)
        write_settings(data, address, account, self.tcp_port)
        sweep(data)
        log = data / "server.log"
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_name("server.log.1"))
        began = time.monotonic()
        swept = False
        while True:
            disown_reused_pids(data, address.socket_folder, account)
            seen = log.stat().st_size if log.exists() else 0
            output = self._pg_ctl(data, binaries, account, "-l", f"{data.name}/{log.name}", "start")
            if self._comes_up(until=began + _START_SECONDS):
                return
            with log.open("rb") if log.exists() else open(os.devnull, "rb") as file:  # noqa: PTH123
                file.seek(seen)
                news = file.read().decode("utf-8", "replace")
            waited = time.monotonic() - began
            if "already exists" in news and running_postmaster(data) is not None and not swept:
                # It ran before us but nobody can talk to it: its socket was swept out of the temporary folder.
                swept = True
                self._pg_ctl_stop(data, binaries, account, "fast")
            elif not _outlived_backends(news) or waited > _START_SECONDS:
                raise EmbeddedServerError(
                    f'PostgreSQL {binaries.version} does not start on "{data}": '
                    f'{telling_line(news or output)} See "{log}".'
                )
            elif waited > _ORPHAN_PATIENCE:
                quit_orphans(data)
            time.sleep(0.25)

    def _comes_up(self, until: float) -> bool:
        """Wait while the server says that it is starting; whether it then accepts connections."""
        while (state := self._ping()) is pq.Ping.REJECT and time.monotonic() < until:
            time.sleep(0.1)
        return state is pq.Ping.OK

    def _pg_ctl_stop(self, data: Path, binaries: Binaries, account: ServerAccount, mode: StopMode) -> None:
        output = self._pg_ctl(data, binaries, account, "-m", mode, "stop")
        if (pid := running_postmaster(data)) is not None:
            raise EmbeddedServerError(
                f'The server on "{data}" (process {pid}) does not stop: {telling_line(output)} '
                "Disconnect its clients or stop with mode immediate."
            )

    def _pg_ctl(self, data: Path, binaries: Binaries, account: ServerAccount, *arguments: str) -> str:
        """Run `pg_ctl -w` on the cluster and return its output; its exit code matters less than what then answers."""
        with tempfile.TemporaryFile() as output:  # a pipe would stay open as long as the server lives
            subprocess.run(
                [binaries.program("pg_ctl"), "-w", "-t", "60", "-D", data.name, *arguments],
                cwd=data.parent,
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                start_new_session=True,
                **account.process_options(),
            )
            output.seek(0)
            return output.read().decode("utf-8", "replace")


def _outlived_backends(news: str) -> bool:
    """Whether a start failed only because processes of a killed server are still there."""
    return "pre-existing shared memory block" in news or "already exists" in news
