"""Plots of a judgement and of target weights, as PNG bytes.

The background is transparent and every colour is of a middle luminance, so that one picture is readable
on the white and on the dark theme of the UI. Each plot is also there as a figure, for a notebook.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tt_assets.market.watchlist_format import CASH
from tt_assets.report.canvas import (
    PAGE,
    Size,
    date_axis,
    held_to_the_end,
    is_narrow,
    label_beside,
    log_axis,
    new_figure,
    png,
    with_gaps,
)
from tt_assets.report.labels import percent, strategy_label
from tt_assets.report.palette import AGENT_COLOUR, INK, LINES, OTHER_LINE, SCENARIO_OPACITY, weight_colours
from tt_assets.report.scenarios import CONFIGURED, rows_of, scenario_label, scenarios_of
from tt_assets.trading.judging.judge import AGENT, DRAWN, Judgement, bands_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOG_SCALE_FROM = 3.0
"""Ratio of highest to lowest wealth from which the axis is logarithmic."""

SMALLEST_SHOWN = 0.0005
"""Weights that never exceed this have no area: half of the last decimal that people see."""

INSTRUMENTS_SHOWN = 9
"""Instruments with an area of their own; the others are summed."""


def equity_plot(judgement: Judgement, size: Size = PAGE) -> bytes:
    """Net worth of the agent (band from worst to best seed) and of every baseline, configured costs, no delay.

    Parameters
    ----------
    judgement : its `bands` hold net worth over that at the first close.
    size : of the picture, in inches, with its resolution.

    Returns
    -------
    A PNG; the same judgement gives the same bytes.

    Raises
    ------
    NothingToReport : that scenario was not judged, as of the other plots of a judgement.
    """
    return png(equity_figure, judgement, size=size)


def drawdown_plot(judgement: Judgement, size: Size = PAGE) -> bytes:
    """Fall below the highest net worth so far, of the agent (band over seeds) and of every baseline."""
    return png(drawdown_figure, judgement, size=size)


def turnover_plot(judgement: Judgement, size: Size = PAGE) -> bytes:
    """What each strategy trades in a session, and what that costs in every scenario without delay."""
    return png(turnover_figure, judgement, size=size)


def weights_plot(weights: pd.DataFrame, size: Size = PAGE) -> bytes:
    """Target weights over time as stacked areas, cash on top; negative weights hang below zero.

    Parameters
    ----------
    weights : timestamp, instrument, target_weight (fraction of net worth, a CASH row per session); other columns are
        ignored. Where several episodes (seeds) have rows for one session their mean is drawn. An instrument without a
        row in a session counts as 0. Without rows the plot says that nothing was decided yet.
    size : as of `equity_plot`.
    """
    return png(weights_figure, weights, size=size)


def equity_figure(judgement: Judgement) -> Figure:
    """`equity_plot` as a figure."""
    scenarios_of(judgement)
    bands = rows_of(judgement.bands, CONFIGURED)
    lowest, highest = _range(bands)
    logarithmic = lowest > 0.0 and highest / lowest > LOG_SCALE_FROM
    figure, (axes,) = new_figure()
    if logarithmic:
        log_axis(axes)
    gains = {str(name): f"{percent(gain, signed=True)} %" for name, gain in _configured(judgement, "total_return")}
    _draw_strategies(axes, bands, judgement, gains)
    axes.axhline(1.0, color=INK, linewidth=0.8, alpha=0.6, zorder=0)
    axes.set_ylabel(f"Net worth (first close = 1{', log scale' if logarithmic else ''})")
    axes.set_title("Net worth out of sample, after costs")
    return figure


def drawdown_figure(judgement: Judgement) -> Figure:
    """`drawdown_plot` as a figure."""
    scenarios_of(judgement)
    curves = rows_of(judgement.curves, CONFIGURED)
    bands = bands_of(curves.assign(wealth=-100.0 * curves["drawdown"]))
    falls = {str(name): f"max {percent(fall)} %" for name, fall in _configured(judgement, "max_drawdown")}
    figure, (axes,) = new_figure()
    _draw_strategies(axes, bands, judgement, falls)
    axes.set_ylabel("Below the peak (% of peak)")
    axes.set_title("Drawdown out of sample")
    return figure


def turnover_figure(judgement: Judgement) -> Figure:
    """`turnover_plot` as a figure."""
    scenarios = [scenario for scenario in scenarios_of(judgement) if not scenario.delay]
    rows = rows_of(judgement.contestants, CONFIGURED)
    figure, (traded, costs) = new_figure(columns=2)
    names, places = list(rows["strategy"]), np.arange(len(rows))[::-1]
    bars = traded.barh(places, 100.0 * rows["traded"], color=[_line(name)[0] for name in names], height=0.6)
    traded.bar_label(bars, labels=[f"{percent(value)} %" for value in rows["traded"]], padding=4, color=INK)
    traded.set_yticks(places, [strategy_label(name) for name in names])
    traded.set_xlabel("Traded one way (% of net worth a session)")
    traded.set_title("Turnover")
    height, every = 0.8 / len(scenarios), []
    for place, scenario in enumerate(scenarios):
        paid = rows_of(judgement.contestants, scenario).set_index("strategy")["costs_paid"].reindex(names)
        every.append(paid.to_numpy())
        costs.barh(
            places + 0.4 - height * (place + 0.5),
            100.0 * paid,
            height=height * 0.85,
            color=(AGENT_COLOUR, SCENARIO_OPACITY[place % len(SCENARIO_OPACITY)]),
            edgecolor=AGENT_COLOUR,
            linewidth=0.9,
            label=scenario_label(scenario),
        )
    for level, values in zip(places, np.array(every).T, strict=True):
        costs.annotate(
            f"{' / '.join(map(percent, values))} %",
            (100.0 * float(np.nanmax(values, initial=0.0)), level),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=8,
        )
    costs.margins(x=0.3)  # room for the figures of the longest bar
    costs.set_yticks(places, [strategy_label(name) for name in names])
    costs.set_xlabel("Costs paid (% of net worth, all sessions)")
    costs.set_title("Costs")
    costs.legend(loc="best")
    for axes in (traded, costs):
        axes.margins(x=0.2, y=0.02)
        axes.set_xlim(left=0.0)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def weights_figure(weights: pd.DataFrame) -> Figure:
    """`weights_plot` as a figure."""
    if weights.empty:
        return _nothing_decided()
    grid = 100.0 * with_gaps(held_to_the_end(_weights_grid(weights)))
    columns = list(grid.columns)
    colours = weight_colours(columns)
    figure, (axes,) = new_figure()
    areas = axes.stackplot(grid.index, grid.clip(lower=0.0).T, colors=colours, labels=columns, step="post", linewidth=0)
    if (grid < 0.0).any(axis=None):
        axes.stackplot(grid.index, grid.clip(upper=0.0).T, colors=colours, step="post", linewidth=0)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.margins(x=0.0, y=0.0)
    axes.set_ylabel("Target weight (% of net worth)")
    axes.set_title("Target weights, as decided at each close")
    if is_narrow(figure):
        axes.legend(areas[::-1], columns[::-1], loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4)
    else:
        axes.legend(areas[::-1], columns[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    date_axis(axes)
    return figure


def _nothing_decided() -> Figure:
    """In place of the weights in the first session of a first window, whose decisions begin with its close."""
    figure, (axes,) = new_figure()
    axes.set_axis_off()
    axes.set_title("Target weights, as decided at each close")
    axes.text(0.5, 0.5, "No decision yet", color=INK, ha="center", va="center", transform=axes.transAxes)
    return figure


def _weights_grid(weights: pd.DataFrame) -> pd.DataFrame:
    """Sessions × drawn areas: instruments by mean |weight|, largest first, then the sum of the others, then cash."""
    grid = weights.pivot_table(values="target_weight", index="timestamp", columns="instrument", aggfunc="mean")
    grid = grid.fillna(0.0)
    cash = grid.pop(CASH) if CASH in grid else None
    size = grid.abs().mean().sort_values(ascending=False, kind="stable")
    grid = grid[list(size.index)]
    if len(size) > INSTRUMENTS_SHOWN + 1:
        others = grid.iloc[:, INSTRUMENTS_SHOWN:].sum(axis=1)
        grid = grid.iloc[:, :INSTRUMENTS_SHOWN].assign(**{f"{len(size) - INSTRUMENTS_SHOWN} others": others})
    grid = grid if cash is None else grid.assign(**{CASH: cash})
    # Cash that an agent never keeps needs no place beside the plot; rounding leaves some 1e-16 of it.
    return grid.loc[:, (grid.abs() > SMALLEST_SHOWN).any()]


def _draw_strategies(axes: Axes, bands: pd.DataFrame, judgement: Judgement, figures: dict[str, str]) -> None:
    """A line per strategy with its name and its text of `figures` beside it, and the agent's band over its seeds.

    bands: strategy, timestamp, wealth, low, high. The y axis spans every strategy but random weights, whose trading
    costs would flatten all others; an arrow says where that line has left the plot.
    """
    subject, seeds = judgement.subject, _seeds(judgement)
    names, ends, lines = [], [], []
    for key, rows in bands.groupby("strategy", sort=False):
        name = str(key)
        colour, style = _line(name)
        drawn = with_gaps(rows.set_index("timestamp")[["wealth", "low", "high"]])
        is_agent = name == subject
        if is_agent and seeds > 1:
            axes.fill_between(drawn.index, drawn["low"], drawn["high"], color=colour, alpha=0.22, linewidth=0, zorder=3)
        width, layer = (2.4, 4) if is_agent else (1.3, 2)
        lines += axes.plot(
            drawn.index, drawn["wealth"], color=colour, linestyle=style, linewidth=width, zorder=layer, label=name
        )
        names.append(name)
        ends.append(float(drawn["wealth"].iloc[-1]))
    axes.margins(x=0.0)
    date_axis(axes)
    lowest, highest = _range(bands)
    pad = 0.05 * (highest - lowest) or 0.05
    # On a logarithmic axis a step down of the same width could reach 0.
    axes.set_ylim(lowest * lowest / (lowest + pad) if axes.get_yscale() == "log" else lowest - pad, highest + pad)
    bottom, top = axes.get_ylim()
    arrows = [" \N{DOWNWARDS ARROW}" if end < bottom else " \N{UPWARDS ARROW}" if end > top else "" for end in ends]
    labels = [f"{strategy_label(name)}  {figures[name]}{arrow}" for name, arrow in zip(names, arrows, strict=True)]
    if is_narrow(axes.figure):
        legend = axes.legend(lines, labels, loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=2)
        if seeds > 1:
            legend.set_title(f"band: worst to best of {seeds} seeds")
            legend.get_title().set_fontsize(7.5)
            legend.get_title().set_color(AGENT_COLOUR)
        return
    label_beside(
        axes,
        np.clip(ends, bottom, top),
        labels,
        [_line(name)[0] for name in names],
        [name == subject for name in names],
    )
    if seeds > 1:
        note = f"band: worst to best of {seeds} seeds"
        axes.set_title(note, loc="right", color=AGENT_COLOUR, fontsize=8.5, fontweight="normal")


def _seeds(judgement: Judgement) -> int:
    """How many agents stand behind the subject's band."""
    rows = rows_of(judgement.table, CONFIGURED)
    return int((rows["strategy"] == AGENT).sum())


def _range(bands: pd.DataFrame) -> tuple[float, float]:
    """Lowest and highest value of what the y axis must show: all strategies but random weights."""
    shown = bands[bands["strategy"] != DRAWN]
    return float(shown["low"].min()), float(shown["high"].max())


def _configured(judgement: Judgement, figure: str) -> Iterator[tuple[str, float]]:
    """Each strategy with one figure of the table, in the configured scenario."""
    rows = rows_of(judgement.contestants, CONFIGURED)
    return zip(rows["strategy"], rows[figure], strict=True)


def _line(name: str) -> tuple[str, str]:
    """Colour and line style."""
    return LINES.get(name, OTHER_LINE)
