"""One self-contained HTML page: verdict, plots, figures, notes.

The page asks nothing of anybody. Pictures, styles and the two scripts that draw its charts are embedded, and a content
security policy names each by its hash and forbids every request, so it can be mailed, archived and opened offline. It
follows the reader's light or dark theme; where scripts do not run, as in a mail, pictures stand for the charts.
Its words and marks are templates beside this module; every value they print is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from tt_assets.report.charts import LIBRARY, NOTICE, SCRIPT, Chart
from tt_assets.report.details import DetailTable, detail_tables
from tt_assets.report.figures import SCENARIO, STRATEGY, details_table, figures_table
from tt_assets.report.judged_charts import judged_charts
from tt_assets.report.labels import COVERAGE_TEXT, strategy_label
from tt_assets.report.plots import drawdown_plot, equity_plot, turnover_plot, weights_plot
from tt_assets.report.verdict import verdict
from tt_assets.trading.judging.bootstrap import MEAN_BLOCK
from tt_assets.trading.judging.details import Details
from tt_assets.trading.judging.judge import Judgement

HOW_TO_READ = f"""
Every window is traded by agents trained on earlier sessions only. Each window starts in cash, for the agent and for \
the baselines; windows are chained by return.
Decisions are taken at a close and filled in the next session; filled later means that many sessions after that.
Every row is one account that could have been traded: the agents' mean action is an account that follows the mean of \
what the seeds decide, not a mean of accounts.
The baselines trade under the same costs, execution and books as the agent, but nothing closes them at a drawdown.
Who is ahead is judged on the differences of daily log returns, session by session: a stationary bootstrap with a \
block length that the differences suggest. To have beaten all yardsticks, the largest p must be small.
The interval of a Sharpe ratio covers {COVERAGE_TEXT} (blocks of {MEAN_BLOCK} sessions on average). It says how much \
the ratio hangs on which sessions happened, and nothing about who is ahead.
Traded one way is half of all that was bought and sold in a session over the net worth before; turnover is the mean \
change of a target weight per instrument and decision. Costs are fractions of the net worth of the time, summed.
""".strip().splitlines()
"""One sentence or two per line."""


@dataclass(frozen=True, eq=False)
class Section:
    """One traded instrument or portfolio of a page.

    Parameters
    ----------
    title : heading of the section, as plain text.
    judgement : agents and baselines over the sessions judged.
    weights : timestamp, instrument, target_weight, as `weights_plot` takes them; without rows their plot is left out.
    notes : plain sentences, such as settings and where the bars come from.
    details : the subject's tables; None leaves them out.
    """

    title: str
    judgement: Judgement
    weights: pd.DataFrame
    notes: Sequence[str] = ()
    details: Details | None = None


@dataclass(frozen=True)
class _Picture:
    alt: str
    base64: str


@dataclass(frozen=True)
class _Column:
    name: str
    unit: str
    """Empty for names, counts and plain numbers."""


@dataclass(frozen=True)
class _Row:
    is_agent: bool
    cells: Sequence[str]


@dataclass(frozen=True)
class _Shown:
    """What `templates/section.html` prints."""

    title: str
    first: str
    last: str
    verdict: str
    charts: Sequence[Chart]
    instead: Sequence[_Picture]
    pictures: Sequence[_Picture]
    columns: Sequence[_Column]
    strategy_column: int
    scenarios: Sequence[tuple[str, Sequence[_Row]]]
    further_columns: Sequence[_Column]
    further: Sequence[_Row]
    tables: Sequence[DetailTable]
    notes: Sequence[str]


def report_html(
    title: str,
    judgement: Judgement,
    weights: pd.DataFrame,
    notes: Sequence[str] = (),
    details: Details | None = None,
) -> str:
    """The page of one traded instrument or portfolio.

    Parameters
    ----------
    title, judgement, weights, notes, details : as in `Section`.

    Returns
    -------
    The whole page; the same arguments give the same characters.

    Raises
    ------
    NothingToReport : the judgement has no session to plot.
    """
    return _page(title, [Section(title, judgement, weights, notes, details)], alone=True)


def sections_html(title: str, sections: Sequence[Section]) -> str:
    """The page of several, one below the other, with links to each at the top. Raises NothingToReport."""
    return _page(title, sections, alone=False)


@cache
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("tt_assets.report"),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["commands"] = _with_commands
    return templates


def _with_commands(sentence: str) -> Markup:
    """A sentence with its commands, which stand between backticks on the terminal, set as code."""
    parts = re.split("`([^`]+)`", sentence)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def _page(title: str, sections: Sequence[Section], *, alone: bool) -> str:
    style = _templates().get_template("style.css").render()
    scripts = [LIBRARY.read_text("utf-8"), SCRIPT.read_text("utf-8")]
    return (
        _templates()
        .get_template("page.html")
        .render(
            title=title,
            sections=[_shown(section) for section in sections],
            alone=alone,
            how_to_read=HOW_TO_READ,
            style=style,
            scripts=scripts,
            policy=policy_of(style, scripts),
            notice=NOTICE,
        )
    )


def policy_of(style: str, scripts: Sequence[str]) -> str:
    """The content security policy of a page with this style and these scripts: nothing else runs, nothing is loaded."""
    named = " ".join(map(_hash, scripts))
    return f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {named}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _shown(section: Section) -> _Shown:
    judgement = section.judgement
    sessions = judgement.curves["timestamp"]
    table = figures_table(judgement)
    columns = [column for column in table.columns if column != SCENARIO]
    subject = strategy_label(judgement.subject)
    further = details_table(judgement)
    return _Shown(
        title=section.title,
        first=f"{sessions.min():%Y-%m-%d}",
        last=f"{sessions.max():%Y-%m-%d}",
        verdict=verdict(judgement),
        charts=judged_charts(judgement, section.details),
        instead=_instead(judgement),
        pictures=_pictures(section),
        columns=[_column(name) for name in columns],
        strategy_column=columns.index(STRATEGY),
        scenarios=[
            (str(scenario), [_row(row, columns.index(STRATEGY), subject) for row in rows[columns].to_numpy()])
            for scenario, rows in table.groupby(SCENARIO, sort=False)
        ],
        further_columns=[_column(name) for name in further.columns],
        further=[_row(row, 0, subject) for row in further.to_numpy()],
        tables=detail_tables(section.details) if section.details else [],
        notes=section.notes,
    )


def _instead(judgement: Judgement) -> list[_Picture]:
    """What stands for the charts where no script runs."""
    return _embedded(
        [
            ("Net worth of the agent and the baselines over time", equity_plot(judgement)),
            ("Drawdown of the agent and the baselines over time", drawdown_plot(judgement)),
        ]
    )


def _pictures(section: Section) -> list[_Picture]:
    judgement = section.judgement
    pictures = []
    if not section.weights.empty:
        pictures.append(("Target weights over time", weights_plot(section.weights)))
    pictures.append(("Turnover and costs by strategy", turnover_plot(judgement)))
    return _embedded(pictures)


def _embedded(pictures: Sequence[tuple[str, bytes]]) -> list[_Picture]:
    return [_Picture(alt, base64.b64encode(png).decode("ascii")) for alt, png in pictures]


def _column(label: str) -> _Column:
    """The label with its unit, `Sharpe ratio (a year)`, taken apart: units stand below the columns' names."""
    name, _, unit = label.partition(" (")
    return _Column(name, unit.replace(")", "", 1))


def _row(cells: Sequence[str], strategy: int, subject: str) -> _Row:
    return _Row(cells[strategy] == subject, list(cells))
