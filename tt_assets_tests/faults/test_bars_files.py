"""A bars file that is copied or swapped under a load: whole versions are stored, never a mixture, never a half."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from tt_assets.postgres.database import Database
from tt_assets_tests import agreement
from tt_assets_tests.commands.conftest import Tt, tt
from tt_assets_tests.dagster_runs import keep_dates_of_sample
from tt_assets_tests.faults.content import Content, content

__all__ = ["tt"]

pytestmark = pytest.mark.slow

SPAN = ("--from", "2012-05-01", "--to", "2012-05-31", "--instruments", "AAPL,IBM")
BACKFILL = ("backfill", "market", *SPAN)
DEARER = 1.5
"""What the second version of the file multiplies every price by."""


@pytest.fixture
def versions(sample_bars: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two texts of the bars file, the first of them in its place."""
    keep_dates_of_sample(monkeypatch)
    monkeypatch.setenv("TT_BARS_PATH", str(tmp_path / "bars.csv"))
    bars = sample_bars[sample_bars["instrument"].isin(["AAPL", "IBM"])]
    dearer = bars.assign(**{name: bars[name] * DEARER for name in ("open", "high", "low", "close")})
    texts = bars.to_csv(index=False), dearer.to_csv(index=False)
    put(tmp_path / "bars.csv", texts[0])
    return texts


def put(path: Path, text: str) -> None:
    staged = path.with_suffix(".new")
    staged.write_text(text)
    staged.replace(path)


@contextmanager
def swapping(path: Path, texts: tuple[str, str]) -> Iterator[None]:
    """Swap the versions at `path` again and again; in between the file is cut and written slowly in place."""
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for text in texts:
                put(path, text)
                over.wait(0.15)
            with path.open("w") as file:
                for start in range(0, len(texts[0]), 40_000):
                    file.write(texts[0][start : start + 40_000])
                    file.flush()
                    os.fsync(file.fileno())
                    over.wait(0.01)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("left", [0.5, 0.9])
def test_a_file_cut_in_the_middle_of_a_row_is_not_read(
    tt: Tt, postgres_instance, connected: Database, tmp_path: Path, versions: tuple[str, str], left: float
) -> None:
    assert tt(*BACKFILL).code == 0
    before = content(connected)
    whole = versions[1]
    end = whole.index("\n", int(len(whole) * left)) - 3
    put(tmp_path / "bars.csv", whole[:end])
    answer = tt(*BACKFILL)
    assert answer.code != 0
    assert "Traceback" not in answer.err
    assert content(connected) == before
    put(tmp_path / "bars.csv", whole)
    assert tt(*BACKFILL).code == 0
    assert content(connected)["tt_prices"] != before["tt_prices"]


def bars_of(database: Database) -> set[str]:
    """Of each instrument its stored bars as one text."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT string_agg(concat_ws(' ', instrument, timestamp, open, high, low, close, volume), ';' "
            "ORDER BY timestamp) FROM tt_prices GROUP BY instrument"
        ).fetchall()
    return {text for (text,) in rows}


def test_a_file_swapped_while_loads_run_is_stored_as_one_of_its_versions(
    tt: Tt, postgres_instance, connected: Database, tmp_path: Path, versions: tuple[str, str]
) -> None:
    """Instruments that are not next to each other are a run each, and each run reads the file as it finds it."""
    undisturbed: list[Content] = []
    whole: set[str] = set()
    for text in versions:
        put(tmp_path / "bars.csv", text)
        assert tt(*BACKFILL).code == 0
        undisturbed.append(content(connected))
        whole |= bars_of(connected)
    assert len(whole) == 4
    with swapping(tmp_path / "bars.csv", versions):
        for _ in range(4):
            answer = tt(*BACKFILL)
            assert "Traceback" not in answer.err, answer.err
            stored = bars_of(connected)
            assert len(stored) == 2
            assert stored <= whole
    for text, wanted in zip(versions, undisturbed, strict=True):
        put(tmp_path / "bars.csv", text)
        assert tt(*BACKFILL).code == 0
        assert content(connected) == wanted
    agreement.rows_and_ledger_agree(connected)
