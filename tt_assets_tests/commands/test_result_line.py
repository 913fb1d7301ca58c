"""The line in which a bulk command says what it came to."""

from __future__ import annotations

from tt_assets.commands.result_line import Request, Result, in_time
from tt_assets.runs.bulk import Outcome
from tt_assets.tables import EPISODE_TABLES, EPISODES_STEP

MARKET = Request(["tt_prices", "tt_features"], ["2012-05-17", "2012-05-18"], ["AA", "BB"])


def test_it_says_what_was_asked_and_what_landed():
    assert Result([MARKET], landed=8, rows=1_200).line(4.21) == (
        "tt_prices, tt_features of AA, BB, 2012-05-17 to 2012-05-18: 8 of 8 partitions landed, 1,200 rows, 4.2 s."
    )


def test_it_says_what_failed_what_was_left_out_and_what_had_been_there():
    agents = Request(["tt_policy"], ["2012-04-01"], [*"ABCDE"], before=3)
    assert Result([MARKET, agents], landed=9, failed=1, rows=1).line(200.0) == (
        "tt_prices, tt_features of AA, BB, 2012-05-17 to 2012-05-18; tt_policy of A, B, C, D and 1 more, 2012-04-01: "
        "9 of 13 partitions landed, 1 failed, 3 not made, 3 had been there before, 1 row, 3 min 20 s."
    )


def test_failures_outside_of_what_was_asked_are_not_counted():
    outcome = Outcome(failed={"tt_prices": {"2012-05-18|AA": "…", "2012-05-01|AA": "…"}, "tt_policy": {"x|y": "…"}})
    assert MARKET.failed(outcome) == 1


def test_a_window_that_failed_in_the_step_of_the_episodes_failed_in_all_nine_tables():
    windows = Request(["tt_policy", *EPISODE_TABLES], ["2012-01-01", "2012-04-01"], ["AA"])
    outcome = Outcome(failed={EPISODES_STEP: {"2012-04-01|AA": "…", "2011-10-01|AA": "…"}})
    assert windows.failed(outcome) == 9
    assert MARKET.failed(outcome) == 0
    line = Result([windows], landed=11, failed=9, rows=1).line(1.0)
    assert "11 of 20 partitions landed, 9 failed, 1 row" in line


def test_nothing_asked_for_is_said():
    assert Result([Request(["tt_prices"], [], ["AA"])]).line(0.1).startswith("Nothing was asked for")


def test_hours_are_said_as_hours():
    assert in_time(7_500) == "2 h 5 min"
