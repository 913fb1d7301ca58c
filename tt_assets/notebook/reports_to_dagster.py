"""Telling Dagster what was written by hand: a materialization without a run for every partition touched.

A report says of the partition what the ledger says, row count and digest, as the IO manager would have said
it, so that a cell filled by hand and one filled by a run compare equal. Events go in batches; thousands of cells take a
second or two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from tt_assets.errors import UserError
from tt_assets.grid.keys import CellKey
from tt_assets.market.watchlist import read_watchlist
from tt_assets.notebook.engines import same_database
from tt_assets.postgres.database import Database
from tt_assets.runs.telling import report, slices_of
from tt_assets.runtime.current import current_settings
from tt_assets.settings import Settings, database_of
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES


class NotReported(UserError):
    """The rows are written, but Dagster's storage did not take the report."""


@dataclass(frozen=True)
class Reporter:
    """Tells Dagster of partitions, as the ledger says they stand.

    Parameters
    ----------
    instance : that is told.
    database : whose ledger is read.
    settings : of the platform that the instance is of.
    """

    instance: dg.DagsterInstance
    database: Database
    settings: Settings

    def market(self, table: str, keys: Sequence[CellKey]) -> int:
        """Report partitions of a market table; those without rows too, which are empty from now on.

        Parameters
        ----------
        table : a market table.
        keys : of the partitions.

        Returns
        -------
        How many were reported.
        """
        return self._tell(table, keys)

    def window(self, key: CellKey) -> None:
        """Report the partition of a walk-forward window in every episode table that has rows of it."""
        for table in EPISODE_TABLES:
            self._tell(table, [key])

    def _tell(self, table: str, keys: Sequence[CellKey]) -> int:
        with _explained(table):
            slices = [told for told in slices_of(self.database, table, keys) if told.rows or table in MARKET_TABLES]
            report(self.instance, self.database, table, slices)
            return len(slices)


@contextmanager
def reporting(database: Database, *, wanted: bool) -> Iterator[Reporter | None]:
    """A reporter for rows of a database.

    Parameters
    ----------
    database : that is written to.
    wanted : whether a report is.

    Yields
    ------
    None where no report is wanted, where Dagster was never set up under TT_HOME, and where `database` is not the one of
    the settings: rows of another database are no partition of this instance.

    Raises
    ------
    DatabaseUnreachable : Dagster's storage does not answer; before anything is written.
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
