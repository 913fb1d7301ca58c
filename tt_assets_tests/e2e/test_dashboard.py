"""The dashboard in a real browser: ten tasks in three clicks each, both themes and widths, and a hostile page.

Cells of its own on the shared machine: prices of March and April 2006. Its portfolio is judged at other costs, too.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, expect

from tt_assets_tests.benchmarks.browser import WINDOW as SCREEN
from tt_assets_tests.benchmarks.browser import chromium
from tt_assets_tests.conftest import need_browser
from tt_assets_tests.e2e.command_line import Machine, Ui, wait_until
from tt_assets_tests.e2e.conftest import WINDOW, spoil
from tt_assets_tests.e2e.pages import Person

need_browser()

pytestmark = pytest.mark.slow

DAY, MONTH = "2006-04-12", ("2006-04-03", "2006-04-28")
FAILED = "2006-03-15"
PAGES = {
    "home": "/tt",
    "portfolio": "/tt/portfolio?of=sample",
    "episode": "/tt/episode",
    "instrument": "/tt/instrument?of=IBM",
    "partitions": "/tt/partitions",
    "partition": f"/tt/partition/tt_prices?key={quote('2012-05-18|IBM')}",
    "quality": "/tt/quality",
    "trials": "/tt/trials",
}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def person(browser: Browser, ui: Ui) -> Iterator[Person]:
    context = browser.new_context(viewport=SCREEN, locale="en-US", timezone_id="America/New_York")
    somebody = Person(context.new_page(), ui.url)
    yield somebody
    context.close()
    assert somebody.errors == []


@dataclass
class Clicks:
    """Somebody who begins at /tt and counts."""

    person: Person
    count: int = 0

    def on(self, what: Locator) -> None:
        what.first.click()
        self.count += 1

    def link(self, name: str) -> None:
        self.on(self.person.page.get_by_role("link", name=name, exact=True))

    def sees(self, text: str) -> None:
        expect(self.person.page.get_by_text(text).first).to_be_visible()

    def make(self, first: str, last: str, instruments: str) -> None:
        """Type what is to be made into the form of the first page, and hand it to Dagster."""
        page = self.person.page
        page.get_by_label("From").fill(first)
        page.get_by_label("To").fill(last)
        page.get_by_label("Instruments").fill(instruments)
        self.on(page.get_by_role("button", name="Choose in Dagster"))
        self.on(page.get_by_role("button", name="Materialize…"))


def materialize_one(do: Clicks) -> None:
    do.make(DAY, DAY, "IBM")
    do.on(do.person.page.get_by_role("button", name="Launch 1 run"))
    do.sees("Launched run")


def backfill_a_month(do: Clicks) -> None:
    do.make(*MONTH, "IBM,MSFT")
    dialog = do.person.page.get_by_role("dialog").first
    expect(dialog.get_by_text("38 partitions")).to_be_visible()
    do.on(do.person.page.get_by_role("button", name="Launch backfill"))
    do.sees("Created backfill")


def why_did_it_fail(do: Clicks) -> None:
    # The reason stands on the first page, and leads to the partition that it is of.
    do.on(do.person.page.get_by_role("link", name="price not finite and positive"))
    do.sees(FAILED)
    do.sees("price not finite and positive")


def does_it_beat_equal_weight(do: Clicks) -> None:
    do.sees("Against equal weight, bought and held")
    do.link("sample")
    do.sees("Excess over equal weight, held")


def open_the_full_report(do: Clicks) -> None:
    do.link("Full report")
    expect(do.person.page.get_by_role("heading", name="How to read this")).to_be_visible()


def what_did_it_trade_and_why(do: Clicks) -> None:
    do.link("sample")
    do.link(f"{WINDOW}, seed 0")
    do.sees("Step by step")
    do.sees("bought, ▼ sold")


def what_to_hold_tomorrow(do: Clicks) -> None:
    do.sees("What to hold next")
    expect(do.person.page.get_by_role("rowheader", name="CASH", exact=True)).to_be_visible()


def compare_two_trials(do: Clicks) -> None:
    do.link("Trials")
    settings = do.person.page.get_by_role("row").filter(has_text="commission_bps")
    expect(settings.get_by_role("cell")).to_have_text(["10", "30"])
    expect(do.person.page.locator("figure#curves .canvas canvas").first).to_be_attached()  # a script draws it


def what_is_stale(do: Clicks) -> None:
    do.sees("Newest partition")
    do.link("tt_signal_scores")
    do.sees("Partitions of tt_signal_scores")


def what_did_my_commands_run(do: Clicks) -> None:
    page = do.person.page
    do.on(page.locator('table a[href^="/runs/"]'))
    expect(page.get_by_role("button", name="View tags and config")).to_be_visible()


TASKS: tuple[Callable[[Clicks], None], ...] = (
    materialize_one, backfill_a_month, why_did_it_fail, does_it_beat_equal_weight, open_the_full_report,
    what_did_it_trade_and_why, what_to_hold_tomorrow, compare_two_trials, what_is_stale, what_did_my_commands_run,
)  # fmt: skip


@pytest.fixture(scope="module")
def eventful(filled: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine with a second trial, at three times the commission, and a partition that fails."""
    told = filled.tt("report", "--instruments", "sample", TT_COMMISSION_BPS="30")
    assert told.returncode == 0, told.stderr
    span = spoil(filled, tmp_path_factory.mktemp("bars"), FAILED)
    yield filled
    assert filled.tt("backfill", "tt_prices", *span).returncode == 0
    assert filled.tt("report", "--instruments", "sample").returncode == 0


