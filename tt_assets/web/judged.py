"""Curves of the latest report in the scenarios that no episode records: dearer, or a session late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa

from tt_assets.assets.report import curves_file, report_file
from tt_assets.report.scenarios import CONFIGURED, rows_of, scenario_label
from tt_assets.trading.judging.judge import Scenario
from tt_assets.web.equity import Curves, with_subject
from tt_assets.web.site import Look, NotThere

RECORDED = "recorded"
"""The choice that shows the episodes as they are stored."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What the latest report judged: `scenarios` by the name an address has for them, and the day it was made (UTC)."""

    curves: pd.DataFrame
    scenarios: Mapping[str, Scenario]
    made: str

    @property
    def options(self) -> list[tuple[str, str]]:
        """The choices of a page and their words, the recorded episodes first."""
        return [(RECORDED, "as recorded"), *((key, scenario_label(one)) for key, one in self.scenarios.items())]

    def of(self, key: str, windows: Sequence[str], window: str | None = None) -> Curves:
        """The curves of scenario `key` over all `windows`, or over the one that begins with `window`.

        Raises NotThere where the report is older than the window.
        """
        rows = rows_of(self.curves, self.scenarios[key])
        if window is not None:
            later = [start for start in windows if start > window]
            rows = rows[rows["timestamp"] >= window]
            rows = rows[rows["timestamp"] < later[0]] if later else rows
        if rows.empty:
            raise NotThere(f"The report of {self.made} has no session of the window from {window}: run `tt report`.")
        wealth = rows.pivot_table(values="wealth", index="timestamp", columns=["strategy", "seed"], sort=True)
        return with_subject(wealth / wealth.iloc[0], tuple(windows))


def judged_of(look: Look, traded: str) -> Judged | None:
    """What the latest report of `traded` judged; None where there is none, or none that can be read."""
    file = curves_file(report_file(look.site.settings.shown, traded))
    try:
        curves = pd.read_parquet(file)
        made = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, pa.ArrowException):
        return None
    pairs = curves[["cost_multiple", "delay"]].drop_duplicates().itertuples(index=False, name=None)
    found = [Scenario(float(multiple), int(delay)) for multiple, delay in pairs]
    scenarios = {f"costs-{one.cost_multiple:g}-late-{one.delay}": one for one in found if one != CONFIGURED}
    return Judged(curves, scenarios, f"{made:%Y-%m-%d}")
