"""`tt watchlist`: what it says of symbols without bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_assets.grid.bars_files import without_bars
from tt_assets.settings import Settings
from tt_assets_tests.commands.conftest import Tt

HEADER = "instrument,timestamp,open,high,low,close,volume"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [f"{name},2012-05-{day},10,11,9,10,100" for name in ("BRK-B", "IBM") for day in (14, 15, 16)]
    (tmp_path / "bars.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (tmp_path / "watchlist.csv").write_text("symbol\nIBM\n")
    monkeypatch.setenv("TT_BARS_PATH", str(tmp_path / "bars.csv"))
    monkeypatch.setenv("TT_WATCHLIST", str(tmp_path / "watchlist.csv"))
    monkeypatch.setenv("TT_HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_symbol_that_is_added_without_bars_is_said_in_one_line(files: Path, tt: Tt):
    told = tt("watchlist", "add", "MSFT")
    assert told.code == 0
    assert told.err == (
        f"warning: the bars of {files / 'bars.csv'} have none of MSFT: their partitions hold nothing until there are "
        "bars, or they are retired\n"
    )
    assert tt("watchlist", "list").code == 0


def test_a_symbol_with_bars_is_added_without_a_word(files: Path, tt: Tt):
    (files / "watchlist.csv").write_text("symbol\nBRK-B\n")
    assert tt("watchlist", "add", "IBM").err == ""


def test_the_spelling_of_the_bars_is_named(files: Path):
    assert "BRK B (they have BRK-B), MSFT" in without_bars(Settings(), ["IBM", "BRK B", "MSFT"])


def test_nothing_is_said_where_no_file_tells(files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TT_BARS_PATH", str(files / "gone.csv"))
    assert without_bars(Settings(), ["MSFT"]) == ""
    monkeypatch.setenv("TT_PRICE_SOURCE", "ibkr")
    assert without_bars(Settings(), ["MSFT"]) == ""
