"""Which rows of a judgement belong to which scenario, and what the scenario is called."""

from __future__ import annotations

import pandas as pd

from tt_assets.errors import UserError, counted
from tt_assets.trading.judging.judge import Judgement, Scenario

CONFIGURED = Scenario()
"""Costs as configured, no further delay: the scenario that plots show and the verdict starts from."""


class NothingToReport(UserError):
    """The judgement or the weights lack what the report is drawn from."""


def scenarios_of(judgement: Judgement) -> list[Scenario]:
    """The scenarios of the table in the order they were judged in; `CONFIGURED` must be one (NothingToReport)."""
    pairs = judgement.table[["cost_multiple", "delay"]].drop_duplicates()
    found = [Scenario(float(multiple), int(delay)) for multiple, delay in pairs.itertuples(index=False, name=None)]
    if CONFIGURED not in found:
        judged = ", ".join(map(scenario_label, found)) or "none"
        raise NothingToReport(f"scenarios judged: {judged}; judge at 1× costs without delay (Scenario()) too.")
    return found


def rows_of(frame: pd.DataFrame, scenario: Scenario) -> pd.DataFrame:
    """The rows of a judgement's frame that belong to `scenario`, in their order."""
    return frame[(frame["cost_multiple"] == scenario.cost_multiple) & (frame["delay"] == scenario.delay)]


def scenario_label(scenario: Scenario) -> str:
    """`2× costs`, `1× costs, filled 1 session later`."""
    costs = f"{scenario.cost_multiple:g}× costs"
    if not scenario.delay:
        return costs
    return f"{costs}, filled {counted(scenario.delay, 'session')} later"
