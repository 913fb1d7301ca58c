"""One configuration over the folds of a walk-forward: trained on the span before each, traded in it, judged by both.

What is traded is what everybody else is judged by: the mean action of the seeds, from fills and closes, net of costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from tt_assets.errors import UserError
from tt_assets.trading.agents.batch import TrainingJob, train_many
from tt_assets.trading.agents.ensemble import Ensemble
from tt_assets.trading.agents.learner import Report
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.episodes.roll import AgentStrategy
from tt_assets.trading.judging.accounts import Account, Chain, account
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.figures import sharpe
from tt_assets.trading.judging.judge import ENSEMBLE
from tt_assets.trading.panel import MarketPanel


class TrainingEnded(UserError):
    """A training that came to no agent."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One step of a walk-forward.

    Parameters
    ----------
    name : what progress and errors call it.
    training : the span that is trained on, with its look-back; it ends before the first session of `traded`.
    traded : the span that validates, with its look-back.
    """

    name: str
    training: MarketPanel
    traded: MarketPanel


@dataclass(frozen=True)
class Training:
    """How the agents of a fold are trained.

    Parameters
    ----------
    seeds : how many agents, seeded 0, 1, ….
    cash : what cash earns in the fold that validates; nothing where None.
    pool : processes that train; here, where None.
    """

    seeds: int = 1
    cash: CashRate | None = None
    pool: Executor | None = None


def validated(fold: Fold, config: TradingConfig, how: Training, report: Report | None = None) -> Account:
    """Train the seeds under `config` and trade the mean of their actions in the fold.

    Parameters
    ----------
    fold : what is trained on, and what validates.
    config : settings of the agents, costs and execution.
    how : seeds, cash, processes.
    report : called as trainings go on, as `train_many` does.

    Raises
    ------
    UserError : a training came to no agent: too few sessions, a setting out of place, a weight that is no number.
    TrainingEnded : a training failed in another way; names it and the error.
    """
    jobs = [TrainingJob(f"{fold.name} seed {seed}", fold.training, config, seed) for seed in range(how.seeds)]
    policies = []
    for result in train_many(jobs, 1, report, pool=how.pool):
        if isinstance(result.error, UserError):
            raise result.error
        if result.policy is None:
            raise TrainingEnded(f"{result.name}: {type(result.error).__name__}: {result.error}")
        policies.append(result.policy)
    actor = policies[0] if len(policies) == 1 else Ensemble(tuple(policies))
    seen = fold.traded.with_channels(actor.channels)
    return account(AgentStrategy(actor, seen, config), seen, config, rate=how.cash)


def score(accounts: Sequence[Account]) -> float:
    """Sharpe ratio a year of the chained accounts, over cash; 0 for an account that never varied, as cash does."""
    chain = chained(accounts)
    ratio = sharpe(chain.returns - chain.cash_returns)
    return ratio if math.isfinite(ratio) else 0.0


def chained(accounts: Sequence[Account]) -> Chain:
    """The accounts of several folds, in order of time."""
    return Chain(ENSEMBLE, 0, tuple(accounts))
