"""A database that says no: every command ends with one line, and the same command does the work once it says yes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
import pytest

from tt_assets.postgres import patience, schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import dates_of, mark_told, record_failures
from tt_assets.postgres.patience import Locked
from tt_assets.postgres.slices import Selection
from tt_assets_tests.commands.conftest import Tt, tt

__all__ = ["tt"]

pytestmark = pytest.mark.slow

CELL = Selection.of({"2012-05-14|AAPL": ("AAPL", datetime(2012, 5, 14), datetime(2012, 5, 15))})


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LOCK_TIMEOUT": 0.5, "PATIENCE": 1.0, "FIRST_LOOK": 0.1, "LOOK_EVERY": 0.1}.items():
        monkeypatch.setattr(patience, name, seconds)


@contextmanager
def locked(database: Database, table: str) -> Iterator[None]:
    """Somebody else's transaction that has `table` for itself."""
    with psycopg.connect(database.adbc_uri(), application_name="somebody's notebook") as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("table", ["tt_prices", "tt_slice", "tt_episode", "alembic_version"])
def test_every_command_names_who_keeps_a_table_to_himself(tt: Tt, connected: Database, table: str) -> None:
    assert tt("status", "--json").code == 0  # what is not there yet is there now
    with locked(connected, table):
        answer = tt("status")
    assert answer.is_one_line_of_advice(), answer
    assert 'application "somebody\'s notebook"' in answer.err
    assert "pg_terminate_backend" in answer.err
    assert tt("status").code == 0


@pytest.mark.parametrize(
    "work",
    [
        lambda database: record_failures(database, "tt_prices", CELL, {"2012-05-14|AAPL": "why"}),
        lambda database: mark_told(database, "tt_prices", CELL, ["00"]),
        schema.upgrade,
        schema.check,
    ],
    ids=["failures", "told", "upgrade", "check"],
)
def test_what_goes_on_behind_a_command_waits_no_longer(connected: Database, work) -> None:
    with connected.connect() as connection:
        connection.execute(
            'INSERT INTO tt_slice (table_name, date, instrument, "fetch", tries, told, written_in) '
            "VALUES ('tt_prices', %s, 'AAPL', 0, 0, false, 0)",
            dates_of(CELL),
        )
    with locked(connected, "tt_slice, alembic_version"), pytest.raises(Locked, match="somebody's notebook"):
        work(connected)
