"""What must hold after every test that touches the platform: the ledger, the rows and Dagster say the same."""

from __future__ import annotations

import dagster as dg

from tt_assets.grain import DateGrain
from tt_assets.grid.keys import CellKey
from tt_assets.grid.run_tags import UNFINISHED
from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_encoding import NOTHING
from tt_assets.postgres.standing import standing
from tt_assets.tables import TABLES


def check(instance: dg.DagsterInstance, database: Database, *, grain: DateGrain = DateGrain.SESSION) -> None:
    """Fail where a slice, its ledger entry and the newest event of its partition differ, or an agent is forgotten.

    Nor may a run be left unfinished. `grain` is the width of the partitions of the market tables.
    """
    unfinished = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    assert not unfinished, [(run.run_id, run.job_name, run.status) for run in unfinished]
    rows_and_ledger_agree(database, grain=grain)
    for table in TABLES:
        held, told = entries(database, table), events(instance, table)
        # A slice that never held a row needs no event, as that of observations where nothing was observed.
        wanted = {key: digest for key, digest in held.items() if digest != NOTHING or key in told}
        assert wanted == {key: digest for key, digest in told.items() if key in held}, table
    for (start, traded), finished, reads, failed in agents(database):
        # An agent without an episode of its own is behind: there is no slice, or one that read another agent.
        assert finished or reads is None or failed or stale(database, start, traded), (start, traded)


def entries(database: Database, table: str) -> dict[str, str]:
    """Partition key → digest of every slice that holds something, as the ledger has it."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT date::text, instrument, digest FROM tt_slice WHERE table_name = %s AND digest IS NOT NULL", [table]
        ).fetchall()
    return {str(CellKey(day, name)): digest for day, name, digest in rows}


def events(instance: dg.DagsterInstance, table: str) -> dict[str, str]:
    """Partition key → digest of its newest event."""
    found: dict[str, str] = {}
    cursor = None
    while True:
        page = instance.fetch_materializations(dg.AssetKey(table), limit=5_000, cursor=cursor, ascending=True)
        for record in page.records:
            digest = record.asset_materialization.metadata.get("digest")
            found[str(record.partition_key)] = str(digest.value) if digest else ""
        if not page.has_more:
            return found
        cursor = page.cursor


def rows_and_ledger_agree(database: Database, *, grain: DateGrain = DateGrain.SESSION) -> None:
    """Fail where the ledger says of a slice other rows than stand there."""
    for table in TABLES:
        with database.connect() as connection:
            stored = {
                str(CellKey(day, name)): digest for day, name, _, digest in standing(connection, table, grain=grain)
            }
        held = entries(database, table)
        assert stored == {key: digest for key, digest in held.items() if digest != NOTHING}, table


def agents(database: Database) -> list[tuple[tuple[str, str], bool, int | None, bool]]:
    """Window, whether every agent in force has a closed episode, what the window was rolled on, whether it failed."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT p.window_start::text, p.instrument, bool_and(EXISTS (SELECT FROM tt_episode e "
            "WHERE e.policy_id = p.id AND e.end_time IS NOT NULL)), max(s.reads), bool_or(s.failure IS NOT NULL) "
            "FROM tt_policy p LEFT JOIN tt_slice s ON s.table_name = 'tt_episode' AND s.date = p.window_start "
            "AND s.instrument = p.instrument AND s.digest IS NOT NULL WHERE p.superseded_at IS NULL GROUP BY 1, 2"
        ).fetchall()
    return [((start, traded), finished, reads, bool(failed)) for start, traded, finished, reads, failed in rows]


def stale(database: Database, start: str, traded: str) -> bool:
    """Whether the policy slice was written after the episodes were."""
    with database.connect() as connection:
        ((later,),) = connection.execute(
            "SELECT p.written_at > e.written_at FROM tt_slice p JOIN tt_slice e USING (date, instrument) "
            "WHERE p.table_name = 'tt_policy' AND e.table_name = 'tt_episode' AND date = %s AND instrument = %s",
            [start, traded],
        ).fetchall()
    return bool(later)
