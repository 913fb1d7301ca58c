"""Pages of the UI as a person uses them: what is clicked, typed and read, and a picture of each for the record."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Error, Locator, Page, expect

from tt_assets_tests.e2e.command_line import GENEROUS

ARTEFACTS = Path(os.environ.get("TT_ARTEFACTS") or Path(__file__).parents[2] / "artefacts")
"""Folder of the screenshots; read before a test hides the developer's settings."""

PATIENCE = 60.0
"""Seconds for what a page shows by itself, on a machine that is busy."""

GREEN = "var(--color-accent-green)"
"""The colour of a partition that is materialized, as the UI names it in both themes."""


@dataclass
class Person:
    """Somebody in front of the UI; remembers whatever error the pages ran into."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        self.page.on("pageerror", self._crashed)
        self.page.on("console", self._complained)

    def open(self, path: str) -> None:
        """Go to `path` of the UI."""
        self.page.goto(self.url + path)

    def picture(self, name: str) -> Path:
        """Keep what is on the screen as `name`.png."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        target = ARTEFACTS / f"{name}.png"
        self.page.screenshot(path=target, animations="disabled")
        return target

    def choose_partitions(self, dates: str, instruments: tuple[str, ...]) -> None:
        """Fill the open launch dialog: `dates` in the words of the UI, `instruments` by name."""
        dialog = self.page.get_by_role("dialog").first
        dialog.get_by_placeholder("ex: ").fill(dates)
        self.page.keyboard.press("Tab")
        dialog.get_by_text("Select a partition or create one").click()
        for name in instruments:
            self.page.get_by_role("menuitem").filter(has_text=name).click()
        self.page.keyboard.press("Escape")
        for name in instruments:
            expect(dialog.get_by_text(name, exact=True).first).to_be_visible()

    def look_at_partitions(self, table: str, dates: str) -> None:
        """Open the partition grid of `table` for `dates`."""
        self.open(f"/assets/{table}?view=partitions")
        self.page.get_by_placeholder("ex: ").fill(dates)
        self.page.keyboard.press("Tab")

    def reload_until(self, what: Locator, within: float = GENEROUS) -> None:
        """Come back to the page until it shows `what`."""
        deadline = time.monotonic() + within
        while True:
            try:
                return expect(what).to_be_visible(timeout=6_000)
            except AssertionError:
                assert time.monotonic() < deadline, f"{what} was not there within {within:.0f} s: {self.page.url}"
                self.page.reload()

    def colours_of(self, key: str) -> set[str]:
        """The colours of the dots behind the date or instrument `key` of a partition grid."""
        row = self.page.get_by_title(key, exact=True).first.locator("xpath=../..")
        dots: list[str] = row.evaluate("row => [...row.children].slice(1).map(dot => dot.style.background)")
        return set(dots)

    def picture_width(self, picture: Locator) -> float:
        """Pixels across of a picture that the browser could decode; 0 of a broken one."""
        expect(picture).to_be_visible()
        width: Any = picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth, () => 0)")
        return float(width)

    def _crashed(self, error: Error) -> None:
        self.errors.append(f"{self.page.url}: {error}")

    def _complained(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{self.page.url}: {message.text} ({message.location.get('url')})")
