"""Slices of a table: replaced whole in one transaction, read in bulk.

A write is DELETE and COPY under advisory locks in one READ COMMITTED transaction; cells of prices that hold these very
rows already stay as they are. A reader sees the old version or the new one, never a mix; a killed writer leaves the old
one; writers of the same instrument wait for each other. The locks are taken in sorted order, so two writers never wait
for each other in a circle.
Rows are checked before the transaction begins and encoded while the server stores the ones before them. What every cell
holds then is entered in the ledger by the same transaction, and a reader can have the digests of what it reads from the
same snapshot as the rows.
Whoever reads and writes has long rows before him also where a table is stored by the bar (see `bar_rows`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql
from sqlalchemy import Table

from tt_assets.errors import UserError
from tt_assets.grain import DateGrain
from tt_assets.postgres import bar_rows
from tt_assets.postgres.arrow_frames import Query, in_pandas, read_tables
from tt_assets.postgres.copy_format import conform, copy_rows
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import Provenance, digests_in, draw_fetch, newer_slices, ranges_of, write_entries
from tt_assets.postgres.locks import lock_instruments
from tt_assets.postgres.patience import patient
from tt_assets.postgres.restated import restated_cells
from tt_assets.postgres.slice_encoding import (
    IntArray,
    SliceEncoder,
    changed_cells,
    copy_into,
    rank,
    strictly_increasing,
)
from tt_assets.postgres.slices import Selection
from tt_assets.tables import BarForm, content_columns, key_columns

WEEKEND = timedelta(days=4)
"""Gaps between cells up to here are looked through for digests as well; what they hold is dropped."""


class DuplicateRows(UserError):
    """A frame holds two rows with one key."""


@dataclass(frozen=True)
class Written:
    """What a write left in the table.

    Parameters
    ----------
    rows, digests : of cell i of the selection; the digest is of the rows in COPY form, in key order.
    seconds : what the write took.
    restated : key of each cell whose stored values became others → what changed (see `postgres.restated`); empty where
        no causes were given.
    overtaken : keys of the cells that a later reading had written before: they hold its rows, which is what `rows` and
        `digests` tell of them.
    """

    rows: tuple[int, ...]
    digests: tuple[str, ...]
    seconds: float
    restated: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)
    overtaken: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Rows of all cells."""
        return sum(self.rows)


