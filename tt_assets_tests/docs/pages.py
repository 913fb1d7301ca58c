"""The pages of the repository as the tests read them: code and links taken out of the Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}.*\n)+", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(TOP))

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def links(self) -> list[str]:
        """Targets of links and pictures, outside code."""
        return _LINK.findall(_SPAN.sub("", _INDENTED.sub("", _FENCE.sub("", self.text))))

    @property
    def anchors(self) -> set[str]:
        """What a link may point at: headings as the repository's view names them."""
        headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def code(self) -> list[str]:
        """Code spans, and the lines of blocks that are no Python and no picture; comments are left out."""
        text = _FENCE.sub(lambda fence: "" if fence[1] else fence[0], self.text)
        blocks = _INDENTED.findall(text)
        lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
        return [*lines, *_SPAN.findall(_INDENTED.sub("", text))]

    @property
    def python(self) -> list[str]:
        """The fenced blocks of Python."""
        return [body for language, body in _FENCE.findall(self.text) if language == "python"]


def pages() -> Iterator[Page]:
    """Every page of the repository."""
    for path in (*sorted(TOP.glob("*.md")), *sorted(DOCS.rglob("*.md"))):
        yield Page(path)


def living_pages() -> Iterator[Page]:
    """The pages that speak of today: not the changelog and not the decisions, which keep the words of their day."""
    for page in pages():
        if page.path.name != "CHANGELOG.md" and page.path.parent.name != "decisions":
            yield page
