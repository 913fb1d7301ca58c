"""A report in the first sessions of a quarter, when its window has hardly any return."""

from __future__ import annotations

import pandas as pd
import pytest

from tt_assets.report.figures import figures_table, markdown_table
from tt_assets.report.html import report_html
from tt_assets.report.plots import drawdown_plot, equity_plot, turnover_plot, weights_plot
from tt_assets.report.verdict import verdict
from tt_assets.settings import SAMPLE_BARS
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.judging.judge import JudgedWindow, judge
from tt_assets_tests.trading.conftest import build_panel

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("last", ["2013-01-02", "2013-01-03", "2013-01-04"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_window_of_one_session_or_a_few_is_judged_and_drawn(
    judged_windows: list[JudgedWindow], last: str, alone: bool
) -> None:
    *before, whole = judged_windows
    panel = build_panel(pd.read_csv(SAMPLE_BARS, parse_dates=["timestamp"]), "2013-01-02", last)
    young = JudgedWindow(panel, whole.config, whole.policies)
    judgement = judge([young] if alone else [*before, whole, young])
    weights = roll_episode(whole.policies[0], panel, whole.config).target_weights
    for plot in (equity_plot, drawdown_plot, turnover_plot):
        assert plot(judgement).startswith(PNG)
    assert weights_plot(weights).startswith(PNG)
    assert f"{last}" in verdict(judgement)
    assert "agent" in markdown_table(figures_table(judgement)).lower()
    assert "</html>" in report_html("sample", judgement, weights, [])
