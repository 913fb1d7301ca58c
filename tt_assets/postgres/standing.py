"""Slices as they stand in their tables: rows and digest of each, worked out of the stored rows.

The server itself puts the rows into binary COPY form, so the digests are those a writer takes of the same rows before
they are stored. Used where what is written is not the whole slice (rows by hand, episodes) and to fill the ledger of a
database that had none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

from psycopg import Connection, sql
from sqlalchemy import BigInteger, Date, DateTime, Double, Integer, LargeBinary, Table, Text

from tt_assets.grain import DateGrain
from tt_assets.postgres.episode_rows import alias_of, by_code_point, joined_source, own_columns, session_order
from tt_assets.postgres.ledger import NOW
from tt_assets.postgres.slices import Selection
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES, OLD_AGENT, TABLES, content_columns, key_columns

_FIXED: dict[type, tuple[LiteralString, int]] = {
    Double: ("float8send", 8),
    Integer: ("int4send", 4),
    BigInteger: ("int8send", 8),
    DateTime: ("timestamp_send", 8),
    Date: ("date_send", 4),
}
_NULL: LiteralString = "'\\xffffffff'::bytea"

Slice = tuple[str, str, int, str]
"""Date key, instrument, rows, digest."""


def standing(
    connection: Connection[Any],
    table: str,
    selection: Selection | None = None,
    *,
    grain: DateGrain = DateGrain.SESSION,
    instruments: Sequence[str] | None = None,
) -> Iterator[Slice]:
    """The slices that hold rows: those of a selection, or all of a table.

    Of the episode tables only closed episodes count, and none of agents that others took the place of.

    Parameters
    ----------
    connection : in a transaction; the rows come a few at a time.
    table : any of `tables.TABLES`.
    selection : None: all of the table.
    grain : width of the partitions of the market tables; of a selection, its cells say it.
    instruments : of a market table, those alone; None: all.

    Yields
    ------
    Date key, instrument, rows, digest; in no order.
    """
    # Named, so that the rows of a large table come a few at a time.
    with connection.cursor(name="standing", binary=True) as cursor:
        cursor.itersize = 2_000
        cursor.execute(_query(TABLES[table], selection, grain=grain, instruments=instruments))
        for day, instrument, rows, content in cursor:
            yield f"{day:%Y-%m-%d}", instrument, rows, hashlib.blake2b(content, digest_size=16).hexdigest()


def fill_ledger(connection: Connection[Any], *, grain: DateGrain = DateGrain.SESSION) -> None:
    """Enter every slice that the ledger lacks, as it stands; idempotent. Dagster has its events of these slices.

    Parameters
    ----------
    connection : in a transaction. What the slices were computed from is not known.
    grain : width of the partitions of the market tables.
    """
    for table in TABLES:
        found = list(standing(connection, table, grain=grain))
        connection.execute(
            f"""
            INSERT INTO tt_slice (table_name, date, instrument, rows, digest, "fetch", written_at, outcome, tries, told,
                                  written_in)
            SELECT %s, n.d, n.i, n.r, n.g, 0, now(), 'loaded', 0, true, {NOW}
            FROM unnest(%s::date[], %s::text[], %s::bigint[], %s::text[]) AS n(d, i, r, g) ON CONFLICT DO NOTHING
            """,
            [table, *map(list, zip(*found, strict=True))] if found else [table, [], [], [], []],
        )


def _query(
    table: Table, selection: Selection | None, *, grain: DateGrain, instruments: Sequence[str] | None = None
) -> sql.Composed:
    if table.name in EPISODE_TABLES:
        day: sql.Composable = sql.SQL("e.window_start")
        owner = "e"
        # The agent has another id each time it is trained; it is no part of what the episode holds.
        names = [name for name in own_columns(table.name) if name != "policy_id"]
        order: list[sql.Composable] = [by_code_point(TABLES["tt_episode"], name) for name in ("strategy", "seed")]
        order += session_order(table.name)
        conditions: list[sql.Composable] = [
            sql.SQL("e.end_time IS NOT NULL"),
            sql.SQL("e.strategy <> {}").format(sql.Literal(OLD_AGENT)),
        ]
    else:
        owner, names = "t", list(content_columns(table))
        order = [by_code_point(table, name) for name in key_columns(table)]
        rule = table.info.get("current")
        conditions = [sql.SQL(f"t.{rule}")] if rule else []
        day = _key_of("t.timestamp", grain) if table.name in MARKET_TABLES else sql.SQL("t.window_start")
        if instruments is not None:
            conditions.append(sql.SQL("t.instrument = ANY({})").format(sql.Literal(list(instruments))))
    rows_from = joined_source(table.name)
    if selection is not None:
        moment = sql.SQL("t.timestamp") if table.name in MARKET_TABLES else day
        rows_from += sql.SQL(
            " JOIN unnest({}::text[], {}::timestamp[], {}::timestamp[]) AS k(i, f, u) "
            "ON {}.instrument = k.i AND {m} >= k.f AND {m} < k.u"
        ).format(
            sql.Literal(list(selection.instruments)),
            _moments(selection.starts.astype("datetime64[us]").tolist()),
            _moments(selection.ends.astype("datetime64[us]").tolist()),
            sql.Identifier(owner),
            m=moment,
        )
        day = sql.SQL("k.f::date")
    return sql.SQL(
        "SELECT {day}, {owner}.instrument, count(*), string_agg({bytes}, ''::bytea ORDER BY {order}) FROM {source} "
        "{where} GROUP BY 1, 2"
    ).format(
        day=day,
        owner=sql.Identifier(owner),
        bytes=_row_bytes(table, alias_of(table.name), names),
        order=sql.SQL(", ").join(order),
        source=rows_from,
        where=sql.SQL("WHERE ") + sql.SQL(" AND ").join(conditions) if conditions else sql.SQL(""),
    )


def _key_of(moment: LiteralString, grain: DateGrain) -> sql.Composed:
    """SQL: the date key of the partition that holds a moment."""
    return sql.SQL("date_trunc({}, {})::date").format(sql.Literal(grain.field), sql.SQL(moment))


def _row_bytes(table: Table, own_alias: str, names: Sequence[str]) -> sql.Composed:
    """SQL: a row in binary COPY form, the number of its fields first."""
    fields = [sql.SQL("int2send({}::int2)").format(sql.Literal(len(names)))]
    for name in names:
        column = table.columns[name]
        value = sql.Identifier(own_alias, name)
        if isinstance(column.type, LargeBinary):
            own = sql.SQL("int4send(octet_length({v})) || {v}").format(v=value)
        elif isinstance(column.type, Text):
            own = sql.SQL("int4send(octet_length(convert_to({v}, 'UTF8'))) || convert_to({v}, 'UTF8')").format(v=value)
        else:
            send, width = _FIXED[type(column.type)]
            own = sql.SQL("int4send({}) || {}({})").format(sql.Literal(width), sql.SQL(send), value)
        if column.nullable:
            own = sql.SQL("CASE WHEN {} IS NULL THEN {} ELSE {} END").format(value, sql.SQL(_NULL), own)
        fields.append(own)
    return sql.SQL(" || ").join(fields)


def _moments(moments: Sequence[Any]) -> sql.Literal:
    return sql.Literal(f"{{{','.join(map(str, moments))}}}")
