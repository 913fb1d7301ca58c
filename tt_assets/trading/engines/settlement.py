"""How much of the wanted shares is filled, and the cash after it.

Sells are filled first. Buys are then scaled down by one factor per account where the cash, commission included, does
not reach, so cash never goes negative. An order is cut to the volume limit, to whole shares where asked, and is not
sent at all when its commission would be as large as what it moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import CASH_RESERVE, Booleans, Floats
from tt_assets.trading.rules.costs import CostModel, ProportionalCosts
from tt_assets.trading.rules.registry import cost_model

# Shares this close to the next whole number are that number: two engines differ in the last digits.
_WHOLE = 1e-7

# Halvings of the interval in which the factor for buys is searched: as fine as a float.
_HALVINGS = 53


class Fills(NamedTuple):
    """Fills of one session and the cash after them.

    Parameters
    ----------
    shares : signed (B × N): positive bought, negative sold, 0 not traded.
    price : USD per share, slippage included (B × N).
    cash : USD after the fills, commission paid (B).
    """

    shares: Floats
    price: Floats
    cash: Floats


class AccountFills(NamedTuple):
    """Fills of one session of one account.

    Parameters
    ----------
    shares : signed (N): positive bought, negative sold, 0 not traded.
    price : USD per share, slippage included (N).
    commission : USD (N).
    closed : which of them closed the position in a delisted instrument at its last close (N).
    """

    shares: Floats
    price: Floats
    commission: Floats
    closed: Booleans

    @classmethod
    def none(cls, instruments: int) -> AccountFills:
        """Nothing traded."""
        nothing = np.zeros(instruments)
        return cls(nothing, nothing, nothing, np.zeros(instruments, dtype=bool))


class Settlement(Protocol):
    """Fills wanted shares out of cash."""

    @property
    def costs(self) -> CostModel:
        """What prices the fills and charges for them."""
        ...

    def settle(self, wanted: Floats, quote: Floats, volume: Floats, cash: Floats) -> Fills:
        """Fill what is wanted as far as cash, volume and whole shares allow: sells first, then buys.

        Parameters
        ----------
        wanted : signed shares (B × N), fixed at the close before; 0 where nothing can be filled.
        quote : open or close of the session of the fill, USD per share (B × N), finite.
        volume : shares traded in that session (B × N).
        cash : USD before the fills (B).

        Returns
        -------
        What was filled. Cash that was not negative stays so.
        """
        ...


@dataclass(frozen=True)
class LinearSettlement:
    """For costs that are linear in shares: the factor for buys is cash over what all of them would take."""

    costs: ProportionalCosts

    def settle(self, wanted: Floats, quote: Floats, volume: Floats, cash: Floats) -> Fills:
        """As the protocol says; volume has no part in it."""
        from tt_assets.trading import kernels

        costs = self.costs
        return Fills(*kernels.settle_linear(wanted, quote, cash, costs.commission_rate, costs.slippage_rate))


@dataclass(frozen=True)
class SearchedSettlement:
    """For any costs: the factor for buys is found by halving, since filling more never costs less.

    Parameters
    ----------
    costs : what prices the fills and charges for them.
    whole_shares : whether shares are cut to whole ones, towards zero.
    volume_limit : largest fill, fraction of the session's volume; 0: none.
    """

    costs: CostModel
    whole_shares: bool
    volume_limit: float

    def settle(self, wanted: Floats, quote: Floats, volume: Floats, cash: Floats) -> Fills:
        """As the protocol says."""
        wanted = self._cut(wanted, volume)
        selling, buying = np.minimum(wanted, 0.0), np.maximum(wanted, 0.0)
        sells, sell_price, outlay = self._fill(selling, quote, volume)
        cash = cash - outlay
        buys, buy_price, outlay = self._fill(buying, quote, volume)
        free = cash if self.whole_shares else cash * (1.0 - CASH_RESERVE)
        # Sells have been filled, so their proceeds pay for buys; one factor for all keeps the proportions decided on.
        short_of_cash = outlay > free
        if short_of_cash.any():
            most = self._largest_factor(buying, quote, volume, free)
            factor = np.where(short_of_cash, most, 1.0)
            buys, buy_price, outlay = self._fill(self._whole(buying * factor[..., None]), quote, volume)
        # An instrument is bought or sold in a session, never both: each has one price.
        price = np.where(buys > 0.0, buy_price, np.where(sells < 0.0, sell_price, quote))
        return Fills(sells + buys, price, cash - outlay)

    def _cut(self, wanted: Floats, volume: Floats) -> Floats:
        if self.volume_limit:
            limit = self.volume_limit * volume
            wanted = np.minimum(np.maximum(wanted, -limit), limit)
        return self._whole(wanted)

    def _whole(self, shares: Floats) -> Floats:
        return np.sign(shares) * np.floor(np.abs(shares) + _WHOLE) if self.whole_shares else shares

    def _fill(self, shares: Floats, quote: Floats, volume: Floats) -> tuple[Floats, Floats, Floats]:
        """Shares that are worth their commission, their price, and the cash they take per account (B)."""
        price = self.costs.fill_price(shares, quote, volume)
        notional, commission = shares * price, self.costs.commission(shares, price)
        worthwhile = commission < np.abs(notional)
        shares = np.where(worthwhile, shares, 0.0)
        outlay = np.where(worthwhile, notional + commission, 0.0)
        return shares, price, np.add.reduce(outlay, axis=-1)

    def _largest_factor(self, buying: Floats, quote: Floats, volume: Floats, free: Floats) -> Floats:
        """Largest factor in [0, 1] (B) at which all `buying` together take no more than `free`."""
        low, high = np.zeros_like(free), np.ones_like(free)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            outlay = self._fill(self._whole(buying * middle[..., None]), quote, volume)[2]
            reaches = outlay <= free
            low, high = np.where(reaches, middle, low), np.where(reaches, high, middle)
        return low


def settlement(config: TradingConfig) -> Settlement:
    """The settlement under `config`; ConfigError for an unknown cost model."""
    costs = cost_model(config)
    # `type is`: a class derived from it may charge in another way.
    if (
        type(costs) is ProportionalCosts
        and not costs.commission_minimum
        and not costs.commission_per_share
        and not config.whole_shares
        and not config.volume_limit
    ):
        return LinearSettlement(costs)
    return SearchedSettlement(costs, config.whole_shares, config.volume_limit)
