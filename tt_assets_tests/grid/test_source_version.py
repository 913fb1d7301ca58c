"""Versions of bars and watchlist: equal for equal content on any machine, and a run of other ones is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tt_assets.grid.source_version import BARS, PACKAGE, WATCHLIST, OtherVersion, refuse_other_version, source_version
from tt_assets.settings import Settings

BARS_TEXT = "instrument,timestamp,open,high,low,close,volume\nA,2012-05-18,1,1,1,1,1\n"


def machine(folder: Path, bars: str = BARS_TEXT, watchlist: str = "symbol\nA\n") -> Settings:
    """A machine with its own copy of the files, under its own paths."""
    folder.mkdir()
    (folder / "bars.csv").write_text(bars)
    (folder / "mine.csv").write_text(watchlist)
    return Settings(home=folder / "home", bars_path=folder / "bars.csv", watchlist=folder / "mine.csv")


def test_the_same_content_under_another_path_and_date_is_the_same_version(tmp_path: Path) -> None:
    one, other = machine(tmp_path / "one"), machine(tmp_path / "other")
    os.utime(other.bars_path, (1, 1))
    assert source_version(one) == source_version(other)
    assert set(source_version(one)) == {PACKAGE, BARS, WATCHLIST}
    refuse_other_version(source_version(one), other)


@pytest.mark.parametrize(
    ("differs", "named"),
    [
        ({"bars": BARS_TEXT.replace(",1\n", ",2\n")}, "TT_BARS_PATH"),
        ({"watchlist": "symbol\nA\nB\n"}, "TT_WATCHLIST"),
    ],
)
def test_a_worker_with_another_version_says_which_file_and_what_to_do(
    tmp_path: Path, differs: dict[str, str], named: str
) -> None:
    head, worker = machine(tmp_path / "head"), machine(tmp_path / "worker", **differs)
    with pytest.raises(OtherVersion, match=rf"^{named} .*worker/.* is version \w+, .* queued for \w+: copy ") as told:
        refuse_other_version(source_version(head), worker)
    assert "\n" not in str(told.value)


def test_another_package_is_refused(tmp_path: Path) -> None:
    settings = machine(tmp_path / "one")
    with pytest.raises(OtherVersion, match="install the same version"):
        refuse_other_version({**source_version(settings), PACKAGE: "0.0.0"}, settings)


def test_a_run_that_says_nothing_is_made_anywhere(tmp_path: Path) -> None:
    refuse_other_version({"dagster/partition": "x"}, Settings(bars_path=tmp_path / "nowhere.csv"))


def test_a_file_that_changes_is_another_version_at_once(tmp_path: Path) -> None:
    settings = machine(tmp_path / "one")
    before = source_version(settings)
    assert source_version(settings) == before  # from what was kept
    settings.bars_path.write_text(BARS_TEXT + "A,2012-05-21,1,1,1,1,1\n")
    assert source_version(settings)[BARS] != before[BARS]
