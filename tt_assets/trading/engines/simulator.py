"""The vectorised simulator: B accounts over one panel, a handful of compiled calls a step.

Each step is one decision: observe at the close of t, fill in session t+1, mark at the close of t+1. The books are
those of the TensorTrade environment; the fills come from the same functions. What only the simulator can do is to hold
less than nothing: a short pays the borrow fee at every close, and is covered when the account falls below the
maintenance margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import ObservationBuilder, Scaler
from tt_assets.trading.engines.settlement import Fills, settlement
from tt_assets.trading.engines.tape import Decision, DecisionTape, unfilled
from tt_assets.trading.errors import NotFinite
from tt_assets.trading.metrics import SESSIONS_PER_YEAR
from tt_assets.trading.panel import Actions, Booleans, Floats, MarketPanel
from tt_assets.trading.rules.costs import CostModel
from tt_assets.trading.rules.registry import action_scheme, reward_scheme, stoppers


@dataclass(slots=True)
class Step:
    """What one step did to B accounts, marked at the close of the session after the decision.

    Parameters
    ----------
    reward : of the step (B).
    terminated : a stopper, or a net worth of 0 or less with shorts, closed the account (B).
    truncated : the account has reached its last session and was not stopped there (B).
    weights : target weights of the decision (B × N), fractions of net worth at the deciding close.
    fills : signed shares and USD per share (B × N), and the cash after them (B).
    closed : which of the fills closed the position in a delisted instrument, without commission (B × N).
    """

    reward: Floats
    terminated: Booleans
    truncated: Booleans
    weights: Floats
    fills: Fills
    closed: Booleans


class Simulator:
    """B accounts trading `panel`.

    Parameters
    ----------
    panel : bars and channels (T × N) of the span with its look-back; accounts start at its row `start` at first.
    config : costs, execution, schemes and limits. An unknown name raises ConfigError.
    scaler : what observations are scaled by.
    accounts : B.

    Attributes
    ----------
    State is public and belongs to the close of each account's `session`. It changes in place: copy what is to be kept.

    session : row of the panel (B). end : row at whose close the account is truncated (B).
    cash, net_worth, peak : USD (B). borrow_fees : USD paid so far for shares held short (B).
    quantity : shares (B × N), negative when short. positions : USD at the mark (B × N).
    target : weights of the last decision (B × N). wanted : signed shares it asked for (B × N).
    margin_call : whether shorts are covered at the next decision (B).
    """

    def __init__(self, panel: MarketPanel, config: TradingConfig, scaler: Scaler, accounts: int) -> None:
        self.panel = panel
        self.config = config
        self.accounts = accounts
        self.observations = ObservationBuilder(panel, scaler, config.observation_window)
        self.scheme = action_scheme(config)
        self.tape = DecisionTape(panel, config, self.scheme)
        self._decisions = self.tape.reader(accounts)
        self._rewards = reward_scheme(config, accounts)
        self._stoppers = stoppers(config)
        self._settlement = settlement(config)
        self._borrow_rate = config.cost_multiple * config.borrow_bps * 1e-4 / SESSIONS_PER_YEAR
        self._ones = np.ones(accounts)
        self._nothing_closed = np.zeros((accounts, len(panel.instruments)), dtype=bool)
        self._last = len(panel.sessions) - 1
        instruments = len(panel.instruments)
        self.session = np.full(accounts, panel.start, dtype=np.int64)
        self.end = np.full(accounts, self._last, dtype=np.int64)
        self.cash = np.full(accounts, config.initial_cash)
        self.net_worth = self.cash.copy()
        self.peak = self.cash.copy()
        self.quantity = np.zeros((accounts, instruments))
        self.positions = np.zeros((accounts, instruments))
        self.target = np.zeros((accounts, instruments))
        self.margin_call = np.zeros(accounts, dtype=bool)
        self.borrow_fees = np.zeros(accounts)
        self.wanted = np.zeros((accounts, instruments))

    def reset(self, which: Booleans, session: npt.NDArray[np.int64], end: npt.NDArray[np.int64] | None = None) -> None:
        """Start accounts afresh, in cash.

        Parameters
        ----------
        which : the accounts to start (B).
        session : row of the panel at whose close each of them begins, one per started account.
        end : row at whose close each of them is truncated; the panel's last session when None.
        """
        self.session[which] = session
        self.end[which] = self._last if end is None else np.minimum(end, self._last)
        for usd in (self.cash, self.net_worth, self.peak):
            usd[which] = self.config.initial_cash
        for rows in (self.quantity, self.positions, self.target):
            rows[which] = 0.0
        self.margin_call[which] = False
        self.borrow_fees[which] = 0.0
        self._rewards.reset(which)

    def observe(self, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
        """What each account sees at the close of its session (B × size), in `out` if given."""
        return self.observations.observe_books(self.session, self.positions, self.cash, self.net_worth, out)

    def step(self, actions: Actions) -> Step:
        """Decide at the close of t, fill in t+1, mark at its close.

        Parameters
        ----------
        actions : raw actions (B × N), as the scheme's space has them. An account on its last session must be reset
            instead of stepped.

        Raises
        ------
        NotFinite
            Naming session, instrument and value: a weight, a reward or a net worth is NaN or infinite.
        """
        decision, actions = self._decisions.at(self.session), np.ascontiguousarray(actions, dtype=np.float64)
        return self._trade(self.scheme.weights(actions, decision.scale), decision, actions)

    def weights(self, actions: Actions) -> Floats:
        """Target weights (B × N) that `actions` set at the close of each account's session; nothing is traded."""
        weights = self.scheme.weights(actions, self.tape.scale[self.session])
        return self._covered(np.ascontiguousarray(weights, dtype=np.float64))

    def step_to(self, weights: Floats) -> Step:
        """As `step`, with target weights (B × N) instead of actions."""
        return self._trade(weights, self._decisions.at(self.session), weights)

    @property
    def costs(self) -> CostModel:
        """What prices the fills and charges for them."""
        return self._settlement.costs

    def unfilled(self) -> tuple[int, int]:
        """Orders of the last step that met no trading at all, and orders that were cut to the volume limit."""
        return unfilled(self.wanted, self.tape.at(self.session - 1), self.config)

    def _trade(self, weights: Floats, decision: Decision, actions: Actions) -> Step:
        from tt_assets.trading import kernels

        shorts = self.config.allow_shorts
        # A scheme of the user's own may give any kind of array.
        weights = self._covered(np.ascontiguousarray(weights, dtype=np.float64))
        before = self._close_delisted() if self.tape.closes else None
        self.wanted, sent = kernels.orders(weights, self.net_worth, self.quantity, decision.per_usd, decision.smallest)
        fills = self._settlement.settle(sent, decision.fill_price, decision.volume, self.cash)
        self.cash = fills.cash
        # Before the marks: the fee is part of the return of the session it is paid in.
        if shorts:
            self._charge_borrowing(fills.shares, decision.next_mark)
        returns, drawdown, turnover, ended, finite = kernels.mark(
            fills.shares,
            decision.next_mark,
            weights,
            self.target,
            self.session,
            self.end,
            self.cash,
            self.quantity,
            self.positions,
            self.net_worth,
            self.peak,
        )
        reward = self._rewards.reward(returns, drawdown, turnover)
        self.target = weights
        if not (finite and math.isfinite(reward.dot(self._ones))):
            refuse_not_finite(self.panel, self.session - 1, actions, weights, reward, self.net_worth)
        terminated = self._stops(self.net_worth, drawdown)
        # For booleans `greater` is "and not": an account that stops is not also cut off.
        truncated = np.greater(ended, terminated)
        if before is None:
            return Step(reward, terminated, truncated, weights, fills, self._nothing_closed)
        paid, price = before
        closed = paid != 0.0
        fills = Fills(np.where(closed, -paid, fills.shares), np.where(closed, price, fills.price), fills.cash)
        return Step(reward, terminated, truncated, weights, fills, closed)

    def _close_delisted(self) -> tuple[Floats, Floats]:
        """Pay out what is held of delisted instruments at the last close: the shares and their price (B × N)."""
        price = self.tape.closing[self.session]
        paid = np.where(price > 0.0, self.quantity, 0.0)
        self.cash = self.cash + np.einsum("bn,bn->b", paid, price)
        self.quantity -= paid
        return paid, price

    def _covered(self, weights: Floats) -> Floats:
        """`weights` without shorts where margin was called at the close: the next fill covers, whatever is wanted."""
        if not (self.config.allow_shorts and self.margin_call.any()):
            return weights
        return np.where(self.margin_call[:, None], np.maximum(weights, 0.0), weights)

    def _charge_borrowing(self, shares: Floats, next_mark: Floats) -> None:
        """Take the fee for what is short at the next close, and call margin where net worth does not cover it."""
        from tt_assets.trading import kernels

        kernels.charge_borrowing(
            shares,
            next_mark,
            self.quantity,
            self.cash,
            self.borrow_fees,
            self.margin_call,
            self._borrow_rate,
            self.config.maintenance_margin,
        )

    def _stops(self, net_worth: Floats, drawdown: Floats) -> Booleans:
        # An account that shorts can lose more than it has; nothing can be traded from there.
        # Where there is no stopper either, the same comparison is the array that stops nobody.
        stops = net_worth <= 0.0 if self.config.allow_shorts or not self._stoppers else None
        for stopper in self._stoppers:
            asked = stopper.stops(net_worth, drawdown)
            stops = asked if stops is None else stops | asked
        assert stops is not None  # noqa: S101 - one of the two above has set it
        return stops


