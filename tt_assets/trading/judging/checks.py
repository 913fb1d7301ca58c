"""Whether the record of an episode is true: its books, its figures, its agent, and that it saw nothing of the future.

Every check recomputes from frames, as a reader of the tables could, and says how far off the worst place
is. Deviations of money are fractions of net worth. Prices are the rows of tt_prices for the episode's instruments, from
before its window on; a position is marked at the last close there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.watchlist_format import CASH
from tt_assets.trading.agents.ensemble import Actor
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.choice import open_trader
from tt_assets.trading.engines.observation import ObservationBuilder, Scaler
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.baselines import BASELINES
from tt_assets.trading.episodes.record import BOUGHT, EpisodeRecord
from tt_assets.trading.errors import PolicyMismatch
from tt_assets.trading.metrics import SESSIONS_PER_YEAR
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import named, reward_scheme

MONEY = 1e-9
"""Largest deviation of an amount, as a fraction of net worth: a hundred-thousandth of a dollar in ten thousand."""

AGREEMENT = 1e-7
"""Largest relative difference between the equity curves of two engines, or between rewards."""

EXACT = 0.0


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check.

    Parameters
    ----------
    name : of the check.
    passed : worst ≤ tolerance.
    worst : largest deviation, in the unit of the check; one that is not a number counts as infinite.
    tolerance : largest deviation that passes.
    where : the place of the worst deviation: session, instrument or figure.
    reason : why the check could not be made, which fails it; empty where it was made.
    """

    name: str
    passed: bool
    worst: float
    tolerance: float
    where: str
    reason: str = ""

    @classmethod
    def not_made(cls, name: str, reason: str) -> CheckResult:
        """A check that failed before it came to a deviation.

        Parameters
        ----------
        name : of the check.
        reason : why, for people.
        """
        return cls(name, False, np.inf, EXACT, "", reason)

    @property
    def finding(self) -> str:
        """What is wrong, for people."""
        return self.reason or f"off by {self.worst:.3g} at {self.where}"


def books_balance(record: EpisodeRecord, prices: pd.DataFrame) -> CheckResult:
    """Cash + Σ quantity × last close = net worth in tt_portfolio and tt_equity_curve, at every session.

    Parameters
    ----------
    record : the episode.
    prices : rows of tt_prices (USD) for its instruments, look-back included.

    Returns
    -------
    The largest difference as a fraction of net worth.
    """
    book = _Book.of(record, prices)
    worth = book.cash + (book.quantity * book.marks).sum(axis=1)
    curve = record.equity_curve.set_index("timestamp")["net_worth"].reindex(worth.index)
    off = pd.concat([worth - book.net_worth, curve - book.net_worth], axis=1).abs().max(axis=1, skipna=False)
    return _result("books_balance", off / book.net_worth.abs(), MONEY)


def cash_follows_orders(record: EpisodeRecord, prices: pd.DataFrame) -> CheckResult:
    """Δcash = −Σ signed notional − commission − borrow fee of the shares short at the close, at every session.

    Parameters
    ----------
    record : the episode.
    prices : rows of tt_prices (USD) for its instruments, look-back included; they mark what is short.

    Returns
    -------
    The largest difference as a fraction of net worth.
    """
    book, config = _Book.of(record, prices), _config(record)
    orders = record.order
    paid = _signed(orders) * orders["price"] + orders["commission"]
    spent = paid.groupby(orders["timestamp"]).sum().reindex(book.cash.index, fill_value=0.0)
    rate = config.cost_multiple * config.borrow_bps * 1e-4 / SESSIONS_PER_YEAR
    fee = -(book.quantity * book.marks).clip(upper=0.0).sum(axis=1) * rate
    before = book.cash.shift(1, fill_value=config.initial_cash)
    return _result("cash_follows_orders", (book.cash - (before - spent - fee)).abs() / book.net_worth.abs(), MONEY)


