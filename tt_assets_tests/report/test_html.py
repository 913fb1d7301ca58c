import base64
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from tt_assets.report import Section, equity_plot, figures_table, report_html, sections_html, verdict
from tt_assets.report.charts import LIBRARY, SCRIPT
from tt_assets.report.html import _with_commands
from tt_assets.report.judged_charts import judged_charts
from tt_assets.trading.judging.details import details_of
from tt_assets.trading.judging.figures import rolling_figures

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.cells, self.words, self.nested = [], [], [], [], True
        self.held, self.scripted = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.scripted = dict(attrs).get("type", "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.nested &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            self.held.append((self.open[-1], self.scripted, data))
        elif self.open:
            self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(judgement, weights):
    return report_html("Portfolio <sample> & co", judgement, weights, ["Bars: bundled <2005>", "Seeds: 1, 2, 3"])


def test_the_page_holds_verdict_figures_plots_and_notes(judgement, text):
    page = Page(text)
    assert page.nested
    assert not page.open
    words = "".join(page.words)
    for wanted in (verdict(judgement), "Portfolio <sample> & co", "Bars: bundled <2005>", "Seeds: 1, 2, 3"):
        assert wanted in words
    for cell in figures_table(judgement).drop(columns="Scenario").to_numpy().ravel():
        assert cell in page.cells
    pictures = [image["src"].removeprefix("data:image/png;base64,") for image in page.named("img")]
    assert len(pictures) == 4
    assert base64.b64decode(pictures[0], validate=True) == equity_plot(judgement)
    assert all(len(image["alt"]) > 10 for image in page.named("img"))


def test_the_page_asks_nothing_of_anybody(text):
    page = Page(text)
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert "@import" not in text
    assert "style=" not in text.replace(LIBRARY.read_text("utf-8"), "")
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    (policy,) = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    run = [content for tag, kind, content in page.held if tag == "script" and not kind]
    assert run == [LIBRARY.read_text("utf-8"), SCRIPT.read_text("utf-8")]
    (style,) = [content for tag, _, content in page.held if tag == "style"]
    assert "url(" not in style
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in (style, *run)]
    assert policy == f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {hashes[1]} {hashes[2]}"


def test_the_charts_draw_the_curves_of_the_judgement(text, judgement):
    charts = {
        chart["key"]: chart
        for chart in (json.loads(content) for _, kind, content in Page(text).held if kind == "application/json")
    }
    assert set(charts) == {"equity", "excess", "drawdown"}  # 125 sessions are too few for a rolling ratio
    curves = judgement.curves[(judgement.curves["cost_multiple"] == 1.0) & (judgement.curves["delay"] == 0)]
    own, held = (
        curves[curves["strategy"] == name].set_index("timestamp") for name in ("ensemble", "equal_weight_hold")
    )
    lines = {line["name"]: line for line in charts["equity"]["series"]}
    assert charts["equity"]["times"] == [f"{day:%Y-%m-%d}" for day in own.index]
    np.testing.assert_allclose(lines["Agents' mean action"]["values"], (own["wealth"] - 1.0) * 100.0, rtol=1e-5)
    assert {name for name, line in lines.items() if line["shown"]} == {"Agents' mean action", "Equal weight, held"}
    assert {"Agent, seed 0", "Agent, seed 2", "Momentum", "Cash"} < set(lines)
    (excess,) = charts["excess"]["series"]
    np.testing.assert_allclose(excess["values"], (own["wealth"] / held["wealth"] - 1.0) * 100.0, rtol=1e-5, atol=1e-6)
    fall = {line["name"]: line["values"] for line in charts["drawdown"]["series"]}
    np.testing.assert_allclose(fall["Agents' mean action"], -own["drawdown"] * 100.0, rtol=1e-5, atol=1e-9)


def test_rolling_ratios_are_drawn_where_there_are_enough_sessions(judgement, judged_windows):
    found = details_of(judgement, judged_windows, 0.01)
    rolled = {name: rolling_figures(judgement.chains[name, 0], 60) for name in ("ensemble", "momentum")}
    charts = {chart.key: chart for chart in judged_charts(judgement, dataclasses.replace(found, rolling=rolled))}
    assert list(charts) == ["equity", "excess", "drawdown", "rolling_sharpe", "rolling_volatility"]
    assert len(charts["rolling_sharpe"].times) == 125 - 60
    np.testing.assert_array_equal(
        charts["rolling_volatility"].series[1].values, rolled["momentum"]["volatility"] * 100.0
    )


def test_the_page_follows_the_readers_theme(text):
    assert "@media (prefers-color-scheme: dark)" in text
    light, dark = (set(re.findall(r"(--\w+):", part)) for part in re.findall(r":root \{(.*?)\}", text, re.DOTALL))
    assert light - dark == {"--accent"}
    (style,) = [content for tag, _, content in Page(text).held if tag == "style"]
    assert set(re.findall(r"var\((--\w+)\)", style)) <= light


def test_agents_rows_are_marked(text):
    marked = [attributes for attributes in Page(text).named("tr") if attributes]
    assert [row for row in marked if row == {"class": "agent"}] == [{"class": "agent"}] * 5


def test_without_recorded_weights_their_plot_is_left_out(baselines_only, weights):
    page = Page(report_html("sample", baselines_only, weights.iloc[:0]))
    assert len(page.named("img")) == 3
    assert page.nested


def test_several_portfolios_stand_on_one_page_with_links_to_each(judgement, baselines_only, weights):
    text = sections_html("All", [Section("A & B", judgement, weights), Section("C", baselines_only, weights, ["n"])])
    page = Page(text)
    assert page.nested
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert [link["href"].removeprefix("#") for link in page.named("a")] == sorted(targets) == ["section-0", "section-1"]
    assert len(page.named("img")) == 8
    assert len(page.named("figure")) == 8 + 6
    assert len(page.named("h1")) == 1


def test_the_same_episodes_give_the_same_page(judgement, weights, text):
    notes = ["Bars: bundled <2005>", "Seeds: 1, 2, 3"]
    assert report_html("Portfolio <sample> & co", judgement, weights, notes) == text


def test_importing_the_report_imports_neither_matplotlib_nor_a_database():
    code = (
        "import sys, tt_assets.report; "
        "heavy = {'matplotlib', 'PIL', 'torch', 'stable_baselines3', 'tensortrade', 'dagster', 'sqlalchemy', "
        "'tt_assets.postgres', 'tt_assets.settings'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_commands_of_a_note_are_set_as_code_and_nothing_else_gets_through():
    said = str(_with_commands("1 < 2 tried (`tt trials <list>`), a ` alone"))
    assert said == "1 &lt; 2 tried (<code>tt trials &lt;list&gt;</code>), a ` alone"
