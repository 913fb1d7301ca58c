"""Bars that became others, and what of it is still to be done: the cursor of the restatement sensor.

What changed is decided by content. A materialization of prices counts when it says that stored values are
others than before, or when a bar stands where none was; that something ran counts for nothing. The event log is asked
for the newest event of each cell first, in one query, and single events are looked at only where something older was
computed from the cell.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt

from tt_assets.automation.partition_states import Axes
from tt_assets.automation.tries import FACTOR
from tt_assets.grid.keys import CellKey
from tt_assets.postgres.restated import RESTATED

PRICES_KEY = dg.AssetKey("tt_prices")
MOST_LOOKED_AT = 1000
"""Cells whose events one tick looks at; the rest is the next tick's."""
SHOWN = 3

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Restated:
    """Changed bars of one instrument.

    First and last date key of each run of them, the id of the newest event that changed one, why in words.
    `step` is the work that was asked for last, `tries` how often, `after` when it may be asked for again (seconds since
    1970).
    """

    instrument: str
    spans: tuple[tuple[str, str], ...]
    event: int
    why: str
    step: str = ""
    tries: int = 0
    after: float = 0.0

    def at(self, step: str) -> Restated:
        """The same with `step` to be asked for: its tries begin anew where it is another one."""
        return self if step == self.step else replace(self, step=step, tries=0, after=0.0)

    def tried(self, now: float, first_wait: float) -> Restated:
        """The same after one more request."""
        return replace(self, tries=self.tries + 1, after=now + first_wait * float(FACTOR) ** self.tries)


@dataclass(frozen=True)
class Memory:
    """The cursor: events up to `event` have been looked at, and `pending` are the changes something still follows from.

    Where there is more to look at than one tick does, `position` is the last partition key that was looked at, and
    `target` the event up to which all will have been.
    """

    event: int = 0
    target: int = 0
    position: str = ""
    pending: tuple[Restated, ...] = ()

    @classmethod
    def read(cls, cursor: str | None) -> Memory:
        """From the text of a cursor; one that cannot be read starts at the first event, which finds what is left."""
        try:
            told = json.loads(cursor or "{}")
            pending = tuple(
                Restated(**{**entry, "spans": tuple(map(tuple, entry["spans"]))}) for entry in told.pop("pending", ())
            )
            return cls(**told, pending=pending)
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls()

    def text(self) -> str:
        """As a cursor."""
        return json.dumps({**vars(self), "pending": [vars(entry) for entry in self.pending]})


def latest_events(instance: dg.DagsterInstance, axes: Axes, table: str, after: int = 0) -> Ids:
    """Per cell the id of the newest materialization of `table` after the event `after`; 0 without one."""
    found = np.zeros(axes.none().shape, dtype=np.int64)
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        dg.AssetKey(table), dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=after or None
    )
    for key, number in newest.items():
        day, name = CellKey.parse(key)
        if day in axes.date_at and name in axes.instrument_at:
            found[axes.date_at[day], axes.instrument_at[name]] = number
    return found


def changed_bars(
    instance: dg.DagsterInstance, axes: Axes, keys: Sequence[str], after: int, computed: Collection[str]
) -> list[Restated]:
    """The cells among `keys` whose bar became another one by an event after `after`, one entry per instrument.

    A bar where none was counts only for the `computed` cells, those that older features or scores look back over: of a
    new session nothing was computed yet.
    """
    events: defaultdict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(
            dg.AssetRecordsFilter(PRICES_KEY, asset_partitions=list(keys), after_storage_id=after),
            limit=MOST_LOOKED_AT,
            cursor=cursor,
            ascending=True,
        )
        for record in page.records:
            metadata = record.asset_materialization.metadata if record.asset_materialization else {}
            told = {name: entry.value for name, entry in metadata.items()}
            events[str(record.partition_key)].append((record.storage_id, told))
        if not page.has_more:
            break
        cursor = page.cursor
    had = set(
        instance.event_log_storage.get_materialized_partitions(PRICES_KEY, before_cursor=after + 1) if after else ()
    )
    found: dict[str, list[tuple[str, int, str]]] = {}
    for key, of_cell in events.items():
        changes = _changes(instance, key, of_cell, landed_before=key in had, after=after, computed=key in computed)
        if changes:
            day, name = CellKey.parse(key)
            found.setdefault(name, []).append((day, *changes[-1]))
    return [_joined(axes, name, sorted(entries)) for name, entries in found.items()]


