"""Dagster's storage on PostgreSQL: its runs, its schedules, and our way of storing its events, over one pool."""

from __future__ import annotations

from typing import Any

from dagster_postgres import DagsterPostgresStorage, PostgresRunStorage, PostgresScheduleStorage

from tt_assets.runs.connections import Connecting, Pooled
from tt_assets.runs.event_log import EventLog


class Runs(Pooled, PostgresRunStorage):
    """Dagster's runs."""

    def connect(self) -> Connecting:
        """A connection of the pool."""
        return self.over(super().connect)


class Schedules(Pooled, PostgresScheduleStorage):
    """Dagster's schedules and sensors."""

    def connect(self, run_id: str | None = None) -> Connecting:
        """A connection of the pool."""
        return self.over(super().connect)


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's storage on PostgreSQL, made of these three. Configured as Dagster's own is."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: Any = None) -> None:
        # Its own three are asked for nothing, so they need not look for their tables.
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self._runs = Runs(postgres_url, should_autocreate_tables)
        self._events = EventLog(postgres_url, should_autocreate_tables)
        self._schedules = Schedules(postgres_url, should_autocreate_tables)

    @property
    def run_storage(self) -> Runs:
        """Runs."""
        return self._runs

    @property
    def event_log_storage(self) -> EventLog:
        """Events."""
        return self._events

    @property
    def schedule_storage(self) -> Schedules:
        """Schedules and sensors."""
        return self._schedules

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> PostgresStorage:
        """The storage that `dagster.yaml` describes."""
        return cls(
            postgres_url=config_value["postgres_url"],
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
