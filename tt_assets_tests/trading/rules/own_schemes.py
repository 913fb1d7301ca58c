"""What a user would write: one small class each."""

import numpy as np

from tt_assets.trading.rules.costs import CostModel
from tt_assets.trading.rules.rewards import RewardScheme
from tt_assets.trading.rules.schemes import ActionScheme
from tt_assets.trading.rules.stoppers import Stopper


class HalfInvested(ActionScheme):
    """Half of net worth in equal parts at the most."""

    name = "half_invested"

    def scale(self, panel):
        return np.where(panel.listed, 0.5 / len(panel.instruments), 0.0)


class OnlyDrawdown(RewardScheme):
    """Minus the drawdown."""

    name = "only_drawdown"

    def reset(self, which):
        pass

    def reward(self, returns, drawdown, turnover):
        return -drawdown


class FlatTicket(CostModel):
    """Two dollars an order."""

    name = "flat_ticket"

    @classmethod
    def from_config(cls, config):
        return cls()

    def fill_price(self, shares, quote, volume):
        return quote

    def commission(self, shares, fill_price):
        return np.where(shares != 0.0, 2.0, 0.0)


class TakeProfit(Stopper):
    """Stops at twelve thousand."""

    name = "take_profit"

    @classmethod
    def from_config(cls, config):
        return cls()

    def stops(self, net_worth, drawdown):
        return net_worth >= 10_400.0
