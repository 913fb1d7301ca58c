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
    """`values` within [lowest, highest]; NaN stays NaN.

    Parameters
    ----------
    values : of any shape and unit; they are left as they are.
    lowest, highest : the bounds, in the unit of `values`.

    Returns
    -------
    A new array of the same shape.
    """
    result = np.empty_like(values)
    given, kept = values.ravel(), result.ravel()
    for place in range(given.size):
        value = given[place]
        kept[place] = lowest if value < lowest else highest if value > highest else value
    return result


@_compiled
def weights_within(convictions: Floats, scale: Floats, limit: float) -> Floats:
    """Target weights: conviction × scale, an account's weights shrunk together where Σ|w| exceeds `limit`.

    Parameters
    ----------
    convictions : fraction of a full position (B × N), signed.
    scale : weight of a full position (B × N), fraction of net worth.
    limit : largest Σ|w| of one account, fraction of net worth.

    Returns
    -------
    B × N, fractions of net worth. One NaN makes all of its account NaN.
    """
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
    """Shares to trade until positions hold `weights` of `net_worth`; known at the deciding close, all but `smallest`.

    Parameters
    ----------
    weights : target weights (B × N), fractions of net worth.
    net_worth : USD at the deciding close (B).
    quantity : shares held (B × N), negative when short.
    per_usd : shares per USD at the deciding close (B × N), 0 while not listed.
    smallest : fewest shares that are sent (B × N); infinite where the next session fills nothing.

    Returns
    -------
    Signed shares (B × N): those wanted, and the same with 0 where they are too few to be sent.
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
    """Fills under costs that are linear in shares: sells first, then buys, cut by one factor to what the cash pays.

    Parameters
    ----------
    wanted : signed shares (B × N), 0 where nothing can be filled.
    quote : USD per share before slippage (B × N), finite.
    cash : USD before the fills (B).
    commission_rate : fraction of notional.
    slippage_rate : fraction of the quote, against the trader.

    Returns
    -------
    Signed shares filled and USD per share, slippage included (both B × N); USD after the fills (B).
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

    Parameters
    ----------
    shares : signed fills of the session (B × N).
    next_mark : USD per share at its close (B × N), 0 while not listed.
    weights, target : target weights of this decision and of the one before (B × N), fractions of net worth.
    session : row of the panel (B); one is added. end : row at whose close the account is truncated (B).
    cash : USD after the fills (B).
    quantity : shares (B × N). positions : USD at the mark (B × N).
    net_worth, peak : USD (B); the peak is the largest net worth so far.

    Returns
    -------
    The close-to-close return, the fall from the peak and the turnover Σ|Δ weight| (fractions, B each); whether
    `session`
    has reached `end` (B); whether the net worth and the turnover of all accounts are finite.
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
        # So that a NaN becomes the peak, and shows in the drawdown too.
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
    """Take one session's fee for what is short at the next close, and say whose shorts are not covered.

    Parameters
    ----------
    shares : signed fills of the session (B × N).
    next_mark : USD per share at its close (B × N).
    quantity : shares before the fills (B × N).
    cash : USD after the fills (B); the fee is taken from it in place.
    borrow_fees : USD paid so far (B); changes in place.
    margin_call : net worth below `maintenance` × value of the shorts (B); written in place.
    rate : fee of one session, fraction of the value of the shorts.
    maintenance : least net worth, fraction of the value of the shorts.
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
    """Return over its σ, less penalties, within ±`clip`; see `rewards.RiskAware`.

    Parameters
    ----------
    returns, drawdown, turnover : of the step (B), fractions.
    past : ring of the returns before (window × B); changes in place.
    sums : Σ return and Σ return² over the window (2 × B); change in place.
    known : returns in the window (B); changes in place.
    place : row of `past` that holds the oldest return, to be overwritten.
    floor : least σ, fraction.
    per_drawdown, per_turnover : penalty for a drawdown and for a turnover of 1.
    clip : largest reward either way.

    Returns
    -------
    Rewards (B), without unit; NaN where one of the three figures is.
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
    """Write what each account sees into `out`: its row of `rows`, with its own shares of net worth at the end.

    Parameters
    ----------
    rows : scaled channels of each session (T × size, float32), the last N + 1 places free.
    session : row of the panel (B).
    positions : USD at the mark (B × N).
    cash, net_worth : USD (B).
    out : B × size, float32, written in place.
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
