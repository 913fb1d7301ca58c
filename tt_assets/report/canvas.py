"""The paper that plots are drawn on: style, axes, labels beside lines, PNG bytes.

Figures are made without pyplot, whose state is global (runs may draw in several threads), and under
matplotlib's own defaults whatever the user's matplotlibrc says, so that the same input gives the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tt_assets.market.calendar import followed
from tt_assets.report.palette import INK
from tt_assets.trading.panel import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Size(NamedTuple):
    """Of a plot in inches, and its dots per inch."""

    width: float
    height: float
    dpi: int


PAGE = Size(9.6, 4.2, 150)
"""For the HTML page, which scales its pictures."""

SCREEN = Size(4.75, 3.1, 96)
"""For an asset's page in the UI, which shows a picture dot by dot in a column of some 480 on a laptop."""

NARROW = 6.0
"""Inches below which a figure has its legend beneath it and its axes below each other."""

LONGEST_CLOSURE = pd.Timedelta(days=10)
"""Time between two sessions above which a line is broken: sessions in between were not judged."""

SESSIONS_NAMED_BY_DAY = 190
"""Most sessions whose axis names days; more are named by month and year."""

LABEL_DISTANCE = 0.26
"""Least distance of two labels beside lines; as a part of the figure's height, in inches, of that of the axes."""

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.unicode_minus": False,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.facecolor": "none",
    "figure.figsize": (PAGE.width, PAGE.height),
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a sign of it, not the start of a formula
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


_SMALLER: dict[str, Any] = {
    "axes.labelsize": 8,
    "axes.titlesize": 9.5,
    "axes.titlepad": 7,
    "font.size": 8,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
}


def png(draw: Callable[..., Figure], *inputs: Any, size: Size = PAGE) -> bytes:
    """The figure that `draw` makes of `inputs`, drawn in the house style, as PNG bytes.

    A palette of 256 colours makes a third of the size: the event log and the page carry every picture.
    """
    from matplotlib import style
    from PIL import Image

    drawn, written = io.BytesIO(), io.BytesIO()
    sized = _STYLE | {"figure.figsize": (size.width, size.height)} | (_SMALLER if size.width < NARROW else {})
    with style.context(sized, after_reset=True), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ ", category=UserWarning)
        draw(*inputs).savefig(drawn, format="png", dpi=size.dpi, transparent=True)
    with Image.open(drawn) as picture:
        palette = picture.convert("RGBA").quantize(256, method=Image.Quantize.FASTOCTREE)
    palette.save(written, format="png", optimize=True)
    return written.getvalue()


def bare_figure(layout: Literal["constrained"] | None = None) -> Figure:
    """A figure without axes, whose canvas draws PNG; without a `layout` its axes stand where they are put."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout=layout)
    FigureCanvasAgg(figure)
    return figure


def new_figure(columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure with `columns` axes side by side, or below each other where it is narrow.

    Labels outside the axes make room for themselves.
    """
    figure = bare_figure(layout="constrained")
    rows, columns = (columns, 1) if is_narrow(figure) else (1, columns)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def is_narrow(figure: Any) -> bool:
    """Whether there is no room beside the axes."""
    return bool(figure.get_figwidth() < NARROW)


def stacked_figure(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """An empty figure with axes below each other on one x axis, their heights in the proportion of `heights`."""
    figure, (only,) = new_figure()
    only.remove()
    rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    return figure, list(rows[:, 0])


def place_of_sessions() -> str:
    """Whose dates the sessions are: the city of the market's time zone, such as New York, or UTC."""
    return followed().zone.key.rpartition("/")[2].replace("_", " ")


def date_axis(axes: Axes) -> None:
    """Sessions along x, as few words as needed."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel(f"Session ({place_of_sessions()})")


def session_axis(axes: Axes, sessions: pd.DatetimeIndex, most: int = 7) -> None:
    """Sessions along x by their position, so that closed days take no room; about `most` of them are named."""
    places, texts, label = named_sessions(sessions, most)
    axes.set_xticks(places, texts)
    axes.set_xlim(-0.6, len(sessions) - 0.4)
    axes.set_xlabel(label)


def named_sessions(sessions: pd.DatetimeIndex, most: int) -> tuple[Floats, list[str], str]:
    """Positions of about `most` of the sessions, how they are written, and what is written along all of them."""
    places = np.arange(0, len(sessions), max(1, -(-len(sessions) // most)))
    long = len(sessions) > SESSIONS_NAMED_BY_DAY
    texts = [f"{sessions[place]:{'%b %Y' if long else '%d %b'}}" for place in places]
    year = f"{sessions[0]:%Y}" if sessions[0].year == sessions[-1].year else f"{sessions[0]:%Y} to {sessions[-1]:%Y}"
    return places.astype(float), texts, f"Session ({place_of_sessions()})" + ("" if long else f", {year}")


def log_axis(axes: Axes) -> None:
    """A logarithmic y axis whose ticks are written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(base=10.0, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def with_gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows`, indexed by session, with NaN where sessions in between are missing, so that no line is drawn across."""
    steps = rows.index.to_series().diff()
    after = pd.DatetimeIndex(rows.index)[(steps > LONGEST_CLOSURE).to_numpy()] - pd.Timedelta(days=1)
    return pd.concat([rows, pd.DataFrame(np.nan, index=after, columns=rows.columns)]).sort_index()


def held_to_the_end(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the last before each gap, and the very last, held for a day, so that a step plot shows it."""
    steps = rows.index.to_series().diff().shift(-1)
    ends = rows[(steps.isna() | (steps > LONGEST_CLOSURE)).to_numpy()]
    return pd.concat([rows, ends.set_axis(pd.DatetimeIndex(ends.index) + pd.Timedelta(days=1))]).sort_index()


def label_beside(axes: Axes, ends: Floats, texts: list[str], colours: list[str], bold: list[bool]) -> None:
    """`texts` at the right of the axes at the heights `ends` (in the y axis' unit), moved apart where they touch.

    The limits of the axes must be final.
    """
    points = np.column_stack([np.full(len(ends), axes.get_xlim()[1]), ends])
    heights = (axes.transData + axes.transAxes.inverted()).transform(points)[:, 1]
    figure: Any = axes.figure
    apart = spread(heights, LABEL_DISTANCE / figure.get_figheight())
    for text, height, colour, is_bold in zip(texts, apart, colours, bold, strict=True):
        weight = "bold" if is_bold else "normal"
        axes.text(
            1.012, height, text, transform=axes.transAxes, color=colour, fontsize=8.5, fontweight=weight, va="center"
        )


def spread(heights: Floats, distance: float) -> Floats:
    """`heights` moved as little as it takes to stand `distance` apart, order kept, within 0 … 1 while there is room.

    Least squares: with the wanted distances subtracted, the heights only have to be non-decreasing, which is isotonic
    regression by pooling adjacent violators.
    """
    order = np.argsort(heights, kind="stable")
    offsets = distance * np.arange(len(heights))
    pools: list[tuple[float, int]] = []
    for wanted in heights[order] - offsets:
        mean, size = float(wanted), 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        pools.append((mean, size))
    fitted = np.concatenate([np.full(size, mean) for mean, size in pools]) if pools else np.empty(0)
    room = max(1.0 - distance * (len(heights) - 1), 0.0)
    placed = np.empty(len(heights))
    placed[order] = np.clip(fitted, 0.0, room) + offsets
    return placed