def refuse_not_finite(
    panel: MarketPanel,
    decided: npt.NDArray[np.int64],
    actions: Actions,
    weights: Floats,
    reward: Floats,
    net_worth: Floats,
) -> None:
    """Raise for the first weight, net worth or reward that is NaN or infinite; nothing happens where all are finite.

    One action that is not a number spreads to all weights of its account when they are shrunk together, so the
    instrument with such an action is named.

    Parameters
    ----------
    panel : what was traded, for the names of sessions and instruments.
    decided : rows of the panel at whose close the accounts decided (B).
    actions : raw actions (B × N).
    weights : target weights (B × N), fractions of net worth.
    reward : of the step (B).
    net_worth : USD at the close after (B).

    Raises
    ------
    NotFinite : names what it is, the step, its session and the instrument or what is held.
    """
    wrong = ~np.isfinite(weights)
    if (wrong & ~np.isfinite(actions)).any():
        wrong &= ~np.isfinite(actions)
    for account, instrument in np.argwhere(wrong):
        raise NotFinite(
            f"target weight of {panel.instruments[instrument]} became {weights[account, instrument]} at step "
            f"{decided[account] - panel.start} ({str(panel.sessions[decided[account]])[:10]}); nothing of the episode "
            "is kept. Look for a NaN in the agent's weights or in the features."
        )
    for what, values in (("net worth", net_worth), ("reward", reward)):
        for (account,) in np.argwhere(~np.isfinite(values)):
            held = ", ".join(name for name, weight in zip(panel.instruments, weights[account], strict=True) if weight)
            raise NotFinite(
                f"{what} became {values[account]} at step {decided[account] - panel.start} "
                f"({str(panel.sessions[decided[account]])[:10]}) while holding {held or 'cash'}; nothing of the "
                "episode is kept. Look for a wrong bar in the next session."
            )
