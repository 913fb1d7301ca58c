"""The ledger: what every slice of every table holds, in a row of `tt_slice` written in the transaction of its rows.

Dagster's events tell of slices; the ledger knows them. A run that dies after COMMIT has said nothing, yet its slices
are on record with what they were computed from, so whatever lies behind them can be found by arithmetic.
Everybody who touches rows of the ledger holds the advisory locks of the instruments in question: rows are then never
locked in two orders by two transactions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from psycopg import Connection, sql

from tt_assets.postgres.database import Database
from tt_assets.postgres.locks import lock_instruments
from tt_assets.postgres.patience import patient_on_database
from tt_assets.postgres.restated import Cause
from tt_assets.postgres.slices import Selection

DIGEST_NUMBER = "(CASE WHEN {0}.rows > 0 THEN ('x' || left({0}.digest, 16))::bit(64)::bigint ELSE 0 END)"
"""SQL: the first 8 bytes of a slice's digest as a signed number, 0 for a slice without rows."""

NOW = "pg_current_xact_id()::text::bigint"


@dataclass(frozen=True)
class Provenance:
    """What the ledger says of a write beside its content: where it came from.

    Parameters
    ----------
    run_id : the run that writes; None for what is written without one.
    fetch : number drawn by `next_fetch` before the first input was read; None draws one when the rows are locked, which
        makes the write the latest reading of all.
    code : version of the definitions that computed the rows.
    source : state of the price source, as the sensors name it; tries in vain are counted for one state.
    reads : partition key → sum of `digest_number` of all slices it was computed from; a key that is left out, or None,
        keeps what is stored.
    outcomes : partition key → what came of it in words; else "loaded" or "no rows".
    causes : instrument → why stored values may come back different; None compares nothing.
    """

    run_id: str | None = None
    fetch: int | None = None
    code: str | None = None
    source: str | None = None
    reads: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    causes: Mapping[str, Cause] | None = None


@dataclass(frozen=True)
class Entry:
    """A slice as it stands in its table.

    Parameters
    ----------
    key : of the partition. rows : it has. digest : of its rows in COPY form, hexadecimal.
    """

    key: str
    rows: int
    digest: str


@patient_on_database
def next_fetch(database: Database) -> int:
    """The number of a reading that begins now: higher than that of every reading that began before."""
    with database.connect() as connection:
        return draw_fetch(connection)


def draw_fetch(connection: Connection[Any]) -> int:
    """As `next_fetch`, on a connection that is open."""
    ((number,),) = connection.execute("SELECT nextval('tt_slice_fetch')").fetchall()
    return int(number)


def digest_number(digest: str, rows: int) -> int:
    """What a slice adds to the `reads` of those computed from it: the first 8 bytes of its digest, signed.

    Parameters
    ----------
    digest : hexadecimal.
    rows : without any the number is 0: an empty slice and one that was never made are the same to whoever reads them.
    """
    return int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True) if rows else 0


def wrapped_sum(numbers: Iterable[int]) -> int:
    """The sum modulo 2^64, as a signed 64-bit number."""
    total = sum(numbers) & (2**64 - 1)
    return total - 2**64 if total >= 2**63 else total


def newer_slices(connection: Connection[Any], table: str, selection: Selection, fetch: int) -> dict[str, Entry]:
    """Slices that a later reading has written.

    Parameters
    ----------
    connection : whose transaction holds the locks of the instruments.
    table : of the slices.
    selection : that is about to be written.
    fetch : number of the reading it was made of.

    Returns
    -------
    Partition key → the slice as it stands.
    """
    rows = connection.execute(
        "SELECT k.key, s.rows, s.digest FROM unnest(%s::text[], %s::date[], %s::text[]) AS k(key, d, i) "
        "JOIN tt_slice AS s ON s.table_name = %s AND s.date = k.d AND s.instrument = k.i "
        'WHERE s."fetch" > %s AND s.digest IS NOT NULL',
        [list(selection.keys), dates_of(selection), list(selection.instruments), table, fetch],
    ).fetchall()
    return {key: Entry(key, count, digest) for key, count, digest in rows}


