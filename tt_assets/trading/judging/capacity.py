"""What a strategy returns with more money, where no order fills more than a share of its session's volume.

A return is measured with the cash of the settings, whose orders a market hardly notices. With more of it orders are cut
at the volume limit and what is not filled waits for the next decision, so the account follows its targets later and
less: the curve says up to which capital the return is still that of the report.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.figures import annual_return
from tt_assets.trading.judging.judge import JudgedWindow, Scenario, chain_of
from tt_assets.trading.panel import Floats

MULTIPLES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""Of the cash that the settings start with."""


def capacity(
    windows: Sequence[JudgedWindow],
    strategy: str,
    volume_limit: float,
    *,
    multiples: Sequence[float] = MULTIPLES,
    cash: CashRate | None = None,
) -> pd.DataFrame:
    """Return against capital.

    Parameters
    ----------
    windows : in order of time.
    strategy : whose orders; of agents the ensemble or the only one.
    volume_limit : largest share of a session's volume that an order fills, a fraction above 0.
    multiples : of the starting cash, ascending. Floors of net worth grow with it; commissions per share and per order
        stay what they are.
    cash : what cash earns.

    Returns
    -------
    One row a multiple: capital (USD at the start of a window), annual_return, exposure (mean of Σ |position| over net
    worth, fraction).
    """
    rows = []
    for multiple in multiples:
        larger = [_with_capital(window, multiple, volume_limit) for window in windows]
        chain = chain_of(strategy, 0, larger, Scenario(), cash)
        gross: Floats = chain.joined("gross")
        rows.append(
            {
                "capital": larger[0].config.initial_cash,
                "annual_return": annual_return(chain.wealth),
                "exposure": float(gross.mean()),
            }
        )
    return pd.DataFrame(rows)


def _with_capital(window: JudgedWindow, multiple: float, volume_limit: float) -> JudgedWindow:
    config = window.config
    larger = config.replace(
        initial_cash=config.initial_cash * multiple,
        min_net_worth=config.min_net_worth * multiple,
        volume_limit=volume_limit,
    )
    return dataclasses.replace(window, config=larger)
