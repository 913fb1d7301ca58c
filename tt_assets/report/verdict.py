"""What the figures say, in one paragraph of plain words.

The yardstick is equal weight bought and held, what a person would do without an agent; where it was not
judged, the first baseline that was. A lead counts as
evidence only if the bootstrap interval of the agent's Sharpe ratio is wholly above the yardstick's ratio and the lead
outlasts every harder scenario that was judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from tt_assets.report.labels import COVERAGE_TEXT, fixed, percent, strategy_label
from tt_assets.report.scenarios import CONFIGURED, rows_of, scenario_label, scenarios_of
from tt_assets.trading.judging.judge import AGENT, RIDGE, Judgement, Scenario
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
    judgement : returns in it are total returns over all windows, medians over the seeds; points are percentage points.

    Raises
    ------
    NothingToReport : the configured scenario was not judged.
    """
    scenarios = scenarios_of(judgement)
    rows = rows_of(judgement.table, CONFIGURED).set_index("strategy")
    if AGENT not in rows.index:
        return f"No agent was judged: the {len(rows)} strategies shown are baselines, under the same costs and books."
    yardstick = yardstick_of(rows)
    if yardstick is None:
        return "No baseline was judged (TT_BASELINES), so there is nothing to hold the agent against."
    races = [_race(judgement, scenario, yardstick) for scenario in scenarios]
    base = next(race for race in races if race.scenario == CONFIGURED)
    harder = [race for race in races if race.scenario != CONFIGURED]
    sentences = [
        _returns(judgement, rows, base, yardstick),
        _others(rows),
        *_regression(rows),
        _sharpe(rows, yardstick),
        *_harder(base, harder),
        _conclusion(rows, base, harder, yardstick),
    ]
    return " ".join(sentences)


def yardstick_of(rows: pd.DataFrame) -> str | None:
    """The baseline that the agent is held against, of the strategies that index `rows`; None without a baseline."""
    if YARDSTICK in rows.index:
        return YARDSTICK
    return next((str(name) for name in rows.index if name not in (AGENT, RIDGE)), None)


def yardstick_name(yardstick: str) -> str:
    """What the verdict calls it."""
    return YARDSTICK_NAMES.get(yardstick) or strategy_label(yardstick).lower()


def _race(judgement: Judgement, scenario: Scenario, yardstick: str) -> _Race:
    returns = rows_of(judgement.table, scenario).set_index("strategy")["total_return"]
    return _Race(scenario, float(returns[AGENT]), float(returns[yardstick]))


def _returns(judgement: Judgement, rows: pd.DataFrame, base: _Race, yardstick: str) -> str:
    curves = rows_of(judgement.curves, CONFIGURED)
    agents = curves[curves["strategy"] == AGENT]
    first, last = agents["timestamp"].min(), agents["timestamp"].max()
    seeds, sessions = int(rows["seeds"][AGENT]), int(rows["sessions"][AGENT])
    who, spread = "the agent (one seed)", ""
    if seeds > 1:
        final = agents.groupby("seed")["wealth"].last() - 1.0
        who = f"the median of {seeds} agents"
        spread = (
            f"; its seeds range from {percent(final.min(), signed=True)} % to {percent(final.max(), signed=True)} %"
        )
    return (
        f"Out of sample over {sessions} sessions, {first:%Y-%m-%d} to {last:%Y-%m-%d}, {who} returned "
        f"{percent(base.agent, signed=True)} % after costs; {yardstick_name(yardstick)}, returned "
        f"{percent(base.yardstick, signed=True)} %. The agent is {base.standing()}{spread}."
    )


def _others(rows: pd.DataFrame) -> str:
    baselines = rows.drop(index=[name for name in (AGENT, RIDGE) if name in rows.index])["total_return"]
    better = int((baselines > rows["total_return"][AGENT]).sum())
    count = {0: "None", len(baselines): "All"}.get(better, str(better))
    return f"{count} of the {len(baselines)} baseline{'s' if len(baselines) > 1 else ''} returned more."


def _regression(rows: pd.DataFrame) -> list[str]:
    """How the agent stands to ridge regression on the same observation; nothing where that was not judged."""
    if RIDGE not in rows.index:
        return []
    agent, ridge = (float(rows["total_return"][name]) for name in (AGENT, RIDGE))
    said = f"Ridge regression on the same observation returned {percent(ridge, signed=True)} %"
    if round(agent - ridge, 3) < 0.0:
        return [f"{said}, more than the agent: it has learned nothing here that a regression does not know."]
    return [f"{said}."]


def _sharpe(rows: pd.DataFrame, yardstick: str) -> str:
    agent, low, high = (float(rows[name][AGENT]) for name in ("sharpe", "sharpe_low", "sharpe_high"))
    theirs = float(rows["sharpe"][yardstick])
    if not math.isfinite(agent):
        return "The agent's Sharpe ratio is undefined: its net worth did not vary."
    sentence = f"The agent's Sharpe ratio is {fixed(agent, 2)}"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{sentence}; it has no interval, as the net worth of some seed did not vary."
    sentence += f" with a {COVERAGE_TEXT} bootstrap interval of [{fixed(low, 2)}, {fixed(high, 2)}]"
    if not math.isfinite(theirs):
        return f"{sentence}; the yardstick's is undefined."
    if low <= theirs <= high:
        return f"{sentence}, which includes the yardstick's {fixed(theirs, 2)}: these sessions do not tell them apart."
    place = "above" if low > theirs else "below"
    return f"{sentence}, wholly {place} the yardstick's {fixed(theirs, 2)}."


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


def _conclusion(rows: pd.DataFrame, base: _Race, harder: list[_Race], yardstick: str) -> str:
    sessions = int(rows["sessions"][AGENT])
    if base.lead <= 0.0:
        over = "holding equal parts" if yardstick == YARDSTICK else yardstick_name(yardstick)
        return f"Nothing here speaks for the agent over {over}."
    short = f" {sessions} sessions are less than a year." if sessions < SESSIONS_PER_YEAR else ""
    above = float(rows["sharpe_low"][AGENT]) > float(rows["sharpe"][yardstick])
    if not above:
        return f"A lead without a Sharpe ratio clearly above the yardstick's is not evidence of skill.{short}"
    if not harder:
        return f"Whether the lead outlasts higher costs and a delay was not judged.{short}"
    if any(race.lead <= 0.0 for race in harder):
        return f"A lead that does not outlast harder conditions should not be relied on.{short}"
    return f"That is evidence of skill on these bars, from one history.{short}"


def _joined(parts: list[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