def fills_change_holdings(record: EpisodeRecord, prices: pd.DataFrame) -> CheckResult:
    """Fills are the changes in holdings.

    Parameters
    ----------
    record : the episode.
    prices : rows of tt_prices (USD) for its instruments, look-back included; they weigh the shares that differ.

    Returns
    -------
    The largest difference at its last close, as a fraction of net worth.
    """
    book = _Book.of(record, prices)
    orders = record.order.assign(shares=_signed(record.order))
    filled = orders.pivot(index="timestamp", columns="instrument", values="shares")  # noqa: PD010 - never averaged
    filled = filled.reindex(index=book.quantity.index, columns=book.quantity.columns).astype(np.float64).fillna(0.0)
    change = np.diff(book.quantity.to_numpy(np.float64), axis=0, prepend=0.0)
    off = (change - filled.to_numpy()) * book.marks.where(book.marks > 0.0, 1.0).to_numpy()
    off /= book.net_worth.to_numpy()[:, None]
    return _result("fills_change_holdings", _by_cell(off, list(filled.index), tuple(filled.columns)), MONEY)


def weights_sum_to_one(record: EpisodeRecord) -> CheckResult:
    """The target weights of a session, CASH included, sum to 1."""
    sums = record.target_weights.groupby("timestamp")["target_weight"].sum(min_count=1)
    return _result("weights_sum_to_one", (sums - 1.0).abs(), 1e-9)


def leverage_within_limit(record: EpisodeRecord) -> CheckResult:
    """Σ |weight| without CASH is no more than `max_leverage`; the deviation is the excess."""
    weights = record.target_weights[record.target_weights["instrument"] != CASH]
    gross = weights["target_weight"].abs().groupby(weights["timestamp"]).sum(min_count=1)
    excess = (gross - _config(record).max_leverage).clip(lower=0.0)
    return _result("leverage_within_limit", excess, 1e-9)


def rewards_recompute(record: EpisodeRecord) -> CheckResult:
    """The reward scheme of the config, fed with the equity curve and target weights, gives the recorded rewards."""
    equity = record.equity_curve["net_worth"].to_numpy(np.float64)
    scheme = reward_scheme(_config(record), 1)
    scheme.reset(np.ones(1, dtype=bool))
    returns = equity[1:] / equity[:-1] - 1.0
    drawdown = 1.0 - equity / np.maximum.accumulate(equity)
    turnover = np.abs(np.diff(_targets(record), axis=0, prepend=0.0)).sum(axis=1)
    expected = [
        scheme.reward(returns[step : step + 1], drawdown[step + 1 : step + 2], turnover[step : step + 1])[0]
        for step in range(len(returns))
    ]
    recorded = record.reward.set_index("timestamp")["reward_value"]
    if len(recorded) != len(expected):
        return CheckResult("rewards_recompute", False, np.inf, AGREEMENT, f"{len(recorded)} rows for {len(expected)}")
    off = (recorded - np.array(expected)).abs() / np.maximum(1.0, np.abs(expected))
    # A reward divides by a standard deviation of 0.001 at the least, which blows up the last digits of a return.
    return _result("rewards_recompute", off, 1e-6)


def metrics_recompute(record: EpisodeRecord) -> CheckResult:
    """Sharpe ratio, drawdown and turnover of tt_episode follow from the equity curve and the target weights."""
    equity = record.equity_curve["net_worth"]
    returns = equity.pct_change().dropna()
    varies = len(returns) > 1 and returns.min() < returns.max()
    sharpe = returns.mean() / returns.std() * SESSIONS_PER_YEAR**0.5 if varies else None
    changes = np.abs(np.diff(_targets(record), axis=0, prepend=0.0))
    figures = pd.DataFrame(
        {
            "recorded": [record.max_drawdown, record.turnover, record.sharpe_ratio],
            "expected": [
                float((1.0 - equity / equity.cummax()).max()),
                changes.mean() if changes.size else 0.0,
                sharpe,
            ],
        },
        index=["max_drawdown", "turnover", "sharpe_ratio"],
        dtype=np.float64,
    )
    off = (figures["recorded"] - figures["expected"]).abs() / figures["expected"].abs().clip(lower=1.0)
    both_undefined = figures.isna().all(axis=1)
    return _result("metrics_recompute", off.mask(both_undefined, 0.0), 1e-9)


