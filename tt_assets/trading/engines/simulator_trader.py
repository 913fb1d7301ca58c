"""A `Trader` on one account of the simulator."""

from __future__ import annotations

from collections import deque

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Observation, Scaler
from tt_assets.trading.engines.settlement import AccountFills
from tt_assets.trading.engines.simulator import Simulator, refuse_not_finite
from tt_assets.trading.engines.trader import TraderStep
from tt_assets.trading.panel import Floats, MarketPanel


class SimulatorTrader:
    """A `Trader` on one account of the simulator.

    Parameters
    ----------
    panel : bars and channels of the span with its look-back.
    config : how it trades. An unknown name raises ConfigError.
    scaler : what its observations are scaled by.
    delay : sessions that weights are traded later than decided.
    counts : False: orders that were not filled, or cut, are not counted; a judgement does not wait for them.
    """

    def __init__(
        self,
        panel: MarketPanel,
        config: TradingConfig,
        scaler: Scaler,
        delay: int = 0,
        *,
        counts: bool = True,
    ) -> None:
        self._counts = counts
        self._simulator = Simulator(panel, config, scaler, 1)
        self._waiting: deque[Floats] = deque()
        self._delay = delay
        self.reset()

    def reset(self) -> Observation:
        """See `Trader`; weights that wait are forgotten, an account holds nothing until its first can be traded."""
        self._simulator.reset(np.ones(1, dtype=bool), np.array([self._simulator.panel.start]))
        nothing = np.zeros(len(self._simulator.panel.instruments))
        self._waiting = deque([nothing[None]] * self._delay)
        self.fills = AccountFills.none(len(nothing))
        self.not_filled = self.cut_by_volume = 0
        return self._seen()

    def targets(self, action: Floats) -> Floats:
        """See `Trader`; with a delay, the weights that were decided that many sessions before."""
        simulator = self._simulator
        actions = np.asarray(action, dtype=np.float64)[None]
        weights = self._waiting[0] if self._delay else simulator.weights(actions)
        if not np.isfinite(weights).all():
            nothing = np.zeros(1)
            refuse_not_finite(simulator.panel, simulator.session, actions, weights, nothing, simulator.net_worth)
        decided: Floats = weights[0].copy()
        return decided

    def step(self, action: Floats) -> TraderStep:
        """See `Trader`."""
        simulator = self._simulator
        actions = np.asarray(action, dtype=np.float64)[None]
        # Weights wait, not actions: the scale that sizes them is that of the session they were decided in.
        if self._delay:
            self._waiting.append(simulator.weights(actions))
            step = simulator.step_to(self._waiting.popleft())
        else:
            step = simulator.step(actions)
        shares, price = step.fills.shares, step.fills.price
        # A payout is no order: nobody charges for it.
        ordered = np.where(step.closed, 0.0, shares) if simulator.tape.closes else shares
        commission = simulator.costs.commission(ordered, price)
        self.fills = AccountFills(shares[0], price[0], commission[0], step.closed[0])
        if self._counts:
            not_filled, cut = simulator.unfilled()
            self.not_filled += not_filled
            self.cut_by_volume += cut
        return TraderStep(self._seen(), float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]))

    def _seen(self) -> Observation:
        seen: Observation = self._simulator.observe()[0]
        return seen

    @property
    def session(self) -> int:
        return int(self._simulator.session[0])

    @property
    def observation_names(self) -> tuple[str, ...]:
        return self._simulator.observations.names

    @property
    def net_worth(self) -> float:
        return float(self._simulator.net_worth[0])

    @property
    def cash(self) -> float:
        return float(self._simulator.cash[0])

    @property
    def quantity(self) -> Floats:
        quantity: Floats = self._simulator.quantity[0].copy()
        return quantity

    @property
    def target(self) -> Floats:
        target: Floats = self._simulator.target[0].copy()
        return target

    @property
    def borrow_fees(self) -> float:
        return float(self._simulator.borrow_fees[0])
