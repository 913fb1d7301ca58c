"""`tt status --partitions` against SQL on what landed, and the picture of it at any width."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_assets.automation import MARKET_JOB
from tt_assets.commands.partition_list import STATES, CellState, Matrix, read_matrix
from tt_assets.commands.partition_map import MARKS, SOME_MISSING, cells_grid, gaps
from tt_assets.commands.status import table_statuses
from tt_assets.errors import UserError
from tt_assets.grid.run_tags import RANGE_END, RANGE_START
from tt_assets.market.calendar import sessions
from tt_assets.settings import Settings
from tt_assets_tests.assets.test_prices import HEADER, line
from tt_assets_tests.commands.conftest import Tt
from tt_assets_tests.dagster_runs import (
    current_definitions,
    current_plan,
    keep_dates_of_sample,
    partition_counts,
    query,
    run_job,
)

SPAN = [day.date().isoformat() for day in sessions(date(2012, 5, 14), date(2012, 5, 25))]
NAMES = ["AAPL", "GOOG", "IBM"]
NO_BAR, BAD, GONE = "2012-05-16", "2012-05-18", "2012-05-22"


@pytest.fixture
def landed(dagster_instance: dg.DagsterInstance, connected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """AAPL whole but for a row taken away; GOOG without a bar on one session and a bad one; IBM never asked for."""
    bars = tmp_path / "bars.csv"
    lines = [line(name, day, "10") for name in NAMES[:2] for day in SPAN if (name, day) != ("GOOG", NO_BAR)]
    lines = [entry for entry in lines if not (entry.startswith("GOOG") and BAD in entry)] + [line("GOOG", BAD, "-1")]
    bars.write_text("\n".join([HEADER, *lines]) + "\n")
    monkeypatch.setenv("TT_BARS_PATH", str(bars))
    keep_dates_of_sample(monkeypatch)
    run_job(dagster_instance, ["tt_prices"], f"{SPAN[0]}|AAPL", f"{SPAN[-1]}|GOOG")
    with connected.connect() as connection:
        connection.execute("DELETE FROM tt_prices WHERE instrument = 'AAPL' AND timestamp = %s", [GONE])
    return connected


def read(database, instance: dg.DagsterInstance, names: str | None = "AAPL,GOOG,IBM") -> Matrix:
    return read_matrix(database, instance, Settings(), "tt_prices", date(2012, 5, 14), date(2012, 5, 25), names)


def states_of(matrix: Matrix) -> dict[tuple[str, str], CellState]:
    return {(cell.date, cell.instrument): cell.state for cell in matrix.cells()}


def test_states_are_those_of_the_rows_and_of_the_runs(landed, dagster_instance: dg.DagsterInstance) -> None:
    found = states_of(read(landed, dagster_instance))
    stored = set(query(landed, "SELECT timestamp::date::text, instrument FROM tt_prices"))
    assert {cell for cell, state in found.items() if state is CellState.MATERIALIZED} == stored
    assert found[(NO_BAR, "GOOG")] is CellState.EMPTY
    assert found[(GONE, "AAPL")] is CellState.EMPTY
    assert found[(BAD, "GOOG")] is CellState.FAILED
    assert {cell for cell, state in found.items() if state is CellState.MISSING} == {(day, "IBM") for day in SPAN}
    assert len(found) == len(SPAN) * len(NAMES)


def test_a_gap_has_the_reason_its_run_gave(landed, dagster_instance: dg.DagsterInstance) -> None:
    reasons = {(cell.date, cell.instrument): cell.reason for cell in read(landed, dagster_instance).cells()}
    assert reasons[(NO_BAR, "GOOG")] == "no bar in the source: halted, or a gap"
    assert reasons[(GONE, "AAPL")] == "its row is gone; materialize it again"
    assert "-1" in reasons[(BAD, "GOOG")]
    assert {reason for (day, name), reason in reasons.items() if name == "IBM"} == {""}


def test_the_newest_outcome_of_a_cell_counts(landed, dagster_instance: dg.DagsterInstance) -> None:
    run_job(dagster_instance, ["tt_prices"], f"{GONE}|AAPL")
    found = {(cell.date, cell.instrument): cell for cell in read(landed, dagster_instance).cells()}
    assert found[(GONE, "AAPL")].state is CellState.MATERIALIZED
    assert found[(GONE, "AAPL")].reason == ""


def test_the_counts_are_those_of_tt_status(landed, dagster_instance: dg.DagsterInstance) -> None:
    everything = read_matrix(landed, dagster_instance, Settings(), "tt_prices")
    counted = Counter(states_of(everything).values())
    assert partition_counts(dagster_instance, "tt_prices", current_plan().market_partitions) == (
        counted[CellState.MATERIALIZED] + counted[CellState.EMPTY],
        counted[CellState.MISSING],
        counted[CellState.FAILED],
    )


def test_cells_of_a_run_that_goes_on_are_in_flight(landed, dagster_instance: dg.DagsterInstance) -> None:
    run = dagster_instance.create_run_for_job(
        current_definitions().resolve_job_def(MARKET_JOB),
        tags={RANGE_START: f"{SPAN[-2]}|GOOG", RANGE_END: f"{SPAN[-1]}|IBM"},
        asset_selection={dg.AssetKey("tt_prices")},
    )
    found = states_of(read(landed, dagster_instance))
    flying = {cell for cell, state in found.items() if state is CellState.IN_FLIGHT}
    assert flying == {(day, name) for day in SPAN[-2:] for name in NAMES[1:]}
    dagster_instance.report_run_canceled(run)
    assert CellState.IN_FLIGHT not in states_of(read(landed, dagster_instance)).values()


def test_a_span_without_a_partition_and_an_unknown_instrument_are_said(
    connected, dagster_instance: dg.DagsterInstance
) -> None:
    with pytest.raises(UserError, match="run from 2005-03-01 to 2013-03-01"):
        read_matrix(connected, dagster_instance, Settings(), "tt_prices", date(2020, 1, 1), None)
    with pytest.raises(UserError, match="did you mean --from 2012-05-14 --to 2012-05-25"):
        read_matrix(connected, dagster_instance, Settings(), "tt_prices", date(2012, 5, 25), date(2012, 5, 14))
    with pytest.raises(UserError, match="nearest is GOOG"):
        read(connected, dagster_instance, "GOGO")


def test_a_window_is_found_by_any_day_of_it(connected, dagster_instance: dg.DagsterInstance) -> None:
    found = read_matrix(
        connected, dagster_instance, Settings(), "tt_episode", date(2012, 5, 14), date(2012, 8, 1), "sample"
    )
    assert (found.dates, found.unit) == (("2012-04-01", "2012-07-01"), "window")


def matrix(states: list[list[str]], first: date = date(2012, 1, 3), names: list[str] | None = None) -> Matrix:
    """Rows of instruments as the signs of the picture."""
    by_sign = {sign: position for position, state in enumerate(STATES) for sign in MARKS[state][0]}
    codes = np.array([[by_sign[sign] for sign in row] for row in states], dtype=np.int8).T
    days = sessions(first, date(2030, 12, 31))[: len(codes)]
    instruments = tuple(names or [f"I{number}" for number in range(len(states))])
    return Matrix("tt_prices", "session", tuple(str(day.date()) for day in days), instruments, codes, {})


def drawn(lines: list, names: tuple[str, ...]) -> list[str]:
    """The signs of each instrument's line."""
    return [text.plain.split(" ", 1)[1].strip() for text in lines[2 : 2 + len(names)]]


