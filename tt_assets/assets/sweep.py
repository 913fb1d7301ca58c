"""`tt sweep`: configurations are proposed, registered, trained, validated, and the best one is told.

Every configuration is registered as a trial before it is trained, so that what was tried in vain is counted too. Optuna
proposes; each proposal follows from the seed and what came before, so an interrupted sweep goes on as if nothing had
happened.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from tt_assets.assets.sweep_grounds import Grounds
from tt_assets.errors import UserError
from tt_assets.postgres.database import Database
from tt_assets.postgres.sweeps import one_sweep, optuna_storage
from tt_assets.postgres.trials import close, close_in_vain, register
from tt_assets.runs.market_reader import MarketReader
from tt_assets.trading.agents.batch import training_pool
from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.figures import figures_of
from tt_assets.trading.judging.folds import Training, chained, score, validated
from tt_assets.trading.judging.search import Varied, setting_lines, tried

if TYPE_CHECKING:
    import optuna

FIGURES = ("sharpe", "annual_return", "volatility", "max_drawdown", "exposure", "traded")
AT_RANDOM = 10
"""Trials until proposals follow from what came before."""
UNPRUNED = 4
"""Trials that go through all folds before any is given up early."""
TRIAL, SETTINGS, FAILURE = "trial", "settings", "failure"
"""What a trial of Optuna's carries: the number of ours, what was tried, and why it came to nothing."""

Told = Callable[[int, int, str], None]
"""Called with trials done, trials in all, and what is being done."""


@dataclass(frozen=True)
class Tried:
    """One trial: its place in the study, its number in `tt_trial`, what was tried, and what came of it.

    `sharpe` is the ratio a year over all validated quarters, None where it did not get through them; `state` says why.
    """

    place: int
    trial: int
    settings: Mapping[str, Any]
    sharpe: float | None
    state: str


@dataclass(frozen=True)
class Swept:
    """What came of a sweep, the best trial first among equals; `best` is None where none got through."""

    study: str
    before: date
    quarters: tuple[date, ...]
    tried: tuple[Tried, ...]

    @property
    def best(self) -> Tried | None:
        """The trial with the largest ratio."""
        through = [one for one in self.tried if one.sharpe is not None]
        return max(through, key=lambda one: (one.sharpe, -one.place)) if through else None

    @property
    def lines(self) -> list[str]:
        """The best configuration as settings."""
        return setting_lines(self.best.settings) if self.best else []


def sweep(ground: Grounds, market: MarketReader, tell: Told | None = None) -> Swept:
    """Try until the study has as many trials as were asked for; what it has already is kept.

    Ctrl-C ends the trial at hand, which the next sweep of the study makes again.

    Raises
    ------
    UserError : the settings as they are cannot be trained with; the study is another one's; somebody works on it.
    """
    database, request = market.database, ground.request
    with one_sweep(database, ground.study), optuna_storage(database) as storage:
        study = _study(ground, storage)
        done = len(_finished(study))
        with training_pool(ground.plan.settings.train_workers) as pool:
            how = Training(ground.plan.settings.seeds, CashRate.parse(ground.plan.settings.cash_rate), pool)
            for place in range(done, request.trials):
                one = _Trying(study, ground, database, place, how, tell)
                one.go()
        return Swept(ground.study, ground.before, ground.quarters, tuple(_tried(study, ground)))


def _study(ground: Grounds, storage: optuna.storages.RDBStorage) -> optuna.Study:
    """The study, made or taken up; what a killed sweep left open is closed."""
    import optuna

    study = optuna.create_study(
        study_name=ground.study,
        storage=storage,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
        load_if_exists=True,
    )
    if study.user_attrs.setdefault("about", ground.about) != ground.about:
        raise UserError(
            f'The study "{ground.study}" was begun with other settings or on other bars; its trials cannot be compared '
            "with new ones. Give another --study."
        )
    study.set_user_attr("about", ground.about)
    for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        _cut_off(study, left.number)
    return study


def _cut_off(study: optuna.Study, number: int) -> None:
    import optuna

    study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to something, or to nothing for a reason; those cut off are made again."""
    import optuna

    states = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    return study.get_trials(deepcopy=False, states=states)


@dataclass(frozen=True, eq=False)
class _Trying:
    """One trial of a study."""

    study: optuna.Study
    ground: Grounds
    database: Database
    place: int
    how: Training
    tell: Told | None

    def go(self) -> None:
        """Propose, register, train and validate fold after fold, and write what came of it."""
        import optuna

        # What is proposed follows from the seed, the place and the trials that are finished: not from how often the
        # sweep was begun.
        seed = int.from_bytes(hashlib.blake2b(f"{self.ground.request.seed} {self.place}".encode()).digest()[:4], "big")
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=AT_RANDOM)
        if self.place == 0:
            self._begin_with_the_settings()
        asked = self.study.ask()
        try:
            self._validate(asked)
        except UserError as error:
            if self.place == 0:
                _cut_off(self.study, asked.number)
                raise
            asked.set_user_attr(FAILURE, str(error))
            self.study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        except BaseException:
            _cut_off(self.study, asked.number)
            raise

    def _begin_with_the_settings(self) -> None:
        """The first trial is the settings as they are, so that the best one is never worse than they."""
        import optuna

        if not self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
            self.study.enqueue_trial({one.name: getattr(self.ground.base, one.name) for one in self.ground.varied})

    def _validate(self, asked: optuna.Trial) -> None:
        import optuna

        changes = {one.name: tried(one, lambda varied: _suggested(asked, varied)) for one in self.ground.varied}
        asked.set_user_attr(SETTINGS, changes)
        config = self.ground.base.replace(**changes)
        number = register(self.database, self.ground.trial(config, self.place))
        asked.set_user_attr(TRIAL, number)
        accounts = []
        try:
            for step, fold in enumerate(self.ground.folds):
                self._say(f"validates on {fold.name}")
                accounts.append(validated(fold, config, self.how))
                asked.report(score(accounts), step)
                if step + 1 < len(self.ground.folds) and asked.should_prune():
                    close_in_vain(self.database, number, f"given up after {step + 1} of {len(self.ground.folds)} folds")
                    self.study.tell(asked, state=optuna.trial.TrialState.PRUNED)
                    return
        except UserError as error:
            close_in_vain(self.database, number, str(error))
            raise
        chain = chained(accounts)
        figures = figures_of(chain)
        shown = {name: figures[name] if math.isfinite(figures[name]) else None for name in FIGURES}
        close(self.database, number, chain.timestamps[1:].to_numpy(), chain.returns, shown)
        self.study.tell(asked, score(accounts))

    def _say(self, note: str) -> None:
        if self.tell is not None:
            self.tell(self.place, self.ground.request.trials, note)


def _suggested(asked: optuna.Trial, varied: Varied) -> Any:
    if varied.choices:
        return asked.suggest_categorical(varied.name, varied.choices)
    return asked.suggest_float(varied.name, varied.low, varied.high, log=varied.log)


def _tried(study: optuna.Study, ground: Grounds) -> Iterator[Tried]:
    """The finished trials of the study in order, as people read them."""
    import optuna

    for place, trial in enumerate(_finished(study)):
        through = trial.state == optuna.trial.TrialState.COMPLETE
        given_up = f"given up after {len(trial.intermediate_values)} of {len(ground.folds)} folds"
        yield Tried(
            place,
            int(trial.user_attrs.get(TRIAL, 0)),
            trial.user_attrs.get(SETTINGS, {}),
            trial.value if through else None,
            "" if through else trial.user_attrs.get(FAILURE, given_up),
        )
