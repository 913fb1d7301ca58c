"""What is judged: the windows of one traded key with the members and channels they had, and the trial they make.

The report and the gate judge the same thing, so both come here. A trial is registered before anything of it is rolled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import pandas as pd

from tt_assets.assets.rolling import load_policies, of_seeds
from tt_assets.assets.spans import episode_panel, training_panel
from tt_assets.errors import UserError
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.horizon import horizon
from tt_assets.grid.partition_slices import selection_of
from tt_assets.grid.partitions import Window
from tt_assets.postgres.ledger import wrapped_sum
from tt_assets.postgres.trials import Trial, close, close_in_vain, register
from tt_assets.research.registry import version_of
from tt_assets.runs import progress
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import Noting, numbers_of
from tt_assets.trading.agents.ensemble import Actor
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.judge import RIDGE, JudgedWindow, Judgement, contestants_of, judge
from tt_assets.trading.panel import MarketPanel


@dataclass(frozen=True, eq=False)
class Subject:
    """What is judged of one traded key.

    Parameters
    ----------
    traded : symbol or portfolio.
    windows : in order of time, each with its agents, on the members and channels it was trained with.
    rows : of `tt_policy`, by window.
    bars : digest of the bars and channels of these windows, hexadecimal.
    reads : by window, the sum of the numbers of what an episode that was rolled now would read.
    plan : the platform it is judged on.
    """

    traded: str
    windows: tuple[JudgedWindow, ...]
    rows: Mapping[Window, pd.DataFrame]
    bars: str
    reads: Mapping[Window, int]
    plan: Blueprint

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the agents."""
        return seeds_of(self.rows)

    @property
    def agents(self) -> dict[str, str]:
        """`window seed` → SHA-256 of the agent."""
        return {
            f"{window.start} {seed}": sha256
            for window, own in self.rows.items()
            for seed, sha256 in zip(own["seed"], own["sha256"], strict=True)
        }

    @cached_property
    def trial(self) -> Trial:
        """The trial that judging it is.

        Its configuration is what the agents were trained with and are traded under, and who may be held; another
        quarter under the same is the same configuration.
        """
        plan, agents = self.plan, [policy for window in self.windows for policy in window.policies]
        return Trial(
            instrument=self.traded,
            config=configuration(
                {policy.config for policy in agents},
                {policy.channels for policy in agents},
                {window.panel.instruments for window in self.windows},
                plan.trading_of(self.traded),
                plan,
            ),
            code=code_of(plan),
            bars=self.bars,
            windows=[window.start for window in self.rows],
            seeds=self.seeds,
        )


def configuration(
    agents: Iterable[TradingConfig],
    channels: Iterable[tuple[str, ...]],
    members: Iterable[tuple[str, ...]],
    trading: TradingConfig,
    plan: Blueprint,
) -> Mapping[str, Any]:
    """What makes one try another than the next: how agents were trained and are traded, on what, and who is held.

    Parameters
    ----------
    agents : settings the agents were trained with. trading : settings they are traded under.
    channels : names of what they see. members : instruments they hold, of each window.
    """
    return {
        "agents": [json.loads(text) for text in sorted({config.to_json() for config in agents})],
        "trading": trading.model_dump(mode="json"),
        "train_windows": plan.settings.train_windows,
        "channels": sorted(set(channels)),
        "members": sorted(set(members)),
        "cash_rate": plan.settings.cash_rate,
    }


def code_of(plan: Blueprint) -> str:
    """Version of the code that computes what is judged."""
    return f"{version('tt_assets')} features {version_of(plan.features)} signals {version_of(plan.signals)}"


def subject_of(market: MarketReader, traded: str, plan: Blueprint) -> Subject:
    """Read the windows of `traded` that were rolled, with their agents, as `judge` takes them.

    Raises UserError where there is none, an agent is damaged, or bars are missing.
    """
    rows = finished_windows(market, traded, plan.settings.seeds)
    cells = selection_of(plan.window_partitions, [window.key() for window in rows])
    numbers = numbers_of(market.policies_with_digests(cells)[1])
    windows, sums, reads = [], [], {}
    for window, own in rows.items():
        noting, beside = Noting(market), Noting(market)
        windows.append(_judged_window(noting, beside, window, own, plan))
        reads[window] = noting.reads(numbers.get((f"{window.start}", traded), 0))
        sums += [noting.reads(), beside.reads()]
    return Subject(traded, tuple(windows), rows, f"{wrapped_sum(sums) % 2**64:016x}", reads, plan)


def finished_windows(market: MarketReader, traded: str, seeds: int) -> Mapping[Window, pd.DataFrame]:
    """The windows of `traded` with finished episodes of agents, and their rows of `tt_policy`, in time order.

    Of the seeds below `seeds` only, and of those the ones that every window has: TT_SEEDS may have been changed since
    some of them were trained.
    """
    rows = of_seeds(market.rolled_policies(traded), seeds)
    if rows.empty:
        raise UserError(f"No finished episode of {traded}; run `tt train --instruments {traded}` first.")
    windows_of_seed = rows.groupby("seed")["window_start"].nunique()
    everywhere = windows_of_seed.index[windows_of_seed == rows["window_start"].nunique()]
    if everywhere.empty:
        raise UserError(
            f"The windows of {traded} have no seed in common; run `tt train --instruments {traded}` over all of them."
        )
    rows = rows[rows["seed"].isin(everywhere)]
    by_window = rows.groupby(rows["window_start"].dt.date, sort=True)
    return {Window(cast("date", start), traded): own for start, own in by_window}


