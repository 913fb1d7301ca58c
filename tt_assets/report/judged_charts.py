"""The charts of a judgement, for a page that answers: return, excess, drawdown, rolling Sharpe and volatility."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from tt_assets.report.charts import Chart, Kind, Series
from tt_assets.report.labels import strategy_label
from tt_assets.report.palette import LINES, OTHER_LINE
from tt_assets.report.scenarios import CONFIGURED, rows_of
from tt_assets.trading.judging.details import Details
from tt_assets.trading.judging.figures import ROLLING_SESSIONS
from tt_assets.trading.judging.judge import AGENT, YARDSTICK, Judgement, contestants_of

STYLES = {"-": 0, ":": 1, "--": 2, "-.": 2}


def judged_charts(judgement: Judgement, details: Details | None = None) -> list[Chart]:
    """As configured; the subject and its yardstick are shown, the others on a click.

    Parameters
    ----------
    judgement : curves of every account.
    details : has the rolling figures; without them, or with fewer than 126 sessions, there are no charts of those.
    """
    curves = rows_of(judgement.curves, CONFIGURED)
    accounts = _accounts(curves)
    wealth = _wide(curves, "wealth")
    subject = judgement.subject if (judgement.subject, 0) in accounts else accounts[0][0]
    own = [str(name) for name in contestants_of(curves)["strategy"].unique()]
    yardstick = _yardstick(own, subject)
    times = [f"{day:%Y-%m-%d}" for day in wealth.index]
    shown = (subject, yardstick)
    charts = [
        Chart(
            "equity",
            "Return out of sample",
            "% since the start, after costs",
            times,
            [_line(name, seed, (wealth[name, seed] - 1.0) * 100.0, shown) for name, seed in accounts],
            zero=True,
            note="Click a name to show or hide its line.",
        )
    ]
    if yardstick:
        excess = (wealth[subject, 0] / wealth[yardstick, 0] - 1.0) * 100.0
        title = f"Excess over {_lower(yardstick)}"
        charts.append(Chart("excess", title, "%", times, [_line(subject, 0, excess, shown)], zero=True))
    fallen = -100.0 * _wide(curves, "drawdown")
    lines = [_line(name, 0, fallen[name, 0], shown, "area" if name == subject else "line") for name in own]
    charts.append(Chart("drawdown", "Drawdown", "% of the peak", times, lines))
    return charts + (_rolling(details, shown) if details else [])


def _rolling(details: Details, shown: Sequence[str | None]) -> list[Chart]:
    if details.rolling[details.strategy].empty:
        return []
    times = [f"{day:%Y-%m-%d}" for day in details.rolling[details.strategy]["timestamp"]]
    kinds: tuple[tuple[str, str, str, Callable[[pd.DataFrame], pd.Series]], ...] = (
        ("sharpe", "Sharpe ratio", "a year", lambda rolled: rolled["sharpe"]),
        ("volatility", "Volatility", "% a year", lambda rolled: rolled["volatility"] * 100.0),
    )
    return [
        Chart(
            f"rolling_{key}",
            f"{title} over {ROLLING_SESSIONS} sessions",
            unit,
            times,
            [_line(name, 0, values(rolled), shown) for name, rolled in details.rolling.items()],
            zero=key == "sharpe",
        )
        for key, title, unit, values in kinds
    ]


def _line(strategy: str, seed: int, values: pd.Series, shown: Sequence[str | None], kind: Kind = "line") -> Series:
    colour, dashes = LINES.get(strategy, OTHER_LINE)
    first = strategy in shown and (strategy != AGENT or seed == 0)
    # Single seeds beside their ensemble are thin: they are its spread.
    thin = strategy == AGENT and AGENT not in shown
    return Series(
        strategy_label(strategy, seed if thin or (strategy == AGENT and seed) else None),
        values.to_numpy(dtype=np.float64),
        colour,
        kind=kind,
        style=1 + seed % 2 if thin else STYLES[dashes],
        width=3 if strategy == shown[0] and first else 1 if thin else 2,
        shown=first,
    )


def _wide(curves: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sessions × (strategy, seed)."""
    return curves.pivot_table(values=column, index="timestamp", columns=["strategy", "seed"])


def _accounts(curves: pd.DataFrame) -> list[tuple[str, int]]:
    """Strategy and seed of each curve, in the judgement's order."""
    rows = curves[["strategy", "seed"]].drop_duplicates()
    return [(str(name), int(seed)) for name, seed in zip(rows["strategy"], rows["seed"], strict=True)]


def _yardstick(own: Sequence[str], subject: str) -> str | None:
    names = [name for name in own if name != subject]
    return YARDSTICK if YARDSTICK in names else next(iter(names), None)


def _lower(strategy: str) -> str:
    label = strategy_label(strategy)
    return label[:1].lower() + label[1:]
