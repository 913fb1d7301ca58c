"""What must hold of stored daily bars.

A check looks at rows and answers with findings, each an instrument, a session and words. It knows no
partition and no table, so the same function judges one cell and twenty thousand.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.bars import check_bars

SIGMA_SESSIONS = 60
"""Returns whose standard deviation a jump is measured in."""

FEWEST_RETURNS = 20
"""Returns before a session without which nothing is called a jump."""

CALMEST = 0.001
"""Standard deviation of a day's log return below which none is taken: a price that stood still may move again."""


class Finding(NamedTuple):
    """What is wrong with a row, or with the lack of one.

    Parameters
    ----------
    instrument : symbol. session : market time at 00:00, without time zone.
    message : for people, with the value.
    """

    instrument: str
    session: pd.Timestamp
    message: str


def broken_bars(bars: pd.DataFrame) -> list[Finding]:
    """Rows that break the bar contract: prices positive, finite and in order, on a session, once; in row order.

    `bars` has the columns of tt_prices, timestamps datetime64[ns] market time.
    """
    return [
        Finding(fault.instrument, pd.Timestamp(fault.session), f"{fault.rule} {fault.value}".rstrip())
        for fault in check_bars(bars).faults
        if isinstance(fault.session, date)
    ]


def jumps(bars: pd.DataFrame, since: pd.Timestamp, sigmas: float) -> list[Finding]:
    """Closes that lie far from the close of the bar before.

    The deviation is that of the `SIGMA_SESSIONS` log returns before the session, of which at least `FEWEST_RETURNS`
    must be known; it counts as `CALMEST` at least. Sessions without a bar are skipped, so a return may span a halt.

    Parameters
    ----------
    bars : instrument, timestamp, close (USD), with the sessions before `since` that the deviation needs.
    since : first session that is judged.
    sigmas : standard deviations beyond which a move is a jump.

    Returns
    -------
    By session, then instrument.
    """
    known = bars.assign(level=np.log(bars["close"].where(bars["close"] > 0)))
    levels = known.pivot_table(values="level", index="timestamp", columns="instrument", aggfunc="last")
    returns = (levels - levels.ffill().shift()).to_numpy()
    sigma = _sigma_before(returns)
    with np.errstate(invalid="ignore"):
        far = np.abs(returns) > sigmas * sigma
    far &= (levels.index >= since)[:, None]
    return [
        Finding(
            str(levels.columns[n]),
            levels.index[t],
            f"close moved {np.expm1(returns[t, n]):+.1%}, {abs(returns[t, n]) / sigma[t, n]:.1f} standard deviations",
        )
        for t, n in np.argwhere(far)
    ]


def _sigma_before(returns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T, N) standard deviation of the column's last `SIGMA_SESSIONS` known values before the row, NaN if too few."""
    sigma = np.full(returns.shape, np.nan)
    for column in range(returns.shape[1]):
        known = np.flatnonzero(~np.isnan(returns[:, column]))
        spread = pd.Series(returns[known, column]).rolling(SIGMA_SESSIONS, min_periods=FEWEST_RETURNS).std().shift()
        sigma[known, column] = np.maximum(spread, CALMEST)
    return sigma


def absent_bars(expected: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """The bars that should be there and are not.

    Parameters
    ----------
    expected, stored : instrument, timestamp; sessions of one unit, without time zone.

    Returns
    -------
    Rows of `expected`, in their order.
    """
    there = pd.MultiIndex.from_frame(stored[["instrument", "timestamp"]])
    return expected[~pd.MultiIndex.from_frame(expected[["instrument", "timestamp"]]).isin(there)]
