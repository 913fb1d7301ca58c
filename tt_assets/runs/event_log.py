"""Dagster's materialization events, stored a batch at a time without compiling a statement for each.

Only how a batch reaches PostgreSQL is changed. Dagster writes a batch of a thousand events as one INSERT
of seven thousand parameters, which SQLAlchemy compiles anew every time; that is a third of what a range run costs. Here
the driver writes the same rows into the same tables, events and their tags in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable
from sqlalchemy import Connection, Table

EVENT_COLUMNS = ("run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition")
TAG_COLUMNS = ("event_id", "asset_key", "key", "value", "event_timestamp")


def store_batches_in_bulk(instance: dg.DagsterInstance) -> None:
    """Have this process' `instance` store batches of materializations as said above; on other storages than
    Dagster's PostgreSQL one nothing changes.

    Should a batch fail, Dagster stores its events one by one, as it always does.
    """
    from dagster_postgres.event_log import PostgresEventLogStorage

    storage = instance.event_log_storage
    if type(storage) is PostgresEventLogStorage and "store_event_batch" not in vars(storage):
        # An attribute of this one object, which hides the method of its class.
        storage.store_event_batch = partial(_store, storage, storage.store_event_batch)  # type: ignore[method-assign]


def _store(storage: Any, otherwise: Any, events: Sequence[EventLogEntry]) -> None:
    """Store `events`, all materializations; any other batch goes to `otherwise`, Dagster's own way."""
    kinds = {event.get_dagster_event().event_type for event in events}
    if kinds != {dg.DagsterEventType.ASSET_MATERIALIZATION} or not storage.has_table(AssetEventTagsTable.name):
        otherwise(events)
        return
    rows = [storage._event_to_row(event) for event in events]
    with storage.index_transaction() as connection:
        values = [tuple(map(row.__getitem__, EVENT_COLUMNS)) for row in rows]
        ids = _insert(connection, SqlEventLogStorageTable, EVENT_COLUMNS, values)
        tags = [
            (number, row["asset_key"], key, value, row["timestamp"])
            for number, event, row in zip(ids, events, rows, strict=True)
            for key, value in storage._tags_for_asset_event(event).items()
        ]
        if tags:
            _insert(connection, AssetEventTagsTable, TAG_COLUMNS, tags)
        storage._store_asset_event(connection, events[-1], ids[-1])


def _insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Insert `rows`; their ids in the same order."""
    from psycopg2.extras import execute_values

    statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES %s RETURNING id"
    with closing(connection.connection.cursor()) as cursor:
        return [number for (number,) in execute_values(cursor, statement, rows, page_size=len(rows), fetch=True)]
