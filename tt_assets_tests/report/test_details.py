"""The subject's tables on the page and the whole report as JSON, held against the judgement they come from."""

from __future__ import annotations

import json
import math
from html import unescape

import pytest

from tt_assets.report import report_html
from tt_assets.report.as_json import report_json
from tt_assets.report.details import BAR_ROOM, detail_tables
from tt_assets.report.labels import percent
from tt_assets.trading.judging.details import Details, details_of


@pytest.fixture(scope="module")
def details(judgement, judged_windows) -> Details:
    return details_of(judgement, judged_windows, 0.01)


@pytest.fixture(scope="module")
def told(judgement, details) -> dict:
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(report_json("sample", judgement, details, ["note"]), parse_constant=refuse)


def test_every_table_has_what_it_is_made_of(details):
    tables = {table.title: table for table in detail_tables(details)}
    assert list(tables) == [
        "Month by month",
        "Drawdowns",
        "Contribution of each instrument",
        "Capacity",
        "Attribution to channels",
    ]
    for table in tables.values():
        assert all(len(row.cells) == len(table.columns) for row in table.rows)
    (year,) = tables["Month by month"].rows
    assert year.cells[3].text == percent(details.months.loc[2012, 4], signed=True)
    assert year.cells[0].text == ""
    assert year.cells[-1].text == percent(details.months.loc[2012, "year"], signed=True)
    for row in tables["Contribution of each instrument"].rows:
        assert 0.0 <= row.bar.x <= row.bar.x + row.bar.width <= BAR_ROOM + 0.6
        assert row.bar.positive == (not row.cells[0].text.startswith("-"))


def test_the_tables_stand_on_the_page(judgement, details, weights):
    text = unescape(report_html("sample", judgement, weights, [], details))
    for table in detail_tables(details):
        assert table.title in text
        assert table.note in text
        for row in table.rows:
            assert row.cells[0].text in text
    assert "style=" not in text


def test_the_json_has_every_figure_and_null_where_there_is_none(told, judgement, details):
    assert (told["traded"], told["subject"], told["notes"]) == ("sample", "ensemble", ["note"])
    assert len(told["figures"]) == len(judgement.table)
    for row, own in zip(told["figures"], judgement.table.to_dict("records"), strict=True):
        assert set(row) == set(own)
        for name, value in own.items():
            if isinstance(value, float) and math.isnan(value):
                assert row[name] is None
            else:
                assert row[name] == value
    assert told["compared"]["p_all"] == judgement.compared.comparison.p_all
    assert [row["strategy"] for row in told["compared"]["yardsticks"]] == list(judgement.compared.names)
    (year,) = told["months"]
    assert (year["year"], year["months"][0]) == (2012, None)
    assert year["months"][3] == details.months.loc[2012, 4]
    assert year["whole"] == details.months.loc[2012, "year"]
    assert told["capacity"]["volume_limit"] == 0.01
    assert [row["capital"] for row in told["capacity"]["curve"]] == list(details.capacity["capital"])
    assert {row["channel"] for row in told["attribution"]["channels"]} == {"return_1", "vol_20", "momentum"}
    assert told["drawdowns"][0]["peak"] == f"{details.drawdowns['peak'][0]:%Y-%m-%d}"


def test_baselines_alone_have_no_details_and_their_json_says_why_nothing_is_compared(baselines_only):
    told = json.loads(report_json("sample", baselines_only, None))
    assert told["compared"] == {"silence": "there is no agent, or no yardstick."}
    assert "attribution" not in told
