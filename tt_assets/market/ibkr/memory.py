"""Small files that remember per instrument what IBKR answered, between runs.

A memory is worth a few requests and nothing more. One that cannot be read counts as empty, one that
cannot be written is left, and neither is an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tt_assets.market.watchlist_format import Instrument

FORMAT = 1

Identity = tuple[tuple[str, str], ...]
"""What tells instruments apart: every column of the watchlist but the description."""


def identity(instrument: Instrument) -> Identity:
    """The identity of an instrument."""
    fields = asdict(instrument)
    del fields["description"]
    return tuple(sorted(fields.items()))


def read_rows[T](path: Path | None, name: str, read: Callable[[dict[str, Any]], T]) -> list[tuple[Identity, T]]:
    """The rows of the list `name` in the file, each through `read`; empty where there is none that can be read."""
    if path is None:
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return []
        return [(tuple(sorted(row["instrument"].items())), read(row)) for row in content[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def save_rows(path: Path, name: str, rows: Iterable[tuple[Identity, dict[str, Any]]]) -> None:
    """Write the rows in one step: a reader sees the old file or the new one."""
    content = {"format": FORMAT, name: [{"instrument": dict(key), **row} for key, row in rows]}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        Path(staged).replace(path)