def seeds_of(windows: Mapping[Window, pd.DataFrame]) -> tuple[int, ...]:
    """The seeds of the agents judged, ascending."""
    return tuple(sorted({int(seed) for rows in windows.values() for seed in rows["seed"]}))


def judgement_of(subject: Subject, market: MarketReader, source: str = "report") -> tuple[int, Judgement]:
    """Register the trial, judge it in every scenario, and close it; its number and the judgement."""
    settings = subject.plan.settings
    with tried(market, subject.trial, source) as number:
        judgement = judge(
            subject.windows,
            baselines=settings.baselines,
            report=lambda done, total, note: progress.tell("report", done, total, note),
            cash=CashRate.parse(settings.cash_rate),
        )
        sessions, returns = net_returns(judgement)
        if len(returns):
            close(market.database, number, sessions, returns, figures_for_people(judgement))
        else:
            close_in_vain(market.database, number, "one session has no return; judge again when there are more.")
    return number, judgement


@contextmanager
def tried(market: MarketReader, trial: Trial, source: str) -> Iterator[int]:
    """A trial's number while it is judged; what stops it is written down with it."""
    from dataclasses import replace

    number = register(market.database, replace(trial, source=source))
    try:
        yield number
    except UserError as error:
        close_in_vain(market.database, number, str(error))
        raise


def net_returns(judgement: Judgement) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Sessions and close-to-close net returns of the subject as configured."""
    chain = judgement.chains[judgement.subject, 0]
    return chain.timestamps[1:].to_numpy(), chain.returns


def figures_for_people(judgement: Judgement) -> dict[str, float | None]:
    """The subject's row of the table as configured; None where a figure is undefined."""
    rows = contestants_of(judgement.table)
    own = rows[(rows["strategy"] == judgement.subject) & (rows["cost_multiple"] == 1.0) & (rows["delay"] == 0)]
    figures = own.drop(columns=["strategy", "seed", "cost_multiple", "delay"]).iloc[0]
    found = {str(name): float(value) if np.isfinite(value) else None for name, value in figures.items()}
    paired = judgement.compared.comparison
    return found | {"p_all": paired.p_all if paired else None}


def _judged_window(noting: Noting, beside: Noting, window: Window, rows: pd.DataFrame, plan: Blueprint) -> JudgedWindow:
    """A window on the members and channels its agents were trained with: what came later is nothing to them."""
    policies = tuple(policy for _, _, policy in load_policies(window, rows))
    first, *others = policies
    if any(other.instruments != first.instruments for other in others):
        raise UserError(f"{window.key()}: its agents trade other members than one another; train the window again.")
    dates, trading = horizon(plan.settings), plan.trading_of(window.traded)
    panel = episode_panel(noting, window, first.instruments, trading, dates)
    seen = panel.with_channels(first.channels)
    return JudgedWindow(
        seen,
        trading,
        policies,
        learned=_ridge(beside, window, seen, plan),
        benchmark=_benchmark(beside, window, panel, plan),
    )


def _ridge(noting: Noting, window: Window, panel: MarketPanel, plan: Blueprint) -> dict[str, Actor]:
    """Ridge regression on what the agents of `window` were trained on: the learner that costs four milliseconds.

    Nothing where it cannot be trained, as with fewer sessions than it takes; nor where the agents are ridge themselves.
    """
    from tt_assets.trading.agents.training import train_policy

    trading = plan.trading_of(window.traded)
    if trading.agent == RIDGE:
        return {}
    config = trading.replace(agent=RIDGE)
    try:
        training = training_panel(noting, window, panel.instruments, plan.settings)
        return {RIDGE: train_policy(training.with_channels(panel.feature_names), config, 0)}
    except UserError:
        return {}


def _benchmark(noting: Noting, window: Window, panel: MarketPanel, plan: Blueprint) -> MarketPanel | None:
    """The instrument of TT_BENCHMARK over the sessions of `panel`; None where none is named."""
    symbol = plan.settings.benchmark
    if not symbol:
        return None
    first, last = (pd.Timestamp(panel.sessions[place]).date() for place in (0, -1))
    prices = noting.read("tt_prices", (symbol,), first, last)
    opening = pd.Timestamp(panel.sessions[panel.start])
    if prices.empty or not (prices["timestamp"] <= opening).any():
        raise UserError(
            f'{window.key()}: tt_prices has no bar of the benchmark "{symbol}" (TT_BENCHMARK) at {opening:%Y-%m-%d}; '
            f"put it on the watchlist without a portfolio and run `tt backfill prices --instruments {symbol}`."
        )
    features = pd.DataFrame(columns=["instrument", "timestamp", "feature", "value"])
    scores = pd.DataFrame(columns=["instrument", "timestamp", "signal_name", "score"])
    return MarketPanel.from_frames(prices, features, scores, (symbol,), pd.DatetimeIndex(panel.sessions), opening)
