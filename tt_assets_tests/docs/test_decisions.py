"""Decisions are numbered, dated, whole, and in the table."""

from __future__ import annotations

import re

import pytest

from tt_assets_tests.docs.pages import DOCS

FOLDER = DOCS / "decisions"
DECISIONS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_what_was_chosen_and_what_would_change_it(path):
    text = path.read_text("utf-8")
    assert re.match(rf"# {int(path.name[:4])}\. .+\n\nDecided \d{{4}}-\d\d-\d\d\.", text)
    sections = dict(re.findall(r"^## (.+)\n\n((?:(?!^## ).*\n?)+)", text, re.MULTILINE))
    assert list(sections) == ["The choice", "Rejected", "Why", "What would change it"]
    assert all(body.strip() for body in sections.values())


def test_decisions_are_numbered_without_a_hole_and_all_in_the_table():
    rows = []
    for number, path in enumerate(DECISIONS, 1):
        assert path.name.startswith(f"{number:04d}-")
        text = path.read_text("utf-8")
        title, date = text.splitlines()[0].split(". ", 1)[1], re.search(r"Decided ([\d-]+)", text)[1]
        rows.append(f"| [{number}]({path.name}) | {date} | {title} |")
    assert [line for line in (FOLDER / "README.md").read_text("utf-8").splitlines() if line.startswith("| [")] == rows
