"""What a report says of agents that were trained again since they were rolled; where its files lie."""

from datetime import date

import pandas as pd
import pytest

from tt_assets.assets.report import curves_file, report_file, superseded_in
from tt_assets.grid.partitions import Window

AGAIN = pd.Timestamp("2026-11-28 10:00", tz="UTC")


def rows(*superseded: pd.Timestamp | None) -> pd.DataFrame:
    return pd.DataFrame({"seed": range(len(superseded)), "superseded_at": pd.to_datetime(list(superseded), utc=True)})


def test_windows_judged_by_an_agent_that_was_trained_again_are_named():
    windows = {
        Window(date(2012, 4, 1), "sample"): rows(None, None),
        Window(date(2012, 7, 1), "sample"): rows(None, AGAIN),
        Window(date(2012, 10, 1), "sample"): rows(AGAIN, AGAIN),
    }
    said = superseded_in(windows)
    assert said.startswith("The agents of 2012-07-01, 2012-10-01 were trained again since they were rolled")
    assert "`tt backfill tt_episode`" in said
    assert superseded_in(dict(list(windows.items())[:1])) == ""


@pytest.mark.parametrize("other", ["sample.html", "Sample", "a/b", "a\\b", "../x", ".x", "a b", "ä", "x~y"])
def test_no_two_names_share_a_report(tmp_path, other):
    own, theirs = report_file(tmp_path, "sample"), report_file(tmp_path, other)
    assert own != theirs
    assert theirs.parent == own.parent == tmp_path / "reports"
    assert curves_file(theirs) != curves_file(own)
