"""A judgement of episodes as they were recorded, and the curves agents learned along: what one window's pages draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tt_assets.report.canvas import SCREEN, png, stacked_figure
from tt_assets.report.palette import AGENT_COLOUR, FALLING, INK
from tt_assets.report.scenarios import CONFIGURED, NothingToReport
from tt_assets.trading.judging.judge import Judgement, bands_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FEW_POINTS = 20
"""Points of a learning curve up to which each is marked."""


@dataclass(frozen=True)
class LearningCurve:
    """What one training recorded after each update, oldest first.

    Parameters
    ----------
    seed : of the training.
    steps : environment steps so far.
    reward : mean reward a step of the rollout before the update.
    score : sum of rewards over the validation sessions; None without validation sessions.
    chosen : the steps after which the kept checkpoint was made.
    """

    seed: int
    steps: Sequence[int]
    reward: Sequence[float]
    score: Sequence[float | None]
    chosen: int


def recorded_judgement(equity: pd.DataFrame) -> Judgement:
    """A Judgement at the configured costs out of recorded equity curves; it holds what the plots of them show.

    Parameters
    ----------
    equity : strategy, seed, timestamp, net_worth (USD, the first of each curve being where it starts). An account that
        was stopped stays at its last net worth.

    Raises
    ------
    NothingToReport : no rows.
    """
    if equity.empty:
        raise NothingToReport("no equity curve was recorded; materialize tt_equity_curve for these windows first.")
    wide = equity.pivot_table(values="net_worth", index="timestamp", columns=["strategy", "seed"], sort=False)
    wealth = (wide / wide.bfill().iloc[0]).ffill()
    drawdown = 1.0 - wealth / wealth.cummax()
    scenario = {"cost_multiple": CONFIGURED.cost_multiple, "delay": CONFIGURED.delay}
    curves, rows = [], []
    for name, seed in wealth.columns.to_frame(index=False).itertuples(index=False, name=None):
        own, fallen = wealth[name, seed], drawdown[name, seed]
        key = {"strategy": name, "seed": seed, **scenario}
        curves.append(pd.DataFrame({**key, "timestamp": own.index, "wealth": own.array, "drawdown": fallen.array}))
        figures = {"total_return": float(own.iloc[-1]) - 1.0, "max_drawdown": float(fallen.max())}
        rows.append({**key, "sessions": len(own), **figures})
    every = pd.concat(curves, ignore_index=True)
    return Judgement(every, bands_of(every), pd.DataFrame(rows))


def learning_plot(curves: Sequence[LearningCurve]) -> bytes:
    """How the agents of one window learned: reward in training above, score on the validation sessions below.

    Raises NothingToReport where no training recorded its curve.
    """
    return png(learning_figure, curves, size=SCREEN)


def learning_figure(curves: Sequence[LearningCurve]) -> Figure:
    """`learning_plot` as a figure."""
    known = [curve for curve in curves if len(curve.steps)]
    if not known:
        raise NothingToReport("no training recorded its learning curve; train these windows again.")
    validated = any(score is not None for curve in known for score in curve.score)
    figure, every = stacked_figure((1, 1) if validated else (1,))
    for curve, style in zip(known, _styles(len(known)), strict=True):
        label = f"seed {curve.seed}"
        # A line through one point is nothing.
        marker = "." if len(curve.steps) <= FEW_POINTS else None
        look: dict[str, Any] = {"color": AGENT_COLOUR, "linestyle": style, "linewidth": 1.4, "marker": marker}
        every[0].plot(curve.steps, curve.reward, label=label, **look)
        if validated:
            score = np.array([np.nan if value is None else value for value in curve.score], dtype=float)
            every[1].plot(curve.steps, score, label=label, **look)
            chosen = list(curve.steps).index(curve.chosen) if curve.chosen in curve.steps else None
            if chosen is not None:
                every[1].plot(curve.steps[chosen], score[chosen], "o", color=FALLING, markersize=6, label="_chosen")
    for axes in every:
        axes.axhline(0.0, color=INK, linewidth=0.8, alpha=0.6, zorder=0)
        axes.margins(x=0.03, y=0.15)
    every[0].set_ylabel("Training reward\n(mean of a step)")
    every[0].set_title("Learning curve")
    if validated:
        every[1].set_ylabel("Validation reward\n(sum)")
        every[0].set_title("dot: the checkpoint kept", loc="right", fontsize=7.5, fontweight="normal")
    every[-1].set_xlabel("Environment steps of training")
    every[0].legend(loc="best", ncols=min(len(known), 4))
    figure.align_ylabels(every)
    return figure


def _styles(count: int) -> list[str]:
    return [("-", "--", ":", "-.")[place % 4] for place in range(count)]
