"""What to hold, against the arithmetic written out."""

from datetime import date

import pytest

from tt_assets.trading.episodes.holdings import Decision, LastBar, what_to_hold

SESSION = date(2012, 9, 28)
BARS = {"AAPL": LastBar(SESSION, 100.0), "IBM": LastBar(date(2012, 9, 20), 40.0)}


def decision(seed: int, apple: float, ibm: float, before: tuple[float, float] = (0.0, 0.0)) -> Decision:
    reasons = {name: f"{name} of {seed}" for name in ("AAPL", "IBM", "CASH")}
    then = {"AAPL": before[0], "IBM": before[1], "CASH": 1 - sum(before)}
    return Decision(seed, f"sha{seed}", {"AAPL": apple, "IBM": ibm, "CASH": 1 - apple - ibm}, then, reasons)


def held(decisions, **kwargs):
    found = what_to_hold("P", date(2012, 7, 1), SESSION, decisions, BARS, 10_000.0, **kwargs)
    return {own.instrument: own for own in found.positions}, found


def test_the_mean_of_the_seeds_is_held_and_changes_count_from_the_mean_before():
    lines, found = held([decision(0, 0.2, 0.4, (0.1, 0.4)), decision(1, 0.4, 0.0, (0.3, 0.2))])
    assert list(lines) == ["AAPL", "IBM", "CASH"]
    assert [lines[name].weight for name in lines] == pytest.approx([0.3, 0.2, 0.5])
    assert lines["AAPL"].shares == pytest.approx(30.0)
    assert lines["AAPL"].change == pytest.approx(10.0)
    assert lines["IBM"].shares == pytest.approx(50.0)
    assert lines["IBM"].change == pytest.approx(-25.0)
    assert lines["CASH"].shares == pytest.approx(5_000.0)
    assert lines["CASH"].change == pytest.approx(0.0)
    assert lines["AAPL"].reason == "mean of 20.0%, 40.0% (seeds 0, 1); seed 0: AAPL of 0"
    assert found.seeds == {0: "sha0", 1: "sha1"}
    assert not found.together


def test_the_mean_action_is_held_where_it_decided_whatever_the_mean_of_the_weights():
    together = decision(0, 0.5, 0.1, (0.4, 0.2))
    lines, found = held([decision(0, 0.2, 0.4), decision(1, 0.4, 0.0)], together=together)
    assert [lines[name].weight for name in lines] == pytest.approx([0.5, 0.1, 0.4])
    assert lines["AAPL"].change == pytest.approx(10.0)
    assert lines["IBM"].change == pytest.approx(-25.0)
    assert lines["AAPL"].reason == "AAPL of 0; alone the seeds wanted 20.0%, 40.0% (seeds 0, 1)"
    assert found.seeds == {0: "sha0", 1: "sha1"}
    assert found.together
    # A seed that was stopped by itself does not stop the account that is held; the other way round it does.
    stopped = Decision(0, "sha", None, {"AAPL": 0.5, "IBM": 0.5, "CASH": 0.0}, {})
    _, found = held([decision(0, 0.2, 0.4), stopped], together=together)
    assert found.stopped == ()
    lines, _ = held([decision(0, 0.2, 0.4), decision(1, 0.4, 0.0)], together=stopped)
    assert lines["CASH"].weight == 1.0
    assert "mean action was stopped" in lines["AAPL"].reason


def test_changes_count_from_positions_where_some_are_given():
    lines, _ = held([decision(0, 0.2, 0.4)], held={"AAPL": 50.0, "CASH": 100.0})
    assert [lines[name].change for name in lines] == pytest.approx([-30.0, 100.0, 3_900.0])
    assert lines["AAPL"].reason == "AAPL of 0"


def test_whole_shares_leave_the_rest_in_cash():
    lines, _ = held([decision(0, 0.2551, 0.3333)], whole_shares=True)
    assert (lines["AAPL"].shares, lines["IBM"].shares) == (25.0, 83.0)
    assert lines["CASH"].shares == 10_000.0 - 2_500.0 - 83 * 40.0


def test_a_stopped_seed_counts_as_cash_and_all_stopped_is_all_cash():
    stopped = Decision(1, "sha1", None, {"AAPL": 0.5, "IBM": 0.5, "CASH": 0.0}, {})
    lines, found = held([decision(0, 0.2, 0.4), stopped])
    assert [lines[name].weight for name in lines] == pytest.approx([0.1, 0.2, 0.7])
    assert found.stopped == (1,)
    lines, _ = held([stopped])
    assert lines["CASH"].weight == 1.0
    assert "every seed's account was stopped" in lines["CASH"].reason
    assert lines["AAPL"].change == pytest.approx(-50.0)
