"""Plots of bars and of what scores said, as PNG bytes of the size the UI shows.

Along x stand sessions of the exchange, one beside the other, whether they have a bar or not. A closed day
takes no room, and a gap is seen as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tt_assets.report.canvas import SCREEN, new_figure, png, session_axis, stacked_figure
from tt_assets.report.palette import FALLING, INK, MISSING, RISING, series_colours
from tt_assets.report.scenarios import NothingToReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CANDLES_UP_TO = 130
"""Sessions drawn as candles; more are drawn as a line of closes."""

PLOTTED_WIDTH = 0.84
"""Of the figure's width, what the axes take, about. A candle is a thick line; a patch each would take twice as long."""


def bars_plot(bars: pd.DataFrame, sessions: pd.DatetimeIndex, instrument: str, currency: str = "USD") -> bytes:
    """Prices of one instrument with their volume; sessions without a bar are marked.

    `bars` has the columns of tt_prices for the instrument; `sessions` are those of the x axis, ascending. Sessions
    before the first bar and after the last are left out; prices are in `currency`. Raises NothingToReport without a bar
    in them.
    """
    return png(bars_figure, bars, sessions, instrument, currency, size=SCREEN)


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
