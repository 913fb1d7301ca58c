"""Which partitions hold other values than before, and what they held.

What a materialization says under `RESTATED` is the contract with whoever refreshes what was computed from
the old values. A partition whose stored rows are as they were does not carry it, and neither does one that had none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Table

from tt_assets.errors import counted
from tt_assets.postgres.slices import Selection
from tt_assets.tables import content_columns, key_columns

RESTATED = "restated"
"""Metadata key: a JSON object, see `restated_cells`."""
RESTATEMENTS = "restatements"
"""Metadata key of every partition of a run that found some: one line for people."""
SESSIONS_SHOWN = 5
"""Of a partition that is wider than a session."""
INSTRUMENTS_NAMED = 5


@dataclass(frozen=True)
class Cause:
    """Why stored values changed.

    Parameters
    ----------
    word : for people and for `restated_cells`.
    ratio : new price over old where the whole history was re-adjusted.
    """

    word: str
    ratio: float | None = None


REVISION = Cause("revision")
SOURCE_CHANGED = Cause("source changed")


def readjusted(ratio: float) -> Cause:
    """The whole history was re-adjusted by `ratio`."""
    return Cause("readjusted", ratio)


def restated_cells(
    table: Table, selection: Selection, before: pd.DataFrame, after: pd.DataFrame, causes: Mapping[str, Cause]
) -> dict[str, dict[str, Any]]:
    """What changed, of cells with a row that is not stored as it was. Values are compared bit for bit.

    Parameters
    ----------
    table : a market table.
    selection : the cells that were replaced.
    before, after : their rows, content columns in any order.
    causes : instrument → why its values may differ; SOURCE_CHANGED where it is not named.

    Returns
    -------
    Partition key → `was` and `now` (the values of the first changed session by column; `now` is None where the row is
    gone), `cause` and `ratio`, `session` (its date), and `changed`, how many sessions differ. Where that is more than
    one, `sessions` lists the first five as session, was, now.
    """
    keys = list(key_columns(table))
    values = [name for name in content_columns(table) if name not in keys]
    if before.empty:
        return {}
    dated = {"timestamp": "datetime64[ns]"}
    after = after[[*keys, *values]].astype(dated)
    # From the left: a row that is new was never computed from, so it is no restatement.
    both = before.astype(dated).merge(after, on=keys, how="left", suffixes=("_was", "_now"), indicator=True)
    was = both[[f"{name}_was" for name in values]].to_numpy(dtype=np.float64)
    now = both[[f"{name}_now" for name in values]].to_numpy(dtype=np.float64)
    gone = (both["_merge"] == "left_only").to_numpy()
    places = np.flatnonzero(gone | ~((was == now) | (np.isnan(was) & np.isnan(now))).all(axis=1))
    stamps = both["timestamp"].to_numpy()
    places = places[np.argsort(stamps[places], kind="stable")]
    changed = both.iloc[places]
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    instruments: dict[str, str] = {}
    cells = selection.cell_of(changed["instrument"], changed["timestamp"])
    for cell, place, stamp in zip(cells.tolist(), places.tolist(), changed["timestamp"], strict=True):
        instruments[selection.keys[cell]] = selection.instruments[cell]
        found[selection.keys[cell]].append(
            {
                "session": f"{stamp:%Y-%m-%d}",
                "was": _row(values, was[place]),
                "now": None if gone[place] else _row(values, now[place]),
            }
        )
    return {key: _say(sessions, causes.get(instruments[key], SOURCE_CHANGED)) for key, sessions in found.items()}


def describe(restated: Mapping[str, Mapping[str, Any]], selection: Selection) -> str:
    """One line for people: per instrument how many sessions changed, when, and why.

    Parameters
    ----------
    restated : of `restated_cells`.
    selection : the cells that its keys name.
    """
    instrument_of = dict(zip(selection.keys, selection.instruments, strict=True))
    by_instrument: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for key, restatement in sorted(restated.items()):
        by_instrument[instrument_of[key]].append(restatement)
    parts = []
    for instrument, cells in list(by_instrument.items())[:INSTRUMENTS_NAMED]:
        count, cause, ratio = sum(cell["changed"] for cell in cells), cells[0]["cause"], cells[0]["ratio"]
        times = f", new prices are {ratio:.6g} times the old" if ratio is not None else ""
        first, last = cells[0]["session"], cells[-1]["session"]
        when = first if first == last else f"{first} to {last}"
        parts.append(f"{instrument}: {counted(count, 'stored bar')} changed ({cause}{times}; {when})")
    more = len(by_instrument) - INSTRUMENTS_NAMED
    return "; ".join(parts) + (f"; and {more} more instruments" if more > 0 else "")


def remedy(restated: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for people: how what was computed from the old values is brought up to date."""
    first = min(restatement["session"] for restatement in restated.values())
    again = f"`tt backfill market --from {first}`"
    return f"What was computed from the old bars is out of date: `tt up` refreshes it, or {again}."


def _say(sessions: list[dict[str, Any]], cause: Cause) -> dict[str, Any]:
    restatement = {**sessions[0], "cause": cause.word, "ratio": cause.ratio, "changed": len(sessions)}
    return restatement | ({"sessions": sessions[:SESSIONS_SHOWN]} if len(sessions) > 1 else {})


def _row(names: Iterable[str], values: Iterable[np.float64]) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
