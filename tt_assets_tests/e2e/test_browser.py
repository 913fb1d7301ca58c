"""What a person sees and clicks, in a real browser. Screenshots stay in artefacts/ (or where TT_ARTEFACTS says).

Cells of its own on the shared machine: prices of February and March 2006.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from playwright.sync_api import Browser, expect

from tt_assets.market.calendar import sessions
from tt_assets_tests.benchmarks.browser import WINDOW as SCREEN
from tt_assets_tests.benchmarks.browser import chromium
from tt_assets_tests.conftest import need_browser
from tt_assets_tests.e2e.command_line import Machine, Ui
from tt_assets_tests.e2e.conftest import WINDOW, spoil
from tt_assets_tests.e2e.pages import GREEN, Person

need_browser()

pytestmark = pytest.mark.slow

EPISODE = f"{WINDOW}|sample"
"""Partition key of the one that was traded."""


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
    somebody.picture("end_of_" + re.sub(r"\W+", "_", request.node.name).strip("_"))
    context.close()
    assert somebody.errors == []


def test_the_equity_curve_is_two_clicks_from_the_landing_page(person: Person) -> None:
    person.open("/")
    catalog = person.page.get_by_role("link", name="Catalog")
    expect(catalog).to_be_visible()
    expect(person.page.get_by_text("Timeline").first).to_be_visible()
    person.picture("landing")
    catalog.click()
    report = person.page.locator('a[href="/assets/report"]').first
    expect(report).to_be_in_viewport()
    person.picture("catalog")
    report.click()
    curve = person.page.get_by_role("img", name="Net worth out of sample")
    expect(curve).to_be_in_viewport(ratio=0.9)
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


REPORTED = ("Net worth out of sample", "Drawdown out of sample", "Target weights", "Turnover and costs")


@pytest.mark.parametrize(
    ("table", "plots"),
    [
        ("report", REPORTED),
        ("tt_equity_curve", (f"Net worth of {EPISODE} against the baselines", f"Drawdown of {EPISODE}")),
        ("tt_target_weights", (f"Target weights of {EPISODE}",)),
        ("tt_policy", (f"Learning curve of {EPISODE}",)),
    ],
)
def test_the_plots_of_an_episode_stand_on_the_pages_of_its_assets(
    person: Person, table: str, plots: tuple[str, ...]
) -> None:
    person.open(f"/assets/{table}")
    for place, title in enumerate(plots):
        plot = person.page.get_by_role("img", name=title, exact=True)
        assert person.picture_width(plot) > 300, title
        plot.scroll_into_view_if_needed()
        person.picture(f"plot_{table}_{place}")


def test_the_plots_of_an_episode_stand_beside_its_partition(person: Person) -> None:
    person.open(f"/assets/tt_episode?view=partitions&partition={quote(EPISODE)}")
    plot = person.page.get_by_role("img", name=f"Net worth of {EPISODE} against the baselines", exact=True)
    assert person.picture_width(plot) > 300
    person.picture("plot_of_a_partition")


def test_a_cell_that_failed_leads_to_its_run_and_says_why(person: Person, filled: Machine, tmp_path: Path) -> None:
    day = "2006-02-22"
    span = spoil(filled, tmp_path, day)

    person.open(f"/assets/tt_prices?view=partitions&partition={quote(f'{day}|IBM')}")
    expect(person.page.get_by_text("failed, and did not materialize this asset")).to_be_visible()
    person.picture("failed_cell")
    person.page.get_by_role("button", name="View all historical events (1)").click()
    events = person.page.get_by_role("dialog").first
    events.get_by_text(f"{day}|IBM", exact=True).click()
    expect(events.get_by_text("price not finite and positive").first).to_be_visible()
    person.picture("failed_cell_reason")

    # Mended, so that the machine is as the other tests expect it.
    assert filled.tt("backfill", "tt_prices", *span).returncode == 0
    person.open(f"/assets/tt_prices?view=partitions&partition={quote(f'{day}|IBM')}")
    expect(person.page.get_by_text("Materialized", exact=True)).to_be_visible()
    expect(person.page.get_by_text("failed, and did not materialize this asset")).not_to_be_visible()
