"""A write is encoded piece by piece while the server stores it; rows and digests do not show where it was cut."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tt_assets.postgres import slice_encoding
from tt_assets.postgres.copy_format import HEADER, TRAILER
from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_encoding import changed_cells
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.tables import TABLES, content_columns

FEATURES = TABLES["tt_features"]
DAYS = [datetime(2012, 5, day) for day in (14, 15, 16, 17, 18)]
NAMES = ["A", "BRK B", "ZZ", "Ünï"]  # ascending by code point


@pytest.fixture
def features(empty_tables: Database) -> SliceStore:
    return SliceStore(empty_tables, FEATURES)


def grid() -> Selection:
    day = timedelta(days=1)
    return Selection.of({f"{start:%Y-%m-%d}|{name}": (name, start, start + day) for name in NAMES for start in DAYS})


def some_features(seed: int = 0) -> pd.DataFrame:
    """Between none and six features a cell, sorted by key."""
    random = np.random.default_rng(seed)
    rows = [
        (name, day, f"feature_{number}", random.normal())
        for name in NAMES
        for day in DAYS
        for number in range(random.integers(0, 7))
    ]
    return pd.DataFrame(rows, columns=list(content_columns(FEATURES))).astype({"timestamp": "datetime64[ns]"})


def servers_own_digest(database: Database, name: str, day: datetime) -> str:
    """Digest of the bytes the server itself writes for the rows of one cell."""
    statement = (
        f"COPY (SELECT {', '.join(content_columns(FEATURES))} FROM tt_features WHERE instrument = '{name}' "
        f"AND timestamp = '{day}' ORDER BY feature) TO STDOUT (FORMAT BINARY)"
    )
    with database.connect() as connection, connection.cursor().copy(statement) as copy:
        stream = b"".join(bytes(part) for part in copy)
    return hashlib.blake2b(stream[len(HEADER) : -len(TRAILER)], digest_size=16).hexdigest()


@pytest.mark.parametrize("rows_at_once", [1, 2, 7, 10_000])
def test_wherever_a_write_is_cut_rows_and_digests_are_those_of_each_cell(features, monkeypatch, rows_at_once):
    monkeypatch.setattr(slice_encoding, "ROWS_ENCODED_AT_ONCE", rows_at_once)
    frame, cells = some_features(), grid()
    written = features.write(cells, frame.sample(frac=1, random_state=0))
    assert 0 in written.rows
    assert written.total == len(frame)
    by_cell = frame.groupby(["instrument", "timestamp"]).size()
    for name, start, rows, digest in zip(cells.instruments, cells.starts, written.rows, written.digests, strict=True):
        assert rows == by_cell.get((name, pd.Timestamp(start)), 0)
        assert digest == servers_own_digest(features.database, name, pd.Timestamp(start).to_pydatetime())
    pd.testing.assert_frame_equal(features.read(cells), frame)


def test_rows_come_sorted_by_key_in_whatever_order_they_lie_on_disk(features):
    frame = some_features()
    for name in reversed(NAMES):
        for day in reversed(DAYS):
            cell = {f"{day:%Y-%m-%d}|{name}": (name, day, day + timedelta(days=1))}
            inside = (frame["instrument"] == name) & (frame["timestamp"] == day)
            features.write(Selection.of(cell), frame[inside])
    pd.testing.assert_frame_equal(features.read(grid()), frame)


def test_columns_are_those_asked_for_in_their_order_though_the_rows_are_sorted_by_others(features):
    frame = some_features()
    features.write(grid(), frame.iloc[::-1])
    read = features.read(grid(), columns=["value", "feature"])
    assert list(read.columns) == ["value", "feature"]
    pd.testing.assert_frame_equal(read, frame[["value", "feature"]])


def test_rows_that_cannot_be_encoded_leave_the_table_as_it_was(features, monkeypatch):
    features.write(grid(), some_features(seed=1))
    before = features.read(grid())
    real, calls = slice_encoding.copy_rows, []

    def broken_later(rows, table):
        calls.append(len(rows))
        if len(calls) == 3:
            raise MemoryError("no room for this piece")
        return real(rows, table)

    monkeypatch.setattr(slice_encoding, "ROWS_ENCODED_AT_ONCE", 2)
    monkeypatch.setattr(slice_encoding, "copy_rows", broken_later)
    with pytest.raises(MemoryError, match="no room"):
        features.write(grid(), some_features(seed=2))
    pd.testing.assert_frame_equal(features.read(grid()), before)


@pytest.mark.parametrize("seed", range(20))
def test_the_cells_that_changed_are_those_whose_rows_differ(seed):
    """Against a comparison cell by cell of what the digests are taken of: the bytes."""
    random = np.random.default_rng(seed)
    awkward = np.array([0.0, -0.0, np.nan, 1.0, 5e-324])

    def rows(count: int) -> tuple[pd.DataFrame, np.ndarray]:
        cells = np.sort(random.choice(40, size=count, replace=False) // 2)
        stamps = pd.to_datetime([DAYS[place % 5] for place in range(count)])
        values = awkward[random.integers(0, 5, size=count)]
        text = np.array(["a", "b", None], dtype=object)[random.integers(0, 3, size=count)]
        return pd.DataFrame({"timestamp": stamps, "close": values, "note": text}), cells

    before, stood_in = rows(int(random.integers(0, 40)))
    if seed % 2:
        after, stand_in = rows(int(random.integers(0, 40)))
    else:
        after, stand_in = before.copy(), stood_in
        after.loc[random.random(len(after)) < 0.1, "close"] = 1.0
    after["timestamp"] = after["timestamp"].astype("datetime64[us]")

    def bits(frame: pd.DataFrame, cells: np.ndarray, cell: int) -> list[tuple]:
        of_it = frame[cells == cell]
        close = [None if np.isnan(value) else value.tobytes() for value in of_it["close"].to_numpy()]
        note = [None if pd.isna(value) else value for value in of_it["note"]]
        return list(zip(of_it["timestamp"].astype("datetime64[ns]"), close, note, strict=True))

    told = changed_cells(20, before, stood_in, after, stand_in)
    assert told.tolist() == [bits(before, stood_in, cell) != bits(after, stand_in, cell) for cell in range(20)]
