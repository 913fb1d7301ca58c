"""The pages under `docs/reference`, written out of the declarations they describe.

They are committed, so that they can be read in the repository, and they are never edited: a test and `make lint`
compare them with what this module makes. It stands beside the tests because no user needs it to run the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tt_assets_tests.docs.command_pages import commands_page
from tt_assets_tests.docs.licence_pages import licences_page
from tt_assets_tests.docs.research_pages import research_page
from tt_assets_tests.docs.setting_pages import settings_page
from tt_assets_tests.docs.table_pages import tables_page

DOCS = Path(__file__).parents[2] / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/tables.md": tables_page,
    "reference/features.md": research_page,
    "reference/settings.md": settings_page,
    "reference/commands.md": commands_page,
    "reference/licences.md": licences_page,
}
"""Path under `docs`, and what makes the page."""

REMEDY = "run `make docs` and commit what it writes"


def write_pages(docs: Path = DOCS) -> list[str]:
    """Write every page under `docs`; the paths of those that changed."""
    changed = out_of_date(docs)
    for name in changed:
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(PAGES[name](), "utf-8")
    return changed


def out_of_date(docs: Path = DOCS) -> list[str]:
    """The pages under `docs` that are missing or say something else than the code."""
    return [
        name for name, page in PAGES.items() if not (docs / name).exists() or (docs / name).read_text("utf-8") != page()
    ]
