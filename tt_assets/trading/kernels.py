"""The arithmetic of a simulator's step over B accounts and N instruments, compiled from plain loops.

A step is a handful of these calls, because NumPy needs some eighty for the same and each costs more than
the arithmetic in it. Sums run in the order of the instruments and nothing is reordered (`fastmath` stays off), so the
bits depend neither on the number of accounts beside nor on the processor. Imports numba: import this module where it
is needed. The machine code is kept on disk, beside this file or in the user's cache, so only the first use compiles.

Everything is float64 and C-contiguous unless said otherwise; NaN passes through.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt

from tt_assets.trading.panel import CASH_RESERVE, Booleans, Floats

Rows = npt.NDArray[np.int64]
Observations = npt.NDArray[np.float32]


def _compiled[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    # Division by 0 gives inf or NaN, as in NumPy.
    try:
        return numba.njit(error_model="numpy", cache=True)(function)
    except RuntimeError:  # there is no place to keep machine code in: every process compiles anew
        return numba.njit(error_model="numpy")(function)


@_compiled
def clipped(values: Floats, lowest: float, highest: float) -> Floats:
    """`values`, of any shape, no less than `lowest` and no more than `highest`."""
    result = np.empty_like(values)
    given, kept = values.ravel(), result.ravel()
    for place in range(given.size):
        value = given[place]
        kept[place] = lowest if value < lowest else highest if value > highest else value
    return result


@_compiled
def weights_within(convictions: Floats, scale: Floats, limit: float) -> Floats:
    """Target weights (B × N): `convictions` × `scale` (both B × N), an account's weights shrunk to Σ|w| ≤ `limit`."""
    weights = np.empty_like(scale)
    for account in range(weights.shape[0]):
        gross = 0.0
        for column in range(weights.shape[1]):
            weight = convictions[account, column] * scale[account, column]
            weights[account, column] = weight
            gross += abs(weight)
        if not gross <= limit:  # so that one NaN spreads to the whole account
            for column in range(weights.shape[1]):
                weights[account, column] *= limit / gross
    return weights


@_compiled
def orders(
    weights: Floats, net_worth: Floats, quantity: Floats, per_usd: Floats, smallest: Floats
) -> tuple[Floats, Floats]:
    """Signed shares (B × N) until positions hold `weights` of `net_worth` (B), and the same without those too small.

    quantity: shares held. per_usd: shares per USD at the deciding close. smallest: fewest shares that are sent.
    """
    wanted, sent = np.empty_like(weights), np.empty_like(weights)
    for account in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            shares = weights[account, column] * net_worth[account] * per_usd[account, column]
            shares -= quantity[account, column]
            wanted[account, column] = shares
            sent[account, column] = 0.0 if abs(shares) < smallest[account, column] else shares
    return wanted, sent


@_compiled
def settle_linear(
    wanted: Floats, quote: Floats, cash: Floats, commission_rate: float, slippage_rate: float
) -> tuple[Floats, Floats, Floats]:
    """Fills (shares and price, B × N) and the cash after them (B) under costs that are linear in shares.

    wanted: signed shares. quote: USD before slippage, 0 where nothing is wanted. cash: USD (B).
    """
    shares, price, left = np.empty_like(wanted), np.empty_like(wanted), np.empty_like(cash)
    for account in range(wanted.shape[0]):
        sold = bought = 0.0
        for column in range(wanted.shape[1]):
            size = wanted[account, column]
            side = 1.0 if size > 0.0 else -1.0 if size < 0.0 else 0.0
            paid = quote[account, column] * (1.0 + side * slippage_rate)
            price[account, column] = paid
            if size > 0.0:
                bought += size * paid
            else:
                sold -= size * paid
        usd = cash[account] + sold * (1.0 - commission_rate)
        outlay = bought * (1.0 + commission_rate)
        # An account below 0 (a short gone wrong) buys nothing.
        free = max(usd, 0.0) * (1.0 - CASH_RESERVE)
        part = 1.0 if outlay <= free else free / outlay
        left[account] = usd - outlay * part
        for column in range(wanted.shape[1]):
            size = wanted[account, column]
            shares[account, column] = size * part if size > 0.0 else size
    return shares, price, left


