"""One self-contained HTML page: verdict, plots, figures, notes.

The page asks nothing of anybody. Pictures are embedded, there is no script, and a content security policy
forbids every request, so it can be mailed, archived and opened offline. It follows the reader's light or dark theme.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from tt_assets.report.figures import SCENARIO, STRATEGY, figures_table
from tt_assets.report.labels import COVERAGE_TEXT, strategy_label
from tt_assets.report.plots import drawdown_plot, equity_plot, turnover_plot, weights_plot
from tt_assets.report.style import STYLE
from tt_assets.report.verdict import verdict
from tt_assets.trading.judging.bootstrap import MEAN_BLOCK
from tt_assets.trading.judging.judge import AGENT, Judgement

HOW_TO_READ = f"""
Every window is traded by agents trained on earlier sessions only. Each window starts in cash, for the agent and for \
the baselines; windows are chained by return.
Decisions are taken at a close and filled in the next session; filled later means that many sessions after that.
Figures are medians over the seeds. The median line joins the medians of single sessions, so it need not be the path \
of any one agent.
The baselines trade under the same costs, execution and books as the agent, but nothing closes them at a drawdown.
The interval of the Sharpe ratio covers {COVERAGE_TEXT}: a stationary bootstrap with blocks of {MEAN_BLOCK} sessions \
on average. It says how much the ratio hangs on which sessions happened; the other strategy's ratio is taken as given.
Traded one way is half the sum of the absolute changes of target weight per decision; turnover is their mean per \
instrument. Costs paid are commission, slippage and borrow fee.
""".strip().splitlines()
"""One sentence or two per line."""


@dataclass(frozen=True, eq=False)
class Section:
    """One traded instrument or portfolio of a page.

    weights: timestamp, instrument, target_weight, as `weights_plot` takes them; without rows their plot is left out.
    notes: plain sentences, such as settings and where the bars come from.
    """

    title: str
    judgement: Judgement
    weights: pd.DataFrame
    notes: Sequence[str] = ()


def report_html(title: str, judgement: Judgement, weights: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """The page of one traded instrument or portfolio. Raises NothingToReport as the plots do."""
    return _page(title, _section(Section(title, judgement, weights, notes), heading=1))


def sections_html(title: str, sections: Sequence[Section]) -> str:
    """The page of several, one below the other, with links to each at the top."""
    links = "".join(
        f'<li><a href="#section-{place}">{escape(section.title)}</a></li>' for place, section in enumerate(sections)
    )
    body = "".join(
        f'<section id="section-{place}">{_section(section, heading=2)}</section>'
        for place, section in enumerate(sections)
    )
    return _page(title, f"<h1>{escape(title)}</h1><nav><ul>{links}</ul></nav>{body}")


def _page(title: str, body: str) -> str:
    reading = "".join(f"<li>{escape(sentence)}</li>" for sentence in HOW_TO_READ)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>{body}<h2>How to read this</h2><ul>{reading}</ul></main></body></html>\n"
    )


def _section(section: Section, heading: int) -> str:
    judgement, below = section.judgement, heading + 1
    curves = judgement.curves["timestamp"]
    pictures = [
        ("Net worth of the agent and the baselines over time", equity_plot(judgement)),
        ("Drawdown of the agent and the baselines over time", drawdown_plot(judgement)),
    ]
    if not section.weights.empty:
        pictures.append(("Target weights over time", weights_plot(section.weights)))
    pictures.append(("Turnover and costs by strategy", turnover_plot(judgement)))
    notes = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
    return (
        f"<h{heading}>{escape(section.title)}</h{heading}>"
        f'<p class="span">Out of sample, {curves.min():%Y-%m-%d} to {curves.max():%Y-%m-%d}</p>'
        f'<p class="verdict">{escape(verdict(judgement))}</p>'
        + "".join(_picture(alt, picture) for alt, picture in pictures)
        + f"<h{below}>Figures</h{below}>{_table(figures_table(judgement))}"
        + (f"<h{below}>Notes</h{below}><ul>{notes}</ul>" if notes else "")
    )


def _picture(alt: str, picture: bytes) -> str:
    encoded = base64.b64encode(picture).decode("ascii")
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{encoded}"></figure>'


def _table(table: pd.DataFrame) -> str:
    """The table with a row group per scenario; units stand below the columns' names."""
    columns = [column for column in table.columns if column != SCENARIO]
    head = "".join(f'<th scope="col">{_with_unit(column)}</th>' for column in columns)
    groups = "".join(
        f'<tbody><tr><th class="scenario" colspan="{len(columns)}" scope="rowgroup">{escape(str(scenario))}</th></tr>'
        f"{''.join(_row(columns, row) for row in rows[columns].to_numpy())}</tbody>"
        for scenario, rows in table.groupby(SCENARIO, sort=False)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{groups}</table></div>'


def _with_unit(column: str) -> str:
    name, bracket, unit = column.partition(" (")
    return f"{escape(name)}<small>{escape(unit.replace(')', '', 1))}</small>" if bracket else escape(name)


def _row(columns: Sequence[str], row: Sequence[str]) -> str:
    name = row[columns.index(STRATEGY)]
    kind = ' class="agent"' if name.startswith(strategy_label(AGENT)) else ""
    cells = "".join(
        f'<th scope="row">{escape(cell)}</th>' if column == STRATEGY else f"<td>{escape(cell)}</td>"
        for column, cell in zip(columns, row, strict=True)
    )
    return f"<tr{kind}>{cells}</tr>"
