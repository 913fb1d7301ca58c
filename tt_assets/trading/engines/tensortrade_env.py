"""The evaluation environment: a TensorTrade `TradingEnv` whose episodes are recorded.

TensorTrade has one price per row of its feed, so a session has two rows: the price orders fill at, then the close the
account is marked at. The action scheme moves the feed to the first, the observer to the second. TensorTrade's own
streams work out the net worth. Imports TensorTrade: import this module where it is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Observation, ObservationBuilder, Scaler
from tt_assets.trading.engines.settlement import AccountFills, settlement
from tt_assets.trading.engines.simulator import refuse_not_finite
from tt_assets.trading.engines.tape import DecisionTape, unfilled, wanted_shares
from tt_assets.trading.engines.tensortrade_account import PLACEHOLDER_PRICE, Account
from tt_assets.trading.engines.tensortrade_parts import (
    DataFeed,
    EmptyRenderer,
    Informer,
    Stopper,
    Stream,
    TensorTradeActionScheme,
    TensorTradeObserver,
    TensorTradeRewardScheme,
    TradingEnv,
)
from tt_assets.trading.errors import UnsupportedOnTensorTrade
from tt_assets.trading.panel import Actions, Floats, MarketPanel
from tt_assets.trading.rules.registry import action_scheme, reward_scheme, stoppers


class _Rebalance(TensorTradeActionScheme):
    """Target weights from the action at the close of t; orders filled at the first feed row of t+1."""

    registered_name = "actions"

    def __init__(self, panel: MarketPanel, config: TradingConfig, account: Account) -> None:
        super().__init__()
        self.account = account
        self.portfolio = account.portfolio
        self._panel = panel
        self._scheme = action_scheme(config)
        self._tape = DecisionTape(panel, config, self._scheme)
        self._config = config
        self._settlement = settlement(config)
        self._forget()

    def _forget(self) -> None:
        self.action = np.zeros((1, len(self._panel.instruments)))
        self.target = np.zeros((1, len(self._panel.instruments)))
        self.turnover = np.zeros(1)
        self.not_filled = 0
        self.cut_by_volume = 0
        self.fills = AccountFills.none(len(self._panel.instruments))

    @property
    def action_space(self) -> spaces.Space[Any]:
        return self._scheme.space(len(self._panel.instruments))

    def get_orders(self, action: Any, portfolio: Any) -> list[Any]:
        raise NotImplementedError("orders are built one after the other in `perform`: an order locks its funds")

    def weights_at(self, now: npt.NDArray[np.int64], action: Floats) -> Floats:
        """Target weights (1 × N) of `action` (1 × N) at row `now` (1); NotFinite where one is not a number."""
        weights = self._scheme.weights(action, self._tape.at(now).scale)
        if not np.isfinite(weights).all():
            net_worth = np.array([float(self.portfolio.net_worth)])
            refuse_not_finite(self._panel, now, action, weights, np.zeros(1), net_worth)
        return weights

    def perform(self, env: TradingEnv, action: Actions) -> None:
        # TensorTrade does not end a feed, it repeats the last row: the account would trade a session that is over.
        if not env.observer.has_next():
            raise IndexError("the episode is over: TensorTrade would repeat its last row; call reset")
        now = np.array([env.observer.session])
        decision = self._tape.at(now)
        self.action = np.asarray(action, dtype=np.float64)[None]
        net_worth = np.array([float(self.portfolio.net_worth)])
        # Before any order: TensorTrade would turn a NaN into a Decimal and fail far from where it came from.
        weights = self.weights_at(now, self.action)
        self.turnover = np.abs(weights - self.target).sum(axis=-1)
        self.target = weights
        closing = self._tape.closing[now[0]]
        paid = np.where(closing > 0.0, self.account.quantity, 0.0)
        wanted = wanted_shares(weights, net_worth, (self.account.quantity - paid)[None], decision.per_usd)
        not_filled, cut = unfilled(wanted, decision, self._config)
        self.not_filled += not_filled
        self.cut_by_volume += cut
        sent = np.where(np.abs(wanted) < decision.smallest, 0.0, wanted)
        cash = np.array([self.account.cash + float((paid * closing).sum())])
        planned = self._settlement.settle(sent, decision.fill_price, decision.volume, cash)
        # The orders are planned from the decision; only now does the feed move to the prices they fill at.
        env.observer.feed.next()
        # Delisted positions first: what they pay is there to buy with.
        for column in np.flatnonzero(paid > 0.0):
            self.account.close(self.broker, column, closing[column])
        fills = self.account.trade(self.broker, planned, self._settlement.costs)
        closed = paid > 0.0
        self.fills = AccountFills(
            np.where(closed, -paid, fills.shares), np.where(closed, closing, fills.price), fills.commission, closed
        )

    def reset(self) -> None:
        super().reset()
        self._forget()


class _CloseObserver(TensorTradeObserver):
    """Moves TensorTrade's feed to the next close and shows the agent the platform's observation."""

    registered_name = "observer"

    def __init__(self, panel: MarketPanel, config: TradingConfig, scaler: Scaler, account: Account, feed: Any) -> None:
        self._builder = ObservationBuilder(panel, scaler, config.observation_window)
        self._account = account
        self._marks = panel.marks
        self.session = panel.start
        super().__init__(portfolio=account.portfolio, feed=feed)
        self._observation_space = spaces.Box(-np.inf, np.inf, (self._builder.size,), np.float32)

    @property
    def names(self) -> tuple[str, ...]:
        return self._builder.names

    def observe(self, env: TradingEnv) -> Observation:
        self.session = int(self.feed.next()["external"]["row"])
        net_worth = float(self._account.portfolio.net_worth)
        weights = self._account.quantity * self._marks[self.session] / net_worth
        cash_share = np.array([self._account.cash / net_worth])
        seen: Observation = self._builder.observe(np.array([self.session]), weights[None], cash_share)[0]
        return seen


class _Reward(TensorTradeRewardScheme):
    """The configured reward scheme on one account; also keeps the peak for the stoppers."""

    registered_name = "rewards"

    def __init__(self, panel: MarketPanel, config: TradingConfig) -> None:
        self._panel = panel
        self._scheme = reward_scheme(config, 1)
        self._cash = config.initial_cash
        self.reset()

    def reset(self) -> None:
        self._scheme.reset(np.ones(1, dtype=bool))
        self.net_worth = np.array([self._cash])
        self.peak = self.net_worth
        self.drawdown = np.zeros(1)

    def reward(self, env: TradingEnv) -> float:
        net_worth = np.array([float(env.action_scheme.portfolio.net_worth)])
        self.peak = np.maximum(self.peak, net_worth)
        self.drawdown = 1.0 - net_worth / self.peak
        reward = self._scheme.reward(net_worth / self.net_worth - 1.0, self.drawdown, env.action_scheme.turnover)
        self.net_worth = net_worth
        if not np.isfinite(reward + net_worth).all():
            decided, scheme = np.array([env.observer.session - 1]), env.action_scheme
            refuse_not_finite(self._panel, decided, scheme.action, scheme.target, reward, net_worth)
        return float(reward[0])

    def get_reward(self, portfolio: Any) -> float:
        raise NotImplementedError("`reward` needs the turnover, which the portfolio does not know")


class _Stoppers(Stopper):
    """Drawdown and net-worth floor. The end of the feed is a truncation and is not decided here."""

    registered_name = "stopper"

    def __init__(self, config: TradingConfig) -> None:
        self._stoppers = stoppers(config)

    def stop(self, env: TradingEnv) -> bool:
        account = env.reward_scheme
        return any(bool(stopper.stops(account.net_worth, account.drawdown)[0]) for stopper in self._stoppers)


class _Marks(Informer):
    """The session an observation belongs to, with net worth (USD) and cash (USD) at its close."""

    registered_name = "monitor"

    def info(self, env: TradingEnv) -> dict[str, float]:
        scheme = env.action_scheme
        return {
            "session": env.observer.session,
            "net_worth": float(scheme.portfolio.net_worth),
            "cash": scheme.account.cash,
        }


class SessionEnv(TradingEnv):
    """A TensorTrade environment over one panel's span; `reset` and `step` as Gymnasium says.

    `reset` ignores its seed, as TensorTrade does: nothing here is drawn. `step` returns truncated at the last session
    and raises IndexError after it.
    """

    action_scheme: _Rebalance
    observer: _CloseObserver

    @property
    def account(self) -> Account:
        """The wallets."""
        return self.action_scheme.account

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Name of each element of an observation."""
        return self.observer.names

    @property
    def net_worth(self) -> float:
        """USD at the last close, from TensorTrade's own streams."""
        return float(self.action_scheme.portfolio.net_worth)

    @property
    def target(self) -> Floats:
        """Target weights (N) of the last decision."""
        target: Floats = self.action_scheme.target[0]
        return target

    def targets(self, action: Actions) -> Floats:
        """Target weights (N) of `action` at the close of this session; nothing is traded."""
        now = np.array([self.observer.session])
        weights: Floats = self.action_scheme.weights_at(now, np.asarray(action, dtype=np.float64)[None])[0]
        return weights

    @property
    def fills(self) -> AccountFills:
        """Fills of the last decision; of nothing before the first."""
        return self.action_scheme.fills

    @property
    def not_filled(self) -> int:
        """Orders wanted so far that met a session without a bar or without volume."""
        return self.action_scheme.not_filled

    @property
    def cut_by_volume(self) -> int:
        """Orders so far that were cut to the volume limit."""
        return self.action_scheme.cut_by_volume


