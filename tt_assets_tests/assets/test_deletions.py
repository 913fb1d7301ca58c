"""Cells that would lose a stored bar, where one cell holds several sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import pandas as pd

from tt_assets.assets.deletions import kept_from_deletion
from tt_assets.postgres.slices import Selection
from tt_assets.runs.io_managers import Slices
from tt_assets.runs.market_reader import MarketReader

MAY, JUNE = "2012-05-01|AAPL", "2012-06-01|AAPL"
MONTHS = Selection.of(
    {
        MAY: ("AAPL", datetime(2012, 5, 1), datetime(2012, 6, 1)),
        JUNE: ("AAPL", datetime(2012, 6, 1), datetime(2012, 7, 1)),
    }
)
GAP = "loaded, no bar in the source: halted, or a gap"


def bars(*days: str) -> pd.DataFrame:
    return pd.DataFrame({"instrument": "AAPL", "timestamp": pd.to_datetime(list(days)), "close": 10.0})


class Stored:
    """A reader of these bars that counts how often it is asked."""

    def __init__(self, *days: str) -> None:
        self.frame, self.asked = bars(*days), 0

    def read(self, *_: Any) -> pd.DataFrame:
        self.asked += 1
        return self.frame


def judged(slices: Slices, stored: Stored) -> Slices:
    return kept_from_deletion(slices, MONTHS, cast(MarketReader, stored))


def test_a_month_that_would_lose_one_of_its_bars_fails_whole_and_the_other_lands():
    stored = Stored("2012-05-14", "2012-05-15", "2012-06-04")
    kept = judged(Slices(bars("2012-05-14", "2012-06-04"), outcomes={MAY: GAP, JUNE: GAP}), stored)
    assert list(kept.failed) == [MAY]
    assert "no longer has (2012-05-15)" in kept.failed[MAY]
    assert kept.frame["timestamp"].tolist() == [pd.Timestamp("2012-06-04")]
    assert kept.outcomes == {JUNE: GAP}


def test_one_bar_gone_and_another_come_is_a_loss_too():
    stored = Stored("2012-05-14", "2012-05-15")
    kept = judged(Slices(bars("2012-05-14", "2012-05-16"), outcomes={MAY: GAP, JUNE: "not listed yet"}), stored)
    assert list(kept.failed) == [MAY]


def test_a_load_without_gaps_does_not_look_at_what_is_stored():
    stored = Stored("2012-05-14")
    slices = Slices(bars("2012-05-14", "2012-06-04"), outcomes={MAY: "loaded", JUNE: "loaded"})
    assert judged(slices, stored) is slices
    assert stored.asked == 0
