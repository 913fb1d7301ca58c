"""A million bars into tt_prices and out again, by everyone who could do it.

Contenders take turns within a round, in an order that turns with the rounds, and a ratio is taken inside a round. A
machine that gets slower halfway then slows both sides. The table is empty and its changes are on disk before each turn,
except for the replacing write, whose point is that the rows are there already. Partitions are months, as a market of a
million bars has them; what a partition a bar costs, with its entry in the ledger, is told beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from psycopg import sql
from sqlalchemy import select

from tt_assets.postgres.arrow_frames import read_frame
from tt_assets.postgres.copy_format import HEADER, TRAILER, conform, copy_rows
from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.tables import TABLES, content_columns, key_columns
from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say, spread
from tt_assets_tests.benchmarks.home import (
    BenchmarkFailed,
    cells_by_month,
    names,
    session_list,
    synthetic_bars,
    temporary_home,
)

TABLE = TABLES["tt_prices"]
COLUMNS = content_columns(TABLE)
READ_AT_ONCE = 1 << 20
PARAMETERS_OF_A_STATEMENT = 65_535

WRITE, REPLACE, READ = "SliceStore.write", "SliceStore.write over stored rows", "SliceStore.read"
RESTATE = "SliceStore.write over rows that all differ"
TEXT, BINARY = "COPY of a text file", "COPY of a binary file"
TO_SQL, TO_SQL_MULTI, READ_SQL = "to_sql", "to_sql method='multi'", "read_sql"
ADBC = "ADBC alone"
BY_SESSION = "SliceStore.write, a partition a bar"

AIMS: tuple[tuple[str, str, float | None], ...] = (
    (WRITE, TEXT, 0.6),
    (WRITE, BINARY, 0.85),
    (REPLACE, TEXT, None),
    (REPLACE, BINARY, 0.6),
    (RESTATE, BINARY, None),
    (WRITE, TO_SQL, 12.0),
    (WRITE, TO_SQL_MULTI, 12.0),
    (BY_SESSION, BINARY, None),
    (READ, READ_SQL, 3.0),
    (READ, ADBC, 0.95),
)
"""Who is compared with whom, and the least ratio of their rates; None where the figure is only told."""


@dataclass(frozen=True)
class Scale:
    """How much is measured. to_sql is slow and gets the first `to_sql_rows` rows only; its rate stands for all."""

    instruments: int = 500
    sessions: int = 2_000
    to_sql_rows: int = 50_000
    rounds: int = 5

    @property
    def rows(self) -> int:
        return self.instruments * self.sessions


@dataclass(frozen=True)
class Contender:
    """One way of doing the job: `turn` moves `rows` rows."""

    name: str
    rows: int
    turn: Callable[[], object]
    empties: bool = True


def measure(scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Rates of every contender, then the ratios of the rates with their aims."""
    scale = scale or Scale()
    with temporary_home() as home:
        say(f"making {scale.rows:,} bars and a server for them")
        database = home.empty_tables()
        bars = synthetic_bars(scale.instruments, scale.sessions)
        contenders = _contenders(database, bars, scale, home.folder)
        rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        yield {"rows": scale.rows, "load": load(), "server": home.server.version}
        for number in range(scale.rounds):
            for contender in _in_turn(contenders, number):
                if contender.empties:
                    _empty(database)
                seconds = _seconds(contender.turn)
                rates[contender.name].append(contender.rows / seconds)
                say(f"round {number + 1} of {scale.rounds}: {contender.name} {contender.rows / seconds:,.0f} rows/s")
                _expect(database, contender.rows)
    for contender in contenders:
        told = spread(rates[contender.name], 0)
        yield {"contender": contender.name, "rows": contender.rows, "rows_per_second": told}
    yield from ratios(rates)


def ratios(rates: Mapping[str, list[float]]) -> Iterator[dict[str, Any]]:
    """The compared pairs of AIMS from each contender's rate per round, divided round by round."""
    for ours, theirs, aim in AIMS:
        values = [mine / other for mine, other in zip(rates[ours], rates[theirs], strict=True)]
        told = spread(values) if aim is None else held_against(Aim.AT_LEAST, aim, values)
        yield {"ratio": f"{ours} / {theirs}", **told}