def engines_agree(record: EpisodeRecord, panel: MarketPanel) -> CheckResult:
    """The recorded actions on the other engine give the same equity curve.

    Parameters
    ----------
    record : the episode. Shorts and delays run on the simulator only; they are rolled there again.
    panel : bars and channels of its window with the look-back.

    Returns
    -------
    The largest difference, relative to the other engine's net worth.
    """
    stored, config = json.loads(record.config_json), _config(record)
    only_simulator = config.allow_shorts or stored["delay"]
    recorded_on = Engine(stored["engine"])
    other = Engine.SIMULATOR if recorded_on is Engine.TENSORTRADE or only_simulator else Engine.TENSORTRADE
    # Recorded actions are given back as they are, so what this trader would observe does not matter.
    trader = open_trader(panel, config, Scaler.unscaled(panel), other, stored["delay"])
    trader.reset()
    equity = [trader.net_worth]
    for action in _per_session(record.action, "action_value", panel.instruments, _decided(record)):
        trader.step(action)
        equity.append(trader.net_worth)
    recorded = record.equity_curve.set_index("timestamp")["net_worth"]
    if len(equity) != len(recorded):
        return CheckResult("engines_agree", False, np.inf, AGREEMENT, f"{len(recorded)} rows for {len(equity)}")
    return _result("engines_agree", (recorded / np.array(equity) - 1.0).abs(), AGREEMENT)


def replays(record: EpisodeRecord, policy: Actor) -> CheckResult:
    """The policy, shown the recorded observations, gives the recorded actions to the last bit.

    Parameters
    ----------
    record : the episode.
    policy : the agent that acted in it.

    Returns
    -------
    The largest difference between two actions, in the unit of the action.

    Raises
    ------
    PolicyMismatch : the episode was acted by another policy.
    """
    if json.loads(record.config_json)["policy_sha256"] != policy.sha256:
        raise PolicyMismatch(
            f"the episode was acted by policy {str(json.loads(record.config_json)['policy_sha256'])[:12]}…, not by "
            f"{policy.sha256[:12]}…; check it against its own."
        )
    seen = [_observation(text) for text in record.observation["features"]]
    acted = np.array([policy.act(observation) for observation in seen]).reshape(-1, len(policy.instruments))
    sessions = list(record.observation["timestamp"])
    recorded = _per_session(record.action, "action_value", policy.instruments, sessions)
    return _result("replays", _by_cell(acted - recorded, sessions, policy.instruments), EXACT)


Decide = Callable[[MarketPanel, npt.NDArray[np.float32]], Floats]
"""Action (N) at the last session of a panel, from its rows and the account then: weights (N) and cash share."""

Rebuild = Callable[[pd.DataFrame], MarketPanel]
"""A panel of the episode's window, its channels computed anew from the bars given, ending with their last session."""


def agent_decides(policy: Actor) -> Decide:
    """How an agent decides."""

    def decide(panel: MarketPanel, account: npt.NDArray[np.float32]) -> Floats:
        policy.check_fits(panel)
        builder = ObservationBuilder(panel, policy.scaler, policy.config.observation_window)
        last = np.array([len(panel.sessions) - 1])
        return policy.act(
            builder.observe(last, account[None, :-1].astype(np.float64), account[-1:].astype(np.float64))[0]
        )

    return decide


def baseline_decides(name: str, config: TradingConfig, seed: int) -> Decide:
    """How a baseline decides; what it holds is known to the precision of an observation.

    Parameters
    ----------
    name : of the baseline; an unknown one raises ConfigError when it decides.
    config : as `baseline_config` gives it.
    seed : of the baseline that draws.
    """

    def decide(panel: MarketPanel, account: npt.NDArray[np.float32]) -> Floats:
        baseline = named(BASELINES, name, "baseline")(panel, config, seed)
        return baseline.weights(len(panel.sessions) - 1, account[:-1].astype(np.float64) / config.max_leverage)

    return decide


def no_look_ahead(
    record: EpisodeRecord,
    prices: pd.DataFrame,
    rebuild: Rebuild,
    decide: Decide,
    *,
    cuts: int = 5,
    tolerance: float = EXACT,
) -> CheckResult:
    """Actions decided on bars that end with the deciding session are the recorded ones.

    Parameters
    ----------
    record : the episode.
    prices : rows of tt_prices (USD) for its instruments, look-back included, to the window's end or beyond.
    rebuild : a panel from bars, its channels computed anew.
    decide : the strategy's action at the last session of a panel.
    cuts : how many deciding sessions are decided again, evenly spread, the last among them.
    tolerance : for baselines, whose holdings are recorded in single precision; an agent decides to the last bit.

    Returns
    -------
    The largest difference between an action decided so and the one recorded, in the unit of the action.
    """
    instruments = tuple(dict.fromkeys(record.action["instrument"]))
    decided = record.observation["timestamp"]
    recorded = _per_session(record.action, "action_value", instruments, decided)
    chosen = np.unique(np.linspace(len(decided) - 1, 0, num=min(cuts, len(decided))).astype(np.int64))
    off = []
    for step in chosen:
        panel = rebuild(prices[prices["timestamp"] <= decided.iloc[step]])
        account = _observation(record.observation["features"].iloc[step])[-len(instruments) - 1 :]
        off.append(decide(panel, account) - recorded[step])
    rows = np.array(off).reshape(-1, len(instruments))
    return _result("no_look_ahead", _by_cell(rows, [decided.iloc[step] for step in chosen], instruments), tolerance)


