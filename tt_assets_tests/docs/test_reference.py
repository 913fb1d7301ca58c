"""The committed reference pages say what the code says."""

from __future__ import annotations

import pytest

from tt_assets.settings.variables import variables
from tt_assets.tables import BESIDE, TABLES
from tt_assets_tests.docs.__main__ import main
from tt_assets_tests.docs.command_pages import commands_page
from tt_assets_tests.docs.reference import DOCS, PAGES, REMEDY, out_of_date, write_pages
from tt_assets_tests.docs.setting_pages import settings_page


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_up_to_date(name):
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), f"docs/{name} does not say what the code says; {REMEDY}"


def test_only_generated_pages_stand_in_the_reference():
    assert {f"reference/{path.name}" for path in (DOCS / "reference").iterdir()} == set(PAGES)


def test_pages_do_not_hang_on_the_environment(monkeypatch, tmp_path):
    settings, commands = settings_page(), commands_page()
    for variable, value in (("TT_HOME", str(tmp_path)), ("TT_SEEDS", "7"), ("COLUMNS", "40"), ("NO_COLOR", "1")):
        monkeypatch.setenv(variable, value)
    assert (settings_page(), commands_page()) == (settings, commands)


def test_every_column_of_every_table_has_a_line():
    page = PAGES["reference/tables.md"]()
    for name, table in {**TABLES, **BESIDE}.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        named = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
        assert named == [column.name for column in table.columns]


def test_every_setting_has_a_line():
    page = settings_page()
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `TT_")] == [
        variable.name for variable in variables()
    ]


def test_a_page_that_was_edited_is_found_and_written_again(tmp_path):
    assert write_pages(tmp_path) == [*PAGES]
    assert out_of_date(tmp_path) == []
    (tmp_path / "reference/tables.md").write_text("edited")
    assert write_pages(tmp_path) == ["reference/tables.md"]
    assert out_of_date(tmp_path) == []


def test_the_comparison_alone_names_the_page_and_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr("tt_assets_tests.docs.__main__.out_of_date", lambda: ["reference/tables.md"])
    assert main(["--check"]) == 1
    assert "docs/reference/tables.md does not say what the code says; run `make docs`" in capsys.readouterr().err
