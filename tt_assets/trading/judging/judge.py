"""Agents against baselines out of sample: windows chained into one curve, at several costs and with a delay.

Everything judged is rolled anew on the simulator, whose books are TensorTrade's, so that every scenario
is made in the same way and in seconds. Plain frames come out; drawing them is for others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tt_assets.errors import UserError
from tt_assets.trading.agents.policy import TrainedPolicy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.simulator_trader import SimulatorTrader
from tt_assets.trading.episodes.baselines import BASELINES, baseline_config
from tt_assets.trading.episodes.roll import AgentStrategy, Strategy
from tt_assets.trading.judging.bootstrap import sharpe_interval
from tt_assets.trading.metrics import SESSIONS_PER_YEAR, max_drawdown, sharpe_ratio
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import named

AGENT = "agent"
"""What the trained agents are called in curves and tables."""

RIDGE = "ridge"
"""What ridge regression on the agents' own observation is called: a yardstick that learns."""

DRAWN = "random"
"""The baseline that is rolled once per seed, as the agents are."""


class NothingToJudge(UserError):
    """No window, or windows with different numbers of agents."""


@dataclass(frozen=True)
class Scenario:
    """Under what a strategy is judged.

    Parameters
    ----------
    cost_multiple : commission, slippage and borrow fee times this.
    delay : sessions that every decision is traded later than it would be.
    """

    cost_multiple: float = 1.0
    delay: int = 0


SCENARIOS = (Scenario(), Scenario(cost_multiple=2.0), Scenario(cost_multiple=3.0), Scenario(delay=1))
"""As configured, at twice and three times the costs, and with one more bar of delay."""


@dataclass(frozen=True, eq=False)
class JudgedWindow:
    """One walk-forward window: its panel, how it is traded, and the agents trained for it, one per seed.

    `ridge` is the regression fitted on what the agents were trained on; None where there is none.
    """

    panel: MarketPanel
    config: TradingConfig
    policies: tuple[TrainedPolicy, ...]
    ridge: TrainedPolicy | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """Three long frames, sorted by their first columns.

    curves: strategy, seed, cost_multiple, delay, timestamp, wealth (1 at the first close), drawdown (fraction).
    bands: strategy, cost_multiple, delay, timestamp, median, low, high of wealth over the seeds (low and high are the
    worst and the best seed).
    table: strategy, cost_multiple, delay, seeds, sessions, total_return, annual_return, volatility (a year), sharpe,
    sharpe_low, sharpe_high (95 % stationary bootstrap), max_drawdown, turnover (mean |Δ target weight| over decisions
    and instruments), traded (mean Σ|Δ target weight| / 2 per decision), costs_paid (commission, slippage and borrow
    fee, fraction of the starting cash, summed over windows). Figures are medians over the seeds; NaN where undefined.
    """

    curves: pd.DataFrame
    bands: pd.DataFrame
    table: pd.DataFrame


@dataclass(frozen=True, eq=False)
class _Run:
    """One strategy over one window: growth of net worth per session from the first close on, and what it did."""

    growth: Floats
    targets: Floats
    costs: float


@dataclass(frozen=True, eq=False)
class _Chain:
    """One strategy and seed over all windows. returns: session by session; wealth: one longer, from 1."""

    strategy: str
    seed: int
    timestamps: pd.DatetimeIndex
    wealth: Floats
    changes: Floats
    costs: float

    @property
    def returns(self) -> Floats:
        return self.wealth[1:] / self.wealth[:-1] - 1.0


