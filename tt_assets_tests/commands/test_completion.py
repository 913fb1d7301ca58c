"""What the shell offers behind a half-typed word, as click's completion asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_assets_tests.commands.conftest import Tt


@pytest.fixture
def offered(tt: Tt, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The words that bash is offered for a line; the last one is half-typed."""
    import sys

    from tt_assets import cli

    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_TT_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setattr(sys, "argv", ["tt"])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main()
        return [text.partition(",")[2] for text in capsys.readouterr().out.splitlines() if text]

    return ask


def test_tables_are_offered_with_and_without_their_prefix(offered) -> None:
    assert offered("tt backfill tt_p") == ["tt_prices", "tt_policy", "tt_portfolio"]
    assert offered("tt backfill fe") == ["features"]
    assert "market" in offered("tt backfill ")
    assert offered("tt backfill tt_prices tt_pr") == []
    assert "market" not in offered("tt status --table ")


def test_symbols_and_portfolios_are_offered_behind_each_comma(offered) -> None:
    assert offered("tt train --instruments s") == ["sample"]
    assert offered("tt backfill market --instruments AAPL,") == [
        f"AAPL,{name}" for name in ("GOOG", "IBM", "MSFT", "FB", "sample")
    ]
    assert offered("tt watchlist retire i") == ["IBM"]


def test_a_watchlist_that_cannot_be_read_offers_nothing_and_complains_not(
    offered,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TT_WATCHLIST", str(tmp_path / "absent.csv"))
    assert offered("tt train --instruments s") == []
    assert offered("tt backfill tt_pri") == ["tt_prices"]
