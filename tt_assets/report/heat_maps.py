"""Heat maps over instruments × sessions, all of one picture on one pair of axes.

Axes of their own for each map, arranged by matplotlib's constrained layout, look the same and take four times as long;
a run of one partition spent more on them than on its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tt_assets.report.canvas import SCREEN, bare_figure, named_sessions, png
from tt_assets.report.palette import diverging
from tt_assets.report.scenarios import NothingToReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTRUMENTS_NAMED = 12
"""Instruments of a map that are named; of more every so many."""

ROW, TITLE, BETWEEN = 0.115, 0.2, 0.3
"""Inches: height of a row up to `INSTRUMENTS_NAMED` of them, of a map's own title, and the room between two maps."""

ABOVE, BELOW, BESIDE = 0.36, 0.52, 0.72
"""Inches around the maps: for the title, the sessions, and the scale of the colours."""

CHARACTER = 0.062
"""Inches of a character of an instrument's name."""

LONGEST_NAME = 20
"""Characters of a name beside the maps; a longer one is cut."""


def heat_maps_plot(panels: Mapping[str, pd.DataFrame], title: str, unit: str, limit: float) -> bytes:
    """A map over instruments × sessions for each of `panels`, all in the same colours from -`limit` to `limit`.

    The panels are sessions × instruments on the same axes; NaN is left blank. Raises NothingToReport where all is NaN.
    """
    instruments = next(iter(panels.values())).shape[1] if panels else 0
    rows = rows_of(len(panels))
    height = ABOVE + BELOW + rows * (TITLE + BETWEEN / 3 + ROW * max(min(instruments, INSTRUMENTS_NAMED), 4))
    return png(heat_maps_figure, panels, title, unit, limit, size=SCREEN._replace(height=height))


def heat_maps_figure(panels: Mapping[str, pd.DataFrame], title: str, unit: str, limit: float) -> Figure:
    """`heat_maps_plot` as a figure."""
    if not any(grid.notna().any(axis=None) for grid in panels.values()):
        raise NothingToReport(f"{title}: there is no value to draw; materialize these partitions first.")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    first = next(iter(panels.values()))
    places = np.arange(0, first.shape[1], -(-first.shape[1] // INSTRUMENTS_NAMED))
    names = [_cut(str(first.columns[place])) for place in places]
    figure = bare_figure()
    wide, high = figure.get_size_inches()
    left = 0.14 + CHARACTER * max(len(name) for name in names)
    axes = figure.add_axes((left / wide, BELOW / high, 1.0 - (left + BESIDE) / wide, 1.0 - (ABOVE + BELOW) / high))
    width, height = wide - left - BESIDE, high - ABOVE - BELOW
    rows = rows_of(len(panels))
    columns = -(-len(panels) // rows)
    across = (width - (columns - 1) * BETWEEN) / columns
    down = height / rows - TITLE
    scale, colours = Normalize(-limit, limit), diverging()
    for place, (name, grid) in enumerate(panels.items()):
        column, row = divmod(place, rows)
        x, y = column * (across + BETWEEN), row * (down + TITLE) + TITLE
        axes.imshow(
            np.ma.masked_invalid(grid.to_numpy(dtype=float).T),
            extent=(x, x + across, y + down, y),
            aspect="auto",
            interpolation="nearest",
            norm=scale,
            cmap=colours,
        )
        axes.text(x, y - TITLE / 4, name, fontsize=8)
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    tops = TITLE + np.arange(rows) * (down + TITLE)
    axes.set_yticks(
        (tops[:, None] + (places + 0.5) * down / first.shape[1]).ravel(),
        names * rows,
    )
    _name_sessions(axes, pd.DatetimeIndex(first.index), across, columns)
    axes.tick_params(labelsize=7)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    figure.suptitle(title, x=0.01, y=1.0 - 0.07 / high, ha="left", va="top", fontsize=9.5, fontweight="bold")
    beside = (1.0 - (BESIDE - 0.12) / wide, BELOW / high, 0.11 / wide, 1.0 - (ABOVE + TITLE + BELOW) / high)
    bar = figure.colorbar(ScalarMappable(scale, colours), cax=figure.add_axes(beside))
    bar.set_label(unit)
    bar.outline.set_visible(False)
    return figure


def _name_sessions(axes: Axes, sessions: pd.DatetimeIndex, across: float, columns: int) -> None:
    places, texts, label = named_sessions(sessions, most=3 if columns > 1 else 6)
    lefts = np.arange(columns) * (across + BETWEEN)
    axes.set_xticks((lefts[:, None] + (places + 0.5) * across / len(sessions)).ravel(), texts * columns)
    axes.set_xlabel(label)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def rows_of(panels: int) -> int:
    """Maps below each other: one map stands alone, more stand in two columns."""
    return max(1, -(-panels // 2))