def changed_since(instance: dg.DagsterInstance, table: str, keys: Sequence[str], event: int) -> set[str]:
    """Those of the landed cells `keys` of `table` whose content is another one than before the event `event`.

    A cell without a digest on either side counts as changed.
    """
    newest = _digests(instance, dg.AssetRecordsFilter(dg.AssetKey(table), keys, after_storage_id=event))
    before = _digests(instance, dg.AssetRecordsFilter(dg.AssetKey(table), keys, before_storage_id=event))
    # Without an event since, the content is what it was.
    return {key for key, digest in newest.items() if digest is None or digest != before.get(key)}


def _digests(instance: dg.DagsterInstance, wanted: dg.AssetRecordsFilter) -> dict[str, str | None]:
    """Per cell the digest that its newest materialization among the `wanted` ones tells."""
    found: dict[str, str | None] = {}
    cursor, more, lacking = None, bool(wanted.asset_partitions), set(wanted.asset_partitions or ())
    while more and lacking:
        page = instance.fetch_materializations(wanted, limit=MOST_LOOKED_AT, cursor=cursor)
        for record in page.records:
            if record.partition_key in lacking and record.asset_materialization:
                lacking.remove(record.partition_key)
                entry = record.asset_materialization.metadata.get("digest")
                found[str(record.partition_key)] = str(entry.value) if entry else None
        cursor, more = page.cursor, page.has_more
    return found


def _changes(
    instance: dg.DagsterInstance,
    key: str,
    events: Sequence[tuple[int, Mapping[str, Any]]],
    *,
    landed_before: bool,
    after: int,
    computed: bool,
) -> list[tuple[int, str]]:
    """(event, in words) of the events of one cell that made its content another one."""
    rows = 0
    if computed and landed_before and any(_rows(told) and RESTATED not in told for _, told in events):
        rows = _rows_before(instance, key, after)
    changes = []
    for number, told in events:
        if RESTATED in told:
            changes.append((number, _in_words(key, told[RESTATED])))
        elif computed and _rows(told) and not rows:
            changes.append((number, f"{key}: a bar where none was"))
        rows = _rows(told)
    return changes


def _rows(told: Mapping[str, Any]) -> int:
    return int(told.get("dagster/row_count") or 0)


def _rows_before(instance: dg.DagsterInstance, key: str, event: int) -> int:
    filtered = dg.AssetRecordsFilter(PRICES_KEY, asset_partitions=[key], before_storage_id=event + 1)
    records = instance.fetch_materializations(filtered, limit=1).records
    materialization = records[0].asset_materialization if records else None
    return _rows({name: entry.value for name, entry in materialization.metadata.items()}) if materialization else 0


def _in_words(key: str, told: Mapping[str, Any]) -> str:
    was, now = told.get("was") or {}, told.get("now") or {}
    moved = [f"{name} was {was[name]:g}, is {_shown(now.get(name))}" for name in was if was[name] != now.get(name)]
    return f"{key}: {'; '.join(moved[:2])} ({told.get('cause', 'changed')})"


def _shown(value: float | None) -> str:
    return "absent" if value is None else f"{value:g}"


def _joined(axes: Axes, instrument: str, entries: Sequence[tuple[str, int, str]]) -> Restated:
    words = ". ".join(why for _, _, why in entries[:SHOWN])
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    rows = [axes.date_at[day] for day, _, _ in entries]
    breaks = [place for place in range(1, len(rows)) if rows[place] != rows[place - 1] + 1]
    spans = tuple((entries[first][0], entries[last - 1][0]) for first, last in pairwise([0, *breaks, len(rows)]))
    return Restated(instrument, spans, max(number for _, number, _ in entries), words + more)
