import base64
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tt_assets.report import Section, equity_plot, figures_table, report_html, sections_html, verdict

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.cells, self.words, self.nested = [], [], [], [], True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.nested &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
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
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    (policy,) = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_page_follows_the_readers_theme(text):
    assert "@media (prefers-color-scheme: dark)" in text
    light, dark = (set(re.findall(r"(--\w+):", part)) for part in re.findall(r":root \{(.*?)\}", text, re.DOTALL))
    assert light - dark == {"--accent"}
    assert set(re.findall(r"var\((--\w+)\)", text)) <= light


def test_agents_rows_are_marked(text):
    marked = [attributes for attributes in Page(text).named("tr") if attributes]
    assert marked == [{"class": "agent"}] * 4


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
