"""The equity curve so small that the UI draws it at once.

One decision: Dagster shows Markdown of an asset's metadata in place only below 1,000 characters, and hides anything
longer behind a click. A picture of that size is an SVG of two lines, which also follows neither theme nor screen.
"""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from tt_assets.report.labels import percent, strategy_label
from tt_assets.report.palette import INK, LINES
from tt_assets.report.scenarios import CONFIGURED, rows_of, scenarios_of
from tt_assets.report.verdict import YARDSTICK
from tt_assets.trading.judge import AGENT, Judgement

SHOWN_IN_PLACE = 1_000
"""Markdown must be shorter than this, in characters, to be shown without a click."""

WIDTH, TOP, BOTTOM = 440, 22, 112
"""Pixels: the width of the picture, and the highest and lowest ordinate of a line."""

MOST_POINTS = 36
"""Of a line; more sessions are thinned out evenly, the first and the last one kept."""


def equity_sparkline(judgement: Judgement) -> str:
    """Markdown, below `SHOWN_IN_PLACE`, of net worth since the first close: the agent (median) and the yardstick.

    Configured costs, no delay; the dashed line is the starting net worth, the legend says what became of it in percent.
    Raises NothingToReport where that scenario was not judged.
    """
    scenarios_of(judgement)
    bands = rows_of(judgement.bands, CONFIGURED)
    lines = {name: bands[bands["strategy"] == name] for name in (AGENT, YARDSTICK) if name in set(bands["strategy"])}
    drawn = {name: _thinned(rows["median"].to_numpy(dtype=float)) for name, rows in lines.items()}
    everything = np.concatenate([[1.0], *drawn.values()])
    lowest, highest = everything.min(), everything.max()
    height = (BOTTOM - TOP) / (highest - lowest) if highest > lowest else 0.0

    def ordinates(wealth: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        return np.rint(BOTTOM - (wealth - lowest) * height).astype(int)

    start = ordinates(np.array([1.0]))[0]
    shapes = [f"<path d='M0,{start}h{WIDTH}' stroke='{INK}' stroke-dasharray='3'/>"]
    for place, (name, wealth) in enumerate(drawn.items()):
        colour = LINES[name][0]
        label = f"{strategy_label(name)} {percent(wealth[-1] - 1.0, signed=True)} %"
        shapes.append(f"<path d='{_path(ordinates(wealth))}' stroke='{colour}'/>")
        shapes.append(_text(110 * place, 12, label, colour))
    days = bands["timestamp"]
    shapes.append(_text(0, 128, f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}", INK))
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='132' fill='none' font-size='12' "
        f"font-family='Arial'>{''.join(shapes)}</svg>"
    )
    return f"![net worth](data:image/svg+xml,{quote(svg, safe="/:=',-.+")})"


def _thinned(wealth: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    points = min(len(wealth), MOST_POINTS)
    return wealth[np.rint(np.linspace(0, len(wealth) - 1, points)).astype(int)]


def _path(ordinates: npt.NDArray[np.int64]) -> str:
    """A line from the left edge to the right one, in steps relative to the point before: those are short to write."""
    abscissae = np.rint(np.linspace(0, WIDTH, len(ordinates))).astype(int)
    steps = ",".join(f"{right},{down}" for right, down in zip(np.diff(abscissae), np.diff(ordinates), strict=True))
    return f"M0,{ordinates[0]}l{steps.replace(',-', '-')}"


def _text(x: int, y: int, words: str, colour: str) -> str:
    return f"<text x='{x}' y='{y}' fill='{colour}'>{words}</text>"
