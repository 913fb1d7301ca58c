import dataclasses
import itertools
import re

from tt_assets.report import verdict
from tt_assets.report.scenarios import scenario_label
from tt_assets.trading.judging.judge import SCENARIOS, Scenario, judge
from tt_assets_tests.report.conftest import renamed


def figure(judgement, strategy, name, cost_multiple=1.0, delay=0):
    table = judgement.table.set_index(["strategy", "cost_multiple", "delay"])
    return table.loc[(strategy, cost_multiple, delay), name]


def test_the_returns_lead_and_spread_are_those_of_the_judgement(judgement):
    text = verdict(judgement)
    agent, yardstick = (figure(judgement, name, "total_return") for name in ("agent", "equal_weight_hold"))
    curves = judgement.curves.query("strategy == 'agent' and cost_multiple == 1 and delay == 0")
    final = sorted(curves.groupby("seed")["wealth"].last() - 1)
    assert f"the median of 3 agents returned {100 * agent:+.1f} % after costs" in text
    assert f"returned {100 * yardstick:+.1f} %. The agent is" in text
    assert f"{abs(100 * (agent - yardstick)):.1f} points" in text
    assert f"range from {100 * final[0]:+.1f} % to {100 * final[-1]:+.1f} %" in text
    assert f"over {len(curves) // 3} sessions, 2012-04-02 to 2012-12-31" in text
    better = (judgement.table.query("cost_multiple == 1 and delay == 0")["total_return"] > agent).sum()
    assert f"{better or 'None'} of the 6 baselines returned more." in text
    assert "\n" not in text


def test_an_agent_that_trades_itself_poor_is_told_so(baselines_only):
    text = verdict(renamed(baselines_only, random="agent"))
    assert "The agent is behind by" in text
    assert "All of the 5 baselines returned more." in text
    assert "The agent has no lead for harder conditions to take away" in text
    assert text.endswith("Nothing here speaks for the agent over holding equal parts.")


def test_a_lead_clear_of_the_interval_in_every_scenario_is_called_evidence(costly_baselines):
    text = verdict(renamed(costly_baselines, random="equal_weight_hold", equal_weight_hold="agent"))
    assert "wholly above the yardstick's" in text
    assert re.search(
        r"The lead survives 2× costs \(.*\), 3× costs \(.*\) and 1× costs, filled 1 session later \(", text
    )
    assert "does not survive" not in text
    assert text.endswith(
        "That is evidence of skill on these bars, from one history. 125 sessions are less than a year."
    )


def test_a_ratio_wholly_below_the_yardsticks_is_told(costly_baselines):
    text = verdict(renamed(costly_baselines, random="agent"))
    assert "wholly below the yardstick's" in text
    assert text.endswith("Nothing here speaks for the agent over holding equal parts.")


def test_whether_the_interval_includes_the_yardstick_follows_the_figures(baselines_only, costly_baselines):
    seen = set()
    for judged in (baselines_only, costly_baselines):
        for name in ("equal_weight_rebalanced", "inverse_volatility", "momentum", "random"):
            judged_as_agent = renamed(judged, **{name: "agent"})
            low, high = (figure(judged, name, bound) for bound in ("sharpe_low", "sharpe_high"))
            truth = figure(judged, "equal_weight_hold", "sharpe")
            text = verdict(judged_as_agent)
            assert ("do not tell them apart" in text) == (low <= truth <= high)
            assert ("wholly below" in text) == (high < truth)
            seen.add(low <= truth <= high)
    assert seen == {True, False}


def test_each_harder_scenario_is_said_to_keep_or_to_lose_the_lead(baselines_only, costly_baselines):
    kept = lost = 0
    names = ("inverse_volatility", "momentum", "equal_weight_rebalanced", "equal_weight_hold", "cash", "random")
    for judged, agent, yardstick in itertools.product((baselines_only, costly_baselines), names, names):
        if agent == yardstick:
            continue
        others = {"equal_weight_hold": "other"} | {agent: "agent", yardstick: "equal_weight_hold"}
        text = verdict(renamed(judged, **others))
        leads = {
            scenario: figure(judged, agent, "total_return", *dataclasses.astuple(scenario))
            - figure(judged, yardstick, "total_return", *dataclasses.astuple(scenario))
            for scenario in SCENARIOS
        }
        if round(100 * leads.pop(Scenario()), 1) <= 0:
            assert "The agent has no lead for harder conditions to take away" in text
            continue
        survives, _, loses = text[text.index("The lead ") :].partition("does not survive")
        for scenario, lead in leads.items():
            ahead = round(100 * lead, 1) > 0
            standing = f"{'ahead' if ahead else 'behind'} by {abs(100 * lead):.1f} points"
            assert f"{scenario_label(scenario)} ({standing})" in (survives if ahead else loses)
            kept, lost = kept + ahead, lost + (not ahead)
    assert kept > 0
    assert lost > 0


def test_an_agent_that_stays_in_cash_has_no_sharpe_ratio(baselines_only):
    assert "Sharpe ratio is undefined: its net worth did not vary." in verdict(renamed(baselines_only, cash="agent"))


def test_without_agents_no_verdict_on_them_is_given(baselines_only):
    assert verdict(baselines_only).startswith("No agent was judged: the 6 strategies shown are baselines")


def test_one_seed_and_one_scenario_are_enough(judged_windows):
    one = [dataclasses.replace(window, policies=window.policies[:1]) for window in judged_windows]
    text = verdict(judge(one, [Scenario()]))
    assert "the agent (one seed) returned" in text
    assert "range from" not in text
    assert "costs (" not in text


def test_without_the_usual_yardstick_the_first_baseline_judged_is_one_and_named(judgement):
    kept = ("agent", "momentum", "random")
    text = verdict(only(judgement, kept))
    momentum = figure(judgement, "momentum", "total_return")
    assert f"; momentum, returned {100 * momentum:+.1f} %" in text
    assert "of the 2 baselines returned more." in text
    assert "equal" not in text
    assert verdict(only(judgement, ("agent",))).startswith("No baseline was judged (TT_BASELINES)")


def only(judgement, strategies):
    frames = {name: getattr(judgement, name) for name in ("curves", "bands", "table")}
    return dataclasses.replace(
        judgement, **{name: frame[frame["strategy"].isin(strategies)] for name, frame in frames.items()}
    )


def test_an_agent_below_ridge_on_the_same_observation_is_told_so(baselines_only):
    names = {"equal_weight_rebalanced": "agent", "momentum": "ridge"}
    text = verdict(renamed(baselines_only, **names))
    returns = [figure(baselines_only, name, "total_return") for name in names]
    assert f"Ridge regression on the same observation returned {100 * returns[1]:+.1f} %" in text
    assert ("it has learned nothing here that a regression does not know" in text) == (returns[0] < returns[1])
    swapped = verdict(renamed(baselines_only, momentum="agent", equal_weight_rebalanced="ridge"))
    assert ("it has learned nothing here that a regression does not know" in swapped) == (returns[1] < returns[0])
    assert "of the 4 baselines returned more" in swapped
    assert "Ridge" not in verdict(renamed(baselines_only, random="agent"))
