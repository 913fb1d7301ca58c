"""Which windows are trained and which are rolled again, and that a report follows its episodes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from tt_assets.automation import agents
from tt_assets.automation.agents import AgentState, followed, to_roll, to_train
from tt_assets.automation.ledger_view import TableLedger
from tt_assets.automation.partition_states import Axes, Cells, TableCells
from tt_assets.automation.tries import Tries
from tt_assets.grid.keys import CellKey
from tt_assets.market.calendar import sessions
from tt_assets.market.watchlist import read_watchlist
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.automation.states import state_of
from tt_assets_tests.dagster_runs import current_definitions

REPORT = dg.AssetKey("report")
REPORTS = dg.AssetSelection.assets(REPORT)
WINDOWS = ("2012-01-01", "2012-04-01", "2012-07-01", "2012-10-01", "2013-01-01")
TRADED = ("AA", "BB", "both")
LAST = date(2013, 3, 1)


def market_axes() -> Axes:
    days = sessions(date(2011, 1, 3), LAST)
    return Axes(tuple(day.strftime("%Y-%m-%d") for day in days), ("AA", "BB"))


@pytest.fixture
def state(tmp_path: Path) -> AgentState:
    """All market cells landed, no policy and no episode, a portfolio of both symbols; bars up to the last session."""
    axes = market_axes()
    full = {table: TableCells(~axes.none(), axes.none(), axes.none()) for table in MARKET_TABLES}
    market = state_of(axes, tmp_path, full, active=("AA", "BB"))
    (tmp_path / "watchlist.csv").write_text("symbol,portfolio\nAA,both\nBB,both\n")
    market = type(market)(**{**vars(market), "listed": type(market.listed)(read_watchlist(tmp_path / "watchlist.csv"))})
    grid = Axes(WINDOWS, TRADED)
    cells = {table: TableCells(grid.none(), grid.none(), grid.none()) for table in ("tt_policy", "tt_episode")}
    tries = {table: Tries(np.zeros((5, 3), dtype=np.int64), np.zeros((5, 3))) for table in cells}
    return AgentState(market, Cells(grid, cells), tries, "tag")


def chosen(state: AgentState, mask: np.ndarray) -> set[tuple[str, str]]:
    return state.cells.axes.pairs(mask)


def test_the_latest_four_windows_of_the_portfolio_are_trained_in_one_run(state):
    assert chosen(state, to_train(state)) == {(start, "both") for start in WINDOWS[1:]}
    (request,) = agents.requests(state)
    assert request.partition_key_range == dg.PartitionKeyRange("2012-04-01|both", "2013-01-01|both")
    assert request.asset_selection[0] == dg.AssetKey("tt_policy")
    assert int(request.tags["dagster/priority"]) < 0  # market runs go first


def test_on_several_machines_each_place_gets_a_window(state):
    market = state.market
    shared = {"database_url": "postgresql://me@db.example/tt", "run_launcher": "ray", "train_slots": 2}
    settings = market.settings.model_copy(update=shared)
    plan = type(market.plan)(**{**vars(market.plan), "settings": settings})
    state = type(state)(type(market)(**{**vars(market), "plan": plan}), state.cells, state.tries, state.tag)
    assert {request.partition_key_range.start for request in agents.requests(state)} == {
        f"{start}|both" for start in WINDOWS[1:]
    }


def test_a_symbol_is_followed_once_it_has_an_agent_and_all_are_without_a_portfolio(state):
    watchlist = state.market.listed.watchlist
    trained = state.cells.axes.none()
    assert followed(watchlist, trained, TRADED) == {"both"}
    trained[1, 0] = True
    assert followed(watchlist, trained, TRADED) == {"both", "AA"}
    alone = type(watchlist)(watchlist.instruments, {})
    assert followed(alone, state.cells.axes.none(), TRADED) == {"AA", "BB"}


def test_only_the_new_window_of_a_quarter_is_trained(state):
    state.cells["tt_policy"].done[:4, 2] = True
    assert chosen(state, to_train(state)) == {("2013-01-01", "both")}


def test_nothing_is_trained_while_a_training_goes_on(state):
    state.cells["tt_policy"].in_flight[0, 0] = True
    assert not to_train(state).any()


@pytest.mark.parametrize("table", MARKET_TABLES)
def test_a_window_waits_for_the_cells_it_reads_and_for_no_others(state, table):
    row = state.market.axes.date_at["2012-02-01"]
    state.market.cells[table].done[row, 1] = False
    # February is training data of the three windows after its quarter; the window of 2013 begins later.
    assert chosen(state, to_train(state)) == {("2013-01-01", "both")}
    state.market.cells[table].done[row, 1] = True
    state.market.cells[table].in_flight[row, 1] = True
    assert chosen(state, to_train(state)) == {("2013-01-01", "both")}


def test_a_cell_that_was_given_up_keeps_nobody_waiting(state):
    row = state.market.axes.date_at["2012-02-01"]
    for table in MARKET_TABLES:
        state.market.cells[table].done[row, 1] = False
        state.market.tries[table].count[row, 1] = state.market.settings.gap_tries
    assert to_train(state)[1:, 2].all()


def test_a_training_that_failed_waits_and_is_given_up(state):
    tries = state.tries["tt_policy"]
    tries.count[4, 2], tries.last[4, 2] = 1, state.market.now - 1
    assert ("2013-01-01", "both") not in chosen(state, to_train(state))
    tries.last[4, 2] -= 100
    assert ("2013-01-01", "both") in chosen(state, to_train(state))
    tries.count[4, 2] = state.market.settings.gap_tries
    tries.last[4, 2] = 0
    assert ("2013-01-01", "both") not in chosen(state, to_train(state))


@pytest.mark.parametrize(
    ("held", "failed", "stale", "rolls"),
    [
        (True, False, False, False),
        (True, False, True, True),
        (True, True, False, True),
        (False, False, False, True),
    ],
)
def test_a_window_is_rolled_again_when_it_was_rolled_on_something_else(state, held, failed, stale, rolls):
    grid, place = state.cells.axes, (4, 2)
    for table in ("tt_policy", "tt_episode"):
        ledger = TableLedger.empty(grid)
        ledger.held[place] = ledger.knows_reads[place] = held or table == "tt_policy"
        ledger.failed[place] = failed and table == "tt_episode"
        ledger.reads[place] = int(stale)
        state.cells.tables[table] = TableCells(ledger.held, ledger.failed, grid.none(), ledger)
    assert chosen(state, to_roll(state)) == ({("2013-01-01", "both")} if rolls else set())
    state.cells["tt_episode"].in_flight[place] = True
    assert not to_roll(state).any()


def landed(instance: dg.DagsterInstance, *keys: str) -> None:
    for key in keys:
        day, name = key.split("|")
        both = dg.MultiPartitionKey({"date": day, "instrument": name})
        instance.report_runless_asset_event(
            dg.AssetMaterialization("tt_episode", partition=both, tags=CellKey.parse(both).event_tags())
        )


def test_a_report_follows_its_episodes_once(dagster_instance):
    def evaluate(cursor=None):
        return dg.evaluate_automation_conditions(
            current_definitions(), dagster_instance, asset_selection=REPORTS, cursor=cursor
        )

    first = evaluate()
    assert first.total_requested == 0
    landed(dagster_instance, "2012-10-01|sample", "2013-01-01|sample")
    second = evaluate(first.cursor)
    assert second.get_requested_partitions(REPORT) == {"sample"}
    assert evaluate(second.cursor).total_requested == 0
    landed(dagster_instance, "2012-10-01|IBM")
    assert evaluate(second.cursor).get_requested_partitions(REPORT) == {"IBM"}


def test_a_report_does_not_follow_policies_alone(dagster_instance):
    first = dg.evaluate_automation_conditions(current_definitions(), dagster_instance, asset_selection=REPORTS)
    key = dg.MultiPartitionKey({"date": "2012-10-01", "instrument": "sample"})
    dagster_instance.report_runless_asset_event(
        dg.AssetMaterialization("tt_policy", partition=key, tags=CellKey.parse(key).event_tags())
    )
    assert (
        dg.evaluate_automation_conditions(
            current_definitions(),
            dagster_instance,
            asset_selection=REPORTS,
            cursor=first.cursor,
        ).total_requested
        == 0
    )


def test_sessions_of_the_states_here_are_those_of_the_calendar():
    assert market_axes().dates[-1] == str(LAST)
    assert pd.Timestamp(market_axes().dates[0]).date() == date(2011, 1, 3)
