"""The event log of the platform's Dagster instance: Dagster's own on PostgreSQL, with a faster way in for batches.

Only how a batch of materializations reaches PostgreSQL is another. Dagster writes a batch of a thousand events as one
INSERT of seven thousand parameters, which SQLAlchemy compiles anew every time. Here the driver writes the same rows
into the same tables, events and their tags in one transaction: 21 CPU seconds for 100,000 events instead of 41.

`dagster.yaml` names the storage it is part of, so every process has it, and nothing of Dagster's is replaced. This is
the door (see `runs._dagster`) to what dagster-postgres keeps to itself, apart from the other one because it brings
SQLAlchemy and alembic with it. It waits for a batch that Dagster stores without compiling it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import dagster as dg
from dagster_postgres import PostgresEventLogStorage
from dagster_shared.serdes import serialize_value
from psycopg2.extras import execute_values
from sqlalchemy import Connection

from tt_assets.grid.run_tags import DATA_VERSION
from tt_assets.runs.connections import Connecting, Pooled
from tt_assets.runs.event_text import event_texts

EVENTS, TAGS = "event_logs", "asset_event_tags"
EVENT_COLUMNS = ("run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition")
COMPRESSED_FROM = 2_040
"""Characters from which PostgreSQL compresses a row, whatever the table's settings say; 1,700 take more room than that
many, of which half is blank."""
TIMESTAMP, ASSET_KEY = EVENT_COLUMNS.index("timestamp"), EVENT_COLUMNS.index("asset_key")
TAG_COLUMNS = ("event_id", "asset_key", "key", "value", "event_timestamp")


class EventLog(Pooled, PostgresEventLogStorage):
    """Dagster's event log on PostgreSQL, which stores batches of materializations as said above.

    Should a batch fail, Dagster stores its events one by one, as it always does.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        self._tables: set[str] = set()
        super().__init__(*given, **named)

    def _connect(self) -> Connecting:
        # Not `index_connection` alone, which is public: half of the questions do not go through it.
        return self.over(super()._connect)

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table of that name; one that was there stays there, so it is looked for once."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def get_asset_tags_to_index(self, tag_keys: set[str]) -> set[str]:
        """The tags of an event that get a row of their own: its data version.

        Dagster gives the dimensions of its partition one each, too, two thirds of all rows: it looks there for the
        status of partitions that it cannot cache, which those of the platform are not. Tags stay in the event itself.
        """
        return tag_keys & {DATA_VERSION}

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store `events` at once; those that are not all materializations in Dagster's own way."""
        kinds = {event.get_dagster_event().event_type for event in events}
        if kinds != {dg.DagsterEventType.ASSET_MATERIALIZATION} or not self.has_table(TAGS):
            super().store_event_batch(events)
            return
        rows = list(map(self._row, events, event_texts(events, serialize_value)))
        with self.index_transaction() as connection:
            ids = _insert(connection, EVENTS, EVENT_COLUMNS, rows)
            tags = [
                (number, row[ASSET_KEY], key, value, row[TIMESTAMP])
                for number, event, row in zip(ids, events, rows, strict=True)
                for key, value in self._tags_for_asset_event(event).items()
            ]
            if tags:
                _insert(connection, TAGS, TAG_COLUMNS, tags)
            self._store_asset_event(connection, events[-1], ids[-1])

    def _row(self, event: dg.EventLogEntry, text: str) -> tuple[Any, ...]:
        """The columns of a materialization, as `_event_to_row` gives them."""
        told = event.get_dagster_event()
        key = told.asset_key.to_string() if told.asset_key else None
        return (
            event.run_id,
            text.ljust(COMPRESSED_FROM),
            told.event_type_value,
            self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            told.step_key,
            key,
            told.partition or None,
        )


def _insert(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Insert `rows`; their ids in the same order."""
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES %s RETURNING id"
    with closing(connection.connection.cursor()) as cursor:
        return [number for (number,) in execute_values(cursor, statement, rows, page_size=len(rows), fetch=True)]
