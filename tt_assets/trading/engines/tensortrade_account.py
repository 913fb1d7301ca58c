"""One cash account on TensorTrade's exchange, wallets and orders.

The quirks of TensorTrade 1.0.4 that are worked around here, each held by a test of its name:
instruments go by codes of equal length, because a price stream is chosen by `endswith(symbol)`; amounts are kept to
12 decimals, because a commission is rounded up to the smallest amount; a buy is charged on what leaves the wallet, so
its rate is restated; an order locks its funds when it is built, so sells are filled before buys are built; buys report
USD and sells report shares, so fills are read from the wallets; the ledger belongs to the class, so each account gets
its own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from tt_assets.trading.engines.settlement import AccountFills, Fills
from tt_assets.trading.engines.tensortrade_parts import (
    Exchange,
    ExchangeOptions,
    ExchangePair,
    Instrument,
    Ledger,
    Order,
    Portfolio,
    Stream,
    Trade,
    TradeSide,
    TradeType,
    TradingPair,
    Wallet,
    execute_order,
)
from tt_assets.trading.panel import Floats
from tt_assets.trading.rules.costs import CostModel

PRECISION = 12
"""Decimals of every amount of cash and shares."""

PLACEHOLDER_PRICE = 1.0
"""Price of an instrument that is not listed yet: multiplied by a position of 0. TensorTrade refuses NaN and 0."""

_EXCHANGE = "bars"
_NO_LIMIT = 1e15


class SessionExchange(Exchange):
    """TensorTrade's exchange, quoting the price of the next fill while an order is being filled.

    `fill_quote` is what the order at hand pays or receives, slippage included; the price streams stay what the account
    is marked at. `commission_rate` is charged on what the order takes out of its source wallet.
    """

    registered_name = "exchanges"

    def __init__(self) -> None:
        super().__init__(
            _EXCHANGE, self._charge, ExchangeOptions(commission=0.0, min_trade_size=0.0, max_trade_size=_NO_LIMIT)
        )
        self.fill_quote: Decimal | None = None
        self.commission_rate = Decimal(0)

    def quote_price(self, trading_pair: TradingPair) -> Decimal:
        """The fill quote if there is one, else the current price."""
        return super().quote_price(trading_pair) if self.fill_quote is None else self.fill_quote

    def _charge(self, **order: Any) -> Trade | None:
        order["options"] = ExchangeOptions(commission=self.commission_rate, max_trade_size=_NO_LIMIT)
        return execute_order(**order)


class Account:
    """Cash and positions as TensorTrade wallets.

    Parameters
    ----------
    prices : USD per share, the stream of prices row by row (rows × N), above 0.
    cash : USD at the start.
    whole_shares : whether quantities are read to the nearest share: a wallet misses it by its last decimal.
    """

    def __init__(self, prices: Floats, cash: float, *, whole_shares: bool = False) -> None:
        self._whole_shares = whole_shares
        # Equal length, so that no code is the end of another; three or more capitals, as TensorTrade expects.
        codes = [f"I{number:05d}" for number in range(prices.shape[1])]
        self.exchange = SessionExchange()(
            *[
                Stream.source(prices[:, column].tolist(), dtype="float").rename(f"USD-{code}")
                for column, code in enumerate(codes)
            ]
        )
        self.base = Instrument("USD", PRECISION, "U.S. Dollar")
        self.assets = [Instrument(code, PRECISION, code) for code in codes]
        self.cash_wallet = Wallet(self.exchange, Decimal(repr(cash)) * self.base)
        self.wallets = [Wallet(self.exchange, Decimal(0) * asset) for asset in self.assets]
        self.pairs = [ExchangePair(self.exchange, self.base / asset) for asset in self.assets]
        self.ledger = Ledger()
        for wallet in (self.cash_wallet, *self.wallets):
            wallet.ledger = self.ledger
        self.portfolio = Portfolio(self.base, [self.cash_wallet, *self.wallets])

    @property
    def cash(self) -> float:
        """USD in the cash wallet, locked or not."""
        return float(self.cash_wallet.total_balance.as_float())

    @property
    def quantity(self) -> Floats:
        """Shares per instrument (N)."""
        return self._read([wallet.total_balance.as_float() for wallet in self.wallets])

    def _read(self, shares: list[float]) -> Floats:
        return np.round(shares) if self._whole_shares else np.array(shares)

    def trade(self, broker: Any, planned: Fills, costs: CostModel) -> AccountFills:
        """Fill what was planned: sells first, then buys.

        Parameters
        ----------
        broker : TensorTrade's; it forgets the orders afterwards.
        planned : what the settlement gave, of one account (1 × N).
        costs : what charges for it.

        Returns
        -------
        The fills as the wallets say, which may differ from `planned` in the last of 12 decimals.
        """
        shares, price = planned.shares[0], planned.price[0]
        fee = costs.commission(shares, price)
        before = [wallet.total_balance.size for wallet in self.wallets]
        commission = np.zeros(len(shares))
        for column in np.flatnonzero(shares < 0.0):
            commission[column] = self._sell(broker, column, -shares[column], price[column], fee[column])
        for column in np.flatnonzero(shares > 0.0):
            commission[column] = self._buy(broker, column, shares[column], price[column], fee[column])
        # Kept by TensorTrade for ever and searched at every update; nothing here reads them.
        broker.executed.clear()
        broker.trades.clear()
        self.ledger.reset()
        filled = [float(wallet.total_balance.size - size) for wallet, size in zip(self.wallets, before, strict=True)]
        return AccountFills(self._read(filled), price, commission, np.zeros(len(shares), dtype=bool))

    def close(self, broker: Any, column: int, price: float) -> float:
        """Sell all of one instrument without commission.

        Parameters
        ----------
        broker : TensorTrade's; it forgets the order afterwards.
        column : place of the instrument.
        price : USD per share.

        Returns
        -------
        The shares that were sold.
        """
        shares = float(self.quantity[column])
        self._fill(broker, TradeSide.SELL, column, self.wallets[column].balance.size, price, Decimal(0))
        broker.executed.clear()
        broker.trades.clear()
        return shares

    def _sell(self, broker: Any, column: int, shares: float, price: float, fee: float) -> float:
        """Sell; the commission is taken in shares, so its rate is fee over notional. Returns the commission in USD."""
        amount = min(_amount(shares), self.wallets[column].balance.size)
        trade = self._fill(broker, TradeSide.SELL, column, amount, price, Decimal(fee) / Decimal(shares * price))
        return float(trade.commission.size * trade.price)

    def _buy(self, broker: Any, column: int, shares: float, price: float, fee: float) -> float:
        """Buy; the commission is taken out of the outlay, so its rate is fee over outlay. Returns the commission."""
        outlay = Decimal(shares) * Decimal(price) + Decimal(fee)
        amount = min(_amount(outlay), self.cash_wallet.balance.size)
        trade = self._fill(broker, TradeSide.BUY, column, amount, price, Decimal(fee) / outlay)
        return float(trade.commission.size)

    def _fill(self, broker: Any, side: Any, column: int, amount: Decimal, price: float, rate: Decimal) -> Trade:
        pair = self.pairs[column]
        source = self.base if side is TradeSide.BUY else self.assets[column]
        self.exchange.fill_quote = _amount(price)
        self.exchange.commission_rate = rate
        try:
            order = Order(
                step=self.portfolio.clock.step,
                side=side,
                trade_type=TradeType.MARKET,
                exchange_pair=pair,
                price=self.exchange.fill_quote,
                quantity=amount * source,
                portfolio=self.portfolio,
            )
            broker.submit(order)
            broker.update()
        finally:
            self.exchange.fill_quote = None
            self.exchange.commission_rate = Decimal(0)
        if order.is_active:
            # The last decimal of a rounded commission can stay locked; cancelling gives it back.
            order.cancel()
        return order.trades[0]


def _amount(value: float | Decimal) -> Decimal:
    return Decimal(value).quantize(Decimal(10) ** -PRECISION)