def test_a_short_span_shows_a_sign_for_each_session() -> None:
    rows = ["■■□·✗▸■", "·······"]
    shown = matrix([list(row) for row in rows])
    assert drawn(cells_grid(shown, 80), shown.instruments) == rows


def test_a_column_of_several_sessions_shows_the_worst_of_them() -> None:
    weeks = ["■■■■□", "□□□□□", "■■··■", "·····", "■✗▸·□", "■▸··□"]  # Monday to Friday
    shown = matrix([list("".join(weeks))], first=date(2012, 4, 9))
    assert drawn(cells_grid(shown, 12), shown.instruments) == ["■□◪·✗▸"]


@pytest.mark.parametrize(
    ("width", "unit"), [(800, "session"), (170, "week"), (80, "month"), (40, "quarter"), (18, "year")]
)
def test_the_picture_fits_the_terminal_with_the_finest_columns_that_do(width: int, unit: str) -> None:
    shown = matrix([["■"] * 756, ["·"] * 756], names=["AAPL", "BRK B"])
    lines = cells_grid(shown, width)
    assert lines[0].plain.endswith(f"a column is a {unit}")
    assert all(len(line.plain) <= width for line in lines[1:4])


@given(
    st.lists(st.lists(st.sampled_from("■□·✗▸"), min_size=40, max_size=40), min_size=1, max_size=5),
    st.integers(min_value=24, max_value=120),
)
def test_whatever_the_width_no_failure_and_no_gap_is_lost(states: list[list[str]], width: int) -> None:
    shown = matrix(states)
    lines = drawn(cells_grid(shown, width), shown.instruments)
    for row, own in zip(lines, states, strict=True):
        assert ("✗" in row) == ("✗" in own)
        if "·" in own and "✗" not in own and "▸" not in own:
            assert "·" in row or MARKS[SOME_MISSING][0] in row
    # Every cell that is not materialized is in exactly one stretch.
    listed = Counter()
    for gap in gaps(shown):
        for name in gap.instruments:
            listed[(name, gap.state)] += gap.dates
    counted = Counter(
        (cell.instrument, cell.state) for cell in shown.cells() if cell.state is not CellState.MATERIALIZED
    )
    assert listed == counted