def judge(
    windows: Sequence[JudgedWindow],
    scenarios: Sequence[Scenario] = SCENARIOS,
    baselines: Sequence[str] = tuple(BASELINES),
    report: Callable[[int, int, str], None] | None = None,
) -> Judgement:
    """Chain the agents and the `baselines` over `windows`, in each scenario.

    Windows are chained by return in the order of their first session: each starts in cash, so the session between two
    windows earns nothing. An account that is stopped stays at its last net worth until its window ends.

    Parameters
    ----------
    windows : walk-forward windows with the agents trained for them, as many in each; in any order. Ridge regression is
        judged beside them where every window has it.
    scenarios : costs and delays to judge under.
    baselines : names of baselines to roll beside the agents; the one that draws is rolled once a seed.
    report : called after each scenario with scenarios done, scenarios, and a note.

    Returns
    -------
    Three frames, described at `Judgement`: timestamps in market time at 00:00 without time zone, fractions, NaN where a
    figure is undefined.

    Raises
    ------
    NothingToJudge
        There is no window, or windows have different numbers of agents.
    ConfigError
        A baseline is unknown.
    PolicyMismatch
        An agent was trained on other instruments, channels or settings than its window has.
    """
    windows = sorted(windows, key=lambda window: window.panel.sessions[window.panel.start])
    counts = {len(window.policies) for window in windows}
    if len(counts) != 1:
        found = ", ".join(map(str, sorted(counts))) or "no window"
        raise NothingToJudge(f"agents per window: {found}; give windows that all have the same number of seeds.")
    seeds = max(counts.pop(), 1)
    contestants = [(AGENT, seed) for seed in range(seeds if windows[0].policies else 0)]
    if windows and all(window.ridge for window in windows):
        contestants.append((RIDGE, 0))
    for name in baselines:
        named(BASELINES, name, "baseline")
    contestants += [(name, seed) for name in baselines for seed in range(seeds if name == DRAWN else 1)]
    curves, bands, rows = [], [], []
    for done, scenario in enumerate(scenarios):
        chains: dict[str, list[_Chain]] = {}
        for name, seed in contestants:
            chains.setdefault(name, []).append(_chain(name, seed, windows, scenario))
        for name, of_name in chains.items():
            rows.append({"strategy": name, **dataclasses.asdict(scenario), **_figures(of_name)})
            bands.append(_band(of_name).assign(strategy=name, **dataclasses.asdict(scenario)))
            curves += [_curve(chain).assign(**dataclasses.asdict(scenario)) for chain in of_name]
        if report is not None:
            report(done + 1, len(scenarios), f"costs × {scenario.cost_multiple:g}, delay {scenario.delay}")
    keys = ["cost_multiple", "delay"]
    return Judgement(
        pd.concat(curves, ignore_index=True)[["strategy", "seed", *keys, "timestamp", "wealth", "drawdown"]],
        pd.concat(bands, ignore_index=True)[["strategy", *keys, "timestamp", "median", "low", "high"]],
        pd.DataFrame(rows),
    )


def _chain(name: str, seed: int, windows: Sequence[JudgedWindow], scenario: Scenario) -> _Chain:
    runs = [_run_of(name, seed, window, scenario) for window in windows]
    level, wealth = 1.0, []
    for run in runs:
        wealth.append(level * run.growth)
        # By return, not by dollar: every window starts with the same cash, the chain with all that was made of it.
        level = wealth[-1][-1]
    sessions = [window.panel.sessions[window.panel.start :] for window in windows]
    return _Chain(
        strategy=name,
        seed=seed,
        timestamps=pd.DatetimeIndex(np.concatenate(sessions)),
        wealth=np.concatenate(wealth),
        # Per window, since every window starts in cash; windows may hold different instruments.
        changes=np.concatenate([_changes(run.targets) for run in runs]),
        costs=sum(run.costs for run in runs),
    )


def _run_of(name: str, seed: int, window: JudgedWindow, scenario: Scenario) -> _Run:
    config = window.config.replace(cost_multiple=window.config.cost_multiple * scenario.cost_multiple)
    if name == AGENT:
        agent = AgentStrategy(window.policies[seed], window.panel, config)
        return _run(agent, window.panel, config, scenario.delay)
    if name == RIDGE and window.ridge is not None:
        # Shown what the agents are shown; as with every yardstick, no drawdown closes it.
        unstopped = config.replace(stoppers=())
        return _run(AgentStrategy(window.ridge, window.panel, unstopped), window.panel, unstopped, scenario.delay)
    under = baseline_config(config)
    # A baseline is late by itself: weights of the past, traded now, would undo what the market did to what it holds.
    return _run(BASELINES[name](window.panel, under, seed, scenario.delay), window.panel, under, delay=0)


