"""Colours and line styles.

One decision: relative luminance (WCAG 2) decides. Text and lines stand at 0.19, a contrast of at least 4 both to white
and to a near-black page; areas alternate between darker and lighter tones so that neighbours differ. Strategies of one
kind share a colour and differ by their line.
"""

from __future__ import annotations

from collections.abc import Sequence

from tt_assets.trading.judge import AGENT
from tt_assets.trading.record import CASH

INK = "#717985"
"""Text, ticks and axes."""

AGENT_COLOUR = "#1a75ec"

_CASH_COLOUR = "#8a919b"

LINES: dict[str, tuple[str, str]] = {
    AGENT: (AGENT_COLOUR, "-"),
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