def session_env(panel: MarketPanel, config: TradingConfig, scaler: Scaler) -> SessionEnv:
    """TensorTrade's environment over the panel's span.

    Parameters
    ----------
    panel : bars and channels of the span with its look-back.
    config : how it trades.
    scaler : what observations are scaled by.

    Raises
    ------
    UnsupportedOnTensorTrade : shorts are allowed; its wallets cannot go below 0.
    """
    if config.allow_shorts:
        raise UnsupportedOnTensorTrade(
            "allow_shorts is true, but TensorTrade's wallets cannot hold less than nothing; train and evaluate with "
            "allow_shorts false (TT_ALLOW_SHORTS=false), shorts run on the simulator only."
        )
    sessions = np.arange(panel.start, len(panel.sessions))
    marks = np.where(panel.marks > 0.0, panel.marks, PLACEHOLDER_PRICE)
    fill_prices = panel.fill_prices(config.execution)
    fill_prices = np.where(np.isfinite(fill_prices), fill_prices, marks)
    # The close of the first session, then for each later session the price of its fills and its close.
    rows = np.repeat(sessions, 2)[1:]
    is_close = np.arange(len(rows)) % 2 == 0
    account = Account(
        np.where(is_close[:, None], marks[rows], fill_prices[rows]),
        config.initial_cash,
        whole_shares=config.whole_shares,
    )
    feed = DataFeed([Stream.source(rows.astype(float).tolist(), dtype="float").rename("row")])
    return SessionEnv(
        action_scheme=_Rebalance(panel, config, account),
        reward_scheme=_Reward(panel, config),
        observer=_CloseObserver(panel, config, scaler, account, feed),
        stopper=_Stoppers(config),
        informer=_Marks(),
        renderer=EmptyRenderer(),
        max_episode_steps=max(len(sessions) - 1, 1),
    )
