"""Slices of which nobody knows what they were computed from: taken as computed from what there is now.

Those of a database that had no ledger, and what people write by hand. From then on a change of what lies
before them is seen. A slice that is written meanwhile says itself what it was computed from, and is left alone.
"""

from __future__ import annotations

from tt_assets.automation.agents import AgentState
from tt_assets.automation.market import FEATURES_TABLE, SCORES, MarketState
from tt_assets.automation.partition_states import Axes, TableCells
from tt_assets.grid.sliding import Numbers
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import adopt_reads


def adopt(database: Database, market: MarketState, agents: AgentState) -> int:
    """Enter today's sums for the features, scores and episodes without one; returns how many."""
    found = sum(
        _adopt(database, table, market.axes, market.cells[table], market.sums(table))
        for table in (FEATURES_TABLE, SCORES)
    )
    return found + _adopt(database, "tt_episode", agents.cells.axes, agents.cells["tt_episode"], agents.sums)


def _adopt(database: Database, table: str, axes: Axes, cells: TableCells, sums: Numbers) -> int:
    if cells.ledger is None:
        return 0
    unknown = cells.ledger.held & ~cells.ledger.knows_reads
    if not unknown.any():
        return 0
    rows, columns = unknown.nonzero()
    return adopt_reads(
        database,
        table,
        [axes.dates[row] for row in rows.tolist()],
        [axes.instruments[column] for column in columns.tolist()],
        sums[rows, columns].tolist(),
    )
