"""The parts of TensorTrade 1.0.4 that the platform uses, imported once and without TensorFlow.

TensorTrade's root package imports its own agents, which import TensorFlow where it is installed (seconds and half a
gigabyte). Nobody here uses them: an empty module under their name is put in place first.
"""

from __future__ import annotations

import importlib
import sys
import types

if "tensortrade.agents" not in sys.modules:
    sys.modules["tensortrade.agents"] = types.ModuleType("tensortrade.agents", "Not used here, so not imported.")

importlib.import_module("tensortrade")

from tensortrade.env.default.actions import TensorTradeActionScheme  # noqa: E402
from tensortrade.env.default.observers import TensorTradeObserver  # noqa: E402
from tensortrade.env.default.renderers import EmptyRenderer  # noqa: E402
from tensortrade.env.default.rewards import TensorTradeRewardScheme  # noqa: E402
from tensortrade.env.generic import Informer, Stopper, TradingEnv  # noqa: E402
from tensortrade.feed.core import DataFeed, Stream  # noqa: E402
from tensortrade.oms.exchanges import Exchange, ExchangeOptions  # noqa: E402
from tensortrade.oms.instruments import ExchangePair, Instrument, TradingPair  # noqa: E402
from tensortrade.oms.orders import Order, Trade, TradeSide, TradeType  # noqa: E402
from tensortrade.oms.services.execution.simulated import execute_order  # noqa: E402
from tensortrade.oms.wallets import Portfolio, Wallet  # noqa: E402
from tensortrade.oms.wallets.ledger import Ledger  # noqa: E402

__all__ = [
    "DataFeed",
    "EmptyRenderer",
    "Exchange",
    "ExchangeOptions",
    "ExchangePair",
    "Informer",
    "Instrument",
    "Ledger",
    "Order",
    "Portfolio",
    "Stopper",
    "Stream",
    "TensorTradeActionScheme",
    "TensorTradeObserver",
    "TensorTradeRewardScheme",
    "Trade",
    "TradeSide",
    "TradeType",
    "TradingEnv",
    "TradingPair",
    "Wallet",
    "execute_order",
]
