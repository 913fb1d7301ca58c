"""A disk that runs full under the server: what was stored stays, the line says why, and room mends it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tt_assets.commands.mistakes import describe_database
from tt_assets.errors import UserError
from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.tables import TABLES
from tt_assets_tests import agreement
from tt_assets_tests.conftest import PG_BIN, reachable_folder
from tt_assets_tests.faults.content import content

pytestmark = pytest.mark.slow

MEGABYTES = 160


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of some megabytes; skipped where nobody may mount one."""
    folder = reachable_folder()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no disk of its own: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        EmbeddedServer(folder / "home", PG_BIN).stop("immediate")
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_costs_the_write_and_nothing_else(small_disk: Path, sample_bars) -> None:
    from tt_assets.notebook.replaced_slices import session_cells

    server = EmbeddedServer(small_disk / "home", PG_BIN)
    server.ensure()
    database = Database.on(server)
    database.create_databases()
    schema.upgrade(database)
    store = SliceStore(database, TABLES["tt_prices"])
    little = sample_bars[sample_bars["timestamp"] < "2005-06-01"]
    store.write(session_cells(little), little)
    before = content(database)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - 300_000))
    with pytest.raises((psycopg.Error, UserError)) as refused:
        store.write(session_cells(sample_bars), sample_bars)
    said = describe_database(refused.value) or str(refused.value)
    assert "\n" not in said
    assert "disk is full" in said or "went away" in said or isinstance(refused.value, UserError), said
    ballast.unlink()
    server.ensure()  # where the server could not write its log either, it has stopped
    assert content(database) == before
    store.write(session_cells(sample_bars), sample_bars)
    assert content(database)["tt_prices"][0] == len(sample_bars)
    agreement.rows_and_ledger_agree(database)
