"""How strategies and numbers are written for people."""

from __future__ import annotations

import math

from tt_assets.trading.judging.bootstrap import COVERAGE
from tt_assets.trading.judging.judge import AGENT, BENCHMARK, ENSEMBLE, RIDGE

UNDEFINED = "–"
"""What stands for NaN."""

COVERAGE_TEXT = f"{COVERAGE * 100.0:g} %"
"""Coverage of the intervals."""

_STRATEGIES = {
    AGENT: "Agent",
    ENSEMBLE: "Agents' mean action",
    BENCHMARK: "Benchmark, held",
    RIDGE: "Ridge regression",
    "cash": "Cash",
    "equal_weight_hold": "Equal weight, held",
    "equal_weight_rebalanced": "Equal weight, rebalanced",
    "inverse_volatility": "Inverse volatility",
    "momentum": "Momentum",
    "random": "Random weights, one draw",
}


def strategy_label(name: str, seed: int | None = None) -> str:
    """The strategy's name for people, with the seed where several accounts have the name."""
    label = _STRATEGIES.get(name, name.replace("_", " ").capitalize())
    return label if seed is None else f"{label}, seed {seed}"


def fixed(value: float, digits: int, *, signed: bool = False) -> str:
    """`value` with `digits` decimals and never a negative zero; NaN is an en dash."""
    if not math.isfinite(value):
        return UNDEFINED
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}" if signed and rounded != 0.0 else f"{rounded:.{digits}f}"


def percent(fraction: float, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction in percent, without the sign of percent: the column's or axis' label carries the unit."""
    return fixed(fraction * 100.0, digits, signed=signed)


def sharpe_text(sharpe: float, low: float, high: float) -> str:
    """`0.53 [-0.9, 2.0]`; the ratio alone where it has no interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return fixed(sharpe, 2)
    return f"{fixed(sharpe, 2)} [{fixed(low, 1)}, {fixed(high, 1)}]"
