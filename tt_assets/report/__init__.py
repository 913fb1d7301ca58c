"""The report: a judgement of agents and baselines as plots, tables, a verdict in words and one HTML page.

Everything here is a pure function of a `Judgement` and of recorded target weights, without a clock, so
the same episodes give the same bytes, in the asset's page of the UI as in `tt report`.
"""

from tt_assets.report.figures import figures_table, markdown_table
from tt_assets.report.html import Section, report_html, sections_html
from tt_assets.report.plots import drawdown_plot, equity_plot, turnover_plot, weights_plot
from tt_assets.report.scenarios import NothingToReport
from tt_assets.report.verdict import verdict

__all__ = [
    "NothingToReport",
    "Section",
    "drawdown_plot",
    "equity_plot",
    "figures_table",
    "markdown_table",
    "report_html",
    "sections_html",
    "turnover_plot",
    "verdict",
    "weights_plot",
]
