"""Pictures in the metadata of a materialization, which the asset's page shows at once.

A picture is a file beside the logs of the runs, which Dagster's webserver serves, and the event holds its
address. The UI shows Markdown of up to a thousand characters in place and anything longer behind a button; and the
metadata of a run is copied into the event of each of its partitions. A file is named by its content, so the same
picture is kept once, and those that were drawn longest ago go when there are too many.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

FOLDER = "pictures"

MOST_BYTES = 500_000_000
"""What the pictures may take, bytes: years of a daily refresh. The page of an older event shows their titles."""

LOGS = "TT_DAGSTER_LOGS"
"""Names the folder that `dagster.yaml` gives the logs; set for every process of the platform."""

Pictures = dict[str, dg.MetadataValue]
"""By name."""


@dataclass(frozen=True)
class Shown:
    """Pictures by partition key, and those of the run, which the asset's page is to show."""

    metadata: Mapping[str, Pictures] = field(default_factory=dict)
    of_the_run: Pictures = field(default_factory=dict)


def picture(title: str, png: bytes) -> dg.MarkdownMetadataValue:
    """`png` as metadata; `title` is what a reader without pictures gets.

    In a process that was not started by `tt` the picture is part of the metadata itself.
    """
    logs = os.environ.get(LOGS)
    if not logs:
        return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")
    name = hashlib.sha256(png).hexdigest()[:32]
    file = Path(logs) / FOLDER / f"{name}.png"
    try:
        os.utime(file)  # drawn again: it is a recent one
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(png)
        unfinished.replace(file)
        _make_room(file.parent)
    return dg.MetadataValue.md(f"![{title}](/logs/{FOLDER}/{name}/png)")


@functools.cache  # once a process: a run is a process, and draws a handful
def _make_room(folder: Path) -> None:
    """Remove the pictures drawn longest ago until the others take no more than `MOST_BYTES`."""
    known = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            stat = file.stat()
            known.append((stat.st_mtime, stat.st_size, file))
    excess = sum(size for _, size, _ in known) - MOST_BYTES
    for _, size, file in sorted(known):
        if excess <= 0:
            return
        file.unlink(missing_ok=True)
        excess -= size