@dataclass(frozen=True)
class SliceStore:
    """Reads and replaces slices of one table.

    Parameters
    ----------
    database : where the table is.
    table : one of `tables.TABLES`.
    date_column : the column that the cells' time ranges bound.
    """

    database: Database
    table: Table
    date_column: str = "timestamp"

    @property
    def form(self) -> BarForm | None:
        """How the table is stored where that is by the bar."""
        return self.table.info.get("bars")

    @patient
    def write(self, selection: Selection, frame: pd.DataFrame, provenance: Provenance | None = None) -> Written:
        """Replace the rows of every selected cell by those of `frame`; cells without rows become empty.

        Parameters
        ----------
        selection : the cells to replace.
        frame : the table's content columns in any order, timestamps datetime64 market time without zone; further
            columns are left out, NaN is NULL. Rows are stored sorted by the table's key.
        provenance : where the rows come from; entered in the ledger by the same transaction. A cell that a later
            reading (see `Provenance.fetch`) has written keeps its rows.

        Returns
        -------
        What each cell holds then.

        Raises
        ------
        FrameMismatch : nothing was changed; a column is missing, of another type, or NaN where the table admits no
            NULL.
        RowsOutsideSlice : nothing was changed; a row falls in no cell of the selection.
        DuplicateRows : nothing was changed; two rows have one key.
        """
        started = time.perf_counter()
        provenance = provenance or Provenance()
        rows = conform(frame, self.table, content_columns(self.table))
        cells = selection.refuse_outsiders(rows, self.table.name, self.date_column)
        rows, cells = self._sorted(rows, cells)
        with self.database.connect() as connection:
            names = bar_rows.name_ids(connection, self.form, rows) if self.form else None
            with connection.transaction():
                lock_instruments(connection, self.table.name, selection.instruments)
                fetch = draw_fetch(connection) if provenance.fetch is None else provenance.fetch
                # A number that was drawn just now is the highest there is.
                newer = newer_slices(connection, self.table.name, selection, fetch) if provenance.fetch else {}
                landing = selection.without(newer)
                if newer:
                    stays = np.isin(np.array(selection.keys, dtype=object), list(newer))[cells]
                    rows, names = rows[~stays], names if names is None else names[~stays]
                    cells = landing.cell_of(rows["instrument"], rows[self.date_column])
                encoder = SliceEncoder(rows, self.table, cells, len(landing), names)
                before = self._replace(connection, landing, rows, cells, encoder)
                restated: Mapping[str, Mapping[str, Any]] = {}
                if before is not None and provenance.causes is not None:
                    restated = restated_cells(self.table, landing, before, rows, provenance.causes)
                self._enter(connection, landing, encoder, fetch, provenance, restated)
        count, digest = encoder.counts(), encoder.digests
        if newer:
            own = {key: (count[place], digest[place]) for place, key in enumerate(landing.keys)}
            own |= {key: (entry.rows, entry.digest) for key, entry in newer.items()}
            count = tuple(own[key][0] for key in selection.keys)
            digest = [own[key][1] for key in selection.keys]
        return Written(count, tuple(digest), time.perf_counter() - started, restated, tuple(newer))

    def read(self, selection: Selection, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """The rows of the selected cells; of a table whose rows are superseded, the current ones.

        Parameters
        ----------
        selection : the cells to read.
        columns : the content columns where it is None.

        Returns
        -------
        Those columns, sorted by the table's key (text by code point); timestamps datetime64[ns], text str, NULL is None
        or NaN. An empty frame of the same columns where there is no row.
        """
        return self._read(selection, columns)[0]

    def read_with_digests(
        self, selection: Selection, columns: Iterable[str] | None = None, *, grain: DateGrain = DateGrain.SESSION
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """As `read`, and the digests of the slices that hold these rows, of the same snapshot.

        Parameters
        ----------
        selection, columns : as of `read`.
        grain : width of a slice: one counts of which only a part was selected.

        Returns
        -------
        The rows, and a frame of date (datetime64), instrument and number (see `ledger.digest_number`); slices without
        rows are left out of it.
        """
        instruments, starts, ends = ranges_of(selection, WEEKEND if grain is DateGrain.SESSION else timedelta(0))
        starts = [grain.key_of(date.fromisoformat(start)).isoformat() for start in starts]
        rows, found = self._read(selection, columns, digests_in(self.table.name, instruments, starts, ends))
        numbers = in_pandas(found)
        return rows, selection.keep(numbers, "date").reset_index(drop=True) if grain is DateGrain.SESSION else numbers

    def _read(
        self, selection: Selection, columns: Iterable[str] | None, *beside: Query
    ) -> tuple[pd.DataFrame, *tuple[pa.Table, ...]]:
        """The rows of a selection in the table's order, and the results of queries beside, of the same snapshot."""
        names = tuple(columns or content_columns(self.table))
        if self.form is None or not set(names) <= {*content_columns(self.table)}:
            rows, *others = read_tables(self.database, [self._query(selection, names), *beside])
            return self._in_order(in_pandas(rows), names), *others
        rows, *others, known = read_tables(
            self.database, [self._bars_query(self.form, selection), *beside, self._names_query]
        )
        long = self._long(bar_rows.stored_bars(rows), in_pandas(known))
        return (long if len(names) == long.shape[1] else long[list(names)]), *others

    def _long(self, bars: bar_rows.Bars, known: pd.DataFrame) -> pd.DataFrame:
        """Rows of bars in long form; `known` is what the catalog says of their names."""
        names = [known[name].to_numpy(dtype=object) for name in known.columns[1:]]
        return bar_rows.long_rows(self.table, bars, known["id"].to_numpy(dtype=np.int64), names)

    def _names_query(self, tables: Sequence[pa.Table]) -> sql.Composed:
        """Query: the names of the bars that were read first."""
        assert self.form is not None  # noqa: S101
        ids = pc.unique(pc.list_flatten(tables[0].column("names"))).to_pylist()
        return bar_rows.catalog_query(self.form, ids)

    def _bars_query(self, form: BarForm, selection: Selection) -> sql.Composed:
        return self._found(form.bars.name, selection, bar_rows.COLUMNS)

    def _query(self, selection: Selection, names: Sequence[str]) -> sql.Composed:
        columns = dict.fromkeys((*names, *key_columns(self.table)))
        return self._found(self.table.name, selection, list(columns))

    def _found(self, table: str, selection: Selection, columns: Sequence[str]) -> sql.Composed:
        """Query: `columns` of the rows of the selection, range by range through the index of instrument and time."""
        ranges = selection.ranges()
        rule = self.table.info.get("current")
        # OFFSET 0 keeps the server from joining by instrument alone, which has every row of an instrument looked at
        # once a range: 45 times as long where weekends part the ranges of three years.
        return sql.SQL(
            "SELECT t.* FROM unnest({instruments}::text[], {starts}::timestamp[], {ends}::timestamp[]) AS s(i, f, u) "
            "CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE instrument = s.i AND {date} >= s.f "
            "AND {date} < s.u{current} OFFSET 0) AS t"
        ).format(
            instruments=sql.Literal(ranges.instruments),
            starts=_array(ranges.starts),
            ends=_array(ranges.ends),
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            table=sql.Identifier(table),
            date=sql.Identifier(self.date_column),
            current=sql.SQL(f" AND {rule}" if rule else ""),
        )

    def _in_order(self, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        keys = key_columns(self.table)
        # The ranges are sorted and the server walks them through the key's index, so rows mostly come in order. Asking
        # it for the order would have it sort them all, on disk, before it sends the first one.
        ranks = [rank(rows[name]) for name in keys]
        if not strictly_increasing(ranks):
            rows = rows.take(np.lexsort(ranks[::-1])).reset_index(drop=True)
        return rows if len(names) == rows.shape[1] else rows[list(names)]

    def _sorted(self, rows: pd.DataFrame, cells: IntArray) -> tuple[pd.DataFrame, IntArray]:
        """Rows and their cells sorted by cell, then key; rows that come in index order cost the server far less."""
        keys = key_columns(self.table)
        ranks = [cells, *(rank(rows[name]) for name in keys)]
        if not strictly_increasing(ranks):
            order = np.lexsort(ranks[::-1])
            rows, ranks = rows.take(order), [rank[order] for rank in ranks]
            repeated = np.logical_and.reduce([rank[1:] == rank[:-1] for rank in ranks])
            if repeated.any():
                first = rows.iloc[1:][repeated].iloc[0]
                raise DuplicateRows(
                    f"{self.table.name}: {int(repeated.sum())} rows repeat a key, the first is "
                    f"{', '.join(str(first[name]) for name in keys)}; keep one row a key."
                )
        return rows, ranks[0]

    def _replace(
        self, connection: Connection, selection: Selection, rows: pd.DataFrame, cells: IntArray, encoder: SliceEncoder
    ) -> pd.DataFrame | None:
        """Leave the selection with `rows` alone; returns what the cells that changed held, None where nobody looked."""
        if "kept_if_equal" in self.table.info:
            for _ in encoder.pieces():
                pass  # for the digests, which are of all rows
            new = self._supersede(connection, selection, rows)
            copy_into(connection, self.table, new.columns, copy_rows(new, self.table).pieces())
            return None
        if self.form:
            connection.execute(self._delete(selection))
            self._copy(connection, encoder.pieces())
            return None
        # Reading takes a third of the time of deleting and writing, and leaves no dead rows behind. Another connection
        # reads: the locks keep every writer away, and this one has changed nothing yet.
        before = selection.keep(self._read(selection, None)[0], self.date_column)
        before, stood_in = self._sorted(before, selection.cell_of(before["instrument"], before[self.date_column]))
        changed = changed_cells(len(selection), before, stood_in, rows, cells)
        had_rows = changed & (np.bincount(stood_in, minlength=len(selection)) > 0)
        if had_rows.any():
            connection.execute(self._delete(selection.where(had_rows)))
        self._copy(connection, encoder.pieces(changed))
        return before[changed[stood_in]]

    def _copy(self, connection: Connection, pieces: Iterable[memoryview]) -> None:
        """Append the rows of an encoder, in the form they are stored in."""
        if self.form:
            copy_into(connection, self.form.bars, bar_rows.COLUMNS, pieces)
        else:
            copy_into(connection, self.table, content_columns(self.table), pieces)

    def _encoder_of(self, connection: Connection, bars: Selection, parts: Sequence[pd.DataFrame]) -> SliceEncoder:
        """The rows of all parts, each in a cell of `bars`, for a table that is stored by the bar."""
        assert self.form is not None  # noqa: S101
        rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        rows, cells = self._sorted(rows, bars.cell_of(rows["instrument"], rows[self.date_column]))
        names = bar_rows.name_ids(connection, self.form, rows)
        return SliceEncoder(rows, self.table, cells, len(bars), names)

    def _stored_bars(self, connection: Connection, form: BarForm, selection: Selection) -> pd.DataFrame:
        """The rows of the selection as the transaction sees them: content columns, sorted."""
        found = connection.cursor(binary=True).execute(self._bars_query(form, selection)).fetchall()
        bars = bar_rows.fetched_bars(found)
        cursor = connection.execute(bar_rows.catalog_query(form, np.unique(bars.names).tolist()))
        return self._long(bars, pd.DataFrame(cursor.fetchall(), columns=["id", *form.named_by]))

    def _delete(self, selection: Selection) -> sql.Composed:
        table = (self.form.bars if self.form else self.table).name
        return sql.SQL("DELETE FROM {table} AS t WHERE t.ctid = ANY(ARRAY({found}))").format(
            table=sql.Identifier(table), found=self._found(table, selection, ["ctid"])
        )

    def _enter(
        self,
        connection: Connection,
        selection: Selection,
        encoder: SliceEncoder,
        fetch: int,
        provenance: Provenance,
        restated: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Enter what was written in the ledger."""
        counts, digests = encoder.counts(), encoder.digests
        write_entries(connection, self.table.name, selection, counts, digests, fetch, provenance, restated)

    def _supersede(self, connection: Connection, selection: Selection, rows: pd.DataFrame) -> pd.DataFrame:
        """Put out of force the rows whose content differs, and return those of `rows` that are still to be copied.

        Rows that other tables point at keep their id while their content is the same, and stay for what points at them
        when another takes their place.
        """
        same = self.table.info["kept_if_equal"]
        identity = [*key_columns(self.table), same]
        stored = connection.execute(self._found(self.table.name, selection, ["id", *identity])).fetchall()
        wanted = {tuple(map(_plain, row)) for row in rows[identity].itertuples(index=False)}
        present = {tuple(row[1:]): row[0] for row in stored}
        doomed = [row_id for content, row_id in present.items() if content not in wanted]
        connection.execute(
            sql.SQL("UPDATE {table} SET superseded_at = now() WHERE id = ANY(%s)").format(
                table=sql.Identifier(self.table.name)
            ),
            [doomed],
        )
        missing = [tuple(map(_plain, row)) not in present for row in rows[identity].itertuples(index=False)]
        return rows[np.array(missing, dtype=bool)]


def _array(moments: Iterable[datetime]) -> sql.Literal:
    """A timestamp array in the server's own notation; psycopg writes and names the type of every element."""
    return sql.Literal(f"{{{','.join(map(str, moments))}}}")


def _plain(value: object) -> object:
    """A pandas scalar as psycopg returns the same value from the server."""
    if isinstance(value, pd.Timestamp):
        return value.date()
    return int(value) if isinstance(value, np.integer) else value