def _contenders(database: Database, bars: pd.DataFrame, scale: Scale, folder: Path) -> list[Contender]:
    store = SliceStore(database, TABLE)
    cells, sessions = cells_by_month(scale.instruments, scale.sessions), _sessions(scale)
    text, binary = folder / "bars.copy.txt", folder / "bars.copy.bin"
    _write_text(bars, text)
    encoded = copy_rows(conform(bars, TABLE, COLUMNS), TABLE)
    binary.write_bytes(b"".join((HEADER, encoded.between(0, len(bars)), TRAILER)))
    few = bars.iloc[: scale.to_sql_rows]
    others = bars.assign(volume=bars["volume"] + 1.0)
    at_once = PARAMETERS_OF_A_STATEMENT // len(COLUMNS)
    # A reader stands after a writer of all rows: it needs them there and leaves them as they are.
    return [
        Contender(TO_SQL, len(few), lambda: _to_sql(database, few)),
        Contender(TO_SQL_MULTI, len(few), lambda: _to_sql(database, few, method="multi", chunksize=at_once)),
        Contender(TEXT, len(bars), lambda: _copy(database, text, "TEXT")),
        Contender(WRITE, len(bars), lambda: store.write(cells, bars)),
        Contender(BY_SESSION, len(bars), lambda: store.write(sessions, bars)),
        Contender(BINARY, len(bars), lambda: _copy(database, binary, "BINARY")),
        Contender(READ, len(bars), lambda: _whole(store.read(cells), bars), empties=False),
        Contender(READ_SQL, len(bars), lambda: _whole(_read_sql(database, bars), bars), empties=False),
        Contender(ADBC, len(bars), lambda: _whole(_read_adbc(database), bars), empties=False),
        Contender(REPLACE, len(bars), lambda: store.write(cells, bars), empties=False),
        Contender(RESTATE, len(bars), lambda: store.write(cells, others), empties=False),
    ]


def _in_turn(contenders: list[Contender], number: int) -> list[Contender]:
    """The writers into an empty table in an order that turns with the round, then those who need the rows there."""
    writers = [contender for contender in contenders if contender.empties]
    others = [contender for contender in contenders if not contender.empties]
    shift = number % len(writers)
    turned = writers[shift:] + writers[:shift]
    # The last writer before the readers must have written everything.
    whole = next(i for i in reversed(range(len(turned))) if turned[i].rows == max(c.rows for c in contenders))
    turned.append(turned.pop(whole))
    readers, replacing = others[:-2], others[-2:]
    return turned + (readers if number % 2 else readers[::-1]) + replacing


def _sessions(scale: Scale) -> Selection:
    """One cell per instrument and session, the finest grain there is."""
    days = session_list(scale.sessions).to_pydatetime()
    ends = [day + timedelta(days=1) for day in days]
    labels = [f"{day:%Y-%m-%d}" for day in days]
    return Selection.of(
        {
            f"{label}|{name}": (name, day, end)
            for name in names(scale.instruments)
            for label, day, end in zip(labels, days, ends, strict=True)
        }
    )


def _write_text(bars: pd.DataFrame, path: Path) -> None:
    text = StringIO()
    bars.to_csv(text, sep="\t", header=False, index=False, columns=list(COLUMNS))
    path.write_text(text.getvalue(), encoding="utf-8")


def _copy(database: Database, path: Path, form: str) -> None:
    statement = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT {form})").format(
        table=sql.Identifier(TABLE.name),
        columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        form=sql.SQL(form),  # type: ignore[arg-type]
    )
    with database.connect() as connection, path.open("rb") as file, connection.cursor().copy(statement) as copy:
        while piece := file.read(READ_AT_ONCE):
            copy.write(piece)


def _to_sql(database: Database, bars: pd.DataFrame, **how: Any) -> None:
    with database.engine().begin() as connection:
        bars.to_sql(TABLE.name, connection, if_exists="append", index=False, **how)


def _read_sql(database: Database, bars: pd.DataFrame) -> pd.DataFrame:
    """The same rows in the same order, as a person would ask pandas for them."""
    rows = TABLE.columns
    query = (
        select(*(rows[name] for name in COLUMNS))
        .where(rows["timestamp"].between(bars["timestamp"].min(), bars["timestamp"].max()))
        .order_by(*(rows[name] for name in key_columns(TABLE)))
    )
    with database.engine().connect() as connection:
        return pd.read_sql(query, connection)


def _read_adbc(database: Database) -> pd.DataFrame:
    """The same rows as the driver gives them: no span, no order, no check."""
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    return read_frame(database, sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(TABLE.name)))


def _whole(read: pd.DataFrame, bars: pd.DataFrame) -> None:
    if len(read) != len(bars) or read["timestamp"].dtype != bars["timestamp"].dtype:
        raise BenchmarkFailed(f"{len(read):,} rows read where {len(bars):,} are stored; the figures mean nothing.")


def _empty(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("TRUNCATE {}, tt_slice").format(sql.Identifier(TABLE.name)))
        connection.execute("CHECKPOINT")


def _expect(database: Database, rows: int) -> None:
    counted = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(TABLE.name))
    with database.connect() as connection:
        (stored,) = connection.execute(counted).fetchone() or (0,)
    if stored != rows:
        raise BenchmarkFailed(f"{stored:,} rows stored where {rows:,} were written; the figures mean nothing.")


def _seconds(turn: Callable[[], object]) -> float:
    began = time.perf_counter()
    turn()
    return time.perf_counter() - began