@_compiled
def mark(
    shares: Floats,
    next_mark: Floats,
    weights: Floats,
    target: Floats,
    session: Rows,
    end: Rows,
    cash: Floats,
    quantity: Floats,
    positions: Floats,
    net_worth: Floats,
    peak: Floats,
) -> tuple[Floats, Floats, Floats, Booleans, bool]:
    """Move B accounts to the next close: `session`, `quantity`, `positions`, `net_worth` and `peak` change in place.

    shares: signed fills, next_mark: USD, weights and target: of this decision and of the one before (all B × N).
    Returns the close-to-close return, the fall from the peak, the turnover Σ|Δ weight|, whether `session` has reached
    `end` (all B), and whether the net worth and the turnover of all accounts are finite.
    """
    accounts, instruments = shares.shape
    returns, drawdown, turnover = np.empty(accounts), np.empty(accounts), np.empty(accounts)
    ended, finite = np.empty(accounts, dtype=np.bool_), True
    for account in range(accounts):
        worth, moved = cash[account], 0.0
        for column in range(instruments):
            held = quantity[account, column] + shares[account, column]
            quantity[account, column] = held
            positions[account, column] = held * next_mark[account, column]
            worth += positions[account, column]
            moved += abs(weights[account, column] - target[account, column])
        returns[account] = worth / net_worth[account] - 1.0
        net_worth[account] = worth
        if not worth <= peak[account]:
            peak[account] = worth
        drawdown[account] = 1.0 - worth / peak[account]
        turnover[account] = moved
        session[account] += 1
        ended[account] = session[account] >= end[account]
        finite &= np.isfinite(worth) and np.isfinite(moved)
    return returns, drawdown, turnover, ended, finite


@_compiled
def charge_borrowing(
    shares: Floats,
    next_mark: Floats,
    quantity: Floats,
    cash: Floats,
    borrow_fees: Floats,
    margin_call: Booleans,
    rate: float,
    maintenance: float,
) -> None:
    """Take the fee for what is short at the next close from `cash` (B, in place) and say whose shorts are not covered.

    quantity: shares before the fills `shares` (B × N), marked at `next_mark` (USD). rate: fee of one session.
    borrow_fees: USD so far (B, in place). margin_call (B, in place): net worth below `maintenance` × value of shorts.
    """
    for account in range(shares.shape[0]):
        short = worth = 0.0
        for column in range(shares.shape[1]):
            position = (quantity[account, column] + shares[account, column]) * next_mark[account, column]
            worth += position
            if position < 0.0:
                short -= position
        cash[account] -= rate * short
        borrow_fees[account] += rate * short
        margin_call[account] = worth + cash[account] < maintenance * short


@_compiled
def risk_aware(
    returns: Floats,
    drawdown: Floats,
    turnover: Floats,
    past: Floats,
    sums: Floats,
    known: Rows,
    place: int,
    floor: float,
    per_drawdown: float,
    per_turnover: float,
    clip: float,
) -> Floats:
    """Rewards (B): return over its σ, less penalties, within ±`clip`; see `rewards.RiskAware`.

    past: ring of returns (window × B), `place` the oldest. sums: Σ return and Σ return² over the window (2 × B).
    known: returns in it (B). The three change in place.
    """
    rewards = np.empty_like(returns)
    window = past.shape[0]
    for account in range(returns.shape[0]):
        new, old = returns[account], past[place, account]
        past[place, account] = new
        sums[0, account] += new - old
        sums[1, account] += new * new - old * old
        known[account] = min(known[account] + 1, window)
        mean = sums[0, account] / known[account]
        variance = sums[1, account] / known[account] - mean * mean
        raw = new / np.sqrt(max(variance, floor * floor))
        raw -= per_drawdown * drawdown[account] + per_turnover * turnover[account]
        rewards[account] = clip if raw > clip else -clip if raw < -clip else raw
    return rewards


@_compiled
def observe(
    rows: Observations, session: Rows, positions: Floats, cash: Floats, net_worth: Floats, out: Observations
) -> None:
    """Each account's row of `rows` (T × size, float32) with its shares of net worth at the end, into `out` (B × size).

    positions: USD (B × N), cash and net_worth: USD (B).
    """
    instruments = positions.shape[1]
    first = rows.shape[1] - instruments - 1
    for account in range(session.shape[0]):
        row, share = session[account], 1.0 / net_worth[account]
        for place in range(first):
            out[account, place] = rows[row, place]
        for column in range(instruments):
            out[account, first + column] = positions[account, column] * share
        out[account, first + instruments] = cash[account] * share
