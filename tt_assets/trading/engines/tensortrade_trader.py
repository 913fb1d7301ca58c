"""A `Trader` on the TensorTrade environment. Imports TensorTrade: import this module where it is needed."""

from __future__ import annotations

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Observation, Scaler
from tt_assets.trading.engines.settlement import AccountFills
from tt_assets.trading.engines.tensortrade_env import session_env
from tt_assets.trading.engines.trader import TraderStep
from tt_assets.trading.panel import Floats, MarketPanel


class TensorTradeTrader:
    """A `Trader` on TensorTrade; see `trader.Trader`.

    Parameters
    ----------
    panel : bars and channels of the span with its look-back.
    config : how it trades; shorts raise UnsupportedOnTensorTrade.
    scaler : what its observations are scaled by.
    """

    borrow_fees = 0.0

    def __init__(self, panel: MarketPanel, config: TradingConfig, scaler: Scaler) -> None:
        self._env = session_env(panel, config, scaler)

    def reset(self) -> Observation:
        observation: Observation = self._env.reset()[0]
        return observation

    def targets(self, action: Floats) -> Floats:
        return self._env.targets(action)

    def step(self, action: Floats) -> TraderStep:
        observation, reward, terminated, truncated, _ = self._env.step(action)
        return TraderStep(observation, float(reward), bool(terminated), bool(truncated))

    @property
    def session(self) -> int:
        return self._env.observer.session

    @property
    def observation_names(self) -> tuple[str, ...]:
        return self._env.observation_names

    @property
    def net_worth(self) -> float:
        return self._env.net_worth

    @property
    def cash(self) -> float:
        return self._env.account.cash

    @property
    def quantity(self) -> Floats:
        return self._env.account.quantity

    @property
    def target(self) -> Floats:
        return self._env.target

    @property
    def fills(self) -> AccountFills:
        return self._env.fills

    @property
    def not_filled(self) -> int:
        return self._env.not_filled

    @property
    def cut_by_volume(self) -> int:
        return self._env.cut_by_volume
