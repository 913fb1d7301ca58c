"""Plots of bars, features and scores, as PNG bytes of the size the UI shows.

Along x stand sessions of the exchange, one beside the other, whether they have a bar or not. A closed day
takes no room, and a gap is seen as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tt_assets.report.canvas import SCREEN, new_figure, png, session_axis, stacked_figure
from tt_assets.report.palette import FALLING, INK, MISSING, RISING, diverging, series_colours
from tt_assets.report.scenarios import NothingToReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CANDLES_UP_TO = 130
"""Sessions drawn as candles; more are drawn as a line of closes."""

PLOTTED_WIDTH = 0.84
"""Of the figure's width, what the axes take, about. A candle is a thick line; a patch each would take twice as long."""

ROWS_NAMED = 12
"""Instruments of a heat map that are named; of more every so many."""


def bars_plot(bars: pd.DataFrame, sessions: pd.DatetimeIndex, instrument: str, currency: str = "USD") -> bytes:
    """Prices of one instrument with their volume; sessions without a bar are marked.

    `bars` has the columns of tt_prices for the instrument; `sessions` are those of the x axis, ascending. Sessions
    before the first bar and after the last are left out; prices are in `currency`. Raises NothingToReport without a bar
    in them.
    """
    return png(bars_figure, bars, sessions, instrument, currency, size=SCREEN)


def heat_maps_plot(panels: Mapping[str, pd.DataFrame], title: str, unit: str, limit: float) -> bytes:
    """A map over instruments × sessions for each of `panels`, all in the same colours from -`limit` to `limit`.

    The panels are sessions × instruments on the same axes; NaN is left blank. Raises NothingToReport where all is NaN.
    """
    rows = -(-len(panels) // columns_of(len(panels)))
    height = 1.1 + rows * (0.42 + 0.115 * min(_instruments(panels), ROWS_NAMED))
    return png(heat_maps_figure, panels, title, unit, limit, size=SCREEN._replace(height=height))


def information_plot(coefficients: pd.DataFrame) -> bytes:
    """Information coefficient of every signal by horizon, with two standard errors either way.

    `coefficients`: signal_name, horizon (sessions), coefficient, standard_error; NaN is left out.
    """
    return png(information_figure, coefficients, size=SCREEN)


def bars_figure(bars: pd.DataFrame, sessions: pd.DatetimeIndex, instrument: str, currency: str = "USD") -> Figure:
    """`bars_plot` as a figure."""
    placed = bars.set_index("timestamp").reindex(sessions)
    known = np.flatnonzero(placed["close"].notna())
    if not len(known):
        raise NothingToReport(f"{instrument} has no bar in these sessions; materialize tt_prices for them first.")
    placed, shown = placed.iloc[known[0] : known[-1] + 1], sessions[known[0] : known[-1] + 1]
    x = np.arange(len(shown))
    opened, high, low, close, volume = (
        placed[name].to_numpy(dtype=float) for name in ("open", "high", "low", "close", "volume")
    )
    up = close >= opened
    figure, (prices, volumes) = stacked_figure((3, 1))
    slot = PLOTTED_WIDTH * 72.0 * figure.get_figwidth() / len(shown)
    if len(shown) <= CANDLES_UP_TO:
        colours = np.where(up, RISING, FALLING)
        there = ~np.isnan(close)
        prices.vlines(x[there], low[there], high[there], colors=colours[there], linewidth=0.9)
        least = 0.002 * (np.nanmax(high) - np.nanmin(low))
        bottom = np.minimum(opened, close)
        top = np.maximum(np.maximum(opened, close), bottom + least)
        prices.vlines(x[there], bottom[there], top[there], colors=colours[there], linewidth=0.6 * slot)
    else:
        prices.plot(x, close, color=RISING, linewidth=1.2)
    volumes.vlines(x, 0.0, volume / 1e6, colors=INK, linewidth=0.75 * slot)
    gaps = np.flatnonzero(np.isnan(close))
    for axes in (prices, volumes):
        for gap in gaps:
            axes.axvspan(gap - 0.5, gap + 0.5, color=MISSING, alpha=0.45, linewidth=0, label="gap")
    session_axis(volumes, shown)
    prices.set_ylabel(f"{currency}, split-adjusted")
    volumes.set_ylabel("Million\nshares")
    volumes.set_ylim(bottom=0.0)
    prices.set_title(instrument)
    caption = "blue rose, orange fell" if len(shown) <= CANDLES_UP_TO else "closes"
    missing = f"; shaded: {len(gaps)} without a bar" if len(gaps) else ""
    prices.set_title(f"{caption}{missing}", loc="right", fontsize=7.5, fontweight="normal")
    figure.align_ylabels([prices, volumes])
    return figure


def heat_maps_figure(panels: Mapping[str, pd.DataFrame], title: str, unit: str, limit: float) -> Figure:
    """`heat_maps_plot` as a figure."""
    if not any(grid.notna().any(axis=None) for grid in panels.values()):
        raise NothingToReport(f"{title}: there is no value to draw; materialize these partitions first.")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = columns_of(len(panels))
    rows = -(-len(panels) // columns)
    figure, (only,) = new_figure()
    only.remove()
    every = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    scale, colours = Normalize(-limit, limit), diverging()
    for place, axes in enumerate(every.T.ravel()):
        if place >= len(panels):
            axes.set_visible(False)
    for axes, (name, grid) in zip(every.T.ravel(), panels.items(), strict=False):
        _heat_map(axes, name, grid, scale, colours)
    figure.supxlabel(every[0, 0].get_xlabel(), color=INK, fontsize=8)
    for axes in every.ravel():
        axes.set_xlabel("")
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=list(every.ravel()), fraction=0.025, pad=0.015, aspect=30)
    bar.set_label(unit)
    bar.outline.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=9.5, fontweight="bold")
    return figure


