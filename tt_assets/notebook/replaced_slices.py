"""Replacing single rows of a market table: those the given rows name, and no other of the same cell.

An upsert takes the locks and the path of any other write of a slice, DELETE and COPY in one transaction,
only that what is deleted are rows by key; of a table that is stored by the bar, whole bars are replaced by what they
hold then. A run of Dagster that writes the same instruments waits, and is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from psycopg import Connection, sql
from sqlalchemy.dialects.postgresql.base import PGDialect

from tt_assets.grid.keys import CellKey, key_texts
from tt_assets.grid.partition_slices import selection_of
from tt_assets.grid.partitions import market_grid
from tt_assets.notebook.reports_to_dagster import reporting
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import Provenance, write_entries
from tt_assets.postgres.slice_encoding import NOTHING, IntArray, SliceEncoder
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.postgres.standing import standing
from tt_assets.runtime.current import current_settings
from tt_assets.settings import Settings
from tt_assets.tables import TABLES, BarForm, content_columns, key_columns

SESSION = np.timedelta64(1, "D")
BARS_AT_ONCE = 50_000
BY_HAND = "written by hand"
"""Outcome of a slice with rows written by hand."""


@dataclass(frozen=True)
class Upserted:
    """What an upsert left.

    Parameters
    ----------
    table : that it was of.
    rows : written. cells : instrument × session touched. reported : partitions that Dagster was told of.
    inserted : rows that were not there before. changed : that held other values. deleted : that are gone.
    """

    table: str
    rows: int
    cells: int
    reported: int
    inserted: int = 0
    changed: int = 0
    deleted: int = 0


@dataclass(frozen=True, eq=False)
class KeyedStore(SliceStore):
    """Replaces the rows whose keys are given instead of whole cells.

    What a slice was computed from stays on record: the rows beside those by hand still were.

    Parameters
    ----------
    replaced : the table's key columns, a row per key that is deleted.
    slices : the partitions these rows are in; the ledger enters them as they stand then.
    counts : filled by `write` as of `Upserted`: inserted, changed, deleted.
    """

    replaced: pd.DataFrame = field(kw_only=True)
    slices: Selection = field(kw_only=True)
    counts: dict[str, int] = field(kw_only=True, default_factory=dict)

    def _replace(
        self, connection: Connection, selection: Selection, rows: pd.DataFrame, cells: IntArray, encoder: SliceEncoder
    ) -> None:
        # Into the mapping that is there, since the class is frozen: a second reading of `write` counts anew.
        if self.form:
            self.counts.update(self._replace_in_bars(connection, self.form, selection, rows))
            return
        gone = self._delete_by_key(connection)
        self.counts.update(_counted(gone, rows, key_columns(self.table)))
        self._copy(connection, encoder.pieces())

    def _delete_by_key(self, connection: Connection) -> pd.DataFrame:
        """Delete the rows whose keys are given and return them."""
        names = key_columns(self.table)
        types = [self.table.columns[name].type.compile(dialect=PGDialect()) for name in names]
        columns = content_columns(self.table)
        gone = connection.execute(
            sql.SQL(
                "DELETE FROM {table} AS t USING unnest({arrays}) AS k({names}) WHERE {equal} RETURNING {all}"
            ).format(
                table=sql.Identifier(self.table.name),
                arrays=sql.SQL(", ").join(sql.SQL(f"%s::{kind}[]") for kind in types),
                names=sql.SQL(", ").join(map(sql.Identifier, names)),
                equal=sql.SQL(" AND ").join(
                    sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("k", name)) for name in names
                ),
                all=sql.SQL(", ").join(sql.Identifier("t", name) for name in columns),
            ),
            [_plain(self.replaced[name]) for name in names],
        ).fetchall()
        return pd.DataFrame(gone, columns=list(columns))

    def _replace_in_bars(
        self, connection: Connection, form: BarForm, selection: Selection, rows: pd.DataFrame
    ) -> dict[str, int]:
        """Replace the bars of the selection by what they hold without the given keys and with `rows`; counts."""
        keys = list(key_columns(self.table))
        given = self.replaced.astype({"timestamp": "datetime64[ns]"})[keys]
        rows = rows.astype({"timestamp": "datetime64[ns]"})
        taken = []
        for bars in selection.parts(BARS_AT_ONCE):
            stored = self._stored_bars(connection, form, bars)
            named = stored[keys].merge(bars.keep(given), how="left", on=keys, indicator=True)["_merge"] == "both"
            taken.append(stored[named.to_numpy()])
            connection.execute(self._delete(bars))
            held = self._encoder_of(connection, bars, [stored[~named.to_numpy()], bars.keep(rows)])
            self._copy(connection, held.pieces())
        return _counted(pd.concat(taken, ignore_index=True), rows, keys)

    def _enter(
        self,
        connection: Connection,
        selection: Selection,
        encoder: SliceEncoder,
        fetch: int,
        provenance: Provenance,
        restated: Mapping[str, Mapping[str, Any]],
    ) -> None:
        # What was written is a part of these slices, so what they hold now is asked of the server.
        found = {
            str(CellKey(day, name)): (rows, digest)
            for day, name, rows, digest in standing(connection, self.table.name, self.slices)
        }
        held = [found.get(key, (0, NOTHING)) for key in self.slices.keys]
        outcomes = dict.fromkeys(self.slices.keys, BY_HAND)
        write_entries(
            connection,
            self.table.name,
            self.slices,
            [rows for rows, _ in held],
            [digest for _, digest in held],
            fetch,
            replace(provenance, outcomes=outcomes),
            restated,
        )


def upsert(
    database: Database,
    table: str,
    rows: pd.DataFrame,
    replaced: pd.DataFrame,
    *,
    report: bool,
    touched: pd.DataFrame | None = None,
) -> Upserted:
    """Replace rows by their keys, and report the partitions they are in.

    Parameters
    ----------
    database : where the table is.
    table : a market table.
    rows : what is written, checked already.
    replaced : the key columns, timestamps as datetime64[ns] sessions; a key without a row in `rows` becomes no row.
    report : whether Dagster is told.
    touched : instrument and timestamp of the cells that were given, where that is more than those of `replaced`.
    """
    named = replaced if touched is None else touched
    if named.empty:
        return Upserted(table, 0, 0, 0)
    cells = session_cells(named)
    with reporting(database, wanted=report) as reporter:
        slices = partitions_of(named, current_settings())
        store = KeyedStore(database, TABLES[table], replaced=replaced, slices=slices)
        written = store.write(cells, rows)
        reported = reporter.market(table, [CellKey.parse(key) for key in slices.keys]) if reporter else 0
    return Upserted(table, written.total, len(cells), reported, **store.counts)


def _counted(before: pd.DataFrame, after: pd.DataFrame, keys: Sequence[str]) -> dict[str, int]:
    """How many rows are new, hold other values than before, and are gone."""
    stamps = {"timestamp": "datetime64[us]"}
    both = before.astype(stamps).merge(
        after.astype(stamps), on=list(keys), how="outer", suffixes=("_was", "_now"), indicator=True
    )
    values = [name for name in after.columns if name not in keys]
    kept = both[both["_merge"] == "both"]
    differs = np.zeros(len(kept), dtype=bool)
    for name in values:
        differs |= (kept[f"{name}_was"] != kept[f"{name}_now"]).to_numpy(dtype=bool)
    return {
        "inserted": int((both["_merge"] == "right_only").sum()),
        "changed": int(differs.sum()),
        "deleted": int((both["_merge"] == "left_only").sum()),
    }


def session_cells(rows: pd.DataFrame) -> Selection:
    """The cells (instrument × session) of `rows`, sorted."""
    cells = rows[["instrument", "timestamp"]].drop_duplicates().sort_values(["instrument", "timestamp"])
    starts = cells["timestamp"].to_numpy(dtype="datetime64[ns]")
    instruments = cells["instrument"].to_numpy(dtype=object)
    keys = key_texts(np.datetime_as_string(starts, unit="D").tolist(), instruments)
    return Selection(tuple(keys), instruments, starts, (starts + SESSION).astype("datetime64[ns]"))


def partitions_of(rows: pd.DataFrame, settings: Settings) -> Selection:
    """The partitions of the market tables that rows are in.

    Parameters
    ----------
    rows : instrument, timestamp (sessions).
    settings : how wide a partition is.
    """
    days = rows["timestamp"].to_numpy().astype(f"datetime64[{settings.date_grain.unit}]").astype("datetime64[D]")
    touched = pd.DataFrame({"date": days.astype(str), "instrument": rows["instrument"].to_numpy()}).drop_duplicates()
    return selection_of(market_grid(settings), key_texts(touched["date"], touched["instrument"]))


def _plain(column: pd.Series) -> list[object]:
    return column.to_numpy(dtype="datetime64[us]").tolist() if column.dtype.kind == "M" else column.tolist()
