"""Paths of others: devices, pipes and endless files are refused at once, wherever a person names a text file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from tt_assets.commands.holdings import read_positions
from tt_assets.commands.mistakes import describe_setting
from tt_assets.commands.signals_import import read_scores
from tt_assets.errors import UserError
from tt_assets.market import small_files
from tt_assets.market.watchlist import read_watchlist
from tt_assets.settings import Settings
from tt_assets.trading.judging.cash import CashRate

READERS: dict[str, Callable[[Path], object]] = {
    "watchlist": read_watchlist,
    "scores": read_scores,
    "positions": lambda path: read_positions(path, ["A"], "A"),
    "cash rate": lambda path: CashRate.parse(str(path)),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_device_and_a_pipe_are_never_read(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError) as caught:
            READERS[reader](path)
        assert str(path) in str(caught.value)


def test_a_text_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "watchlist.csv"
    with path.open("wb") as file:
        file.truncate(small_files.MOST_TEXT + 1)  # takes no room on the disk
    with pytest.raises(UserError, match="more than 32 MB"):
        read_watchlist(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TT_HOME", "~nosuch/x", "knows no home of ~nosuch"),
        ("TT_IBKR_CLIENT_IDS", "1-99999999", "more than 1,000 ids"),
        ("TT_IBKR_CLIENT_IDS", "1-" + "9" * 5_000, "valid"),
        ("TT_PG_PORT", "9" * 5_000, "valid"),
        ("TT_SEEDS", "A" * 100_000, "valid"),
    ],
)
def test_a_setting_that_cannot_be_is_one_short_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    said = describe_setting(caught.value)
    assert said.startswith(name)
    assert words in said
    assert "\n" not in said
    assert len(said) < 1_000


def test_symbols_are_short(tmp_path: Path) -> None:
    path = tmp_path / "watchlist.csv"
    path.write_text("symbol\n" + "A" * 65 + "\n")
    with pytest.raises(UserError, match=r"line 2: the symbol .* has 65 characters; 64 are the most"):
        read_watchlist(path)
