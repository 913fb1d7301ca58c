"""The storage of the platform's Dagster instance: Dagster's own on PostgreSQL, with a faster way in for batches.

Only how a batch of materializations reaches PostgreSQL is another. Dagster writes a batch of a thousand events as one
INSERT of seven thousand parameters, which SQLAlchemy compiles anew every time. Here the driver writes the same rows
into the same tables, events and their tags in one transaction: 21 CPU seconds for 100,000 events instead of 41.

`dagster.yaml` names the class, so every process of the platform has it, and nothing of Dagster's is replaced. This is
the door (see `runs._dagster`) to what dagster-postgres keeps to itself, apart from the other one because it brings
SQLAlchemy and alembic with it. It waits for a batch that Dagster stores without compiling it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import dagster as dg
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from psycopg2.extras import execute_values
from sqlalchemy import Connection

EVENTS, TAGS = "event_logs", "asset_event_tags"
EVENT_COLUMNS = ("run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition")
TAG_COLUMNS = ("event_id", "asset_key", "key", "value", "event_timestamp")


class EventLog(PostgresEventLogStorage):
    """Dagster's event log on PostgreSQL, which stores batches of materializations as said above.

    Should a batch fail, Dagster stores its events one by one, as it always does.
    """

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store `events` at once; those that are not all materializations in Dagster's own way."""
        kinds = {event.get_dagster_event().event_type for event in events}
        if kinds != {dg.DagsterEventType.ASSET_MATERIALIZATION} or not self.has_table(TAGS):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        with self.index_transaction() as connection:
            values = [tuple(map(row.__getitem__, EVENT_COLUMNS)) for row in rows]
            ids = _insert(connection, EVENTS, EVENT_COLUMNS, values)
            tags = [
                (number, row["asset_key"], key, value, row["timestamp"])
                for number, event, row in zip(ids, events, rows, strict=True)
                for key, value in self._tags_for_asset_event(event).items()
            ]
            if tags:
                _insert(connection, TAGS, TAG_COLUMNS, tags)
            self._store_asset_event(connection, events[-1], ids[-1])


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's storage on PostgreSQL with `EventLog` as its event log. Configured as Dagster's own is."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._event_log_storage = EventLog(self.postgres_url, self.should_autocreate_tables)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> PostgresStorage:
        """The storage that `dagster.yaml` describes."""
        return cls(
            postgres_url=config_value["postgres_url"],
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )


def _insert(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Insert `rows`; their ids in the same order."""
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES %s RETURNING id"
    with closing(connection.connection.cursor()) as cursor:
        return [number for (number,) in execute_values(cursor, statement, rows, page_size=len(rows), fetch=True)]
