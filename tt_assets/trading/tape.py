"""What an engine reads per decision, laid out one row per session so that one gather serves many accounts.

One decision: the number of shares is fixed at the decision, from the close of t, because that is what a trader can send
before the next session. The fill price of t+1 decides only what those shares cost, never how many are wanted. Buying
more because the fill price came out low would earn money from noise in a single price.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Booleans, Floats, MarketPanel
from tt_assets.trading.schemes import ActionScheme

SMALLEST_ORDER_USD = 0.01
"""An order of less than a cent at the deciding close is not sent."""


class Decision(NamedTuple):
    """Accounts × instruments (B × N) at the closes of their sessions t.

    Known at t: `scale` (weight of a full position) and `per_usd` (shares per USD at the mark, 0 while not listed).
    Of t+1, for the engine only: `smallest` (fewest shares that are filled; infinite where nothing is), `fill_price`
    (USD before slippage, 0 where nothing is filled) and `next_mark` (USD, 0 while not listed).
    """

    scale: Floats
    per_usd: Floats
    smallest: Floats
    fill_price: Floats
    next_mark: Floats


class DecisionTape:
    """The decisions of one panel. The last session has none: nothing is filled after it."""

    def __init__(self, panel: MarketPanel, config: TradingConfig, scheme: ActionScheme) -> None:
        sessions, instruments = panel.close.shape
        per_usd = np.zeros((sessions, instruments))
        np.divide(1.0, panel.marks, out=per_usd, where=panel.marks > 0.0)
        fill_price = _next(panel.fill_prices(config.execution), np.nan)
        self.fillable: Booleans = np.isfinite(fill_price)
        smallest = np.where(self.fillable & (per_usd > 0.0), SMALLEST_ORDER_USD * per_usd, np.inf)
        self.scale = scheme.scale(panel)
        self._instruments = instruments
        parts = (self.scale, per_usd, smallest, np.where(self.fillable, fill_price, 0.0), _next(panel.marks, 0.0))
        self._rows = np.concatenate(parts, axis=1)

    def at(self, sessions: npt.NDArray[np.int64]) -> Decision:
        """The decisions at the closes of `sessions` (B rows of the panel)."""
        rows = self._rows.take(sessions, axis=0)
        n = self._instruments
        return Decision(
            rows[:, :n], rows[:, n : 2 * n], rows[:, 2 * n : 3 * n], rows[:, 3 * n : 4 * n], rows[:, 4 * n :]
        )


def wanted_shares(weights: Floats, net_worth: Floats, quantity: Floats, per_usd: Floats) -> Floats:
    """Signed shares to trade (B × N) until positions hold `weights` (B × N) of `net_worth` (B); known at the close."""
    wanted = weights * net_worth[:, None]
    wanted *= per_usd
    wanted -= quantity
    return wanted


def _next(rows: Floats, after_the_last: float) -> Floats:
    return np.concatenate([rows[1:], np.full((1, rows.shape[1]), after_the_last)])
