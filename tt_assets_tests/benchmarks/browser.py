"""A real browser, headless: Debian's chromium, driven by Playwright.

The browser is the system's (`apt-get install chromium`) and never one that Playwright downloads, and it
talks to nothing but the page it is given.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tt_assets.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

NAMES = ("chromium", "chromium-browser", "google-chrome")
WINDOW: ViewportSize = {"width": 1440, "height": 900}
"""CSS pixels of a page: an ordinary laptop."""

QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowser(UserError):
    """There is no browser to drive, or nothing to drive it with."""


def find() -> Path:
    """The browser's program. Raises NoBrowser with the remedy where it or Playwright is missing."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        raise NoBrowser("Playwright is not installed; run `pip install -e '.[test]'`.") from None
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise NoBrowser(f"No browser ({', '.join(NAMES)}) is on the PATH; run `apt-get install chromium`.")
    return Path(program)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The running browser, with an empty profile of its own; closed afterwards. Raises NoBrowser as `find` does."""
    program = find()
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox refuses to start as root, which is who containers run as.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *sandbox])
        try:
            yield browser
        finally:
            browser.close()
