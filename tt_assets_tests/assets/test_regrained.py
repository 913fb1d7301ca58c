"""Entries of the ledger at another grain, from frames as the database gives them: objects beside NULLs."""

from __future__ import annotations

import pandas as pd
import pytest

from tt_assets.assets.regrained import regrained
from tt_assets.commands.grain import Moved
from tt_assets.grain import DateGrain
from tt_assets.postgres.regrained import ENTRY

KEYS = {
    DateGrain.SESSION: ["2014-01-02", "2014-01-03", "2014-02-03"],
    DateGrain.MONTH: ["2014-01-01", "2014-02-01"],
}


def entry(date: str, instrument: str, **told: object) -> dict[str, object]:
    return dict.fromkeys(ENTRY) | {"date": date, "instrument": instrument, "fetch": 1, "tries": 0} | told


@pytest.fixture
def by_session() -> pd.DataFrame:
    entries = [
        entry("2014-01-02", "AA", rows=1, digest="x", outcome="loaded"),
        entry("2014-01-03", "AA", failure='{"why": "halted"}', tries=2),
        entry("2014-02-03", "BB", rows=0, digest="", outcome="no rows"),
    ]
    return pd.DataFrame(entries, columns=list(ENTRY), dtype=object)


@pytest.mark.filterwarnings("error")
def test_a_ledger_is_moved_to_months_and_back_without_a_warning(by_session: pd.DataFrame):
    months = regrained(
        by_session, [("2014-01-01", "AA", 1, "y")], DateGrain.SESSION, DateGrain.MONTH, KEYS[DateGrain.MONTH]
    )
    assert months[["date", "instrument", "rows", "tries", "outcome"]].to_numpy().tolist() == [
        ["2014-01-01", "AA", 1, 2, "loaded"],
        ["2014-02-01", "BB", 0, 0, "no rows"],
    ]
    sessions = regrained(
        months, [("2014-01-02", "AA", 1, "x")], DateGrain.MONTH, DateGrain.SESSION, KEYS[DateGrain.SESSION]
    )
    assert sessions[["date", "instrument", "rows", "tries"]].to_numpy().tolist() == [
        ["2014-01-02", "AA", 1, 0],
        ["2014-01-03", "AA", 0, 2],
        ["2014-02-03", "BB", 0, 0],
    ]


def test_a_move_says_every_table_it_moved():
    moved = Moved({"tt_prices": 6_192, "tt_features": 1}, {"tt_prices": 300, "tt_features": 1})
    assert moved.lines(DateGrain.MONTH) == [
        "tt_prices: 6,192 partitions before, 300 now",
        "tt_features: 1 partition before, 1 now",
        "One partition is one month now. The rows of all tables, and the agents, are as they were.",
    ]
