"""The choice of the engine: stands above both, so that neither knows the other."""

from __future__ import annotations

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator_trader import SimulatorTrader
from tt_assets.trading.engines.trader import Engine, Trader
from tt_assets.trading.errors import UnsupportedOnTensorTrade
from tt_assets.trading.panel import MarketPanel


def open_trader(
    panel: MarketPanel, config: TradingConfig, scaler: Scaler, engine: Engine = Engine.TENSORTRADE, delay: int = 0
) -> Trader:
    """An account in cash at the close of the span's first session.

    Parameters
    ----------
    panel : bars and channels of the span with its look-back.
    config : how it trades. An unknown scheme, cost model or stopper raises ConfigError.
    scaler : what its observations are scaled by.
    engine : what keeps its books.
    delay : sessions that a decision waits before it is traded; the simulator only.

    Raises
    ------
    UnsupportedOnTensorTrade
        Shorts or a delay are asked for on TensorTrade.
    """
    if engine is Engine.SIMULATOR:
        return SimulatorTrader(panel, config, scaler, delay)
    if delay:
        raise UnsupportedOnTensorTrade(
            f"a delay of {delay} sessions is asked for, which the simulator only can trade; choose engine=simulator."
        )
    # TensorTrade takes a second to import, which a process that rolls on the simulator does not spend.
    from tt_assets.trading.engines.tensortrade_trader import TensorTradeTrader

    return TensorTradeTrader(panel, config, scaler)
