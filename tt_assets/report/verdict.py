"""What the figures say, in one paragraph of plain words: what follows from them first, then what it follows from.

The yardstick is equal weight bought and held, what a person would do without an agent; where it
was not judged, the first baseline that was. A lead counts as evidence only if the paired test has the subject ahead of
*every* yardstick and the lead outlasts every harder scenario that was judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tt_assets.errors import counted
from tt_assets.report.labels import COVERAGE_TEXT, fixed, percent, strategy_label
from tt_assets.report.scenarios import CONFIGURED, rows_of, scenario_label, scenarios_of
from tt_assets.trading.judging.judge import AGENT, ENSEMBLE, RIDGE, Judgement, Scenario
from tt_assets.trading.judging.paired import LEVEL, power_line
from tt_assets.trading.metrics import SESSIONS_PER_YEAR

YARDSTICK = "equal_weight_hold"
YARDSTICK_NAMES = {YARDSTICK: "equal weight, bought and held"}


@dataclass(frozen=True)
class _Race:
    """Agent against yardstick in one scenario: total returns, fractions."""

    scenario: Scenario
    agent: float
    yardstick: float

    @property
    def lead(self) -> float:
        """In percentage points as they are written, so that words and figures cannot disagree."""
        return round((self.agent - self.yardstick) * 100.0, 1) + 0.0

    def standing(self) -> str:
        """`ahead by 1.2 points`."""
        if self.lead == 0.0:
            return "level"
        return f"{'ahead' if self.lead > 0.0 else 'behind'} by {abs(self.lead):.1f} points"


def verdict(judgement: Judgement) -> str:
    """What a judgement says, in one paragraph of plain text.

    Parameters
    ----------
    judgement : returns in it are total returns over all windows; points are percentage points.

    Raises
    ------
    NothingToReport : the configured scenario was not judged.
    """
    return " ".join(_sentences(judgement))


def conclusion(judgement: Judgement) -> str:
    """What the verdict begins with: what follows from the figures, or that there is nothing to conclude from.

    Parameters
    ----------
    judgement : as of `verdict`.

    Raises
    ------
    NothingToReport : the configured scenario was not judged.
    """
    return _sentences(judgement)[0]


def _sentences(judgement: Judgement) -> list[str]:
    scenarios = scenarios_of(judgement)
    subject = judgement.subject
    rows = rows_of(judgement.contestants, CONFIGURED).set_index("strategy")
    if subject not in rows.index:
        return [f"No agent was judged: the {len(rows)} strategies shown are baselines, under the same costs and books."]
    yardstick = yardstick_of(rows, subject)
    if yardstick is None:
        return ["No baseline was judged (TT_BASELINES), so there is nothing to hold the agent against."]
    races = [_race(judgement, scenario, subject, yardstick) for scenario in scenarios]
    base = next(race for race in races if race.scenario == CONFIGURED)
    harder = [race for race in races if race.scenario != CONFIGURED]
    return [
        _conclusion(judgement, rows, base, harder, yardstick),
        _returns(judgement, rows, base, yardstick),
        _others(rows, subject),
        *_regression(rows, subject),
        _paired(judgement, yardstick),
        *_harder(base, harder),
    ]


def yardstick_of(rows: pd.DataFrame, subject: str = AGENT) -> str | None:
    """The baseline that the agent is held against, of the strategies that index `rows`; None without a baseline."""
    if YARDSTICK in rows.index:
        return YARDSTICK
    return next((str(name) for name in rows.index if name not in (subject, AGENT, RIDGE)), None)


def yardstick_name(yardstick: str) -> str:
    """What the verdict calls it."""
    return YARDSTICK_NAMES.get(yardstick) or strategy_label(yardstick).lower()


def _race(judgement: Judgement, scenario: Scenario, subject: str, yardstick: str) -> _Race:
    returns = rows_of(judgement.contestants, scenario).set_index("strategy")["total_return"]
    return _Race(scenario, float(returns[subject]), float(returns[yardstick]))


def _returns(judgement: Judgement, rows: pd.DataFrame, base: _Race, yardstick: str) -> str:
    curves = rows_of(judgement.curves, CONFIGURED)
    agents, subject = curves[curves["strategy"] == AGENT], judgement.subject
    first, last = curves["timestamp"].min(), curves["timestamp"].max()
    sessions, spread = int(rows["sessions"][subject]), ""
    who = "the agent (one seed)"
    if subject == ENSEMBLE:
        final = agents.groupby("seed")["wealth"].last() - 1.0
        who = f"the mean action of {len(final)} agents"
        spread = (
            f"; its seeds alone range from {percent(final.min(), signed=True)} % to "
            f"{percent(final.max(), signed=True)} %"
        )
    return (
        f"Out of sample over {sessions} sessions, {first:%Y-%m-%d} to {last:%Y-%m-%d}, {who} returned "
        f"{percent(base.agent, signed=True)} % after costs; {yardstick_name(yardstick)}, returned "
        f"{percent(base.yardstick, signed=True)} %. The agent is {base.standing()}{spread}."
    )


def _others(rows: pd.DataFrame, subject: str) -> str:
    baselines = rows.drop(index=[name for name in (subject, RIDGE) if name in rows.index])["total_return"]
    better = int((baselines > rows["total_return"][subject]).sum())
    count = {0: "None", len(baselines): "All"}.get(better, str(better))
    return f"{count} of the {counted(len(baselines), 'baseline')} returned more."


def _regression(rows: pd.DataFrame, subject: str) -> list[str]:
    """How the agent stands to ridge regression on the same observation; nothing where that was not judged."""
    if RIDGE not in rows.index:
        return []
    agent, ridge = (float(rows["total_return"][name]) for name in (subject, RIDGE))
    said = f"Ridge regression on the same observation returned {percent(ridge, signed=True)} %"
    if round(agent - ridge, 3) < 0.0:
        return [f"{said}, more than the agent: it has learned nothing here that a regression does not know."]
    return [f"{said}."]


def _paired(judgement: Judgement, yardstick: str) -> str:
    """The paired edge over the yardstick, the test over all of them, and what the sessions could have shown."""
    found = judgement.compared
    if found.comparison is None:
        return f"There is no paired test: {found.silence}"
    paired, place = found.comparison, found.names.index(yardstick)
    edge, low, high = (percent(float(part[place]), signed=True) for part in (paired.edge, paired.low, paired.high))
    hardest = yardstick_name(found.names[int(paired.p.argmax())])
    return (
        f"Session by session its edge over {yardstick_name(yardstick)}, is {edge} % a year ({COVERAGE_TEXT} interval "
        f"{low} to {high}; p {fixed(float(paired.p[place]), 3)}); over all yardsticks together p is "
        f"{fixed(paired.p_all, 3)}, set by {hardest}. {power_line(paired, list(map(yardstick_name, found.names)))}"
    )


def _harder(base: _Race, harder: list[_Race]) -> list[str]:
    """One sentence on all scenarios but the configured one, none where there are none."""
    if not harder:
        return []
    if base.lead <= 0.0:
        parts = [f"{race.standing()} ({scenario_label(race.scenario)})" for race in harder]
        return [f"The agent has no lead for harder conditions to take away; under them it is {_joined(parts)}."]
    survived, lost = ([race for race in harder if (race.lead > 0.0) is kept] for kept in (True, False))
    clauses = []
    for races, verb in ((survived, "survives"), (lost, "does not survive")):
        if races:
            parts = [f"{scenario_label(race.scenario)} ({race.standing()})" for race in races]
            clauses.append(f"{verb} {_joined(parts, 'or' if verb != 'survives' else 'and')}")
    return [f"The lead {'; it '.join(clauses)}."]


def _conclusion(judgement: Judgement, rows: pd.DataFrame, base: _Race, harder: list[_Race], yardstick: str) -> str:
    sessions = int(rows["sessions"][judgement.subject])
    if base.lead <= 0.0:
        over = "holding equal parts" if yardstick == YARDSTICK else yardstick_name(yardstick)
        return f"Nothing here speaks for the agent over {over}."
    short = f" {sessions} sessions are less than a year." if sessions < SESSIONS_PER_YEAR else ""
    paired = judgement.compared.comparison
    if paired is None or paired.p_all > LEVEL:
        return f"This is no evidence of skill: the paired test does not tell the agent's lead from luck.{short}"
    if not harder:
        return f"The agent leads beyond luck, but whether it does at higher costs and a delay was not judged.{short}"
    if any(race.lead <= 0.0 for race in harder):
        return f"The agent's lead should not be relied on: it does not outlast harder conditions.{short}"
    return f"This is evidence of skill on these bars, from one history and before counting how often was tried.{short}"


def _joined(parts: list[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
