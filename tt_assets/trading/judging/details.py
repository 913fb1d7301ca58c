"""The figures of the subject that are tables of their own: what fell and came back, month by month, what made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from tt_assets.trading.judging.attribution import attribution
from tt_assets.trading.judging.capacity import capacity
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.figures import contributions, drawdown_table, monthly_table, rolling_figures
from tt_assets.trading.judging.judge import JudgedWindow, Judgement, in_order

ATTRIBUTED_WINDOWS = 8
"""The newest windows that channels are shuffled in: two years, since every channel costs three rolls of each."""


@dataclass(frozen=True, eq=False)
class Details:
    """Of the subject as configured; frames as the functions of the same names give them.

    Parameters
    ----------
    strategy : the subject.
    drawdowns : of `drawdown_table`. months : of `monthly_table`. contributions : of `contributions`.
    rolling : strategy → `rolling_figures`, of the subject and of everything it is held against.
    capacity : of `capacity`. volume_limit : its limit, a fraction of a session's volume.
    attribution : of `attribution`. attributed_windows : how many of the newest windows it is over.
    """

    strategy: str
    drawdowns: pd.DataFrame
    months: pd.DataFrame
    contributions: pd.DataFrame
    rolling: dict[str, pd.DataFrame]
    capacity: pd.DataFrame
    volume_limit: float
    attribution: pd.DataFrame
    attributed_windows: int


def details_of(
    judgement: Judgement,
    windows: Sequence[JudgedWindow],
    volume_limit: float,
    *,
    cash: CashRate | None = None,
    report: Callable[[int, int, str], None] | None = None,
) -> Details | None:
    """The details of what `judgement` judged on `windows`.

    Parameters
    ----------
    judgement, windows : the windows in any order, as they were given to `judge`.
    volume_limit : of the capacity curve where the settings have none, a fraction of a session's volume.
    cash : what cash earned in the judgement.
    report : called before the two parts that roll the subject anew, with parts done, parts and a note.

    Returns
    -------
    None where no agent was judged.
    """
    name = judgement.subject
    chain = judgement.chains.get((name, 0))
    if chain is None:
        return None
    windows = in_order(windows)
    limit = windows[0].config.volume_limit or volume_limit
    if report:
        report(0, 2, "capacity")
    fits = capacity(windows, name, limit, cash=cash)
    if report:
        report(1, 2, "attribution to channels")
    newest = windows[-ATTRIBUTED_WINDOWS:]
    return Details(
        strategy=name,
        drawdowns=drawdown_table(chain),
        months=monthly_table(chain),
        contributions=contributions(chain),
        rolling={
            other: rolling_figures(own)
            for (other, seed), own in judgement.chains.items()
            if seed == 0 and (other == name or other not in ("agent", "cash"))
        },
        capacity=fits,
        volume_limit=limit,
        attribution=attribution(newest, name, cash=cash),
        attributed_windows=len(newest),
    )
