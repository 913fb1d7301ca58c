"""One walk-forward window of the bundled bars in Postgres, and its books recomputed in SQL from orders and prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd

from tt_assets.notebook.replaced_slices import session_cells
from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets.settings import SAMPLE_BARS
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES, TABLES, metadata
from tt_assets_tests.conftest import INSTRUMENTS_OF_SAMPLE, settings_of_a_test
from tt_assets_tests.dagster_runs import query

AGENTS = ["tt_policy", *EPISODE_TABLES]
WINDOW = "2012-07-01"
CENT = 0.005
"""Half a cent, USD: what two amounts that are equal to the cent differ by at most."""


@dataclass(frozen=True)
class Rolled:
    """The tables, and the Dagster instance that made them."""

    database: Database
    instance: dg.DagsterInstance


@contextmanager
def sample_window(database: Database, home: Path, traded: Sequence[str], **settings: str) -> Iterator[Rolled]:
    """Market tables of the year up to the end of `WINDOW`, the keys `traded`, no agent yet, under `settings`."""
    with (
        settings_of_a_test(home, TT_DATABASE_URL=database.adbc_uri(), **settings),
        dg.DagsterInstance.ephemeral() as instance,
    ):
        with database.connect() as connection:
            connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE")
        instance.add_dynamic_partitions("instrument", list(INSTRUMENTS_OF_SAMPLE))
        instance.add_dynamic_partitions("traded", list(traded))
        fill_market(database, "2011-09-01", "2012-09-28")
        yield Rolled(database, instance)


def fill_market(database: Database, first: str, last: str) -> None:
    """The three market tables of all instruments, written by their stores: the runs of Dagster are tested elsewhere."""
    bars = pd.read_csv(SAMPLE_BARS, parse_dates=["timestamp"]).query("timestamp >= @first and timestamp <= @last")
    features = load_features(())
    values = compute_features(bars, features)
    scores = compute_signals(bars, values, load_signals((), features))
    for table, frame in zip(MARKET_TABLES, (bars, values, scores), strict=True):
        SliceStore(database, TABLES[table]).write(session_cells(frame), frame)


def gaps_of_net_worth(database: Database) -> list[tuple[str, float, int]]:
    """Per row of tt_portfolio: who acted, net worth less cash and positions at the close (USD), positions counted."""
    return query(
        database,
        "SELECT e.strategy || ' ' || e.seed, p.net_worth - p.cash_balance - sum(h.quantity * b.close), count(*) "
        "FROM tt_portfolio p JOIN tt_holdings h ON h.portfolio_id = p.id JOIN tt_episode e ON e.id = p.episode_id "
        "JOIN tt_prices b ON b.instrument = h.instrument AND b.timestamp = p.timestamp "
        "GROUP BY p.id, p.net_worth, p.cash_balance, e.strategy, e.seed",
    )


def gaps_of_cash(database: Database) -> list[tuple[str, float]]:
    """Per row of tt_portfolio: who acted, change of cash less what the orders of the session paid (USD)."""
    return query(
        database,
        """
        WITH flow AS (
            SELECT episode_id, timestamp,
                   sum(CASE order_type WHEN 'buy' THEN -size ELSE size END * price) - sum(commission) AS flow
            FROM tt_order GROUP BY episode_id, timestamp
        ), cash AS (
            SELECT episode_id, timestamp,
                   cash_balance
                   - coalesce(lag(cash_balance) OVER (PARTITION BY episode_id ORDER BY timestamp), 10000) AS d
            FROM tt_portfolio
        )
        SELECT e.strategy || ' ' || e.seed, cash.d - coalesce(flow.flow, 0)
        FROM cash LEFT JOIN flow USING (episode_id, timestamp) JOIN tt_episode e ON e.id = cash.episode_id
        """,
    )


def gaps_of_positions(database: Database) -> list[tuple[str, float]]:
    """Per position or order of a session: who acted, change of the position less the fills (shares)."""
    return query(
        database,
        """
        WITH held AS (
            SELECT p.episode_id, p.timestamp, h.instrument, h.quantity
                   - coalesce(
                         lag(h.quantity) OVER (PARTITION BY p.episode_id, h.instrument ORDER BY p.timestamp), 0
                     ) AS d
            FROM tt_holdings h JOIN tt_portfolio p ON p.id = h.portfolio_id
        ), filled AS (
            SELECT episode_id, timestamp, instrument, CASE order_type WHEN 'buy' THEN size ELSE -size END AS d
            FROM tt_order
        ), moved AS (
            SELECT episode_id, coalesce(held.d, 0) - coalesce(filled.d, 0) AS gap
            FROM held FULL JOIN filled USING (episode_id, timestamp, instrument)
        )
        SELECT e.strategy || ' ' || e.seed, moved.gap FROM moved JOIN tt_episode e ON e.id = moved.episode_id
        """,
    )
