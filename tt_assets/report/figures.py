"""The table of figures under human labels with units, and any such table as Markdown.

Cells are text, rounded once here, so the UI, the page and the terminal show the same figures.
"""

from __future__ import annotations

import pandas as pd

from tt_assets.report.labels import COVERAGE_TEXT, fixed, percent, sharpe_text, strategy_label
from tt_assets.report.scenarios import CONFIGURED, rows_of, scenario_label, scenarios_of
from tt_assets.trading.judging.judge import Judgement, Scenario

SCENARIO = "Scenario"
STRATEGY = "Strategy"
TEXT_COLUMNS = (SCENARIO, STRATEGY)
"""Columns of words; all others are figures."""


def figures_table(judgement: Judgement) -> pd.DataFrame:
    """The figures of a judgement, as people read them.

    Total return and costs paid span all windows; return and volatility are annualised with 252 sessions; turnover and
    traded are means per decision.

    Parameters
    ----------
    judgement : its `table` has the figures, one row an account.

    Returns
    -------
    One row per scenario and strategy, in the judgement's order; columns carry their unit; every cell is text, NaN is an
    en dash.

    Raises
    ------
    NothingToReport : the configured scenario was not judged.
    """
    return pd.concat([_rows(judgement, scenario) for scenario in scenarios_of(judgement)], ignore_index=True)


def markdown_table(table: pd.DataFrame) -> str:
    """A table as GitHub-flavoured Markdown, without its index.

    Parameters
    ----------
    table : cells are written as they are; `TEXT_COLUMNS` stand left, all others right.
    """
    rule = ["---" if column in TEXT_COLUMNS else "---:" for column in table.columns]
    rows = [list(map(_cell, table.columns)), rule, *(list(map(_cell, row)) for row in table.to_numpy())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", r"\|").replace("\n", " ")


def _rows(judgement: Judgement, scenario: Scenario) -> pd.DataFrame:
    rows = rows_of(judgement.table, scenario)
    intervals = zip(rows["sharpe"], rows["sharpe_low"], rows["sharpe_high"], strict=True)
    several = rows["strategy"].duplicated(keep=False)
    named = zip(rows["strategy"], rows["seed"], several, strict=True)
    return pd.DataFrame(
        {
            SCENARIO: scenario_label(scenario),
            STRATEGY: [strategy_label(name, int(seed) if many else None) for name, seed, many in named],
            "Total return (%)": [percent(value, signed=True) for value in rows["total_return"]],
            "Return (% a year)": [percent(value, signed=True) for value in rows["annual_return"]],
            "Volatility (% a year)": list(map(percent, rows["volatility"])),
            f"Sharpe ratio (a year) [{COVERAGE_TEXT} interval]": [sharpe_text(*interval) for interval in intervals],
            "Sortino ratio (a year)": [fixed(value, 2) for value in rows["sortino"]],
            "Calmar ratio": [fixed(value, 2) for value in rows["calmar"]],
            "Max drawdown (% of peak)": list(map(percent, rows["max_drawdown"])),
            "Turnover (mean change of a weight, %)": [percent(value, 2) for value in rows["turnover"]],
            "Traded one way (% of net worth a session)": list(map(percent, rows["traded"])),
            "Costs paid (% of net worth, all sessions)": [percent(value, 2) for value in rows["costs_paid"]],
        }
    )


def details_table(judgement: Judgement) -> pd.DataFrame:
    """Further figures of every account as configured: against the yardstick, by day, and what costs were made of.

    Beta, information ratio and tracking error are against the benchmark instrument, else equal weight bought and held.
    Cells as of `figures_table`.
    """
    rows = rows_of(judgement.table, CONFIGURED)
    several = rows["strategy"].duplicated(keep=False)
    named = zip(rows["strategy"], rows["seed"], several, strict=True)
    return pd.DataFrame(
        {
            STRATEGY: [strategy_label(name, int(seed) if many else None) for name, seed, many in named],
            "Beta": [fixed(value, 2) for value in rows["beta"]],
            "Information ratio (a year)": [fixed(value, 2) for value in rows["information_ratio"]],
            "Tracking error (% a year)": list(map(percent, rows["tracking_error"])),
            "Exposure (% of net worth)": list(map(percent, rows["exposure"])),
            "Hit rate (% of sessions)": list(map(percent, rows["hit_rate"])),
            "Worst day (%)": [percent(value, 2, signed=True) for value in rows["worst_day"]],
            "Best day (%)": [percent(value, 2, signed=True) for value in rows["best_day"]],
            "Commission (% of net worth, all sessions)": [percent(value, 2) for value in rows["commission_paid"]],
            "Slippage (%)": [percent(value, 2) for value in rows["slippage_paid"]],
            "Impact (%)": [percent(value, 2) for value in rows["impact_paid"]],
            "Borrow fee (%)": [percent(value, 2) for value in rows["borrow_paid"]],
        }
    )
