"""Materializations of one batch as the texts that Dagster stores, most of which they have in common.

Dagster packs each event object by object into JSON, a third of what a partition of a range run costs. The events of a
batch differ in their moment, partition, metadata and tags alone, so the rest is packed once, with marks where these
belong. What an entry looks like is learned from Dagster's own text of it in the same way: nothing here knows the
format. Whatever is of another kind is packed by Dagster, and so is a batch whose first text does not come out as
Dagster's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

MARK = "mark-9f2b61c4"
MOMENT = 8765432109.25
NUMBER = 918273645
FRACTION = 918273.640625

Pack = Callable[[dg.EventLogEntry], str]


class _Unlike(Exception):
    """An event, or an entry of one, that is not of the kind that is written from parts."""


class _Parts:
    """What the events of a batch have in common, as text.

    Raises _Unlike where Dagster writes it in another form than the one looked for.
    """

    def __init__(self, like: dg.EventLogEntry, pack: Pack) -> None:
        self._like, self._pack = _with(like, MOMENT, partition=MARK, metadata={}, tags={}), pack
        self._entries: dict[tuple[str, type], tuple[str, str]] = {}
        self._parts = _cut(
            pack(self._like), '"metadata_entries": []', f'"partition": "{MARK}"', '"tags": {}', f": {MOMENT}"
        )

    def text(self, event: dg.EventLogEntry) -> str:
        """The text of another event of the batch; raises _Unlike where it is of another kind."""
        if _with(event, MOMENT, partition=MARK, metadata={}, tags={}) != self._like:
            raise _Unlike
        told = _materialization(event)
        entries = ", ".join([self._entry(label, value) for label, value in told.metadata.items()])
        first, second, third, fourth, last = self._parts
        return "".join(
            (
                first,
                f'"metadata_entries": [{entries}]',
                second,
                f'"partition": {json.dumps(told.partition)}',
                third,
                f'"tags": {json.dumps(told.tags, sort_keys=True)}',
                fourth,
                f": {json.dumps(event.timestamp)}",
                last,
            )
        )

    def _entry(self, label: str, value: Any) -> str:
        kind = type(value)
        if kind not in _INNER:
            raise _Unlike
        parts = self._entries.get((label, kind))
        if parts is None:
            parts = self._entries[label, kind] = self._learned(label, kind)
        return f"{parts[0]}{json.dumps(value.value)}{parts[1]}"

    def _learned(self, label: str, kind: type) -> tuple[str, str]:
        """What stands before and behind the value of such an entry."""
        mark = _INNER[kind]
        text = self._pack(_with(self._like, MOMENT, partition=MARK, metadata={label: kind(mark)}, tags={}))
        first, second, *_ = self._parts
        opening = f'{first}"metadata_entries": ['
        closing = f']{second}"partition": "{MARK}"'
        if not text.startswith(opening) or text.count(closing) != 1:
            raise _Unlike
        entry = text[len(opening) : text.index(closing)]
        found = json.dumps(mark)
        if entry.count(found) != 1:
            raise _Unlike
        before, after = entry.split(found)
        return before, after


_INNER: Mapping[type, str | int | float] = {
    dg.TextMetadataValue: MARK,
    dg.IntMetadataValue: NUMBER,
    dg.FloatMetadataValue: FRACTION,
}
"""Kinds of entries that are written from parts → a value to find them by."""


def event_texts(events: Sequence[dg.EventLogEntry], pack: Pack) -> list[str]:
    """The texts of materializations.

    Parameters
    ----------
    events : of one batch.
    pack : Dagster's own way from an event to its text.

    Returns
    -------
    What `pack` gives for each of them, character by character.
    """
    try:
        parts = _Parts(events[0], pack)
    except _Unlike:
        return [pack(event) for event in events]
    texts, proven = [], False
    for event in events:
        try:
            text = parts.text(event)
        except _Unlike:
            texts.append(pack(event))
            continue
        if not proven and text != pack(event):
            return [pack(event) for event in events]
        proven = True
        texts.append(text)
    return texts


def _materialization(event: dg.EventLogEntry) -> dg.AssetMaterialization:
    return event.get_dagster_event().step_materialization_data.materialization


def _with(
    event: dg.EventLogEntry, moment: float, *, partition: str, metadata: Mapping[str, Any], tags: Mapping[str, str]
) -> dg.EventLogEntry:
    """`event` with another moment, partition, metadata and tags."""
    told = event.get_dagster_event()
    specific = told.step_materialization_data
    made = specific.materialization._replace(partition=partition, metadata=metadata, tags=tags)
    return event._replace(
        timestamp=moment,
        dagster_event=told._replace(event_specific_data=specific._replace(materialization=made)),
    )


def _cut(text: str, *marks: str) -> tuple[str, ...]:
    """What stands between `marks`, each of which `text` has once, in that order."""
    parts = []
    for mark in marks:
        if text.count(mark) != 1:
            raise _Unlike
        before, text = text.split(mark)
        parts.append(before)
    return (*parts, text)
