"""What the page of a table's asset shows besides pictures: the table as a whole, and the latest rows of the run.

Dagster's page shows the event that came last, of whatever partition that was. So the last event of a run says what the
table holds by now, all partitions of it, and the rows shown with it are those of the run's latest session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd

from tt_assets.errors import counted
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import extent
from tt_assets.tables import TABLES

PREVIEWED = 10
"""Rows of a preview."""

FIRST = ("timestamp", "window_start", "episode_id", "instrument")
"""Columns that stand in front, in this order: when, of which episode, of what."""

LEFT_OUT = ("weights", "portfolio_id")
"""Bytes, and a key that means nothing without another table; its episode and session stand there."""


def whole_table(database: Database, table: str) -> dict[str, Any]:
    """The whole of a table in one entry: rows, span of the partitions that have any, and when it was last written."""
    found = extent(database, table)
    if not found.rows:
        return {"whole_table": dg.MetadataValue.text("no rows")}
    written = f", last load {found.written_at:%Y-%m-%d %H:%M} UTC" if found.written_at else ""
    rows, partitions = counted(found.rows, "row"), counted(found.slices, "partition")
    words = f"{rows}, {found.first} to {found.last}, {partitions} with rows{written}"
    return {"whole_table": dg.MetadataValue.text(words)}


def preview(table: str, frame: pd.DataFrame, rows: int = PREVIEWED) -> dict[str, Any]:
    """The latest rows as a table a person can read in the UI: date and episode in front, whatever the columns are."""
    known = [*FIRST, *TABLES[table].columns.keys()]
    columns: Sequence[str] = [name for name in dict.fromkeys(known) if name in frame.columns and name not in LEFT_OUT]
    latest = frame.loc[:, columns]
    moment = next((name for name in ("timestamp", "window_start") if name in columns), None)
    if moment is not None:
        latest = latest.sort_values(moment, kind="stable", ascending=False)
    shown = latest.head(rows)
    for name in shown.columns:
        if pd.api.types.is_datetime64_any_dtype(shown[name]) and (shown[name] == shown[name].dt.normalize()).all():
            shown = shown.assign(**{name: shown[name].dt.strftime("%Y-%m-%d")})
    return {"preview": dg.MetadataValue.md(shown.to_markdown(index=False) if len(shown) else "no rows")}
