"""Slices are replaced whole: over every shape of selection, under racing writers, and under a killed one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tt_assets.postgres.copy_format import FrameMismatch
from tt_assets.postgres.slice_store import DuplicateRows, SliceStore
from tt_assets.postgres.slices import RowsOutsideSlice, Selection
from tt_assets.tables import TABLES

DAYS = [datetime(2012, 5, day) for day in (14, 15, 18, 19, 20, 21, 22)]
"""Of a market that knows no weekend: the 19th and 20th are one, and have rows."""
NAMES = ["A", "AA", "MSFT", "T"]


def select(cells) -> Selection:
    return Selection.of({f"{day:%Y-%m-%d}|{name}": (name, day, day + timedelta(days=1)) for name, day in cells})


def bars(cells, close: float) -> pd.DataFrame:
    cells = list(cells)
    frame = pd.DataFrame({"instrument": [c[0] for c in cells], "timestamp": [pd.Timestamp(c[1]) for c in cells]})
    return frame.assign(open=close, high=close, low=close, close=close, volume=1.0)


@pytest.fixture
def prices(postgres, empty_tables) -> SliceStore:
    return SliceStore(postgres, TABLES["tt_prices"])


SHAPES = {
    "single": [("A", DAYS[0])],
    "line of sessions": [("A", day) for day in DAYS],
    "line of instruments": [(name, DAYS[2]) for name in NAMES],
    "rectangle": [(name, day) for name in NAMES[1:3] for day in DAYS[1:5]],
    "ragged": [("A", DAYS[0]), ("A", DAYS[3]), ("T", DAYS[3]), ("MSFT", DAYS[6]), ("AA", DAYS[1])],
    "before and after a weekend": [("A", DAYS[2]), ("A", DAYS[5])],
}


@pytest.mark.parametrize("shape", SHAPES, ids=list(SHAPES))
def test_a_write_replaces_its_cells_and_leaves_every_other_row_as_it_was(prices, shape):
    everything = {(name, day) for name in NAMES for day in DAYS}
    prices.write(select(everything), bars(everything, close=1.0))
    cells = set(SHAPES[shape])
    prices.write(select(cells), bars(cells, close=2.0))
    with prices.database.connect() as connection:
        stored = connection.execute("SELECT instrument, timestamp, close FROM tt_prices").fetchall()
    assert len(stored) == len(everything)
    assert {(name, day) for name, day, close in stored if close == 2.0} == cells


@pytest.mark.parametrize("shape", SHAPES, ids=list(SHAPES))
def test_rows_that_are_as_they_were_are_not_written_again(prices, shape):
    """The transaction that wrote a row is `xmin`; what is stored, counted and digested is as if all had been."""
    everything = sorted((name, day) for name in NAMES for day in DAYS)
    first = prices.write(select(everything), bars(everything, close=1.0))
    others = set(SHAPES[shape])
    second = bars(everything, close=1.0)
    second.loc[[cell in others for cell in everything], "volume"] = -0.0
    gone = {("T", DAYS[0])} - others
    second = second[[cell not in gone for cell in everything]]

    def rows() -> dict:
        with prices.database.connect() as connection:
            found = connection.execute("SELECT instrument, timestamp, id, xmin::text FROM tt_prices").fetchall()
        return {(name, day): rest for name, day, *rest in found}

    before = rows()
    written = prices.write(select(everything), second)
    after = rows()
    assert after.keys() == set(everything) - gone
    assert {cell for cell in after if after[cell] != before[cell]} == others
    same = [cell not in others | gone for cell in everything]
    assert [one == other for one, other in zip(first.digests, written.digests, strict=True)] == same
    assert written.rows == tuple(int(cell not in gone) for cell in everything)


@pytest.mark.parametrize("shape", SHAPES, ids=list(SHAPES))
def test_a_read_returns_exactly_the_selected_rows_sorted_by_key(prices, shape):
    everything = {(name, day) for name in NAMES for day in DAYS}
    prices.write(select(everything), bars(everything, close=1.0))
    read = prices.read(select(SHAPES[shape]))
    assert list(zip(read["instrument"], read["timestamp"], strict=True)) == sorted(SHAPES[shape])
    assert read["timestamp"].dtype == "datetime64[ns]"


def test_values_come_back_bit_for_bit(prices):
    cells = [("A", day) for day in DAYS]
    awkward = np.array([0.1 + 0.2, 1 / 3, 1e-300, 1.7976931348623157e308, 5e-324, 2**53 + 1.0, np.pi])
    frame = bars(cells, 1.0).assign(open=awkward, high=awkward, low=awkward, close=awkward)
    prices.write(select(cells), frame)
    assert np.array_equal(prices.read(select(cells))["close"].to_numpy().view(np.int64), awkward.view(np.int64))


def test_cells_without_rows_become_empty(prices):
    cells = [("A", day) for day in DAYS]
    prices.write(select(cells), bars(cells, close=1.0))
    written = prices.write(select(cells), bars(cells[:2], close=2.0))
    assert written.rows == (1, 1, 0, 0, 0, 0, 0)
    assert len(prices.read(select(cells))) == 2


def test_the_digest_of_a_cell_says_whether_its_content_changed(prices):
    cells = [("A", DAYS[0]), ("A", DAYS[1])]
    first = prices.write(select(cells), bars(cells, close=1.0))
    same = prices.write(select(cells), bars(cells, close=1.0).iloc[::-1])
    changed = prices.write(select(cells), bars(cells, close=1.0).assign(volume=[1.0, 2.0]))
    assert first.digests == same.digests
    assert changed.digests[0] == first.digests[0]
    assert changed.digests[1] != first.digests[1]


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda frame: frame.assign(close=np.nan), FrameMismatch),
        (lambda frame: pd.concat([frame, frame]), DuplicateRows),
        (lambda frame: frame.assign(timestamp=frame["timestamp"] + pd.Timedelta(days=30)), RowsOutsideSlice),
        (lambda frame: frame.drop(columns="volume"), FrameMismatch),
    ],
)
def test_a_refused_frame_changes_nothing(prices, spoil, error):
    cells = [("A", day) for day in DAYS]
    prices.write(select(cells), bars(cells, close=1.0))
    with pytest.raises(error):
        prices.write(select(cells), spoil(bars(cells, close=2.0)))
    assert prices.read(select(cells))["close"].tolist() == [1.0] * len(DAYS)


def test_rows_the_server_refuses_change_nothing(prices):
    cells = [("A", DAYS[0])]
    prices.write(select(cells), bars(cells, close=1.0))
    with pytest.raises(Exception, match="tt_prices_order_check"):
        prices.write(select(cells), bars(cells, close=2.0).assign(low=3.0))
    assert prices.read(select(cells))["close"].tolist() == [1.0]


def _write_many(database, version: float, rounds: int) -> None:
    store = SliceStore(database, TABLES["tt_prices"])
    cells = [(name, day) for name in NAMES for day in DAYS]
    for _ in range(rounds):
        store.write(select(cells), bars(cells, close=version))


@pytest.mark.slow
def test_four_writers_racing_for_one_slice_leave_exactly_one_version(prices):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(prices.database, float(v), 25)) for v in (1, 2, 3, 4)]
    for writer in writers:
        writer.start()
    cells = [(name, day) for name in NAMES for day in DAYS]
    versions_seen = set()
    while any(writer.is_alive() for writer in writers):
        read = prices.read(select(cells))
        assert len(read) in (0, len(cells))
        assert len(set(read["close"])) <= 1  # never a mix of two writers
        versions_seen |= set(read["close"])
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    final = prices.read(select(cells))
    assert len(final) == len(cells)
    assert len(set(final["close"])) == 1
    assert versions_seen


KILLED = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    import psycopg
    from tt_assets.settings import Settings, database_of
    from tt_assets.postgres import copy_format, slice_store
    from tt_assets.postgres.database import Database
    from tt_assets.tables import TABLES
    from tt_assets_tests.postgres.test_slice_store import DAYS, NAMES, bars, select

    real = slice_store.copy_into
    def half(connection, table, columns, pieces):
        statement = "COPY tt_prices (instrument, timestamp, open, high, low, close, volume) FROM STDIN (FORMAT BINARY)"
        with connection.cursor().copy(statement) as copy:
            copy.write(copy_format.HEADER)
            (rows,) = pieces
            copy.write(rows[: len(rows) // 2])
            connection.pgconn.flush()
            print("in the middle of COPY", flush=True)
            time.sleep(60)
    slice_store.copy_into = half
    cells = [(name, day) for name in NAMES for day in DAYS]
    store = slice_store.SliceStore(database_of(Settings()), TABLES["tt_prices"])
    store.write(select(cells), bars(cells, 2.0))
    """
)


