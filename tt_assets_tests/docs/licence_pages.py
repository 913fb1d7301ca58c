"""The page of what is installed with the package, and under which licence."""

from __future__ import annotations

from tt_assets_tests.docs.markdown import code, page, table
from tt_assets_tests.requirement_lists import licences, pinned


def licences_page() -> str:
    """Every package of `requirements/`, with the licence its own metadata states."""
    runtime = pinned("runtime")
    rows = [(code(name), stated, "" if name in runtime else "tests") for name, stated in licences().items()]
    return page(
        "Licences",
        "What `make install` brings, and the licence each package states about itself. A test refuses an unknown one "
        "and every GPL; the Lesser GPL of psycopg binds nobody who can replace it.",
        table(("package", "licence", "only for"), rows),
    )