def write_entries(
    connection: Connection[Any],
    table: str,
    selection: Selection,
    rows: Sequence[int],
    digests: Sequence[str],
    fetch: int,
    provenance: Provenance,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
    failures: Mapping[str, str] | None = None,
) -> None:
    """Record what slices hold from this transaction on.

    Dagster needs no new event of content it was told of. A slice that comes out without a row again, on the same state
    of the source, has been tried once more in vain.

    Parameters
    ----------
    connection : whose transaction wrote the rows and holds the locks of the instruments.
    table : of the slices.
    selection : the slices; entry i is that of its i-th cell.
    rows, digests : what they hold.
    fetch : number of the reading they were made of.
    provenance : where the rows come from.
    changed : partition key → what became another value (see `postgres.restated`), of those that were restated.
    failures : partition key → why it holds less than was wished. What had failed and is not among them has not any
        more.
    """
    # A write of the same rows keeps `changed`: a run that was killed may not have told of it yet.
    said, refused = changed or {}, failures or {}
    connection.execute(
        f"""
        INSERT INTO tt_slice AS s (table_name, date, instrument, rows, digest, reads, code, "fetch", run_id, written_at,
                                   outcome, changed, failure, source, tries, tried_at, told, written_in)
        SELECT %(table)s, n.d, n.i, n.r, n.g, n.reads, %(code)s, %(fetch)s, %(run)s, now(),
               coalesce(n.o, CASE WHEN n.r > 0 THEN 'loaded' ELSE 'no rows' END), n.c::json, n.f::json, %(source)s,
               CASE WHEN n.r > 0 AND n.f IS NULL THEN 0 ELSE 1 END, now(), false, {NOW}
        FROM unnest(%(dates)s::date[], %(names)s::text[], %(rows)s::bigint[], %(digests)s::text[], %(reads)s::bigint[],
                    %(outcomes)s::text[], %(changed)s::text[], %(failures)s::text[]) AS n(d, i, r, g, reads, o, c, f)
        ON CONFLICT (table_name, date, instrument) DO UPDATE SET
            rows = excluded.rows, digest = excluded.digest, reads = coalesce(excluded.reads, s.reads),
            code = coalesce(excluded.code, s.code), "fetch" = excluded."fetch", run_id = excluded.run_id,
            written_at = excluded.written_at, outcome = excluded.outcome,
            changed = CASE WHEN s.digest = excluded.digest THEN s.changed ELSE excluded.changed END,
            failure = excluded.failure, source = excluded.source,
            tries = CASE WHEN excluded.tries = 0 THEN 0
                         WHEN s.source IS NOT DISTINCT FROM excluded.source THEN s.tries + 1 ELSE 1 END,
            tried_at = excluded.tried_at, told = s.told AND s.digest IS NOT DISTINCT FROM excluded.digest,
            written_in = excluded.written_in
        """,
        {
            "table": table,
            "code": provenance.code,
            "fetch": fetch,
            "run": provenance.run_id,
            "source": provenance.source,
            "dates": dates_of(selection),
            "names": list(selection.instruments),
            "rows": list(rows),
            "digests": list(digests),
            "reads": [provenance.reads.get(key) for key in selection.keys],
            "outcomes": [provenance.outcomes.get(key) for key in selection.keys],
            "changed": [json.dumps(said[key]) if key in said else None for key in selection.keys],
            "failures": [
                _failure(refused[key], provenance.run_id) if key in refused else None for key in selection.keys
            ],
        },
    )


def forget_entries(connection: Connection[Any], tables: Sequence[str], selection: Selection) -> None:
    """Record that slices hold nothing any more; what is known of failures stays.

    Parameters
    ----------
    connection : whose transaction deletes the rows and holds the locks of the instruments.
    tables, selection : the slices, of each of the tables.
    """
    connection.execute(
        f"UPDATE tt_slice AS s SET rows = NULL, digest = NULL, reads = NULL, told = true, written_in = {NOW} "
        "FROM unnest(%s::date[], %s::text[]) AS k(d, i) "
        "WHERE s.table_name = ANY(%s) AND s.date = k.d AND s.instrument = k.i",
        [dates_of(selection), list(selection.instruments), list(tables)],
    )


@patient_on_database
def record_failures(
    database: Database,
    table: str,
    selection: Selection,
    reasons: Mapping[str, str],
    *,
    run_id: str | None = None,
    source: str | None = None,
    since: float | None = None,
) -> None:
    """Record, in a transaction of its own, why slices could not be made; what they hold stays.

    Parameters
    ----------
    database : where the table is.
    table, selection : the slices.
    reasons : partition key → why, of each of them.
    run_id : of the run that failed.
    source : state of the price source; a failure on another one begins to count anew.
    since : when the run began, seconds since 1970: only what neither it nor anybody after it has made or explained is
        recorded. None: all.
    """
    if not len(selection):
        return
    with database.connect() as connection, connection.transaction():
        lock_instruments(connection, table, selection.instruments)
        connection.execute(
            f"""
            INSERT INTO tt_slice AS s (table_name, date, instrument, "fetch", failure, source, tries, tried_at, told,
                                       written_in)
            SELECT %(table)s, n.d, n.i, 0, n.f::json, %(source)s, 1, now(), true, {NOW}
            FROM unnest(%(dates)s::date[], %(names)s::text[], %(failures)s::text[]) AS n(d, i, f)
            ON CONFLICT (table_name, date, instrument) DO UPDATE SET
                failure = excluded.failure, source = excluded.source, tried_at = excluded.tried_at,
                tries = CASE WHEN s.source IS NOT DISTINCT FROM excluded.source THEN s.tries + 1 ELSE 1 END,
                written_in = excluded.written_in
            WHERE %(since)s::double precision IS NULL
               OR coalesce(greatest(s.written_at, s.tried_at), '-infinity') < to_timestamp(%(since)s)
            """,
            {
                "table": table,
                "source": source,
                "since": since,
                "dates": dates_of(selection),
                "names": list(selection.instruments),
                "failures": [_failure(reasons[key], run_id) for key in selection.keys],
            },
        )


