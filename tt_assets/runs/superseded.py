"""Events and evaluations of Dagster's storage that nothing shows any more, found and removed a window at a time.

The door (see `runs._dagster`) to the tables of Dagster's storage, apart from the others because it is SQL. It waits for
a retention of Dagster's own that spares the status of partitions (dagster-io/dagster#18369).

What stays, whatever its age: the newest event of each kind of each partition, and of each asset as a whole; the newest
result of each check of each partition, and what has been planned since; everything of a run that has not ended. Of a
run whose page stays also how it and its steps began and ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from tt_assets.postgres.database import Database

WINDOW = 20_000
"""Ids of events looked at in one transaction."""

ENDED = ["SUCCESS", "FAILURE", "CANCELED"]
OF_ASSETS = [
    "ASSET_MATERIALIZATION",
    "ASSET_OBSERVATION",
    "ASSET_MATERIALIZATION_PLANNED",
    "ASSET_FAILED_TO_MATERIALIZE",
]
"""Kinds of which the newest of each partition stays; a plan only until it was carried out."""
MADE, _, PLANNED, _ = OF_ASSETS
OF_CHECKS = ["ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION_PLANNED"]
"""Kinds that stay as long as the result they are the event of."""
OF_PAGES = [
    *("PIPELINE_ENQUEUED", "PIPELINE_DEQUEUED", "PIPELINE_STARTING", "PIPELINE_START", "PIPELINE_SUCCESS"),
    *("PIPELINE_FAILURE", "PIPELINE_CANCELING", "PIPELINE_CANCELED"),
    *("STEP_START", "STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED", "STEP_UP_FOR_RETRY", "STEP_RESTARTED"),
    *("ASSET_WIPED", "ASSET_HEALTH_CHANGED"),
]
"""Kinds of which a run that stays keeps all: its page says how long it and its steps took, and why they failed."""

# Runs without a row (a batch of no run's, or of a run that was removed in the UI) have ended.
_SUPERSEDED = """
    DELETE FROM event_logs AS e
    WHERE e.id > %(after)s AND e.id <= %(until)s AND e.timestamp < %(before)s
      AND NOT EXISTS (SELECT FROM runs AS r WHERE r.run_id = e.run_id AND r.status <> ALL(%(ended)s))
      AND (
        e.dagster_event_type = ANY(%(assets)s) AND e.partition IS NOT NULL AND EXISTS (
            SELECT FROM event_logs AS n WHERE n.asset_key = e.asset_key
            AND n.dagster_event_type = e.dagster_event_type AND n.partition = e.partition AND n.id > e.id)
        OR e.dagster_event_type = %(planned)s AND e.partition IS NOT NULL AND EXISTS (
            SELECT FROM event_logs AS n WHERE n.asset_key = e.asset_key
            AND n.dagster_event_type = %(made)s AND n.partition = e.partition AND n.id > e.id)
        OR e.dagster_event_type = ANY(%(assets)s) AND e.partition IS NULL AND EXISTS (
            SELECT FROM unnest(%(of_whole)s::text[], %(kinds)s::text[], %(newest)s::bigint[]) AS n(asset_key, kind, id)
            WHERE n.asset_key = e.asset_key AND n.kind = e.dagster_event_type AND n.id > e.id)
        OR e.dagster_event_type = ANY(%(checks)s) AND NOT EXISTS (
            SELECT FROM asset_check_executions AS x WHERE x.evaluation_event_storage_id = e.id)
        OR (e.dagster_event_type IS NULL OR e.dagster_event_type <> ALL(%(stay)s))
      )
    RETURNING e.id, pg_column_size(e.event)
"""
_NEWEST_OF_WHOLE = """
    SELECT asset_key, dagster_event_type, max(id) FROM event_logs
    WHERE dagster_event_type = ANY(%(assets)s) AND partition IS NULL AND asset_key IS NOT NULL
    GROUP BY asset_key, dagster_event_type
"""
_TAGS = "DELETE FROM asset_event_tags WHERE event_id = ANY(%s) RETURNING pg_column_size(value)"
_RESULTS = """
    DELETE FROM asset_check_executions AS x
    WHERE x.id IN (
        SELECT id FROM (
            SELECT id, run_id, create_timestamp, max(id) FILTER (WHERE execution_status IN ('SUCCEEDED', 'FAILED'))
                OVER (PARTITION BY asset_key, check_name, partition) AS newest
            FROM asset_check_executions
        ) AS known
        WHERE id < newest AND create_timestamp < %(before)s
          AND NOT EXISTS (SELECT FROM runs AS r WHERE r.run_id = known.run_id AND r.status <> ALL(%(ended)s))
        ORDER BY id LIMIT %(window)s
    )
    RETURNING pg_column_size(x.evaluation_event)
"""
# Of a run that is no longer needed: nothing of an asset or a check is its event, no page leads to it.
_UNNEEDED = """
    SELECT r.run_id FROM runs AS r
    WHERE r.status = ANY(%(ended)s) AND coalesce(r.end_time, extract(epoch FROM r.update_timestamp)) < %(epoch)s
      AND NOT EXISTS (SELECT FROM event_logs AS e WHERE e.run_id = r.run_id
                      AND e.dagster_event_type = ANY(%(needed)s))
      AND NOT EXISTS (SELECT FROM asset_check_executions AS x WHERE x.run_id = r.run_id)
      AND NOT EXISTS (SELECT FROM asset_keys AS a WHERE a.last_run_id = r.run_id)
      AND NOT EXISTS (SELECT FROM run_tags AS t JOIN bulk_actions AS b ON b.key = t.value
                      WHERE t.run_id = r.run_id AND t.key = 'dagster/backfill')
    ORDER BY r.id
