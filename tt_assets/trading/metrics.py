"""Figures of one episode, from its equity curve and target weights.

Net worth is in USD at the closes of consecutive sessions (T), costs included; figures are fractions, not percent.
"""

from __future__ import annotations

import math

import numpy as np

from tt_assets.trading.panel import Floats

SESSIONS_PER_YEAR = 252


def close_to_close_returns(net_worth: Floats) -> Floats:
    """Simple returns of an equity curve (T → T−1), fractions; a return is known at the close that ends it."""
    return net_worth[1:] / net_worth[:-1] - 1.0


def sharpe_ratio(net_worth: Floats) -> float | None:
    """Mean over standard deviation (ddof 1) of close-to-close returns, times √252.

    The benchmark is cash, which earns 0.

    Parameters
    ----------
    net_worth : equity curve (T), USD.

    Returns
    -------
    The annual ratio, or None where it is undefined: fewer than two returns, or returns that do not vary.

    Sharpe, "The Sharpe ratio", Journal of Portfolio Management 21 (1994); √252 takes returns for independent.
    """
    returns = close_to_close_returns(net_worth)
    if len(returns) < 2 or np.ptp(returns) == 0.0:
        return None
    sigma = float(returns.std(ddof=1))
    return float(returns.mean()) / sigma * math.sqrt(SESSIONS_PER_YEAR) if sigma > 0.0 else None


def max_drawdown(net_worth: Floats) -> float:
    """Largest fall from the peak so far.

    Parameters
    ----------
    net_worth : equity curve (T), USD. Below 0, which a short account can reach, the fall counts as whole.

    Returns
    -------
    Fraction of the peak, in [0, 1]; 0 for one session or none.
    """
    peak = np.maximum.accumulate(net_worth)
    return float(np.clip(1.0 - net_worth / peak, 0.0, 1.0).max(initial=0.0))


def turnover(target_weights: Floats) -> float:
    """Mean over decisions and instruments of |Δ target weight|.

    Parameters
    ----------
    target_weights : decisions × N, fractions of net worth, without cash.

    Returns
    -------
    A fraction per decision and instrument. An account starts in cash, so the first decision counts from weights of 0.
    0 without decisions.
    """
    if target_weights.size == 0:
        return 0.0
    return float(np.abs(np.diff(target_weights, axis=0, prepend=0.0)).mean())