def _run(strategy: Strategy, panel: MarketPanel, config: TradingConfig, delay: int) -> _Run:
    trader = SimulatorTrader(panel, config, strategy.scaler, delay)
    observation = trader.reset()
    quotes = panel.fill_prices(config.execution)
    sessions = len(panel.sessions) - panel.start
    net_worth, targets, costs = [trader.net_worth], [], 0.0
    while len(net_worth) < sessions:
        observation, _, terminated, _ = trader.step(strategy.act(trader, observation))
        net_worth.append(trader.net_worth)
        targets.append(trader.target)
        fills = trader.fills
        # What was closed after a delisting had no quote and cost nothing.
        traded = (fills.shares != 0.0) & ~fills.closed
        slipped = np.abs(fills.price[traded] - quotes[trader.session][traded])
        costs += float((np.abs(fills.shares[traded]) * slipped).sum() + fills.commission.sum())
        if terminated:
            break
    growth = np.array(net_worth) / net_worth[0]
    # A stopped account is flat for the rest of its window, so that all chains have the same sessions.
    growth = np.concatenate([growth, np.full(sessions - len(growth), growth[-1])])
    rows = np.array(targets).reshape(len(targets), len(panel.instruments))
    return _Run(growth, rows, (costs + trader.borrow_fees) / config.initial_cash)


def _changes(targets: Floats) -> Floats:
    """Per decision the mean and half the sum of |Δ target weight| over instruments (decisions × 2)."""
    change = np.abs(np.diff(targets, axis=0, prepend=0.0))
    return np.stack([change.mean(axis=1), change.sum(axis=1) / 2.0], axis=1)


def _figures(chains: Sequence[_Chain]) -> dict[str, float]:
    """The table's figures of one strategy: medians over its seeds."""
    per_seed = pd.DataFrame([dict(_figures_of_one(chain)) for chain in chains], dtype=np.float64)
    returns = np.stack([chain.returns for chain in chains], axis=1)
    low, high = sharpe_interval(returns) or (np.nan, np.nan)
    median = per_seed.median()
    place = list(median.index).index("sharpe") + 1
    interval = pd.Series({"sharpe_low": low, "sharpe_high": high})
    medians = pd.concat([median.iloc[:place], interval, median.iloc[place:]])
    return {"seeds": len(chains), "sessions": len(chains[0].timestamps)} | {
        str(name): float(value) for name, value in medians.items()
    }


def _figures_of_one(chain: _Chain) -> Iterator[tuple[str, float]]:
    wealth, years = chain.wealth, max(len(chain.returns), 1) / SESSIONS_PER_YEAR
    sharpe = sharpe_ratio(wealth)
    yield "total_return", float(wealth[-1]) - 1.0
    # What is lost for good has no rate of growth.
    yield "annual_return", float(wealth[-1]) ** (1.0 / years) - 1.0 if wealth[-1] > 0.0 else -1.0
    yield "volatility", float(chain.returns.std(ddof=1)) * SESSIONS_PER_YEAR**0.5 if len(wealth) > 2 else np.nan
    yield "sharpe", np.nan if sharpe is None else sharpe
    yield "max_drawdown", max_drawdown(wealth)
    yield "turnover", float(chain.changes[:, 0].mean()) if len(chain.changes) else 0.0
    yield "traded", float(chain.changes[:, 1].mean()) if len(chain.changes) else 0.0
    yield "costs_paid", chain.costs


def _curve(chain: _Chain) -> pd.DataFrame:
    drawdown = 1.0 - chain.wealth / np.maximum.accumulate(chain.wealth)
    return pd.DataFrame(
        {
            "strategy": chain.strategy,
            "seed": chain.seed,
            "timestamp": chain.timestamps,
            "wealth": chain.wealth,
            "drawdown": drawdown,
        }
    )


def _band(chains: Sequence[_Chain]) -> pd.DataFrame:
    wealth = np.stack([chain.wealth for chain in chains], axis=1)
    return pd.DataFrame(
        {
            "timestamp": chains[0].timestamps,
            "median": np.median(wealth, axis=1),
            "low": wealth.min(axis=1),
            "high": wealth.max(axis=1),
        }
    )
