"""Fixtures for every test: one embedded server for the whole session, and no setting of the developer's own."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import hypothesis
import pandas as pd
import psycopg
import pytest

from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.runs import session_names
from tt_assets.settings import SAMPLE_BARS, Settings
from tt_assets.tables import metadata
from tt_assets_tests import agreement

# How long an example takes is the machine's affair; speed is measured by the benchmarks.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_pg_bin = os.environ.get("TT_PG_BIN")  # the whole test session on other programs: TT_PG_BIN=… pytest
PG_BIN = Path(_pg_bin) if _pg_bin else None


END_TO_END = "tt_assets_tests/e2e/"
SHARE_A_MACHINE = tuple(END_TO_END + module for module in ("test_browser.py", "test_dashboard.py", "test_ui.py"))
"""Modules that use one served machine, so one worker has to run them."""


OF_A_SERVER = {"embedded_server", "server_home", "postgres", "machine", "served"}
OF_A_TRAINING = {"training_panel", "small_policy", "sample_window", "judgement"}
"""Fixtures by which a test is known to need a server, or to train agents; so do all of these folders."""
FOLDERS_OF_A_SERVER = ("assets", "automation", "benchmarks", "commands", "e2e", "faults", "notebook", "runs", "runtime")
FOLDERS_OF_A_TRAINING = ("trading/agents", "trading/episodes", "trading/judging", "report")


def _mark(item: pytest.Item) -> None:
    """Mark what the inner loop leaves out."""
    fixtures = set(getattr(item, "fixturenames", ()))
    for mark, known, folders in (
        ("server", OF_A_SERVER, FOLDERS_OF_A_SERVER),
        ("training", OF_A_TRAINING, FOLDERS_OF_A_TRAINING),
    ):
        places = tuple(f"tt_assets_tests/{folder}/" for folder in folders)
        if fixtures & known or item.nodeid.startswith(places):
            item.add_marker(mark)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by need; where workers share the tests out, the long ones come first: nobody waits for them at the end."""
    for item in items:
        _mark(item)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(END_TO_END))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Workers take whole modules: what a module's fixtures make is made once."""
    from xdist.scheduler import LoadFileScheduling

    class ByMachine(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return END_TO_END if nodeid.startswith(SHARE_A_MACHINE) else super()._split_scope(nodeid)

    config.option.loadscopereorder = False
    return ByMachine(config, log)


WITHOUT_CLUSTER = "WITHOUT_CLUSTER"
"""Variable of a CI whose mirror lacks packages of requirements/cluster.txt; `.ci/run` sets it then, and nobody else."""


def judges_a_change() -> bool:
    """Whether this is a CI, where a test that cannot run has failed."""
    return os.environ.get("CI", "").lower() in ("true", "1")


def need_browser() -> None:
    """Skip the module that asks where there is no browser; where every change is judged, it fails instead."""
    from tt_assets_tests.benchmarks.browser import NoBrowser, find

    try:
        find()
    except NoBrowser as missing:
        if judges_a_change():
            raise
        pytest.skip(str(missing), allow_module_level=True)


def need_cluster(*modules: str) -> list[ModuleType]:
    """What `make cluster` brings, imported; where it was not run, skip the module that asks.

    Where every change is judged a module that is not there is an error, unless its packages cannot be had
    (WITHOUT_CLUSTER).
    """
    try:
        return [importlib.import_module(module) for module in modules]
    except ModuleNotFoundError as missing:
        if judges_a_change() and not os.environ.get(WITHOUT_CLUSTER):
            raise
        pytest.skip(f"{missing}; `make cluster` brings it", allow_module_level=True)


def reachable_folder() -> Path:
    """A new empty folder that the server's account can enter; pytest's own are closed to everyone but root."""
    folder = Path(tempfile.mkdtemp(prefix="tt-test-"))
    folder.chmod(0o755)
    return folder


@contextmanager
def settings_of_a_test(home: Path, **variables: str) -> Iterator[None]:
    """Settings that come from `home` and `variables` alone: neither TT_* variables nor a .env of the developer's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith("TT_")]:
            patch.delenv(name)
        patch.setitem(Settings.model_config, "env_file", None)
        patch.setenv("TT_HOME", str(home))
        patch.setenv(session_names.NAME, "")  # a command called within the process sets it for good
        patch.delenv(session_names.NAME)
        patch.setenv("TT_PICTURES", "0")  # drawing takes longer than the rest of most runs here
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(tmp_path: Path) -> Iterator[None]:
    """Neither TT_* variables nor a .env reach a test; TT_HOME is its own, and a server in it ends with the test."""
    with settings_of_a_test(tmp_path / "home"):
        yield
    if not (tmp_path / "home").exists():
        return  # nobody made a home, so there is no server; asking for its folder costs processes
    server = EmbeddedServer(tmp_path / "home", PG_BIN)
    if server.data_dir.exists():
        if server.is_running():
            server.stop("immediate")
        shutil.rmtree(server.data_dir, ignore_errors=True)


@pytest.fixture
def server_home() -> Iterator[Path]:
    """An empty home for an embedded server of the test's own, stopped and removed afterwards."""
    folder = reachable_folder()
    try:
        yield folder / "home"
    finally:
        EmbeddedServer(folder / "home", PG_BIN).stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[EmbeddedServer]:
    """The session's server, running. Its disk may forget: tests of durability use `server_home`."""
    folder = reachable_folder()
    server = EmbeddedServer(folder / "home", PG_BIN)
    try:
        server.ensure()
        with psycopg.connect(Database.on(server, "postgres").adbc_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(embedded_server: EmbeddedServer) -> Database:
    """The `tt` database on the session's server, with the schema of this package."""
    database = Database.on(embedded_server)
    schema.upgrade(database)
    return database


def empty(database: Database) -> None:
    """Take every row out of all thirteen tables and those beside them; ids begin at 1."""
    with database.connect() as connection:
        connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE")


@pytest.fixture
def empty_tables(postgres: Database) -> Database:
    """The `tt` database with all thirteen tables and the ledger empty and their ids beginning at 1."""
    empty(postgres)
    return postgres


@pytest.fixture(scope="session")
def _sample_bars() -> pd.DataFrame:
    bars = pd.read_csv(SAMPLE_BARS, parse_dates=["timestamp"])
    return bars.astype({"timestamp": "datetime64[ns]"})


@pytest.fixture
def sample_bars(_sample_bars: pd.DataFrame) -> pd.DataFrame:
    """The bundled bars as in tt_prices: instrument, timestamp (datetime64[ns]), open, high, low, close, volume."""
    return _sample_bars.copy()


@pytest.fixture
def settings_environment(postgres: Database, tmp_path: Path) -> dict[str, str]:
    """The environment of a process of the test's own, which finds the session's `tt` database."""
    return os.environ | {
        "TT_HOME": str(tmp_path / "home"),
        "TT_PICTURES": "0",
        "TT_DATABASE_URL": postgres.adbc_uri(),
        "TT_PG_BIN": _pg_bin or "",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


@pytest.fixture
def connected(empty_tables: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The empty `tt` database, which the settings of this process now name."""
    monkeypatch.setenv("TT_DATABASE_URL", empty_tables.adbc_uri())
    return empty_tables


INSTRUMENTS_OF_SAMPLE = ("AAPL", "GOOG", "IBM", "MSFT", "FB")


@pytest.fixture
def dagster_instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory that knows the sample's instruments and its portfolio."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("instrument", list(INSTRUMENTS_OF_SAMPLE))
        instance.add_dynamic_partitions("traded", [*INSTRUMENTS_OF_SAMPLE, "sample"])
        yield instance


@pytest.fixture
def postgres_instance(connected: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The platform's own Dagster instance on the session's server, without a run; `connected` holds its tables."""
    from tt_assets.runtime.platform import READY, environment, open_instance, prepare, sync_watchlist

    settings = Settings()
    monkeypatch.setenv(READY, "")
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)  # so that what `prepare` sets is undone
    connected.create_databases()
    platform = prepare(settings, sync=False)
    with open_instance() as instance:
        instance.wipe()
    sync_watchlist(platform)
    with open_instance() as instance:
        yield instance
        agreement.check(instance, connected, grain=Settings().date_grain)
