"""Which texts name a price source of a person's own; nothing is imported to tell."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points

GROUP = "tt_assets.price_sources"
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def installed_sources() -> dict[str, EntryPoint]:
    """The price sources of installed distributions, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def is_source_name(text: str) -> bool:
    """Whether a text is `package.module:Class`, or names an installed source."""
    return bool(_CLASS.fullmatch(text)) or text in installed_sources()
