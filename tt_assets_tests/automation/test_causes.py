"""A gap has a cause: closed, not listed yet, halted, ended, failed with the reason, or merely missing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from tt_assets.automation import MARKET_JOB
from tt_assets.automation.causes import Cause, Gap, cause_of, causes_of_prices, gaps_of
from tt_assets.automation.gaps import absent_bars, gaps
from tt_assets.automation.market import read_market
from tt_assets.automation.partition_states import TableCells
from tt_assets.automation.tries import GAPS
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.assets.test_prices import HEADER, line
from tt_assets_tests.automation.states import asked, axes_of, state_of
from tt_assets_tests.automation.ticks import recorded_run
from tt_assets_tests.dagster_runs import SAMPLE_DATES, current_plan, range_tags, run_job

PRICES = MARKET_TABLES[0]


@pytest.fixture
def axes():
    return axes_of(30)


def landed(axes) -> dict[str, TableCells]:
    return {table: TableCells(~axes.none(), axes.none(), axes.none()) for table in MARKET_TABLES}


def test_each_empty_cell_has_the_cause_its_neighbours_give_it(axes, tmp_path):
    held = ~axes.none()
    held[:5, 1] = False  # BB is listed on the sixth session,
    held[12, 1] = False  # was halted once,
    held[25:, 1] = False  # and ended
    tables = landed(axes)
    tables[PRICES].done[20, 0] = False
    tables[PRICES].failed[21, 0] = True
    state = state_of(axes, tmp_path, tables)
    found = {cause: axes.pairs(cells) for cause, cells in causes_of_prices(state, held).items()}
    assert found == {
        Cause.NOT_LISTED: {(day, "BB") for day in axes.dates[:5]},
        Cause.HALTED: {(axes.dates[12], "BB")},
        Cause.ENDED: {(day, "BB") for day in axes.dates[25:]},
        Cause.MISSING: {(axes.dates[20], "AA")},
        Cause.FAILED: {(axes.dates[21], "AA")},
    }
    assert cause_of(state, held, date(2011, 1, 17), "BB") is Cause.HOLIDAY  # Martin Luther King's day
    assert cause_of(state, held, date.fromisoformat(axes.dates[12]), "BB") is Cause.HALTED
    assert cause_of(state, held, date.fromisoformat(axes.dates[13]), "BB") is None
    assert cause_of(state, held, date(2020, 1, 2), "BB") is None


def test_only_a_live_source_is_asked_again_for_a_bar_it_did_not_have(axes, tmp_path):
    held = ~axes.none()
    held[:5, 1] = False
    held[12, 1] = False
    held[28:, 1] = False
    live = state_of(axes, tmp_path, landed(axes), price_source="ibkr")
    absent = absent_bars(live, lambda: held)
    # Not what lies before the listing; what comes after the last bar may be a vendor who is late.
    assert axes.pairs(absent) == {(axes.dates[row], "BB") for row in (12, 28, 29)}
    assert asked(gaps(live, absent, 0), axes) == sorted((PRICES, axes.dates[row], "BB") for row in (12, 28, 29))
    assert not absent_bars(state_of(axes, tmp_path, landed(axes)), lambda: held).any()


def test_an_absent_bar_is_given_up_after_the_tries_of_the_settings(axes, tmp_path):
    held = ~axes.none()
    held[12, 1] = False
    counts = np.zeros(axes.none().shape, dtype=np.int64)
    counts[12, 1] = 2
    for tries, again in ((3, True), (2, False)):
        live = state_of(axes, tmp_path, landed(axes), {PRICES: counts}, price_source="ibkr", gap_tries=tries)
        assert bool(gaps(live, absent_bars(live, lambda: held), 0)) is again


def test_a_failed_cell_is_listed_with_the_reason_its_run_gave_and_then_as_given_up(
    postgres_instance, connected, tmp_path: Path, monkeypatch
):
    bars = tmp_path / "bars.csv"
    days = ["2012-05-17", "2012-05-18", "2012-05-21"]
    bars.write_text(
        "\n".join([HEADER, line("AAPL", days[0], "10"), line("AAPL", days[1], "-1"), line("AAPL", days[2], "11")])
    )
    (tmp_path / "watchlist.csv").write_text("symbol\nAAPL\n")
    for name, value in {
        "TT_BARS_PATH": str(bars),
        **SAMPLE_DATES,
        "TT_WATCHLIST": str(tmp_path / "watchlist.csv"),
        "TT_END_DATE": "2012-05-21",
        "TT_GAP_TRIES": "2",
    }.items():
        monkeypatch.setenv(name, value)
    assert not run_job(postgres_instance, [PRICES], f"{days[0]}|AAPL", f"{days[2]}|AAPL").success
    lines = gaps_of(postgres_instance, read_market(postgres_instance, current_plan()), connected)
    failed = [gap for gap in lines if gap.cause is Cause.FAILED]
    assert [(gap.table, gap.first, gap.last, gap.cells, gap.tries) for gap in failed] == [
        (PRICES, days[1], days[1], 1, 0)
    ]
    assert "price" in failed[0].reason
    assert failed[0].next_try is not None

    state = read_market(postgres_instance, current_plan())
    tags = {
        **range_tags(f"{days[1]}|AAPL", f"{days[1]}|AAPL"),
        "tt/sensor": GAPS,
        "tt/source": state.source.fingerprint,
    }
    for _ in range(2):
        recorded_run(postgres_instance, MARKET_JOB, tags, dg.DagsterRunStatus.FAILURE, [PRICES])
    given_up = [
        gap
        for gap in gaps_of(postgres_instance, read_market(postgres_instance, current_plan()), connected)
        if gap.tries
    ]
    assert [(gap.cause, gap.tries, gap.next_try) for gap in given_up] == [(Cause.FAILED, 2, None)]
    assert given_up[0].reason.startswith("given up after 2 tries: ")
    assert isinstance(given_up[0], Gap)