def mark_told(database: Database, table: str, selection: Selection, digests: Sequence[str]) -> None:
    """Record which content the newest events tell of.

    A slice that holds something else by now is still to be told, also where it had been told before: the event that
    came last says what it held once.

    Parameters
    ----------
    database : where the table is.
    table, selection : the slices.
    digests : that the newest event of each of them carries.
    """
    mark_told_keys(database, table, dates_of(selection), list(selection.instruments), digests)


@patient_on_database
def mark_told_keys(
    database: Database, table: str, dates: Sequence[str], instruments: Sequence[str], digests: Sequence[str]
) -> None:
    """As `mark_told`, of date keys and instruments that stand beside each other.

    Parameters
    ----------
    database, table : as of `mark_told`.
    dates, instruments : ISO date key and instrument of each slice.
    digests : that the newest event of each of them carries.
    """
    if not dates:
        return
    with database.connect() as connection, connection.transaction():
        lock_instruments(connection, table, instruments)
        connection.execute(
            "UPDATE tt_slice AS s SET told = s.digest IS NULL OR s.digest = k.g "
            "FROM unnest(%s::date[], %s::text[], %s::text[]) AS k(d, i, g) WHERE s.table_name = %s AND s.date = k.d "
            "AND s.instrument = k.i AND s.told <> (s.digest IS NULL OR s.digest = k.g)",
            [list(dates), list(instruments), list(digests), table],
        )


@patient_on_database
def adopt_reads(
    database: Database, table: str, dates: Sequence[str], instruments: Sequence[str], sums: Sequence[int]
) -> int:
    """Enter what slices were computed from where that is not known; returns of how many that was so.

    Parameters
    ----------
    database : where the table is.
    table : of the slices.
    dates, instruments : ISO date key and instrument of each.
    sums : of `digest_number` over what each was computed from.
    """
    with database.connect() as connection, connection.transaction():
        lock_instruments(connection, table, instruments)
        return connection.execute(
            f"UPDATE tt_slice AS s SET reads = k.n, written_in = {NOW} "
            "FROM unnest(%s::date[], %s::text[], %s::bigint[]) AS k(d, i, n) "
            "WHERE s.table_name = %s AND s.date = k.d AND s.instrument = k.i AND s.reads IS NULL "
            "AND s.rows IS NOT NULL",
            [list(dates), list(instruments), list(sums), table],
        ).rowcount


@dataclass(frozen=True)
class Extent:
    """What a table holds in all.

    Parameters
    ----------
    rows : it has.
    first, last : date keys of the first and the last slice with rows; None without any.
    slices : with rows.
    written_at : of the last writing, UTC without zone; None without rows.
    """

    rows: int
    first: date | None
    last: date | None
    slices: int
    written_at: datetime | None


@patient_on_database
def extent(database: Database, table: str) -> Extent:
    """What a table holds in all, off its slices.

    Parameters
    ----------
    database : where the table is.
    table : its name.
    """
    with database.connect() as connection:
        found = connection.execute(
            "SELECT coalesce(sum(rows), 0)::bigint, min(date), max(date), count(*), "
            "max(written_at) AT TIME ZONE 'UTC' FROM tt_slice WHERE table_name = %s AND rows > 0",
            [table],
        ).fetchone()
    assert found is not None  # noqa: S101 - an aggregate gives its row
    return Extent(*found)


def dates_of(selection: Selection) -> list[str]:
    """The date key of each cell: the day it begins."""
    return [str(day) for day in np.datetime_as_string(selection.starts, unit="D")]


def ranges_of(selection: Selection, bridged: timedelta = timedelta(0)) -> tuple[list[str], list[str], list[str]]:
    """As few ranges of date keys as cover the cells.

    Parameters
    ----------
    selection : the cells.
    bridged : widest gap between cells that becomes a part of a range.

    Returns
    -------
    Instrument, first date key and the one behind the last of each range, as lists of one length.
    """
    ranges = selection.ranges(bridged)
    starts = [f"{start:%Y-%m-%d}" for start in ranges.starts]
    ends = [f"{end:%Y-%m-%d}" for end in ranges.ends]
    return ranges.instruments, starts, ends


def digests_in(table: str, instruments: Sequence[str], starts: Sequence[str], ends: Sequence[str]) -> sql.Composed:
    """Query: date, instrument and `number` (see `digest_number`) of the slices in ranges of date keys.

    Parameters
    ----------
    table : of the slices.
    instruments : one for each range.
    starts, ends : ISO date keys, the end excluded.
    """
    return sql.SQL(
        "SELECT s.date, s.instrument, " + DIGEST_NUMBER.format("s") + " AS number FROM tt_slice AS s "
        "JOIN unnest({}::text[], {}::date[], {}::date[]) AS k(i, f, u) ON s.instrument = k.i AND s.date >= k.f "
        "AND s.date < k.u WHERE s.table_name = {} AND s.rows > 0"
    ).format(sql.Literal(list(instruments)), sql.Literal(list(starts)), sql.Literal(list(ends)), sql.Literal(table))


def _failure(reason: str, run_id: str | None) -> str:
    return json.dumps({"reason": reason, "run": run_id, "time": datetime.now(UTC).isoformat(timespec="seconds")})
