"""What a trade of ordinary size costs, as a fraction of what is traded: for learners that need a rate, not an order."""

from __future__ import annotations

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import cost_model


def cost_rates(panel: MarketPanel, config: TradingConfig) -> Floats:
    """Slippage and commission over notional of buying an equal share of the first account.

    Parameters
    ----------
    panel : bars of the span with its look-back (T sessions × N instruments).
    config : cost model, execution, and the cash of which each instrument has an equal share.

    Returns
    -------
    T × N, fractions. Row t is of an order that fills in session t, so it is known at its close; what cannot be filled
    has the mean of what can, or 0 where nothing can.
    """
    quote = panel.fill_prices(config.execution)
    filled = np.isfinite(quote)
    # Any price will do where nothing fills: what it gives is replaced at the end.
    quote = np.where(filled, quote, 1.0)
    shares = config.initial_cash / len(panel.instruments) / quote
    volume = np.where(np.isfinite(panel.volume), panel.volume, 0.0)
    model = cost_model(config)
    price = model.fill_price(shares, quote, volume)
    rates = (price - quote) / quote + model.commission(shares, price) / (shares * quote)
    filled &= np.isfinite(rates)
    return np.where(filled, rates, rates[filled].mean() if filled.any() else 0.0)
