"""One account that is stepped with one action a session, on either engine.

TensorTrade is what recorded episodes run on. The simulator keeps the same books much faster; it can also hold shorts
and trade a decision later than it was taken.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.settlement import AccountFills
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.errors import UnsupportedOnTensorTrade
from tt_assets.trading.panel import Floats, MarketPanel

Observation = npt.NDArray[np.float32]


class Engine(StrEnum):
    """What an episode runs on."""

    TENSORTRADE = "tensortrade"
    SIMULATOR = "simulator"


class TraderStep(NamedTuple):
    """What the agent sees at the next close, its reward, and whether the account was stopped or its data ended."""

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool


class Trader(Protocol):
    """One account over a panel's span. Its figures belong to the close of `session` (row of the panel).

    net_worth, cash, borrow_fees: USD. quantity: shares (N). target, fills: of the last decision (N). not_filled and
    cut_by_volume count orders so far.
    """

    @property
    def session(self) -> int: ...
    @property
    def observation_names(self) -> tuple[str, ...]: ...
    @property
    def net_worth(self) -> float: ...
    @property
    def cash(self) -> float: ...
    @property
    def quantity(self) -> Floats: ...
    @property
    def target(self) -> Floats: ...
    @property
    def fills(self) -> AccountFills: ...
    @property
    def not_filled(self) -> int: ...
    @property
    def cut_by_volume(self) -> int: ...
    @property
    def borrow_fees(self) -> float: ...

    def reset(self) -> Observation:
        """Start afresh in cash at the close of the span's first session."""
        ...

    def step(self, action: Floats) -> TraderStep:
        """Decide with a raw `action` (N) at this close, fill in the next session, mark at its close."""
        ...


class SimulatorTrader:
    """A `Trader` on one account of the simulator; weights are traded `delay` sessions later than decided."""

    def __init__(self, panel: MarketPanel, config: TradingConfig, scaler: Scaler, delay: int = 0) -> None:
        self._simulator = Simulator(panel, config, scaler, 1)
        self._waiting: deque[Floats] = deque()
        self._delay = delay
        self.reset()

    def reset(self) -> Observation:
        """See `Trader`; weights that wait are forgotten, an account holds nothing until its first can be traded."""
        self._simulator.reset(np.ones(1, dtype=bool), np.array([self._simulator.panel.start]))
        nothing = np.zeros(len(self._simulator.panel.instruments))
        self._waiting = deque([nothing[None]] * self._delay)
        self.fills = AccountFills(nothing, nothing, nothing)
        self.not_filled = self.cut_by_volume = 0
        return self._simulator.observe()[0]

    def step(self, action: Floats) -> TraderStep:
        """See `Trader`."""
        simulator = self._simulator
        actions = np.asarray(action, dtype=np.float64)[None]
        if self._delay:
            self._waiting.append(simulator.weights(actions))
            step = simulator.step_to(self._waiting.popleft())
        else:
            step = simulator.step(actions)
        shares, price = step.fills.shares, step.fills.price
        self.fills = AccountFills(shares[0], price[0], simulator.costs.commission(shares, price)[0])
        not_filled, cut = simulator.unfilled()
        self.not_filled += not_filled
        self.cut_by_volume += cut
        observation = simulator.observe()[0]
        return TraderStep(observation, float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]))

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
        return self._simulator.quantity[0].copy()

    @property
    def target(self) -> Floats:
        return self._simulator.target[0].copy()

    @property
    def borrow_fees(self) -> float:
        return float(self._simulator.borrow_fees[0])


def open_trader(
    panel: MarketPanel, config: TradingConfig, scaler: Scaler, engine: Engine = Engine.TENSORTRADE, delay: int = 0
) -> Trader:
    """An account in cash on `engine`. Shorts and a delay raise UnsupportedOnTensorTrade there."""
    if engine is Engine.SIMULATOR:
        return SimulatorTrader(panel, config, scaler, delay)
    if delay:
        raise UnsupportedOnTensorTrade(
            f"a delay of {delay} sessions is asked for, which the simulator only can trade; choose engine=simulator."
        )
    from tt_assets.trading.engines.tensortrade_trader import TensorTradeTrader

    return TensorTradeTrader(panel, config, scaler)
