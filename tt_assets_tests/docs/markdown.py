"""Markdown of the generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

GENERATED = "<!-- Written by `make docs`. Edit the code it names, not this page. -->"


def page(title: str, *blocks: str) -> str:
    """A page with the notice that it is generated; the blocks are parted by empty lines."""
    return "\n\n".join([f"# {title}", GENERATED, *filter(None, blocks)]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty without rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", "|" + "---|" * len(header), *lines])


def cell(text: str) -> str:
    """Text that may stand in a table: one line, no column borders."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """As code."""
    return f"`{text}`"
