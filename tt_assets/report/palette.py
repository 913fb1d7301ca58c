"""Colours and line styles.

Relative luminance (WCAG 2) decides. Text and lines stand at 0.19, a contrast of at least 4 both to white
and to a near-black page; areas alternate between darker and lighter tones so that neighbours differ. Strategies of one
kind share a colour and differ by their line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tt_assets.market.watchlist_format import CASH
from tt_assets.trading.judging.judge import AGENT, BENCHMARK, ENSEMBLE

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

INK = "#717985"
"""Text, ticks and axes."""

AGENT_COLOUR = "#1a75ec"

_CASH_COLOUR = "#8a919b"

LINES: dict[str, tuple[str, str]] = {
    AGENT: (AGENT_COLOUR, "-"),
    ENSEMBLE: (AGENT_COLOUR, "-"),
    BENCHMARK: ("#0e6f82", "-"),
    "ridge": ("#0e6f82", "--"),
    "cash": (INK, ":"),
    "equal_weight_hold": ("#c55810", "-"),
    "equal_weight_rebalanced": ("#c55810", "--"),
    "inverse_volatility": ("#188a5a", "-"),
    "momentum": ("#a64ce5", "-"),
    "random": ("#e02784", ":"),
}
"""Colour and line style of each strategy."""

OTHER_LINE = ("#977308", "-.")
"""Of a strategy without a line of its own."""

SCENARIO_OPACITY = (1.0, 0.45, 0.0)
"""Of the inside of bars at rising costs; their outline is always full."""

_AREAS = (
    "#1a75ec",
    "#eb6a13",
    "#14734c",
    "#b871eb",
    "#977308",
    "#e85fa3",
    "#0e6f82",
    "#e96863",
    "#729e1c",
    "#9327e0",
)


def weight_colours(columns: Sequence[str]) -> list[str]:
    """A colour per column of target weights; CASH is grey."""
    return [_CASH_COLOUR if name == CASH else _AREAS[place % len(_AREAS)] for place, name in enumerate(columns)]


RISING, FALLING = AGENT_COLOUR, "#c55810"
"""Of candles; told apart by people who do not see red and green, too."""

MISSING = "#a64ce5"
"""Of a session without a bar."""


def series_colours(count: int) -> list[str]:
    """A colour for each of `count` series, of a middle luminance."""
    colours = (AGENT_COLOUR, "#c55810", "#188a5a", "#a64ce5", "#e02784", "#977308")
    return [colours[place % len(colours)] for place in range(count)]


def diverging() -> Colormap:
    """Orange over a quiet grey to blue; what has no value is left out, so that the page shows through."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("house", ["#ff7a1a", "#b9692f", "#767d87", "#3f78c4", "#4aa8ff"])
    return colours.with_extremes(bad=(0, 0, 0, 0))
