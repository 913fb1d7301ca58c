"""Bulk reads for assets whose partitions are not cells of the tables they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import LiteralString

import dagster as dg
import pandas as pd
from psycopg import sql

from tt_assets.grain import DateGrain
from tt_assets.postgres.arrow_frames import read_frame
from tt_assets.postgres.database import Database
from tt_assets.postgres.decision_reader import recorded_targets
from tt_assets.postgres.episode_reader import rolled_policies, subject_weights
from tt_assets.postgres.ledger import next_fetch
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.settings import Settings
from tt_assets.tables import TABLES


@dataclass(frozen=True)
class MarketReader:
    """Reads slices, agents and their weights; assets that use it name what they read as dependencies.

    Parameters
    ----------
    database : where the tables are.
    grain : width of the partitions of the market tables.
    """

    database: Database
    grain: DateGrain = DateGrain.SESSION

    def read(self, table: str, instruments: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """Rows of `instruments` from session `first` to `last`, both included, sorted by the table's key."""
        return SliceStore(self.database, TABLES[table]).read(_span(instruments, first, last))

    def read_with_digests(
        self, table: str, instruments: Sequence[str], first: date, last: date
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """As `read`, and the slices that hold any of these sessions (date, instrument, number) in the same snapshot."""
        store = SliceStore(self.database, TABLES[table])
        return store.read_with_digests(_span(instruments, first, last), grain=self.grain)

    def next_fetch(self) -> int:
        """The number of a reading that begins now."""
        return next_fetch(self.database)

    def policies(self, selection: Selection) -> pd.DataFrame:
        """Rows of `tt_policy` in force of the selected windows, with `id`, sorted by window, traded and seed."""
        return self.policies_with_digests(selection)[0]

    def policies_with_digests(self, selection: Selection) -> tuple[pd.DataFrame, pd.DataFrame]:
        """As `policies`, and their slices (date, instrument, number) in the same snapshot."""
        store = SliceStore(self.database, TABLES["tt_policy"], "window_start")
        return store.read_with_digests(selection, [column.name for column in TABLES["tt_policy"].columns])

    def policy(self, number: int) -> pd.DataFrame:
        """The row of `tt_policy` with `id` `number`, in force or not; none where there is no such row."""
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in TABLES["tt_policy"].columns)
        return self._query(
            "SELECT {columns} FROM tt_policy WHERE id = {number}", columns=columns, number=sql.Literal(number)
        )

    def policies_of(self, digests: Sequence[str]) -> pd.DataFrame:
        """Rows of `tt_policy` with one of these sha256, in force or not; one a digest."""
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in TABLES["tt_policy"].columns)
        return self._query(
            "SELECT DISTINCT ON (sha256) {columns} FROM tt_policy WHERE sha256 = ANY({digests}) ORDER BY sha256, id",
            columns=columns,
            digests=sql.Literal(list(digests)),
        )

    def rolled_policies(self, traded: str) -> pd.DataFrame:
        """Rows of `tt_policy` whose agents have a finished episode (see `episode_reader.rolled_policies`)."""
        return rolled_policies(self.database, traded)

    def agent_weights(self, traded: str) -> pd.DataFrame:
        """Recorded target weights of who is judged: timestamp, instrument (CASH too), target_weight."""
        return subject_weights(self.database, traded)

    def recorded_targets(self, windows: Selection) -> pd.DataFrame:
        """Every target recorded of the agents of these windows (see `decision_reader.recorded_targets`)."""
        return recorded_targets(self.database, windows)

    def _query(self, text: LiteralString, **parts: sql.Composable) -> pd.DataFrame:
        return read_frame(self.database, sql.SQL(text).format(**parts))


def _span(instruments: Sequence[str], first: date, last: date) -> Selection:
    start, end = datetime.combine(first, time.min), datetime.combine(last + timedelta(days=1), time.min)
    # One cell an instrument, whatever the partitions are: the store reads ranges.
    return Selection.of({name: (name, start, end) for name in instruments})


def market_reader_resource(settings: Settings) -> dg.ResourceDefinition:
    """The resource `market`: a `MarketReader` on the resource `database`."""
    return dg.ResourceDefinition(
        lambda context: MarketReader(context.resources.database, settings.date_grain),
        required_resource_keys={"database"},
        description="Bulk reads of stored rows.",
    )
