import dataclasses
import re

import pandas as pd
import pytest

from tt_assets.report import NothingToReport, figures_table, markdown_table
from tt_assets.report.figures import details_table
from tt_assets.report.labels import fixed, sharpe_text, strategy_label
from tt_assets.report.scenarios import scenario_label
from tt_assets.trading.judging.judge import SCENARIOS, Scenario, judge

SHARPE = "Sharpe ratio (a year) [95 % interval]"


def test_every_scenario_and_strategy_has_a_row_in_the_order_judged(judgement):
    table = figures_table(judgement)
    assert list(table["Scenario"].unique()) == ["1× costs", "2× costs", "3× costs", "1× costs, filled 1 session later"]
    assert len(table) == len(judgement.table) == 10 * len(SCENARIOS)
    assert list(table["Strategy"][:5]) == [
        "Agents' mean action",
        "Agent, seed 0",
        "Agent, seed 1",
        "Agent, seed 2",
        "Cash",
    ]
    assert list(details_table(judgement)["Strategy"]) == list(table["Strategy"][:10])
    assert not table["Strategy"].str.contains("median").any()


def test_cells_read_back_to_the_figures_within_their_rounding(judgement):
    table, truth = figures_table(judgement), judgement.table
    for column, name, digits in (
        ("Total return (%)", "total_return", 1),
        ("Return (% a year)", "annual_return", 1),
        ("Volatility (% a year)", "volatility", 1),
        ("Max drawdown (% of peak)", "max_drawdown", 1),
        ("Turnover (mean change of a weight, %)", "turnover", 2),
        ("Traded one way (% of net worth a session)", "traded", 1),
        ("Costs paid (% of net worth, all sessions)", "costs_paid", 2),
    ):
        assert (table[column].astype(float) - 100 * truth[name]).abs().max() <= 0.5 * 10**-digits + 1e-9
    varying = truth["sharpe"].notna()
    read = table.loc[varying, SHARPE].str.extract(r"^(\S+) \[(\S+), (\S+)\]$").astype(float)
    for column, name, digits in ((0, "sharpe", 2), (1, "sharpe_low", 1), (2, "sharpe_high", 1)):
        assert (read[column] - truth.loc[varying, name]).abs().max() <= 0.5 * 10**-digits + 1e-9
    assert set(table.loc[~varying, SHARPE]) == {"–"}
    assert set(truth.loc[~varying, "strategy"]) == {"cash"}


def test_numbers_are_rounded_without_a_negative_zero():
    assert sharpe_text(0.534, -0.94, 2.04) == "0.53 [-0.9, 2.0]"
    assert sharpe_text(0.534, float("nan"), float("nan")) == "0.53"
    assert fixed(-0.004, 2) == fixed(-0.004, 2, signed=True) == "0.00"
    assert fixed(0.006, 2, signed=True) == "+0.01"
    assert fixed(float("nan"), 2) == fixed(float("inf"), 2) == "–"


def test_a_strategy_of_the_users_own_and_longer_delays_have_labels():
    assert strategy_label("minimum_variance") == "Minimum variance"
    assert scenario_label(Scenario(1.5, 2)) == "1.5× costs, filled 2 sessions later"


def test_markdown_has_a_cell_per_cell_and_escapes_what_would_break_it():
    table = pd.DataFrame({"Strategy": ["a|b", "c\nd"], "Total return (%)": ["+1.0", "–"]})
    assert markdown_table(table) == ("| Strategy | Total return (%) |\n| --- | ---: |\n| a\\|b | +1.0 |\n| c d | – |\n")


def test_markdown_of_the_figures_is_rectangular(judgement):
    table = figures_table(judgement)
    lines = markdown_table(table).splitlines()
    assert len(lines) == len(table) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(table.columns) + 1}


def test_a_judgement_without_the_configured_scenario_is_refused(judged_windows):
    bare = [dataclasses.replace(judged_windows[0], policies=())]
    with pytest.raises(NothingToReport, match="scenarios judged: 2× costs; judge at 1× costs without delay"):
        figures_table(judge(bare, [Scenario(cost_multiple=2.0)]))
