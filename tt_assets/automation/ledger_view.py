"""The ledger as arrays of dates × instruments: what sensors and `tt status` reckon with.

The whole ledger is read once a process. Afterwards a look asks for the rows of transactions that were not over when it
looked last, which is an index scan of nothing while nothing lands, so six sensors of a tick cost one reading.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd
from psycopg import sql

from tt_assets.automation.axes import Axes, Mask
from tt_assets.grid.sliding import Numbers
from tt_assets.postgres.arrow_frames import read_frames
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import DIGEST_NUMBER
from tt_assets.tables import LEDGER

CATEGORIES = ("table_name", "instrument", "source")
"""Text of few different values."""


@dataclass(frozen=True, eq=False)
class TableLedger:
    """What the ledger says of one table; every array is dates × instruments.

    Parameters
    ----------
    held : slices that were written and hold what they hold, be it no row.
    failed : slices whose wished content could not be made.
    rows : rows of a slice, 0 where it holds none.
    number : what a slice adds to the sum of what is computed from it.
    reads : the sum it was computed from.
    knows_reads : whether that is on record.
    tries : tries in vain on the state `source` (place in `sources`, -1 for none).
    tried_at : end of the last one, seconds since 1970; 0 without one.
    """

    held: Mask
    failed: Mask
    rows: Numbers
    number: Numbers
    reads: Numbers
    knows_reads: Mask
    tries: npt.NDArray[np.int64]
    tried_at: npt.NDArray[np.float64]
    source: npt.NDArray[np.int64]
    sources: tuple[str, ...] = ()

    @classmethod
    def empty(cls, axes: Axes) -> TableLedger:
        """Of a table nothing is known of."""
        shape = axes.none().shape
        flags = {name: np.zeros(shape, dtype=bool) for name in ("held", "failed", "knows_reads")}
        whole = {name: np.zeros(shape, dtype=np.int64) for name in ("rows", "number", "reads", "tries")}
        source = np.full(shape, -1, dtype=np.int64)
        return cls(**flags, **whole, tried_at=np.zeros(shape), source=source)  # type: ignore[arg-type]

    def tries_on(self, source: str) -> npt.NDArray[np.int64]:
        """How often each slice was tried in vain on the state `source`."""
        if source not in self.sources:
            return np.zeros_like(self.tries)
        return np.where(self.source == self.sources.index(source), self.tries, 0)

    def with_rows(self, rows: pd.DataFrame, axes: Axes) -> TableLedger:
        """The same after `rows` of the ledger were read, of which those of other keys are left out."""
        row = axes.days.get_indexer(pd.DatetimeIndex(rows["date"]).as_unit("ns"))
        names = rows["instrument"].array
        place = pd.Index(list(axes.instruments), dtype=object).get_indexer(pd.Index(names.categories, dtype=object))
        column = place[names.codes] if len(place) else np.full(len(rows), -1)
        known = (row >= 0) & (column >= 0)
        at = row[known], column[known]
        changed = {field.name: getattr(self, field.name).copy() for field in fields(self) if field.name != "sources"}
        own = rows[known]
        held = own["rows"].notna().to_numpy()
        changed["held"][at] = held
        changed["failed"][at] = own["failed"].to_numpy()
        changed["rows"][at] = own["rows"].fillna(0).to_numpy(np.int64)
        changed["number"][at] = own["number"].fillna(0).to_numpy(np.int64)
        changed["knows_reads"][at] = own["knows"].to_numpy()
        changed["reads"][at] = own["reads"].to_numpy(np.int64)
        changed["tries"][at] = own["tries"].to_numpy(np.int64)
        changed["tried_at"][at] = own["tried_at"].fillna(0.0).to_numpy(np.float64)
        told = own["source"].array
        sources = [*self.sources, *(name for name in told.categories if name not in self.sources)]
        codes = np.array([*(sources.index(name) for name in told.categories), -1], dtype=np.int64)
        changed["source"][at] = codes[told.codes]
        return TableLedger(**changed, sources=tuple(sources))


@dataclass(frozen=True, eq=False)
class _Seen:
    axes: Axes
    storage: int
    since: int
    tables: Mapping[str, TableLedger]


_seen: dict[tuple[Database, tuple[str, ...]], _Seen] = {}
_reading = threading.Lock()


def read_ledger(database: Database, axes: Axes, tables: Sequence[str]) -> Mapping[str, TableLedger]:
    """What the ledger says of `tables` now. The arrays are shared and must not be changed."""
    key = database, tuple(tables)
    with _reading:
        before = _seen.get(key)
        if before is not None and before.axes != axes:
            before = None
        asked = [_MOMENT, _rows(tables, before.since if before else 0)]
        moment, rows = read_frames(database, asked, categories=CATEGORIES)
        since, storage = int(moment["since"].iloc[0]), int(moment["storage"].iloc[0])
        if before is not None and before.storage != storage:  # emptied or restored: what is gone is told of by no row
            before = None
            (rows,) = read_frames(database, [_rows(tables, 0)], categories=CATEGORIES)
        known = before.tables if before else {table: TableLedger.empty(axes) for table in tables}
        if len(rows):
            of_table = rows["table_name"].to_numpy(dtype=object)
            known = {
                table: known[table].with_rows(own, axes) if len(own := rows[of_table == table]) else known[table]
                for table in tables
            }
        _seen[key] = _Seen(axes, storage, since, known)
        return known


_MOMENT = sql.SQL(
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS since, pg_relation_filenode({})::bigint AS storage"
).format(sql.Literal(LEDGER.name))


def _rows(tables: Sequence[str], since: int) -> sql.Composed:
    return sql.SQL(
        "SELECT s.table_name, s.date, s.instrument, s.rows, " + DIGEST_NUMBER.format("s") + " AS number, "
        "coalesce(s.reads, 0) AS reads, s.reads IS NOT NULL AS knows, s.failure IS NOT NULL AS failed, s.tries, "
        "extract(epoch FROM s.tried_at)::double precision AS tried_at, s.source FROM tt_slice AS s "
        "WHERE s.table_name = ANY({}) AND s.written_in >= {}"
    ).format(sql.Literal(list(tables)), sql.Literal(since))