@dataclass(frozen=True, eq=False)
class _Book:
    """An episode's account at each session: series in USD, frames of sessions × instruments."""

    net_worth: pd.Series
    cash: pd.Series
    quantity: pd.DataFrame
    marks: pd.DataFrame

    @classmethod
    def of(cls, record: EpisodeRecord, prices: pd.DataFrame) -> _Book:
        portfolio = record.portfolio.set_index("timestamp")
        quantity = record.holdings.pivot(index="timestamp", columns="instrument", values="quantity")  # noqa: PD010
        quantity = quantity.reindex(portfolio.index)
        own = prices[prices["instrument"].isin(list(quantity.columns))]
        close = own.pivot(index="timestamp", columns="instrument", values="close")  # noqa: PD010
        # Filled forward before the episode's sessions are picked: the last close may lie before its first one.
        marks = close.reindex(close.index.union(portfolio.index)).ffill()
        marks = marks.reindex(index=portfolio.index, columns=quantity.columns).fillna(0.0)
        return cls(portfolio["net_worth"], portfolio["cash_balance"], quantity, marks)


def stored_config(record: EpisodeRecord) -> dict[str, Any]:
    """The parsed `config_json`."""
    stored: dict[str, Any] = json.loads(record.config_json)
    return stored


def _config(record: EpisodeRecord) -> TradingConfig:
    return TradingConfig.from_mapping(stored_config(record)["trading"])


def _signed(orders: pd.DataFrame) -> pd.Series:
    return orders["size"].where(orders["order_type"].isin(BOUGHT), -orders["size"])


def _targets(record: EpisodeRecord) -> Floats:
    """Target weights without cash, decisions × instruments."""
    weights = record.target_weights[record.target_weights["instrument"] != CASH]
    return _per_session(weights, "target_weight", tuple(dict.fromkeys(weights["instrument"])), _decided(record))


def _decided(record: EpisodeRecord) -> pd.Series:
    """The sessions at whose close something was decided that was filled: all that were marked but the last."""
    return record.equity_curve["timestamp"].iloc[:-1]


def _per_session(
    rows: pd.DataFrame, value: str, instruments: tuple[str, ...], sessions: Sequence[pd.Timestamp] | pd.Series
) -> Floats:
    """`value` as sessions × instruments; NaN where there is no row of it."""
    wide = rows.pivot(index="timestamp", columns="instrument", values=value)  # noqa: PD010
    return wide.reindex(index=list(sessions), columns=list(instruments)).to_numpy(np.float64)


def _observation(text: str) -> npt.NDArray[np.float32]:
    return np.array(list(json.loads(text).values()), dtype=np.float32)


def _by_cell(off: Floats, sessions: list[pd.Timestamp], instruments: tuple[str, ...]) -> pd.Series:
    index = pd.MultiIndex.from_product([sessions, instruments])
    return pd.Series(np.abs(off).ravel(), index=index, dtype=np.float64)


def _result(name: str, deviations: pd.Series, tolerance: float) -> CheckResult:
    """The worst of `deviations`; NaN counts as infinite. Nothing to look at passes."""
    values = deviations.to_numpy(np.float64)
    if not values.size:
        return CheckResult(name, True, 0.0, tolerance, "nothing to look at")
    values = np.where(np.isnan(values), np.inf, values)
    place = int(values.argmax())
    key = deviations.index[place]
    parts = key if isinstance(key, tuple) else (key,)
    where = " ".join(str(part.date()) if isinstance(part, pd.Timestamp) else str(part) for part in parts)
    return CheckResult(name, bool(values[place] <= tolerance), float(values[place]), tolerance, where)