def _heat_map(axes: Axes, name: str, grid: pd.DataFrame, scale: object, colours: object) -> None:
    axes.imshow(
        np.ma.masked_invalid(grid.to_numpy(dtype=float).T),
        aspect="auto",
        interpolation="nearest",
        norm=scale,  # type: ignore[arg-type]
        cmap=colours,  # type: ignore[arg-type]
    )
    every = -(-grid.shape[1] // ROWS_NAMED)
    named = np.arange(0, grid.shape[1], every)
    axes.set_yticks(named, [str(grid.columns[place]) for place in named], fontsize=7)
    session_axis(axes, pd.DatetimeIndex(grid.index), most=3)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(visible=False)
    if name:
        axes.set_title(name, fontsize=8, fontweight="normal", pad=3)


def columns_of(panels: int) -> int:
    """Heat maps side by side."""
    return 1 if panels <= 1 else 2


def _instruments(panels: Mapping[str, pd.DataFrame]) -> int:
    return max((grid.shape[1] for grid in panels.values()), default=1)


def information_figure(coefficients: pd.DataFrame) -> Figure:
    """`information_plot` as a figure."""
    known = coefficients.dropna(subset=["coefficient"])
    if known.empty:
        raise NothingToReport("no score has a return after it yet, so no information coefficient can be drawn.")
    horizons = sorted(known["horizon"].unique())
    names = sorted(known["signal_name"].unique())
    figure, (axes,) = new_figure()
    width = 0.7 / len(names)
    for place, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        rows = known[known["signal_name"] == name].set_index("horizon").reindex(horizons)
        x = np.arange(len(horizons)) + (place - (len(names) - 1) / 2) * width
        axes.errorbar(
            x,
            rows["coefficient"],
            yerr=2.0 * rows["standard_error"].fillna(0.0),
            color=colour,
            marker="osD^vP*X"[place % 8],
            markersize=5,
            linewidth=0,
            elinewidth=1.3,
            label=name,
        )
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_xticks(np.arange(len(horizons)), [str(horizon) for horizon in horizons])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("Horizon (sessions after the score)")
    axes.set_ylabel("Rank correlation with the return (1)")
    axes.set_title("Information coefficient by horizon")
    axes.set_title("± two standard errors", loc="right", fontsize=7.5, fontweight="normal")
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=min(len(names), 3))
    return figure