@pytest.mark.usefixtures("eventful")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_every_task_takes_three_clicks_at_most(person: Person, task: Callable[[Clicks], None]) -> None:
    person.open("/tt")
    do = Clicks(person)
    task(do)
    assert do.count <= 3
    person.picture(f"task_{task.__name__}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("desktop", SCREEN), ("phone", PHONE)])
def test_every_page_is_drawn_in_both_themes_and_widths(
    browser: Browser, ui: Ui, theme: str, device: str, size: dict
) -> None:
    context = browser.new_context(viewport=size, color_scheme=theme, locale="en-US")
    somebody = Person(context.new_page(), ui.url)
    for name, path in PAGES.items():
        somebody.open(path)
        for canvas in somebody.page.locator("figure.chart .canvas").all():
            expect(canvas.locator("canvas").first, name).to_be_attached()
        wider = somebody.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, f"{name} is {wider} px wider than a {device}"
        somebody.page.wait_for_timeout(300)
        somebody.picture(f"dashboard_{name}_{theme}_{device}")
    context.close()
    assert somebody.errors == []  # what a policy forbids would stand here, too


def test_a_chart_is_walked_by_keys_and_has_its_table(person: Person) -> None:
    person.open("/tt/portfolio?of=sample")
    chart = person.page.locator("figure#equity")
    last = chart.locator(".at").inner_text()
    chart.locator(".canvas").focus()
    person.page.keyboard.press("ArrowLeft")
    assert chart.locator(".at").inner_text() < last
    person.page.keyboard.press("Home")
    chart.get_by_text("Table", exact=True).click()
    days = chart.locator("table tbody th").all_inner_texts()
    assert len(days) > 50
    assert days == sorted(days, reverse=True)
    assert chart.locator(".at").inner_text() == days[-1]
    person.page.get_by_role("button", name="Switch between the dark and the light theme").click()
    assert person.page.locator("html").get_attribute("data-theme") == "dark"


def test_the_matrix_leads_to_a_partition_by_keys(person: Person) -> None:
    person.open("/tt/partitions?table=tt_prices")
    person.page.locator("#matrix canvas").focus()
    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("heading", name="On record")).to_be_visible()


def test_dagsters_page_of_a_table_leads_to_the_dashboard_and_back(person: Person) -> None:
    person.open("/assets/tt_features")
    link = person.page.locator('a[href$="/tt/partitions?table=tt_features"]').first
    expect(link).to_be_visible()
    person.open("/tt/partitions?table=tt_features")
    person.page.get_by_role("link", name="In Dagster").click()
    expect(person.page.get_by_role("button", name="Materialize…")).to_be_visible()


def test_a_page_of_another_origin_launches_nothing(browser: Browser, ui: Ui, filled: Machine) -> None:
    """A page elsewhere tries what a page can: images, forms, fetches, a socket, a frame."""
    mutation = quote('mutation { setConcurrencyLimit(concurrencyKey: "hostile", limit: 9) }')
    page = f"""<!doctype html><title>hostile</title><img src="{ui.url}/graphql?query={mutation}">
    <iframe name="into"></iframe><iframe id="framed" src="{ui.url}/tt"></iframe>
    <form id="form" target="into" method="post" enctype="text/plain" action="{ui.url}/graphql?query={mutation}"></form>
    <script>
      document.getElementById("form").submit();
      const body = JSON.stringify({{query: decodeURIComponent("{mutation}")}});
      for (const kind of ["text/plain", "application/json", "text/plain; application/json"])
        fetch("{ui.url}/graphql", {{method: "POST", mode: "no-cors", body, headers: {{"Content-Type": kind}}}})
          .catch(() => 0);
      fetch("{ui.url}/report_asset_materialization/hostile", {{method: "POST", mode: "no-cors"}}).catch(() => 0);
      const socket = new WebSocket("{ui.url.replace("http", "ws")}/graphql", "graphql-ws");
      socket.onopen = () => document.title = "opened"; socket.onerror = () => document.title = "refused";
    </script>""".encode()

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context()
    try:
        tab = context.new_page()
        # Another site of the same machine, and another port of the same site.
        for name in ("localhost", "127.0.0.1"):
            tab.goto(f"http://{name}:{server.server_port}/")
            wait_until(lambda: tab.title() in ("opened", "refused"), within=60)
            assert tab.title() == "refused"
            tab.wait_for_timeout(1000)
            framed = tab.frame_locator("#framed").get_by_role("heading", name="Home")
            assert framed.count() == 0
    finally:
        context.close()
        server.shutdown()
    assert filled.rows("SELECT 1 FROM concurrency_limits WHERE concurrency_key = 'hostile'", "dagster") == []
    assert filled.rows("SELECT 1 FROM event_logs WHERE asset_key LIKE '%hostile%'", "dagster") == []
