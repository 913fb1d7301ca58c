"""Pictures in the metadata of a materialization, which the asset's page shows at once.

One decision: a picture is a file beside the logs of the runs, which Dagster's webserver serves, and the event holds its
address. The UI shows Markdown of up to a thousand characters in place and anything longer behind a button; and the
metadata of a run is copied into the event of each of its partitions. A file is named by its content, so the same
picture is kept once.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

FOLDER = "pictures"

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
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(png)
        unfinished.replace(file)
    return dg.MetadataValue.md(f"![{title}](/logs/{FOLDER}/{name}/png)")
