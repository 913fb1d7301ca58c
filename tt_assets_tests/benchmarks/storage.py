"""What a bar costs in the three market tables: bytes, and the time of client and server to write and read it.

Every table is written empty, then over what stands there, then read, through the store that the IO managers use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from psycopg import sql

from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets.tables import BAR_FORMS, TABLES
from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say, spread
from tt_assets_tests.benchmarks.home import BenchmarkFailed, cells_by_month, synthetic_bars, temporary_home

BYTES_A_BAR = 900.0
REAPED_AFTER = 0.4
"""Seconds until the server has added the time of a connection that was closed to its own."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    instruments: int = 50
    sessions: int = 2_000
    rounds: int = 3


def measure(scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Processor seconds of each table and job, then the bytes of a bar in all three."""
    scale = scale or Scale()
    with temporary_home() as home:
        say(f"making {scale.instruments * scale.sessions:,} bars, their features and scores")
        database = home.empty_tables()
        frames = _frames(scale)
        cells = cells_by_month(scale.instruments, scale.sessions)
        bars = len(frames["tt_prices"])
        yield {"bars": bars, **{table: len(rows) for table, rows in frames.items()}, "load": load()}
        for table, rows in frames.items():
            spent: dict[str, list[float]] = {"written empty": [], "written over stored rows": [], "read": []}
            for number in range(scale.rounds):
                _empty(database, table)
                for job, seconds in _round(database, table, cells, rows):
                    spent[job].append(seconds)
                say(f"{table}, round {number + 1} of {scale.rounds}")
            for job, values in spent.items():
                yield {"figure": f"{table} {job}, processor seconds of client and server", **spread(values)}
        for table in frames:
            told = round(_bytes(database, table) / bars)
            yield {"figure": f"{table}, bytes a bar after writing over stored rows", "bytes": told}
        for table, rows in frames.items():
            _empty(database, table)
            SliceStore(database, TABLES[table]).write(cells, rows)
        whole = sum(_bytes(database, table) for table in frames) / bars
        yield {"figure": "bytes a bar, three tables with indexes", **held_against(Aim.AT_MOST, BYTES_A_BAR, [whole], 0)}


def _frames(scale: Scale) -> dict[str, pd.DataFrame]:
    bars = synthetic_bars(scale.instruments, scale.sessions)
    features = compute_features(bars, load_features())
    scores = compute_signals(bars, features, load_signals())
    return {"tt_prices": bars, "tt_features": features, "tt_signal_scores": scores}


def _round(database: Database, table: str, cells: Selection, rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    store = SliceStore(database, TABLES[table])
    yield "written empty", _busy(database, lambda: store.write(cells, rows))
    yield "written over stored rows", _busy(database, lambda: store.write(cells, rows))
    read: list[pd.DataFrame] = []
    yield "read", _busy(database, lambda: read.append(store.read(cells)))
    if len(read[0]) != len(rows):
        raise BenchmarkFailed(f"{len(read[0]):,} rows of {table} read where {len(rows):,} are stored.")


def _busy(database: Database, job: Callable[[], object]) -> float:
    server, client = _of_server(database), time.process_time()
    job()
    return time.process_time() - client + _of_server(database) - server


def _of_server(database: Database) -> float:
    """Processor seconds of the server's connections that have ended; 0 where the system does not say."""
    with database.connect() as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    time.sleep(REAPED_AFTER)
    process = Path(folder, "postmaster.pid").read_text("utf-8").split()[0]
    stat = Path("/proc", process, "stat")
    if not stat.exists():
        return 0.0
    figures = stat.read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(figures[13]) + int(figures[14])) / os.sysconf("SC_CLK_TCK")


def _stored_in(table: str) -> list[str]:
    form = BAR_FORMS.get(table)
    return [form.bars.name, form.catalog.name] if form else [table]


def _bytes(database: Database, table: str) -> int:
    with database.connect() as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(%s::text[]) AS name",
            [_stored_in(table)],
        ).fetchone()
    return int(row[0]) if row else 0


def _empty(database: Database, table: str) -> None:
    with database.connect(autocommit=True) as connection:
        relations = sql.SQL(", ").join(map(sql.Identifier, (*_stored_in(table), "tt_slice")))
        connection.execute(sql.SQL("TRUNCATE {}").format(relations))
        connection.execute("CHECKPOINT")
