import dataclasses
import itertools
import re

import numpy as np
import pandas as pd

from tt_assets.report import verdict
from tt_assets.report.scenarios import scenario_label
from tt_assets.trading.judging.judge import SCENARIOS, Judgement, Scenario, bands_of, contestants_of, judge
from tt_assets_tests.report.conftest import renamed

NO_EVIDENCE = "This is no evidence of skill: the paired test does not tell the agent's lead from luck."


def figure(judgement, strategy, name, cost_multiple=1.0, delay=0):
    table = contestants_of(judgement.table).set_index(["strategy", "cost_multiple", "delay"]).sort_index()
    return table.loc[(strategy, cost_multiple, delay), name]


def test_the_returns_lead_and_spread_are_those_of_the_judgement(judgement):
    text = verdict(judgement)
    agent, yardstick = (figure(judgement, name, "total_return") for name in ("ensemble", "equal_weight_hold"))
    curves = judgement.curves.query("strategy == 'agent' and cost_multiple == 1 and delay == 0")
    final = sorted(curves.groupby("seed")["wealth"].last() - 1)
    assert f"the mean action of 3 agents returned {100 * agent:+.1f} % after costs" in text
    assert f"returned {100 * yardstick:+.1f} %. The agent is" in text
    assert f"{abs(100 * (agent - yardstick)):.1f} points" in text
    assert f"range from {100 * final[0]:+.1f} % to {100 * final[-1]:+.1f} %" in text
    assert f"over {len(curves) // 3} sessions, 2012-04-02 to 2012-12-31" in text
    better = (judgement.contestants.query("cost_multiple == 1 and delay == 0")["total_return"] > agent).sum()
    assert f"{better or 'None'} of the 6 baselines returned more." in text
    assert "\n" not in text


def test_an_agent_that_trades_itself_poor_is_told_so(baselines_only):
    text = verdict(renamed(baselines_only, random="agent"))
    assert "The agent is behind by" in text
    assert "All of the 5 baselines returned more." in text
    assert "The agent has no lead for harder conditions to take away" in text
    assert text.startswith("Nothing here speaks for the agent over holding equal parts. Out of sample over")


def test_the_paired_figures_are_those_of_the_comparison(judgement):
    paired, names = judgement.compared.comparison, judgement.compared.names
    place = names.index("equal_weight_hold")
    text = verdict(judgement)
    assert f"is {100 * paired.edge[place]:+.1f} % a year (95 % interval" in text
    assert f"p {paired.p[place]:.3f}); over all yardsticks together p is {paired.p.max():.3f}, set by" in text
    assert "sessions could only show an edge above" in text


def test_a_lead_over_every_yardstick_in_every_scenario_is_called_evidence():
    text = verdict(_world(edge=0.002))
    assert re.search(r"The lead survives 2× costs \(.*\) and 1× costs, filled 1 session later \(", text)
    assert text.startswith(
        "This is evidence of skill on these bars, from one history and before counting how often was tried. Out of"
    )


def test_a_lead_over_some_yardsticks_only_is_no_evidence():
    text = verdict(_world(edge=0.002, equal="momentum"))
    assert "over all yardsticks together p is 1.000, set by momentum." in text
    assert text.startswith(NO_EVIDENCE)


def test_too_few_sessions_are_said_and_are_no_evidence():
    text = verdict(_world(edge=0.002, sessions=15))
    assert "There is no paired test: 14 sessions are too few" in text
    assert text.startswith(f"{NO_EVIDENCE} 15 sessions are less than a year. Out of sample over")


def _world(edge, sessions=500, equal=""):
    """An agent with an `edge` a session over all yardsticks but `equal`, which it matches, in three scenarios."""
    random = np.random.default_rng(1)
    market = random.standard_normal(sessions - 1) * 0.01
    agent = market + 0.002 * random.standard_normal(sessions - 1) + edge
    curves, rows = [], []
    for scenario in (Scenario(), Scenario(2.0), Scenario(delay=1)):
        for name in ("agent", "equal_weight_hold", "momentum", "cash"):
            returns = agent if name in ("agent", equal) else market * (name != "cash")
            wealth = np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
            key = {"strategy": name, "seed": 0, **dataclasses.asdict(scenario)}
            days = pd.bdate_range("2010-01-04", periods=sessions)
            curves.append(pd.DataFrame({**key, "timestamp": days, "wealth": wealth, "drawdown": 0.0}))
            rows.append({**key, "sessions": sessions, "total_return": wealth[-1] - 1.0})
    every = pd.concat(curves, ignore_index=True)
    return Judgement(every, bands_of(every), pd.DataFrame(rows))


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


def test_without_agents_no_verdict_on_them_is_given(baselines_only):
    assert verdict(baselines_only).startswith("No agent was judged: the 6 strategies shown are baselines")


def test_one_seed_and_one_scenario_are_enough(judged_windows):
    one = [dataclasses.replace(window, policies=window.policies[:1]) for window in judged_windows]
    text = verdict(judge(one, [Scenario()]))
    assert "the agent (one seed) returned" in text
    assert "range from" not in text
    assert "costs (" not in text


def test_without_the_usual_yardstick_the_first_baseline_judged_is_one_and_named(judgement):
    kept = ("ensemble", "agent", "momentum", "random")
    text = verdict(only(judgement, kept))
    momentum = figure(judgement, "momentum", "total_return")
    assert f"; momentum, returned {100 * momentum:+.1f} %" in text
    assert "of the 2 baselines returned more." in text
    assert "equal weight" not in text
    assert verdict(only(judgement, ("ensemble", "agent"))).startswith("No baseline was judged (TT_BASELINES)")


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
