"""What a real browser makes of the pages: labels on axes and markers, and hints where there is more to scroll to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import dagster as dg
import pytest
import uvicorn
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette

from tt_assets.postgres.database import Database
from tt_assets.postgres.reader import prepared_reader
from tt_assets.settings import Settings
from tt_assets.web.dashboard import dashboard
from tt_assets.web.site import Site
from tt_assets_tests.benchmarks.browser import chromium
from tt_assets_tests.conftest import empty, need_browser
from tt_assets_tests.e2e.command_line import free_port, wait_until
from tt_assets_tests.web.filled import STEPS, fill

need_browser()

pytestmark = pytest.mark.slow

WRITES = """
window.written = [];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
  const at = this.getTransform().transformPoint({ x, y });
  window.written.push({ text, right: at.x + this.measureText(text).width, width: this.canvas.width });
  return write.call(this, text, x, y, ...rest);
};
"""
"""Every text that a page writes into a canvas, since it was last asked."""


@pytest.fixture(scope="module")
def url(postgres: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    empty(postgres)
    fill(postgres)
    port = free_port()
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(Settings(home=tmp_path_factory.mktemp("home")), prepared_reader(postgres), instance)
        app = Starlette(routes=dashboard(site))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_until(lambda: server.started, every=0.05)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()
    empty(postgres)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-US")
    context.add_init_script(WRITES)
    shown = context.new_page()
    errors: list[str] = []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    yield shown
    context.close()
    assert errors == []


def written(page: Page) -> list[str]:
    page.wait_for_timeout(400)
    return [str(own["text"]) for own in page.evaluate("window.written")]


def test_the_matrix_writes_every_year_whole(page: Page, url: str) -> None:
    page.goto(f"{url}/tt/partitions?table=tt_prices")
    page.wait_for_timeout(300)
    years = [own for own in page.evaluate("window.written") if own["text"] == "2012"]
    assert years
    assert all(own["right"] <= own["width"] for own in years)


def test_on_a_phone_all_of_the_menu_is_seen_and_cut_tables_say_so(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/tt")
    for link in page.locator("nav.main a").all():
        box = link.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
    cut = page.locator(".scroll").first
    assert cut.evaluate("own => own.scrollWidth > own.clientWidth")
    shades = cut.evaluate("own => getComputedStyle(own).backgroundAttachment")
    assert "local" in shades
    assert "scroll" in shades


def test_a_trade_is_said_in_shares_where_it_is_pointed_at_and_written_where_there_is_room(page: Page, url: str) -> None:
    page.goto(f"{url}/tt/episode?id=1&instrument=AAPL")
    chart = page.locator("figure#trades")
    canvas = chart.locator(".canvas")
    canvas.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert chart.locator(".event").text_content() == "buy 10 shares"
    page.keyboard.press("ArrowRight")
    assert chart.locator(".event").text_content() == ""
    labels = {text for text in written(page) if "shares" in text}
    assert labels <= {"buy 10 shares", "sell 4 shares"}


def test_of_crowded_markers_none_is_written_over_another(page: Page, url: str, postgres: Database) -> None:
    with postgres.connect() as connection:
        connection.execute(
            "INSERT INTO tt_order (episode_id, timestamp, instrument, order_type, size, price, commission) "
            "SELECT 1, day, 'BRK B', 'buy', 7, 11, 3 FROM unnest(%s::timestamp[]) AS day",
            [STEPS[10:40]],
        )
    page.goto(f"{url}/tt/episode?id=1&instrument=BRK+B")
    chart = page.locator("figure#trades")
    chart.locator(".canvas").focus()
    assert "buy 7 shares" not in written(page)
    page.keyboard.press("Home")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert chart.locator(".event").text_content() == "buy 7 shares"


@pytest.mark.parametrize("width", [1400, 390])
def test_no_day_stands_on_an_axis_without_its_month(page: Page, url: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{url}/tt/instrument?of=AAPL")
    texts = written(page)
    assert {"Feb", "Mar", "Apr", "May", "Jun"} & set(texts)
    assert not [text for text in texts if text.isdigit() and 1 <= int(text) <= 31]
    page.locator("figure#bars .canvas").focus()
    page.evaluate("window.written = []")
    for _ in range(8):
        page.keyboard.press("+")
    texts = [text for text in written(page) if not text.isdigit()]
    assert [text for text in texts if text.split(" ")[0].isdigit() and len(text.split(" ")) == 2]


def test_fields_of_a_form_stand_on_one_line(page: Page, url: str) -> None:
    page.goto(f"{url}/tt")
    fields = page.locator("form.pick[action='/tt/make'] :is(select, input)").all()
    boxes = [box for field in fields if (box := field.bounding_box()) is not None]
    assert len(boxes) == 4
    assert {(round(box["y"]), round(box["height"])) for box in boxes} == {(round(boxes[0]["y"]), 34)}


def test_no_row_of_the_rules_of_a_promotion_is_cut(page: Page, url: str, postgres: Database) -> None:
    rule = {"name": "rule", "held": True, "figure": "1", "threshold": "2", "words": "Words that say it. " * 8}
    with postgres.connect() as connection:
        kept = "decided_at, promoted, rule_version, agents_json, bars, last_session, expires"
        connection.execute(
            f"INSERT INTO tt_promotion (instrument, trial_id, rules_json, {kept}) "
            f"SELECT instrument, trial_id, %s, {kept} FROM tt_promotion LIMIT 1",
            [json.dumps({"rules": [rule] * 20})],
        )
    page.goto(f"{url}/tt/trials")
    table = page.locator("ul.flat .scroll").first
    assert table.evaluate("own => own.scrollHeight <= own.clientHeight")
