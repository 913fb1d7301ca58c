"""The partitions of a table as a matrix of dates × instruments, and the page of one of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from psycopg import sql

from tt_assets.grid.keys import CellKey
from tt_assets.postgres.episode_rows import column_of, joined_source, own_columns
from tt_assets.tables import EPISODE_TABLES, LEDGER, MARKET_TABLES, OLD_AGENT, TABLES
from tt_assets.web.site import Choice, Look, NotThere, Page, address

STATES = {
    "d": "with rows",
    "b": "before its first row",
    "e": "made, no rows",
    "f": "failed",
    "s": "restated",
    "m": "not made",
}
LEFT_OUT = ("weights", "config_json", "meta_json", "policy_id")
"""Columns that say nothing at a glance."""
ROWS_SHOWN, HISTORY_SHOWN, LINES_SHOWN = 60, 20, 400


def page(look: Look) -> Page:
    """The matrix of one table."""
    table = look.one_of("table", list(TABLES))
    rows = look.rows(
        f"SELECT instrument, date::text, CASE WHEN failure IS NOT NULL THEN 'f' WHEN changed IS NOT NULL THEN 's' "
        f"WHEN rows > 0 THEN 'd' WHEN rows = 0 THEN 'e' ELSE 'm' END FROM {LEDGER.name} WHERE table_name = %s",
        table,
    )
    dates = sorted({day for _, day, _ in rows})
    place = {day: number for number, day in enumerate(dates)}
    lines: dict[str, list[str]] = {}
    for instrument, day, state in rows:
        lines.setdefault(instrument, ["m"] * len(dates))[place[day]] = state
    if table in MARKET_TABLES:
        lines = {name: _before_the_first(line) for name, line in lines.items()}
    names = sorted(lines)[:LINES_SHOWN]
    told = {
        "table": table,
        "states": STATES,
        "dates": dates,
        "instruments": names,
        "lines": ["".join(lines[name]) for name in names],
    }
    counts = Counter(state for line in lines.values() for state in line)
    return Page(
        "partitions.html",
        f"Partitions of {table}",
        {
            "table": table,
            "choices": [Choice("table", "Table", table, [(name, name) for name in TABLES])],
            "goto": f"/tt/partition/{table}",
            "told": json.dumps(told, separators=(",", ":")).replace("<", "\\u003c"),
            "states": [(sign, words, f"{counts.get(sign, 0):,}") for sign, words in STATES.items()],
            "open": _open(look, table),
            "years": _years(lines, dates, names),
            "empty": not rows,
            "names": names,
            "first": dates[0] if dates else "",
            "last": dates[-1] if dates else "",
        },
    )


def _before_the_first(line: list[str]) -> list[str]:
    """A line in which partitions without rows before the first with some say so: an instrument was not listed yet."""
    first = next((place for place, state in enumerate(line) if state in "ds"), 0)
    return ["b" if place < first and state == "e" else state for place, state in enumerate(line)]


def _open(look: Look, table: str) -> list[dict[str, str]]:
    rows = look.rows(
        f"SELECT date::text, instrument, coalesce(failure ->> 'reason', failure::text), tries FROM {LEDGER.name} "
        "WHERE table_name = %s AND failure IS NOT NULL ORDER BY date DESC LIMIT 100",
        table,
    )
    return [
        {
            "key": str(CellKey(str(day), name)),
            "reason": str(reason)[:300],
            "tries": str(tries),
            "address": address(f"/tt/partition/{table}", key=str(CellKey(str(day), name))),
        }
        for day, name, reason, tries in rows
    ]


def _years(lines: dict[str, list[str]], dates: list[str], names: list[str]) -> dict[str, Any]:
    """The same counted by year, for whoever reads tables: partitions with rows of those that can have some."""
    years = sorted({day[:4] for day in dates})
    of_year = {year: [number for number, day in enumerate(dates) if day.startswith(year)] for year in years}
    rows = [
        {"name": name, "cells": [_share([lines[name][n] for n in numbers]) for numbers in of_year.values()]}
        for name in names[:60]
    ]
    return {"years": years, "rows": rows}


def _share(states: Sequence[str]) -> tuple[str, str]:
    """How many of `states` are with rows, and the tone; those before the first row are not counted."""
    done, whole = sum(state in "ds" for state in states), sum(state != "b" for state in states)
    return (f"{done}/{whole}", "" if done == whole else "n1") if whole else ("–", "quiet")


def partition(look: Look) -> Page:
    """One partition: rows, digest, outcome, what changed, why it failed, its history."""
    table = look.one_of("table", list(TABLES))
    key = _key(look.text("key"))
    if table in MARKET_TABLES:
        # Other pages point at a session; the partition is the one that holds it.
        day = look.site.settings.date_grain.key_of(date.fromisoformat(key.date))
        key = CellKey(day.isoformat(), key.instrument)
    found = look.rows(
        "SELECT rows, digest, code, run_id, written_at, outcome, changed, failure, tries, tried_at, source "
        f"FROM {LEDGER.name} WHERE table_name = %s AND date = %s AND instrument = %s",
        table,
        key.date,
        key.instrument,
    )
    header, rows = _rows(look, table, key)
    if not found and not rows:
        raise NotThere(f"{table} has nothing on record of {key}.")
    entry = dict(
        zip(
            (
                "rows",
                "digest",
                "code",
                "run_id",
                "written_at",
                "outcome",
                "changed",
                "failure",
                "tries",
                "tried_at",
                "source",
            ),
            found[0] if found else (None,) * 11,
            strict=True,
        )
    )
    failure = entry["failure"]
    changed = entry["changed"] or {}
    return Page(
        "partition.html",
        f"{key} of {table}",
        {
            "table": table,
            "key": str(key),
            "instrument": key.instrument if table in MARKET_TABLES else None,
            "traded": key.instrument if table not in MARKET_TABLES else None,
            "entry": entry,
            "written": _moment(entry["written_at"]),
            "tried": _moment(entry["tried_at"]),
            "reason": (failure.get("reason") if isinstance(failure, dict) else str(failure)) if failure else None,
            "changed": [(name, json.dumps(value)) for name, value in changed.items()]
            if isinstance(changed, dict)
            else [],
            "header": header,
            "rows": rows,
            "limit": ROWS_SHOWN,
            "history": _history(look, table, str(key)),
            "matrix": address("/tt/partitions", table=table),
            "neighbours": _neighbours(look, table, key),
        },
    )


def _key(text: str) -> CellKey:
    try:
        key = CellKey.parse(text)
        return CellKey(date.fromisoformat(key.date).isoformat(), key.instrument)
    except ValueError:
        raise NotThere(f'"{text}" is no partition: write it as 2012-05-18|AAPL.') from None


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "–"


def _rows(look: Look, table: str, key: CellKey) -> tuple[list[str], list[list[str]]]:
    """The rows of the partition, those of an episode with strategy and seed in front; the first ROWS_SHOWN."""
    columns = [column_of(table, name) for name in own_columns(table) if name not in LEFT_OUT]
    values = {"day": sql.Literal(key.date), "name": sql.Literal(key.instrument)}
    if table in MARKET_TABLES:
        width = look.site.settings.date_grain.interval
        where = sql.SQL(
            "t.instrument = {name} AND t.timestamp >= {day}::date AND t.timestamp < {day}::date + {width}::interval"
        ).format(width=sql.Literal(width), **values)
        order = "t.timestamp"
    elif table in EPISODE_TABLES:
        columns = [sql.Identifier("e", "strategy"), sql.Identifier("e", "seed"), *columns]
        where = sql.SQL(
            "e.window_start = {day}::date AND e.instrument = {name} AND e.end_time IS NOT NULL AND e.strategy <> {old}"
        ).format(old=sql.Literal(OLD_AGENT), **values)
        order = "e.strategy, e.seed"
    else:
        where = sql.SQL("t.window_start = {day}::date AND t.instrument = {name}").format(**values)
        order = "t.seed"
    cursor = look.connection.execute(
        sql.SQL("SELECT {columns} FROM {source} WHERE {where} ORDER BY {order} LIMIT {limit}").format(
            columns=sql.SQL(", ").join(columns),
            source=joined_source(table),
            where=where,
            order=sql.SQL(order),
            limit=sql.Literal(ROWS_SHOWN),
        )
    )
    header = [column.name for column in cursor.description or ()]
    return header, [[_cell(value) for value in row] for row in cursor.fetchall()]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    text = str(value)
    return text if len(text) <= 160 else f"{text[:160]}…"


def _history(look: Look, table: str, key: str) -> list[dict[str, str]]:
    """What Dagster was told of the partition, newest first."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(table), asset_partitions=[key])
    rows = []
    for record in look.site.instance.fetch_materializations(wanted, limit=HISTORY_SHOWN).records:
        made = record.asset_materialization
        told = made.metadata if made else {}
        say = [f"{name} {told[name].value}" for name in ("dagster/row_count", "outcome") if name in told]
        rows.append(
            {
                "at": f"{datetime.fromtimestamp(record.timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC",
                "run": record.run_id[:8],
                "address": f"/runs/{record.run_id}" if "-" in record.run_id else "",
                "said": ", ".join(say).removeprefix("dagster/"),
            }
        )
    return rows


def _neighbours(look: Look, table: str, key: CellKey) -> list[tuple[str, str]]:
    found = []
    for words, sign, order in (("before", "<", "DESC"), ("after", ">", "ASC")):
        rows = look.rows(
            f"SELECT date::text FROM {LEDGER.name} WHERE table_name = %s AND instrument = %s AND date {sign} %s::date "
            f"ORDER BY date {order} LIMIT 1",
            table,
            key.instrument,
            key.date,
        )
        found += [
            (f"{day}, {words}", address(f"/tt/partition/{table}", key=str(CellKey(str(day), key.instrument))))
            for (day,) in rows
        ]
    return found
