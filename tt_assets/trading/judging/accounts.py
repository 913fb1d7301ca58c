"""One strategy over one window on the simulator, with everything that figures are made of; and windows in a chain.

Figures come from fills and closes, never from targets: what is held drifts without being traded, and what is wanted is
not always filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.settlement import AccountFills
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.engines.simulator_trader import SimulatorTrader
from tt_assets.trading.episodes.baselines import Baseline
from tt_assets.trading.episodes.roll import Strategy
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.panel import Booleans, Floats, MarketPanel

VOLUME_SESSIONS = 20
"""Sessions over which the usual volume is taken."""

COSTS = ("commission", "slippage", "impact", "borrow")
"""Columns of `Account.costs`: charged in cash; paid in the price, at any size and for size; for shares held short."""


@dataclass(frozen=True, eq=False)
class Account:
    """One strategy over one window of S sessions, from the first close on.

    Parameters
    ----------
    sessions : dates (S).
    growth : net worth over that at the first close (S).
    returns : close to close (S − 1), interest on cash included, fractions.
    cash_returns : what cash earned (S − 1).
    gross : Σ |position| over net worth at each close (S); cash_share : cash over net worth (S).
    traded : half of Σ |notional filled| over net worth at the close before (S − 1): one way.
    participation : largest fill of a session over the mean volume of the 20 sessions before it (S − 1); NaN in volume
        counts as no volume, a fill without volume before it as 1.
    costs : of each session (S − 1 × 4, `COSTS`), fractions of net worth at the close before.
    contribution : of each instrument to the return (S − 1 × N), costs taken from what caused them; interest left out.
    changes : mean |Δ target weight| over instruments (decisions).
    instruments : symbols (N).
    stopped : whether a stopper closed the account before the window ended.
    """

    sessions: npt.NDArray[np.datetime64]
    growth: Floats
    returns: Floats
    cash_returns: Floats
    gross: Floats
    cash_share: Floats
    traded: Floats
    participation: Floats
    costs: Floats
    contribution: Floats
    changes: Floats
    instruments: tuple[str, ...]
    stopped: bool


@dataclass(frozen=True, eq=False)
class _Tape:
    """What an account did in its S − 1 or fewer steps: USD and shares at each close, the first too, and each fill."""

    net_worth: Floats
    cash: Floats
    quantity: Floats
    shares: Floats
    price: Floats
    commission: Floats
    closed: Booleans
    borrow: Floats
    targets: Floats


def account(
    strategy: Strategy, panel: MarketPanel, config: TradingConfig, delay: int = 0, rate: CashRate | None = None
) -> Account:
    """Roll `strategy` over the span of `panel`.

    Parameters
    ----------
    strategy : who decides.
    panel : bars and channels of the window with its look-back.
    config : how it trades.
    delay : sessions that every decision is traded later.
    rate : what cash earns; nothing where None. It is credited on the cash of the close before and grows the account;
        no order is sized on it: weights are fractions, so sizes follow by themselves.

    An account that is stopped stays at its last net worth, in cash, until its window ends.
    """
    trader = SimulatorTrader(panel, config, strategy.scaler, delay, counts=False)
    observation = trader.reset()
    sessions = len(panel.sessions) - panel.start
    closes = [(trader.net_worth, trader.cash, trader.quantity)]
    fills: list[AccountFills] = []
    fees: list[float] = [0.0]
    targets: list[Floats] = []
    terminated = False
    while len(closes) < sessions and not terminated:
        observation, _, terminated, _ = trader.step(strategy.act(trader, observation))
        closes.append((trader.net_worth, trader.cash, trader.quantity))
        fills.append(trader.fills)
        fees.append(trader.borrow_fees)
        targets.append(trader.target)
    net_worth, cash, quantity = (np.array(part) for part in zip(*closes, strict=True))
    empty = np.zeros((len(fills), len(panel.instruments)))
    tape = _Tape(
        net_worth,
        cash,
        quantity,
        _rows([part.shares for part in fills], empty),
        _rows([part.price for part in fills], empty),
        _rows([part.commission for part in fills], empty),
        _rows([part.closed for part in fills], empty).astype(bool),
        np.diff(fees),
        _rows(targets, empty),
    )
    return _measured(tape, panel, config, rate or CashRate(), stopped=terminated)


def _rows(parts: Sequence[npt.NDArray[Any]], empty: Floats) -> Floats:
    """`parts` below each other, in the shape of `empty` also where there is none."""
    return np.array(parts, dtype=np.float64).reshape(empty.shape)


def baseline_accounts(
    baselines: Sequence[Baseline], panel: MarketPanel, config: TradingConfig, rate: CashRate | None = None
) -> list[Account]:
    """Roll `baselines`, one or more, over the span of `panel` as accounts of one simulator, and measure each.

    They share a step, so ten cost little more than one.

    Parameters
    ----------
    baselines : made for `panel` and `config`.
    panel : bars of the window with its look-back.
    config : how they trade, without stopper and shorts, as `baseline_config` makes it: all last as long as the window.
    rate : what cash earns; nothing where None.

    Returns
    -------
    One account a baseline, in their order.
    """
    simulator = Simulator(panel, config, baselines[0].scaler, len(baselines))
    closes = [(simulator.net_worth.copy(), simulator.cash.copy(), simulator.quantity.copy())]
    steps: list[tuple[Floats, Floats, Floats, Booleans, Floats]] = []
    for session in range(panel.start, len(panel.sessions) - 1):
        actions = [
            one.decide(session, held, worth)
            for one, held, worth in zip(baselines, simulator.quantity, simulator.net_worth, strict=True)
        ]
        step = simulator.step(np.array(actions))
        shares, price = step.fills.shares, step.fills.price
        # A payout is no order: nobody charges for it.
        commission = simulator.costs.commission(np.where(step.closed, 0.0, shares), price)
        closes.append((simulator.net_worth.copy(), simulator.cash.copy(), simulator.quantity.copy()))
        steps.append((shares, price, commission, step.closed, step.weights))
    net_worth, cash, quantity = (np.array(part) for part in zip(*closes, strict=True))
    empty = np.zeros((len(steps), *quantity.shape[1:]))
    shares, price, commission, closed, targets = (_rows([step[at] for step in steps], empty) for at in range(5))
    return [
        _measured(
            _Tape(
                net_worth[:, own],
                cash[:, own],
                quantity[:, own],
                shares[:, own],
                price[:, own],
                commission[:, own],
                closed[:, own].astype(bool),
                np.zeros(len(steps)),
                targets[:, own],
            ),
            panel,
            config,
            rate or CashRate(),
            stopped=False,
        )
        for own in range(len(baselines))
    ]


def _measured(tape: _Tape, panel: MarketPanel, config: TradingConfig, rate: CashRate, *, stopped: bool) -> Account:
    sessions, steps = len(panel.sessions) - panel.start, len(tape.shares)
    rows = slice(panel.start + 1, panel.start + 1 + steps)
    net_worth, shares, closed = tape.net_worth, tape.shares, tape.closed
    price = np.where(shares != 0.0, tape.price, 0.0)
    # What was closed after a delisting had no quote and cost nothing.
    quotes = np.where(closed, price, np.where(shares != 0.0, panel.fill_prices(config.execution)[rows], 0.0))
    before = net_worth[:-1, None]
    position = tape.quantity * panel.marks[panel.start : panel.start + 1 + steps]
    slipped = np.abs(shares) * np.abs(price - quotes)
    # What a fill of any size pays; the rest of what the price was worse is the fill's own weight in the market.
    flat = np.minimum(slipped, np.abs(shares) * quotes * config.slippage_bps * 1e-4 * config.cost_multiple)
    impact = np.where(slipped - flat > 1e-9 * slipped, slipped - flat, 0.0)
    borrow = tape.borrow
    owed = -np.minimum(position[1:], 0.0)
    # The fee is charged on all shorts together; each instrument bears its share of them.
    short = np.divide(owed, owed.sum(axis=1, keepdims=True), out=np.zeros_like(owed), where=owed > 0.0)
    # The change of a position's worth, less the cash that went into it and what it was charged.
    profit = np.diff(position, axis=0) - shares * price - tape.commission - short * borrow[:, None]
    charged = (tape.commission.sum(axis=1), (slipped - impact).sum(axis=1), impact.sum(axis=1), borrow)
    costs = np.stack(charged, axis=1) / before
    usual = _usual_volume(panel)[rows]
    size = np.abs(shares)
    sent = (size > 0.0) & ~closed
    taken = np.divide(size, np.maximum(usual, size), out=np.zeros_like(size), where=sent)
    earned = rate.per_session(panel.sessions[panel.start : panel.start + sessions])
    cash_share = _padded(tape.cash / net_worth, sessions, 1.0)
    returns = _padded(net_worth[1:] / net_worth[:-1] - 1.0, sessions - 1, 0.0) + cash_share[:-1] * earned
    return Account(
        sessions=panel.sessions[panel.start : panel.start + sessions],
        growth=np.concatenate([[1.0], np.cumprod(1.0 + returns)]) if earned.any() else _held(net_worth, sessions),
        returns=returns,
        cash_returns=earned,
        gross=_padded(np.abs(position).sum(axis=1) / net_worth, sessions, 0.0),
        cash_share=cash_share,
        traded=_padded((np.abs(shares) * price).sum(axis=1) / before[:, 0] / 2.0, sessions - 1, 0.0),
        participation=_padded(taken.max(axis=1, initial=0.0), sessions - 1, 0.0),
        costs=_padded(costs, sessions - 1, 0.0),
        contribution=_padded(profit / before, sessions - 1, 0.0),
        changes=np.abs(np.diff(tape.targets, axis=0, prepend=0.0)).mean(axis=1),
        instruments=panel.instruments,
        stopped=stopped,
    )


def _usual_volume(panel: MarketPanel) -> Floats:
    """Mean volume of the 20 sessions before each (T × N), fewer at the beginning; 0 where there are none."""
    volume = np.nan_to_num(panel.volume)
    total = np.concatenate([np.zeros((1, volume.shape[1])), np.cumsum(volume, axis=0)])
    rows = np.arange(len(volume))
    first = np.maximum(rows - VOLUME_SESSIONS, 0)
    # Row t is a difference of sums before t, so the session an order fills in is no part of it.
    usual: Floats = (total[rows] - total[first]) / np.maximum(rows - first, 1)[:, None]
    return usual


def _held(net_worth: Floats, sessions: int) -> Floats:
    """Growth of a curve without interest, to the last digit what the books say."""
    growth = net_worth / net_worth[0]
    return _padded(growth, sessions, float(growth[-1]))


def _padded(values: Floats, length: int, value: float) -> Floats:
    """`values` with rows of `value` after them, so that all accounts of a window have the same sessions."""
    rest = np.full((length - len(values), *values.shape[1:]), value)
    return np.concatenate([values, rest])


@dataclass(frozen=True, eq=False)
class Chain:
    """One strategy and seed over all windows, chained by return: every window starts with the same cash.

    Parameters
    ----------
    strategy, seed : whose accounts these are.
    accounts : one a window, in order of time.
    """

    strategy: str
    seed: int
    accounts: tuple[Account, ...]

    @property
    def timestamps(self) -> pd.DatetimeIndex:
        """All sessions, the first of each window too."""
        return pd.DatetimeIndex(np.concatenate([part.sessions for part in self.accounts]))

    @property
    def wealth(self) -> Floats:
        """Net worth (one a session of `timestamps`), 1 at the first close."""
        level, wealth = 1.0, []
        for part in self.accounts:
            wealth.append(level * part.growth)
            level = wealth[-1][-1]
        return np.concatenate(wealth)

    @property
    def returns(self) -> Floats:
        """Close to close; 0 from one window to the next, in which nothing is held (one fewer than `timestamps`)."""
        return self._sessions("returns")

    @property
    def cash_returns(self) -> Floats:
        """What cash earned in these sessions; 0 from one window to the next."""
        return self._sessions("cash_returns")

    def joined(self, name: str) -> Floats:
        """A part of every account, one below the other, without anything between windows."""
        return np.concatenate([getattr(account, name) for account in self.accounts])

    def _sessions(self, name: str) -> Floats:
        parts: list[Floats] = []
        for account_ in self.accounts:
            parts += [np.zeros(1), getattr(account_, name)]
        return np.concatenate(parts[1:])
