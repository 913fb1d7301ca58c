"""Versions of bars, watchlist and code: equal for equal content on any machine, and a run of other ones is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tt_assets.grid import source_version as subject
from tt_assets.grid.source_version import (
    BARS,
    CODE,
    PACKAGE,
    PACKAGE_FOLDER,
    WATCHLIST,
    OtherVersion,
    code_digest,
    refuse_other_version,
    source_version,
)
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
    assert set(source_version(one)) == {PACKAGE, CODE, BARS, WATCHLIST}
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


def installed(folder: Path, rate: str = "0.1") -> Path:
    """A package with a module in a folder, and what Python leaves beside it."""
    (folder / "costs" / "__pycache__").mkdir(parents=True)
    (folder / "costs" / "rates.py").write_text(f"RATE = {rate}\n")
    (folder / "costs" / "__pycache__" / "rates.pyc").write_text(str(folder))
    return folder


def test_a_worker_with_older_code_of_the_same_version_is_refused_by_both_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = machine(tmp_path / "one")
    queued = source_version(settings)
    assert queued[CODE] == code_digest(PACKAGE_FOLDER)
    older = installed(tmp_path / "older")
    monkeypatch.setattr(subject, "PACKAGE_FOLDER", older)
    with pytest.raises(OtherVersion) as told:
        refuse_other_version(queued, settings)
    said = str(told.value)
    assert said.startswith(f"the code in {older} of ")
    assert f"is version {code_digest(older)}, and the run was queued for {queued[CODE]}: install the same" in said
    assert "\n" not in said


def test_code_is_the_same_wherever_it_lies_and_another_by_a_single_line(tmp_path: Path) -> None:
    one = code_digest(installed(tmp_path / "one"))
    assert code_digest(installed(tmp_path / "two")) == one
    assert code_digest(installed(tmp_path / "three", "0.2")) != one
    (moved := installed(tmp_path / "four")).joinpath("costs", "rates.py").rename(moved / "rates.py")
    assert code_digest(moved) != one


def test_a_run_that_says_nothing_is_made_anywhere(tmp_path: Path) -> None:
    refuse_other_version({"dagster/partition": "x"}, Settings(bars_path=tmp_path / "nowhere.csv"))


def test_a_file_that_changes_is_another_version_at_once(tmp_path: Path) -> None:
    settings = machine(tmp_path / "one")
    before = source_version(settings)
    assert source_version(settings) == before  # from what was kept
    settings.bars_path.write_text(BARS_TEXT + "A,2012-05-21,1,1,1,1,1\n")
    assert source_version(settings)[BARS] != before[BARS]