def test_dates_stand_over_the_first_column_they_hold_for() -> None:
    shown = matrix([["■"] * 60], first=date(2012, 1, 3))
    title, axis = (line.plain for line in cells_grid(shown, 80)[:2])
    assert title.startswith("tt_prices  2012-01-03 to ")
    margin = len("I0 ")
    for month in ("2012-01", "2012-02", "2012-03"):
        first = next(index for index, day in enumerate(shown.dates) if day.startswith(month))
        assert axis.index(month) == margin + first


def test_the_command_draws_and_gives_json(tt: Tt, postgres_instance, connected, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    span = ("--from", "2013-02-27", "--to", "2013-03-01")
    told = tt("status", "--partitions", *span)
    assert (told.code, told.err) == (0, "")
    assert "tt_prices  2013-02-27 to 2013-03-01, a column is a session" in told.out
    assert "AAPL ···" in told.out
    assert "· missing 15" in told.out
    cells = json.loads(tt("status", "--partitions", "--json", "--table", "features", *span).out)
    assert len(cells) == 15
    assert cells[0] == {
        "table": "tt_features",
        "date": "2013-02-27",
        "instrument": "AAPL",
        "state": "missing",
        "reason": "",
    }


def test_an_option_of_the_picture_without_it_is_a_mistake(tt: Tt) -> None:
    told = tt("status", "--from", "2012-05-14")
    assert told.is_one_line_of_advice()
    assert "tt status --partitions --from 2012-05-14" in told.err


def test_what_is_off_the_watchlist_is_not_counted_as_missing(
    landed, dagster_instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> dict[str, int]:
        return {line.table: line.missing for line in table_statuses(landed, dagster_instance, Settings())}

    monkeypatch.setenv("TT_WATCHLIST", str(tmp_path / "watchlist.csv"))
    (tmp_path / "watchlist.csv").write_text("symbol\nAAPL\nGOOG\nIBM\n")
    before = missing()
    (tmp_path / "watchlist.csv").write_text("symbol\nAAPL\nGOOG\n")
    dates = len(dagster_instance_dates(dagster_instance))
    assert missing()["tt_prices"] == before["tt_prices"] - dates
    assert 0 < missing()["tt_policy"] < before["tt_policy"]


def dagster_instance_dates(instance: dg.DagsterInstance) -> set[str]:
    """The date keys of the market grid."""
    keys = current_plan().market_partitions.get_partition_keys(dynamic_partitions_store=instance)
    return {key.split("|")[0] for key in keys}