def test_a_writer_killed_in_the_middle_of_copy_leaves_the_previous_version_visible(prices, settings_environment):
    cells = [(name, day) for name in NAMES for day in DAYS]
    prices.write(select(cells), bars(cells, close=1.0))
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=settings_environment
    )
    assert writer.stdout.readline().strip() == "in the middle of COPY"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert prices.read(select(cells))["close"].tolist() == [1.0] * len(cells)
    deadline = time.monotonic() + 20
    while True:  # the server notices the dead client and lets the locks go
        prices.write(select(cells), bars(cells, close=3.0))
        if prices.read(select(cells))["close"].tolist() == [3.0] * len(cells) or time.monotonic() > deadline:
            break
    assert prices.read(select(cells))["close"].tolist() == [3.0] * len(cells)


def test_rows_that_others_point_at_keep_their_id_while_their_content_is_the_same(postgres, empty_tables):
    policies = SliceStore(postgres, TABLES["tt_policy"], "window_start")
    window = datetime(2012, 4, 1)
    selection = Selection.of({"2012-04-01|A": ("A", window, datetime(2012, 7, 1))})

    def agents(*hashes: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "window_start": pd.Timestamp(window),
                "instrument": "A",
                "seed": range(len(hashes)),
                "weights": [h.encode() for h in hashes],
                "config_json": "{}",
                "sha256": hashes,
            }
        )

    def ids() -> dict[int, int]:
        with postgres.connect() as connection:
            return dict(connection.execute("SELECT seed, id FROM tt_policy WHERE superseded_at IS NULL").fetchall())

    policies.write(selection, agents("x", "y"))
    before = ids()
    policies.write(selection, agents("x", "z"))
    after = ids()
    assert after[0] == before[0]
    assert after[1] != before[1]
    policies.write(selection, agents("x"))
    assert ids() == {0: before[0]}


def test_a_stock_server_has_room_for_the_locks_of_thousands_of_instruments(prices):
    names = [f"I{number:05d}" for number in range(10_000)]
    cells = [(name, DAYS[0]) for name in names]
    assert prices.write(select(cells), bars(cells, close=1.0)).total == len(names)
