"""What a fill costs: slippage in its price, commission in cash; and what the cash on hand can pay for.

Sells are filled first. Buys are then scaled down by one factor per account where the cash, commission included, does
not reach, so cash never goes negative. Both engines settle through the same model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Floats
from tt_assets.trading.registry import named

_BPS = 1e-4

# Buys use the cash on hand down to this relative hair, so that rounding never overdraws the account.
_HAIR = 1e-12
_TINY = 1e-300


class Fills(NamedTuple):
    """Fills of one session over accounts (B × N) and the cash after them (B, USD).

    `shares` are signed: positive bought, negative sold, 0 not traded. `price` is USD per share, slippage included.
    """

    shares: Floats
    price: Floats
    cash: Floats


class CostModel(ABC):
    """Slippage and commission of fills."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def from_config(cls, config: TradingConfig) -> CostModel:
        """The model under `config`."""

    @abstractmethod
    def settle(self, wanted: Floats, price: Floats, cash: Floats) -> Fills:
        """Fill `wanted` signed shares (B × N) at the quoted `price` (B × N, USD) out of `cash` (B, USD)."""

    @abstractmethod
    def commission(self, shares: Floats, fill_price: Floats) -> Floats:
        """USD charged for filling `shares` at `fill_price`, element by element; 0 where there are none."""


@dataclass(frozen=True)
class ProportionalCosts(CostModel):
    """Commission as a share of notional, slippage as a share of price against the trader. Neither is rounded."""

    name: ClassVar[str] = "proportional"

    commission_rate: float
    slippage_rate: float

    @classmethod
    def from_config(cls, config: TradingConfig) -> ProportionalCosts:
        """Rates from the basis points of `config`."""
        return cls(commission_rate=config.commission_bps * _BPS, slippage_rate=config.slippage_bps * _BPS)

    def settle(self, wanted: Floats, price: Floats, cash: Floats) -> Fills:
        """Costs are linear in shares, so the factor for buys is cash over what all of them would take."""
        rate = self.commission_rate
        if self.slippage_rate:
            price = price * (1.0 + np.sign(wanted) * self.slippage_rate)
        notional = wanted * price
        sold = np.add.reduce(np.minimum(notional, 0.0), axis=-1)
        outlay = (np.add.reduce(notional, axis=-1) - sold) * (1.0 + rate)
        cash = cash - sold * (1.0 - rate)
        free = cash * (1.0 - _HAIR)
        needed = np.maximum(outlay, free)
        if (needed == free).all():
            return Fills(wanted, price, cash - outlay)
        # Where there is neither cash nor a buy the factor is 0 / tiny.
        factor = free / np.maximum(needed, _TINY)
        shares = np.where(wanted > 0.0, wanted * factor[..., None], wanted)
        return Fills(shares, price, cash - outlay * factor)

    def commission(self, shares: Floats, fill_price: Floats) -> Floats:
        """rate × |shares| × fill price."""
        return np.abs(shares) * fill_price * self.commission_rate


COST_MODELS: Mapping[str, type[CostModel]] = {model.name: model for model in (ProportionalCosts,)}
"""Cost models by name."""


def cost_model(config: TradingConfig, name: str = ProportionalCosts.name) -> CostModel:
    """The cost model of `config`; an unknown name raises ConfigError listing the known ones."""
    return named(COST_MODELS, name, "cost model").from_config(config)