"""
_RETRIES = """
    SELECT run_id, value FROM run_tags WHERE key IN ('dagster/parent_run_id', 'dagster/root_run_id')
"""
_LATEST_IN_VAIN = "SELECT run_id FROM runs WHERE status IN ('FAILURE', 'CANCELED') ORDER BY id DESC LIMIT %s"
_EVENTS_OF_RUN = """
    DELETE FROM event_logs WHERE id IN (SELECT id FROM event_logs WHERE run_id = %s ORDER BY id LIMIT %s)
    RETURNING id, pg_column_size(event)
"""


@dataclass(frozen=True)
class Removed:
    """What was removed: events, results of checks, and the bytes that their rows took as they were stored."""

    events: int = 0
    results: int = 0
    bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.events + other.events, self.results + other.results, self.bytes + other.bytes)


def remove_superseded(database: Database, before: datetime) -> Iterator[tuple[Removed, float]]:
    """Remove what newer events and results have taken the place of.

    Parameters
    ----------
    database : Dagster's own.
    before : what is younger stays; aware.

    Yields
    ------
    What a transaction has removed, committed by then, and how far it is (0 to 1).
    """
    asked = {"before": before.astimezone(UTC).replace(tzinfo=None), "ended": ENDED, "window": WINDOW}
    with database.connect() as connection:
        while results := connection.execute(_RESULTS, asked).fetchall():
            connection.commit()
            yield Removed(results=len(results), bytes=_sum(results)), 0.0
        whole = connection.execute(_NEWEST_OF_WHOLE, {"assets": OF_ASSETS}).fetchall()
        bounds = "SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM event_logs"
        first, last = connection.execute(bounds).fetchone() or (1, 0)
        connection.commit()
        asked |= {
            "assets": OF_ASSETS,
            "planned": PLANNED,
            "made": MADE,
            "checks": OF_CHECKS,
            "stay": [*OF_ASSETS, *OF_CHECKS, *OF_PAGES],
        }
        asked |= {name: [row[place] for row in whole] for place, name in enumerate(("of_whole", "kinds", "newest"))}
        for after in range(first - 1, last, WINDOW):
            until = min(after + WINDOW, last)
            removed = _with_tags(connection, connection.execute(_SUPERSEDED, asked | {"after": after, "until": until}))
            connection.commit()
            yield removed, (until - first + 1) / (last - first + 1)


def unneeded_runs(database: Database, before: datetime, *, looked_at: int) -> list[str]:
    """Runs that ended before a moment and that no event, result, backfill or later try of theirs needs.

    Parameters
    ----------
    database : Dagster's own, after `remove_superseded`.
    before : aware.
    looked_at : of the latest runs that failed or were canceled so many stay: they explain what is missing.

    Returns
    -------
    Their ids, the oldest first.
    """
    needed = {"ended": ENDED, "epoch": before.timestamp(), "needed": [*OF_ASSETS, *OF_CHECKS]}
    with database.connect() as connection:
        found = [run_id for (run_id,) in connection.execute(_UNNEEDED, needed).fetchall()]
        kept = {run_id for (run_id,) in connection.execute(_LATEST_IN_VAIN, [looked_at]).fetchall()}
        tries = connection.execute(_RETRIES).fetchall()
    going = set(found) - kept
    while needed_by_others := {earlier for later, earlier in tries if earlier in going and later not in going}:
        going -= needed_by_others
    return [run_id for run_id in found if run_id in going]


def remove_events(database: Database, run_id: str) -> Iterator[Removed]:
    """Remove all events of a run, some thousand in a transaction.

    Parameters
    ----------
    database : Dagster's own.
    run_id : one of `unneeded_runs`.

    Yields
    ------
    What a transaction has removed, committed by then.
    """
    with database.connect() as connection:
        while (removed := _with_tags(connection, connection.execute(_EVENTS_OF_RUN, [run_id, WINDOW]))).events:
            connection.commit()
            yield removed


def vacuum(database: Database) -> None:
    """Have the server reuse the space of what was removed at once. Raises DatabaseUnreachable.

    Parameters
    ----------
    database : Dagster's own, as its owner; for anybody else the server does nothing.
    """
    with database.connect(autocommit=True) as connection:
        for table in ("event_logs", "asset_event_tags", "asset_check_executions", "runs", "run_tags"):
            connection.execute(f"VACUUM (ANALYZE) {table}")


def referenced_pictures(database: Database, names: Sequence[str]) -> set[str]:
    """Those of `names` that a stored event or result of a check shows.

    Parameters
    ----------
    database : Dagster's own.
    names : file names of pictures, without their ending.
    """
    found: set[str] = set()
    question = "SELECT DISTINCT m[1] FROM {}, regexp_matches({}, '/logs/pictures/([0-9a-f]+)/', 'g') AS m"
    with database.connect() as connection:
        for table, column in (("event_logs", "event"), ("asset_check_executions", "evaluation_event")):
            narrowed = f"(SELECT {column} FROM {table} WHERE {column} LIKE '%/logs/pictures/%') AS shown"
            found |= {name for (name,) in connection.execute(question.format(narrowed, column)).fetchall()}
    return found.intersection(names)


def _with_tags(connection: psycopg.Connection[Any], deleted: psycopg.Cursor[Any]) -> Removed:
    rows = deleted.fetchall()
    if not rows:
        return Removed()
    tags = connection.execute(_TAGS, [[number for number, _ in rows]]).fetchall()
    return replace(Removed(events=len(rows)), bytes=sum(size for _, size in rows) + _sum(tags))


def _sum(rows: Sequence[tuple[Any, ...]]) -> int:
    return sum(size or 0 for (size,) in rows)
