"""Telling Dagster what was written by hand: a materialization without a run for every partition touched.

A report describes the partition as it stands in the table now, row count and digest, exactly as the IO
manager would have described it, so that a cell filled by hand and one filled by a run compare equal. Events go in
batches; thousands of cells take a second or two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy.exc import SQLAlchemyError

from tt_assets.errors import UserError
from tt_assets.grid.keys import CellKey, key_texts
from tt_assets.grid.partition_slices import selection_of
from tt_assets.grid.partitions import Window, market_grid
from tt_assets.grid.run_tags import DATA_VERSION
from tt_assets.market.watchlist import read_watchlist
from tt_assets.notebook.engines import same_database
from tt_assets.notebook.reading import ACTION_SCHEME, read_from
from tt_assets.postgres.copy_format import conform, copy_rows
from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.runs._dagster import report_runless
from tt_assets.runtime.current import current_settings
from tt_assets.settings import DateGrain, Settings, database_of
from tt_assets.tables import EPISODE_TABLES, TABLES, content_columns

OUTCOME = "written by hand"
SURROGATES = ("episode_id", "portfolio_id", "policy_id")
"""Keys that differ from one writing of the same content to the next."""


class NotReported(UserError):
    """The rows are written, but Dagster's storage did not take the report."""


@dataclass(frozen=True)
class CellReport:
    """A partition as it stands in its table: rows and digest of their content."""

    key: CellKey
    rows: int
    digest: str


@dataclass(frozen=True)
class Reporter:
    """Reports partitions of the tables in `database` to `instance`."""

    instance: dg.DagsterInstance
    database: Database
    settings: Settings

    def market(self, table: str, rows: pd.DataFrame) -> list[CellReport]:
        """Report the partitions of a market table that `rows` (instrument, timestamp) touch."""
        days = rows["timestamp"].to_numpy().astype("datetime64[D]")
        if self.settings.date_grain is DateGrain.MONTH:
            days = days.astype("datetime64[M]").astype("datetime64[D]")
        touched = pd.DataFrame({"date": days.astype(str), "instrument": rows["instrument"].to_numpy()})
        touched = touched.drop_duplicates()
        selection = selection_of(market_grid(self.settings), key_texts(touched["date"], touched["instrument"]))
        reports = cell_reports(SliceStore(self.database, TABLES[table]), selection)
        self.tell(table, reports, "instrument")
        return reports

    def window(self, start: date, traded: str) -> None:
        """Report the partition of a walk-forward window in every episode table that has rows of it."""
        for table in EPISODE_TABLES:
            report = window_report(self.database, table, Window(start, traded))
            if report.rows:
                self.tell(table, [report], "traded")

    def tell(self, table: str, reports: Sequence[CellReport], dimension: str) -> None:
        """Store one materialization per report; an instrument Dagster has no key for yet gets one in `dimension`."""
        with _explained(table):
            names = sorted({report.key.instrument for report in reports})
            self.instance.add_dynamic_partitions(dimension, names)  # those that are there already stay as they are
            report_runless(self.instance, [_materialization(table, report) for report in reports])


@contextmanager
def reporting(database: Database, *, wanted: bool) -> Iterator[Reporter | None]:
    """A reporter for rows of `database`, or None.

    None where no report is wanted, where Dagster was never set up under TT_HOME, and where `database` is not the one of
    the settings: rows of another database are no partition of this instance. Raises DatabaseUnreachable, before
    anything is written, where Dagster's storage does not answer.
    """
    settings = current_settings()
    own = database_of(settings)
    if not wanted or not (settings.home / "dagster" / "dagster.yaml").is_file() or not same_database(database, own):
        yield None
        return
    from tt_assets.runtime.platform import Platform, adopt, open_instance

    adopt(Platform(settings, own, read_watchlist(settings.watchlist)))
    own.check_dagster()  # Dagster itself would try for seconds and then raise a traceback
    with open_instance() as instance:
        yield Reporter(instance, database, settings)


def cell_reports(store: SliceStore, selection: Selection) -> list[CellReport]:
    """The cells of `selection` as they stand in the table, digests as the IO manager takes them."""
    rows = conform(store.read(selection), store.table, content_columns(store.table))
    cells = selection.cell_of(rows["instrument"], rows[store.date_column])
    bounds = np.searchsorted(cells, np.arange(len(selection) + 1)).tolist()
    encoded = copy_rows(rows, store.table)
    return [
        CellReport(
            CellKey.parse(key),
            bounds[place + 1] - bounds[place],
            _digest(encoded.between(bounds[place], bounds[place + 1])),
        )
        for place, key in enumerate(selection.keys)
    ]


def window_report(database: Database, table: str, window: Window) -> CellReport:
    """The finished episodes of a window as they stand in an episode table; the digest leaves surrogate keys out."""
    rows = read_from(database, table, [window.traded], window.start, window.end - timedelta(days=1))
    if table == "tt_episode":
        rows = rows.rename(columns={"traded": "instrument"})
    if ACTION_SCHEME in rows.columns:
        rows = rows.drop(columns="strategy").rename(columns={ACTION_SCHEME: "strategy"})
    columns = tuple(name for name in content_columns(TABLES[table]) if name not in SURROGATES)
    encoded = copy_rows(conform(rows, TABLES[table], columns), TABLES[table])
    key = CellKey.parse(window.key())
    return CellReport(key, len(rows), _digest(encoded.payload))


def _materialization(table: str, report: CellReport) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        dg.AssetKey(table),
        partition=str(report.key),
        metadata={
            "dagster/table_name": table,
            "dagster/row_count": report.rows,
            "digest": report.digest,
            "outcome": OUTCOME,
        },
        tags={**report.key.event_tags(), DATA_VERSION: report.digest},
    )


def _digest(content: memoryview) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@contextmanager
def _explained(table: str) -> Iterator[None]:
    """A database error of Dagster's storage as one line; its text names no password."""
    from dagster_postgres.utils import DagsterPostgresException

    failure: str | None = None
    try:
        yield
    except (SQLAlchemyError, DagsterPostgresException) as error:
        reason = error.__cause__ if isinstance(error, DagsterPostgresException) and error.__cause__ else error
        failure = str(getattr(reason, "orig", None) or reason).splitlines()[0]
    if failure:
        raise NotReported(
            f"{table}: the rows are written, but Dagster's storage did not take the report ({failure}); "
            "write them again to have them reported."
        )
