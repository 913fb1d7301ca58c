"""The figures of a chained curve, each from its returns, fills and positions; by the definitions of the field.

Returns are simple and close to close, 252 sessions are a year, standard deviations have ddof 1. Ratios take returns
over what cash earned. A figure that is not defined is NaN, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from tt_assets.trading.judging.accounts import COSTS, Chain
from tt_assets.trading.judging.bootstrap import sharpe_interval
from tt_assets.trading.metrics import SESSIONS_PER_YEAR, max_drawdown
from tt_assets.trading.panel import Floats

ROLLING_SESSIONS = 126
"""Half a year, of rolling Sharpe ratio and volatility."""

YEAR = float(SESSIONS_PER_YEAR)


def figures_of(chain: Chain, yardstick: Chain | None = None) -> dict[str, float]:
    """The figures of one strategy and seed.

    Parameters
    ----------
    chain : over all windows.
    yardstick : what beta, tracking error and information ratio are against; without one they are NaN.

    Returns
    -------
    Name → figure in the order of the report. Returns, drawdowns, exposure and what was paid are fractions of net worth,
    ratios and volatility a year's; NaN where a figure is undefined.
    """
    return dict(_figures(chain, yardstick))


def _figures(chain: Chain, yardstick: Chain | None) -> Iterator[tuple[str, float]]:
    returns, wealth = chain.returns, chain.wealth
    excess = returns - chain.cash_returns
    low, high = sharpe_interval(excess[:, None]) or (math.nan, math.nan)
    drawdown = max_drawdown(wealth)
    growth = annual_return(wealth)
    yield "sessions", len(chain.timestamps)
    yield "total_return", float(wealth[-1]) - 1.0
    yield "annual_return", growth
    yield "volatility", volatility(returns)
    yield "sharpe", sharpe(excess)
    yield "sharpe_low", low
    yield "sharpe_high", high
    yield "sortino", sortino(excess)
    yield "calmar", growth / drawdown if drawdown > 0.0 else math.nan
    yield "max_drawdown", drawdown
    if yardstick is None or yardstick is chain:
        yield from (("beta", math.nan), ("tracking_error", math.nan), ("information_ratio", math.nan))
    else:
        active = returns - yardstick.returns
        yield "beta", beta(excess, yardstick.returns - yardstick.cash_returns)
        yield "tracking_error", volatility(active) if _varies(active) else math.nan
        yield "information_ratio", sharpe(active)
    # A session without a return, as every one in cash, is neither a hit nor a miss.
    yield "hit_rate", float((returns[returns != 0.0] > 0.0).mean()) if (returns != 0.0).any() else math.nan
    yield "best_day", float(returns.max()) if len(returns) else math.nan
    yield "worst_day", float(returns.min()) if len(returns) else math.nan
    yield "exposure", float(chain.joined("gross").mean())
    changes, traded = chain.joined("changes"), chain.joined("traded")
    yield "turnover", float(changes.mean()) if len(changes) else 0.0
    yield "traded", float(traded.mean()) if len(traded) else 0.0
    costs = chain.joined("costs").sum(axis=0)
    yield "costs_paid", float(costs.sum())
    yield from zip((f"{name}_paid" for name in COSTS), map(float, costs), strict=True)


def annual_return(wealth: Floats) -> float:
    """Compound growth a year (CAGR) of a curve that starts at 1; −1 where all is lost."""
    years = max(len(wealth) - 1, 1) / YEAR
    return float(wealth[-1]) ** (1.0 / years) - 1.0 if wealth[-1] > 0.0 else -1.0


def volatility(returns: Floats) -> float:
    """Standard deviation a year; NaN for fewer than two returns."""
    return float(returns.std(ddof=1)) * math.sqrt(YEAR) if len(returns) > 1 else math.nan


def sharpe(excess: Floats) -> float:
    """Mean over standard deviation a year of returns over cash; NaN where they do not vary."""
    return float(excess.mean() / excess.std(ddof=1)) * math.sqrt(YEAR) if _varies(excess) else math.nan


def sortino(excess: Floats) -> float:
    """Mean over downside deviation (root mean square of the losses over all sessions) a year; NaN without a loss."""
    down = float(np.sqrt((np.minimum(excess, 0.0) ** 2).mean())) if len(excess) else 0.0
    return float(excess.mean()) / down * math.sqrt(YEAR) if down > 0.0 else math.nan


def beta(excess: Floats, market: Floats) -> float:
    """Covariance with the yardstick over its variance, both with ddof 1.

    Parameters
    ----------
    excess : returns of the subject over cash (T), fractions.
    market : the same of the yardstick (T).

    Returns
    -------
    Without unit; NaN where the yardstick does not vary.
    """
    return float(np.cov(excess, market, ddof=1)[0, 1] / market.var(ddof=1)) if _varies(market) else math.nan


def drawdown_table(chain: Chain, most: int = 5) -> pd.DataFrame:
    """The deepest falls of a curve.

    Parameters
    ----------
    chain : over all windows.
    most : how many falls.

    Returns
    -------
    peak, trough, recovered (sessions; NaT while it lasts), depth (fraction of the peak), fall_sessions,
    recovery_sessions (from trough to recovery; NaN while it lasts); the deepest first.
    """
    wealth, when = chain.wealth, chain.timestamps
    peaks = np.maximum.accumulate(wealth)
    under = wealth < peaks
    # A fall begins at the session after its peak and ends before the session that regains it.
    edges = np.diff(np.concatenate([[False], under, [False]]).astype(np.int8))
    rows = []
    for first, after in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        trough = first + int(wealth[first:after].argmin())
        recovered = after < len(wealth)
        rows.append(
            {
                "peak": when[first - 1],
                "trough": when[trough],
                "recovered": when[after] if recovered else pd.NaT,
                "depth": 1.0 - float(wealth[trough] / peaks[trough]),
                "fall_sessions": trough - (first - 1),
                "recovery_sessions": float(after - trough) if recovered else math.nan,
            }
        )
    columns = ["peak", "trough", "recovered", "depth", "fall_sessions", "recovery_sessions"]
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values("depth", ascending=False, kind="stable").head(most).reset_index(drop=True)


def monthly_table(chain: Chain) -> pd.DataFrame:
    """Returns by calendar month: years × 12 months and `year`, fractions; NaN where no session was judged."""
    when = chain.timestamps[1:]
    returns = pd.Series(chain.returns, index=when)
    by_month = (1.0 + returns).groupby([when.year, when.month]).prod() - 1.0
    table = by_month.unstack().reindex(columns=range(1, 13))  # noqa: PD010 - months become columns
    table.index.name, table.columns.name = "year", None
    yearly = (1.0 + returns).groupby(when.year).prod() - 1.0
    return table.assign(year=yearly)


def rolling_figures(chain: Chain, sessions: int = ROLLING_SESSIONS) -> pd.DataFrame:
    """Sharpe ratio and volatility over trailing sessions, from returns over cash.

    Parameters
    ----------
    chain : over all windows.
    sessions : how many returns a figure is of, the session's own included.

    Returns
    -------
    timestamp, sharpe, volatility, both a year's; a row is known at its close. Sharpe is NaN where returns do not vary;
    empty where there are fewer returns than `sessions`.
    """
    excess = pd.Series(chain.returns - chain.cash_returns, index=chain.timestamps[1:])
    mean, sigma = excess.rolling(sessions).mean(), excess.rolling(sessions).std()
    found = pd.DataFrame({"sharpe": (mean / sigma.where(sigma > 0.0)) * YEAR**0.5, "volatility": sigma * YEAR**0.5})
    return found.iloc[sessions - 1 :].rename_axis("timestamp").reset_index()


def contributions(chain: Chain) -> pd.DataFrame:
    """instrument, contribution: the part of the summed returns that came of each, its costs taken off; largest first.

    With interest on cash, in the row CASH, they sum to the sum of the session returns.
    """
    sums: dict[str, float] = {}
    interest = 0.0
    for part in chain.accounts:
        for name, value in zip(part.instruments, part.contribution.sum(axis=0), strict=True):
            sums[name] = sums.get(name, 0.0) + float(value)
        interest += float((part.cash_share[:-1] * part.cash_returns).sum())
    found = pd.Series(sums).sort_values(ascending=False, kind="stable")
    if interest:
        found["CASH"] = interest
    return found.rename_axis("instrument").rename("contribution").reset_index()


def _varies(values: Floats) -> bool:
    return len(values) > 1 and float(np.ptp(values)) > 0.0 and float(values.std(ddof=1)) > 1e-15
