"""What a person sees and clicks, in a real browser. Screenshots stay in artefacts/ (or where TT_ARTEFACTS says).

Cells of its own on the shared machine: prices of February and March 2006.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date

import pandas as pd
import pytest

from tt_assets.bench.browser import WINDOW as SCREEN
from tt_assets.bench.browser import NoBrowser, chromium, find
from tt_assets.market.calendar import sessions
from tt_assets_tests.e2e.command_line import Machine, Ui

try:
    find()
except NoBrowser as missing:
    if os.environ.get("CI", "").lower() in ("true", "1"):
        raise  # where every change is judged, a test that cannot run is a test that fails
    pytest.skip(str(missing), allow_module_level=True)

from playwright.sync_api import Browser, expect

from tt_assets_tests.e2e.pages import GREEN, Person

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def person(browser: Browser, ui: Ui, request: pytest.FixtureRequest) -> Iterator[Person]:
    """Somebody who never was here: no cookie, nothing stored. No page may have run into an error in the end."""
    context = browser.new_context(viewport=SCREEN, locale="en-US", timezone_id="America/New_York")
    somebody = Person(context.new_page(), ui.url)
    yield somebody
    somebody.picture(f"end_of_{request.node.name}")
    context.close()
    assert somebody.errors == []


def test_the_equity_curve_is_two_clicks_from_the_landing_page(person: Person) -> None:
    person.open("/")
    catalog = person.page.get_by_role("link", name="Catalog")
    expect(catalog).to_be_visible()
    person.picture("landing")
    catalog.click()
    report = person.page.locator('a[href="/assets/report"]').first
    expect(report).to_be_in_viewport()
    person.picture("catalog")
    report.click()
    curve = person.page.get_by_role("img", name="net worth")
    expect(curve).to_be_in_viewport(ratio=1)
    assert person.picture_width(curve) > 300
    person.picture("equity_curve")


def test_one_partition_is_materialized_from_the_launch_dialog(
    person: Person, filled: Machine, sample_bars: pd.DataFrame
) -> None:
    day = "2006-02-15"
    bar = f"SELECT open, high, low, close, volume FROM tt_prices WHERE instrument = 'IBM' AND timestamp = '{day}'"
    assert filled.rows(bar) == []
    person.open("/assets/tt_prices")
    person.page.get_by_role("button", name="Materialize…").click()
    person.choose_partitions(day, ("IBM",))
    person.picture("launch_dialog")
    person.page.get_by_role("button", name="Launch 1 run").click()
    expect(person.page.get_by_text("Launched run")).to_be_visible()

    person.look_at_partitions("tt_prices", day)
    person.reload_until(person.page.get_by_text("Materialized (1)"))
    person.page.get_by_title(day, exact=True).click()
    person.page.get_by_title("IBM", exact=True).click()
    expect(person.page.get_by_text(f"{day}|IBM").first).to_be_visible()
    expect(person.page.get_by_text("Materialized", exact=True)).to_be_visible()
    person.picture("one_partition")
    of_file = sample_bars[(sample_bars["instrument"] == "IBM") & (sample_bars["timestamp"] == day)]
    assert filled.rows(bar) == [tuple(of_file[["open", "high", "low", "close", "volume"]].iloc[0])]


def test_a_months_backfill_over_two_instruments_turns_the_partition_grid_green(
    person: Person, filled: Machine, sample_bars: pd.DataFrame
) -> None:
    days = sessions(date(2006, 3, 1), date(2006, 3, 31))
    month = f"[{days[0]:%Y-%m-%d}...{days[-1]:%Y-%m-%d}]"
    person.look_at_partitions("tt_prices", month)
    expect(person.page.get_by_text(f"Missing ({5 * len(days)})")).to_be_visible()
    assert GREEN not in person.colours_of("IBM") | person.colours_of("MSFT")
    person.picture("grid_before")

    person.page.get_by_role("button", name="Materialize…").click()
    person.choose_partitions(month, ("IBM", "MSFT"))
    expect(person.page.get_by_role("dialog").first.get_by_text(f"{2 * len(days)} partitions")).to_be_visible()
    person.picture("backfill_dialog")
    person.page.get_by_role("button", name="Launch backfill").click()
    expect(person.page.get_by_text("Created backfill")).to_be_visible()

    person.look_at_partitions("tt_prices", month)
    person.reload_until(person.page.get_by_text(f"Materialized ({2 * len(days)})"))
    assert person.colours_of("IBM") == person.colours_of("MSFT") == {GREEN}
    assert GREEN not in person.colours_of("AAPL")
    assert GREEN in person.colours_of(f"{days[-1]:%Y-%m-%d}")
    person.picture("grid_after")
    stored = filled.rows(
        "SELECT instrument, timestamp, close FROM tt_prices "
        "WHERE timestamp >= '2006-03-01' AND timestamp < '2006-04-01' ORDER BY 1, 2"
    )
    wanted = sample_bars[sample_bars["instrument"].isin(["IBM", "MSFT"]) & sample_bars["timestamp"].isin(days)]
    wanted = wanted.sort_values(["instrument", "timestamp"])[["instrument", "timestamp", "close"]]
    assert stored == list(wanted.itertuples(index=False, name=None))


def test_every_plot_of_an_agents_report_opens(person: Person) -> None:
    person.open("/assets/report")
    for name in ("equity", "drawdown", "turnover", "weights"):
        person.page.get_by_role("row").filter(has_text=name).get_by_text("[Show Markdown]").first.click()
        plot = person.page.get_by_role("dialog").get_by_role("img", name=name)
        assert person.picture_width(plot) > 600, name
        person.picture(f"report_{name}")
        person.page.keyboard.press("Escape")
        expect(plot).to_be_hidden()
