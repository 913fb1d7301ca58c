"""Writers racing over random overlaps with readers beside them: the latest reading of every cell wins, whole."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pandas as pd
import pytest

from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import Provenance, digest_number, next_fetch
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.tables import TABLES
from tt_assets_tests import agreement
from tt_assets_tests.dagster_runs import query

pytestmark = pytest.mark.slow

DAYS = [datetime(2012, 5, 1) + timedelta(days=number) for number in range(12)]
NAMES = ("AA", "BB", "CC", "DD")
FEATURES = ("one", "three", "two")
WRITERS, WRITES, READERS = 4, 12, 3


def selection(draws: random.Random) -> Selection:
    """A rectangle of cells, anywhere."""
    first = draws.randrange(len(DAYS) - 1)
    last = draws.randrange(first + 1, len(DAYS))
    chosen = draws.sample(NAMES, draws.randint(1, len(NAMES)))
    return Selection.of(
        {f"{day:%Y-%m-%d}|{name}": (name, day, day + timedelta(days=1)) for day in DAYS[first:last] for name in chosen}
    )


def frame(cells: Selection, version: float) -> pd.DataFrame:
    """Every feature of every cell with the value `version`."""
    rows = [
        (name, pd.Timestamp(start), feature, version)
        for name, start in zip(cells.instruments, cells.starts, strict=True)
        for feature in FEATURES
    ]
    return pd.DataFrame(rows, columns=["instrument", "timestamp", "feature", "value"]).astype(
        {"timestamp": "datetime64[ns]"}
    )


@pytest.mark.parametrize("seed", range(3))
def test_writers_race_and_no_reader_sees_a_mix(empty_tables: Database, seed: int) -> None:
    store = SliceStore(empty_tables, TABLES["tt_features"])
    wanted: dict[str, tuple[int, float]] = {}
    noting, over = threading.Lock(), threading.Event()

    def write(writer: int) -> None:
        draws = random.Random(100 * seed + writer)
        for number in range(WRITES):
            cells, version = selection(draws), float(1_000 * writer + number)
            fetch = next_fetch(empty_tables)
            with noting:
                for key in cells.keys:
                    wanted[key] = max(wanted.get(key, (0, 0.0)), (fetch, version))
            over.wait(draws.uniform(0, 0.02))  # the earlier reader may be the later writer
            store.write(cells, frame(cells, version), Provenance(fetch=fetch))

    def read(reader: int) -> int:
        draws, seen = random.Random(7_000 + 100 * seed + reader), 0
        while not over.is_set():
            rows, slices = store.read_with_digests(selection(draws))
            held = rows.groupby(["instrument", "timestamp"])["value"].agg(["nunique", "count"])
            assert (held["nunique"] == 1).all(), "a cell of two versions"
            assert (held["count"] == len(FEATURES)).all(), "half a cell"
            assert len(held) == len(slices), "rows and ledger of two moments"
            seen += len(rows)
        return seen

    with ThreadPoolExecutor(WRITERS + READERS) as pool:
        readers = [pool.submit(read, reader) for reader in range(READERS)]
        writers = [pool.submit(write, writer) for writer in range(WRITERS)]
        for writer in writers:
            writer.result()
        over.set()
        assert sum(reader.result() for reader in readers) > 0
    found = query(
        empty_tables, "SELECT timestamp::date::text || '|' || instrument, max(value) FROM tt_features GROUP BY 1"
    )
    assert dict(found) == {key: version for key, (_, version) in wanted.items()}
    agreement.rows_and_ledger_agree(empty_tables)
    numbers = query(empty_tables, "SELECT digest, rows FROM tt_slice")
    assert all(digest_number(digest, rows) for digest, rows in numbers)
