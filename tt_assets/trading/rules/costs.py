"""What a fill costs: slippage in its price, commission in cash.

A cost model prices an order and charges for it; `settlement` decides how much of the order is filled. Both engines
settle through the same arithmetic.

    class FlatTicket(CostModel):
        "A dollar an order."
        name = "flat_ticket"

        @classmethod
        def from_config(cls, config):
            return cls()

        def fill_price(self, shares, quote, volume):
            return quote

        def commission(self, shares, fill_price):
            return np.where(shares != 0.0, 1.0, 0.0)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Floats

_BPS = 1e-4


class CostModel(ABC):
    """Slippage and commission of fills, element by element over accounts × instruments (B × N).

    A model of your own has a `name`, `from_config`, `fill_price` and `commission`. Filling more must never cost less
    in all: `settlement` searches by halving for the most that the cash can pay.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def from_config(cls, config: TradingConfig) -> CostModel:
        """The model under `config`."""

    @abstractmethod
    def fill_price(self, shares: Floats, quote: Floats, volume: Floats) -> Floats:
        """Price at which an order fills, slippage included.

        Parameters
        ----------
        shares : signed (B × N): bought above 0, sold below, 0 not traded.
        quote : open or close of the fill's session (B × N), USD per share; finite, 0 where nothing can be filled.
        volume : shares traded in the whole session (B × N), known at its close only: it prices the fill, the agent
            never sees it beforehand.

        Returns
        -------
        USD per share (B × N), above 0 where `quote` is.
        """

    @abstractmethod
    def commission(self, shares: Floats, fill_price: Floats) -> Floats:
        """What is charged for the fills.

        Parameters
        ----------
        shares : signed (B × N).
        fill_price : as `fill_price` gives it (B × N), USD per share.

        Returns
        -------
        USD (B × N), at least 0; 0 where there are no shares.
        """

    def times(self, multiple: float) -> CostModel:
        """The model with all its costs times `multiple`."""
        return MultipliedCosts(self, multiple)


@dataclass(frozen=True)
class ProportionalCosts(CostModel):
    """Commission of a share of notional and an amount per share, with a minimum per order; slippage a share of price.

    Slippage is always against the trader. Nothing is rounded.

    Parameters
    ----------
    commission_rate : fraction of notional.
    commission_per_share, commission_minimum : USD a share, and the least USD an order.
    slippage_rate : fraction of the quote.
    """

    name: ClassVar[str] = "proportional"

    commission_rate: float
    commission_per_share: float
    commission_minimum: float
    slippage_rate: float

    @classmethod
    def from_config(cls, config: TradingConfig) -> ProportionalCosts:
        """Rates from the basis points of `config`."""
        return cls(
            commission_rate=config.commission_bps * _BPS,
            commission_per_share=config.commission_per_share,
            commission_minimum=config.commission_minimum,
            slippage_rate=config.slippage_bps * _BPS,
        )

    def fill_price(self, shares: Floats, quote: Floats, volume: Floats) -> Floats:
        """quote × (1 ± slippage)."""
        return quote * (1.0 + np.sign(shares) * self.slippage_rate) if self.slippage_rate else quote

    def commission(self, shares: Floats, fill_price: Floats) -> Floats:
        """The larger of the minimum and rate × |shares| × fill price + per share × |shares|."""
        size = np.abs(shares)
        charged = size * fill_price * self.commission_rate
        if self.commission_per_share:
            charged = charged + size * self.commission_per_share
        if self.commission_minimum:
            charged = np.where(size > 0.0, np.maximum(charged, self.commission_minimum), 0.0)
        return charged

    def times(self, multiple: float) -> CostModel:
        """Rates, amounts and minimum times `multiple`: as linear as before."""
        return replace(self, **{name: multiple * rate for name, rate in vars(self).items()})


@dataclass(frozen=True)
class VolumeShareCosts(ProportionalCosts):
    """As proportional, and the price moves against the trader by impact × (|shares| / volume of the session)².

    The square of the share of volume times a factor is the model of zipline's `VolumeShareSlippage`.
    """

    name: ClassVar[str] = "volume_share"

    price_impact: float

    @classmethod
    def from_config(cls, config: TradingConfig) -> VolumeShareCosts:
        """As proportional, with the impact of `config`."""
        plain = ProportionalCosts.from_config(config)
        return cls(**vars(plain), price_impact=config.price_impact)

    def fill_price(self, shares: Floats, quote: Floats, volume: Floats) -> Floats:
        """quote × (1 ± (slippage + impact × share²)); the share of volume is never taken above 1."""
        # The settlement's volume limit may be off, so an order can be larger than the session it fills in.
        share = np.minimum(np.abs(shares) / np.maximum(volume, 1.0), 1.0)
        slippage = self.slippage_rate + self.price_impact * share * share
        price: Floats = quote * (1.0 + np.sign(shares) * slippage)
        return price


@dataclass(frozen=True)
class MultipliedCosts(CostModel):
    """Another model's slippage and commission times a number.

    Parameters
    ----------
    costs : the model.
    multiple : how many times it is charged.
    """

    costs: CostModel
    multiple: float

    @classmethod
    def from_config(cls, config: TradingConfig) -> CostModel:
        """Not made from settings: it is what `times` makes of a model that has been made from them."""
        raise TypeError("costs are multiplied with CostModel.times")

    def fill_price(self, shares: Floats, quote: Floats, volume: Floats) -> Floats:
        """The quote and `multiple` times what the model adds to it."""
        slipped = quote + self.multiple * (self.costs.fill_price(shares, quote, volume) - quote)
        # Several times a large slippage would sell below 0: a basis point of the quote is the least a seller gets.
        return np.maximum(slipped, 1e-4 * quote)

    def commission(self, shares: Floats, fill_price: Floats) -> Floats:
        """`multiple` times the model's."""
        return self.multiple * self.costs.commission(shares, fill_price)
