"""What a sweep stands on: the quarters it may read, their folds, what is varied, and how a study is told from others.

A sweep chooses, so nothing it reads may be judged afterwards: it trains and validates on quarters before the first
window that was rolled or judged, and reads no bar from there on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date

from tt_assets.assets.judging import code_of, configuration
from tt_assets.assets.spans import episode_panel, training_panel
from tt_assets.errors import UserError
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.horizon import horizon
from tt_assets.grid.partitions import Window, months_on, quarter_of
from tt_assets.market.watchlist import Watchlist
from tt_assets.postgres.database import Database
from tt_assets.postgres.ledger import wrapped_sum
from tt_assets.postgres.trials import SWEEP, Trial, trials_of
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.slices_read import Noting
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.judging.folds import Fold
from tt_assets.trading.judging.search import Varied, varied_of


class NothingToValidateOn(UserError):
    """There are no sessions that a sweep may read."""


@dataclass(frozen=True)
class Request:
    """What is asked of a sweep.

    Parameters
    ----------
    traded : portfolio or symbol.
    trials : in all, those of an earlier run of the same study included.
    folds : quarters to validate on, the last ones before `before`.
    before : first day that nothing is read of; None: of the first window that was rolled or judged.
    vary : settings to vary, all that the learner has where none is named.
    seed : of what is proposed.
    study : its name; made of the portfolio and everything else that shapes the study where it is empty.
    """

    traded: str
    trials: int = 30
    folds: int = 4
    before: date | None = None
    vary: tuple[str, ...] = ()
    seed: int = 0
    study: str = ""


@dataclass(frozen=True, eq=False)
class Grounds:
    """What a sweep stands on: its folds, what is varied around which settings, and how it is told from others."""

    request: Request
    before: date
    folds: tuple[Fold, ...]
    quarters: tuple[date, ...]
    base: TradingConfig
    varied: tuple[Varied, ...]
    bars: str
    plan: Blueprint

    @property
    def about(self) -> str:
        """A digest of all that shapes a study: settings, bars, folds, what is varied, seed, code."""
        said = [
            self.base.to_json(),
            self.plan.settings.seeds,
            self.plan.settings.cash_rate,
            self.bars,
            [f"{quarter}" for quarter in self.quarters],
            [repr(one) for one in self.varied],
            self.request.seed,
            code_of(self.plan),
        ]
        return hashlib.blake2b(json.dumps(said).encode(), digest_size=6).hexdigest()

    @property
    def study(self) -> str:
        """Its name."""
        return self.request.study or f"{self.request.traded} {self.about}"

    def trial(self, config: TradingConfig, place: int) -> Trial:
        """The trial that `config` is; the same settings, judged later, are the same configuration."""
        panels = [fold.traded for fold in self.folds]
        return Trial(
            instrument=self.request.traded,
            config=configuration(
                [config],
                {fold.training.feature_names for fold in self.folds},
                {panel.instruments for panel in panels},
                config,
                self.plan,
            ),
            code=code_of(self.plan),
            bars=self.bars,
            windows=(),
            seeds=tuple(range(self.plan.settings.seeds)),
            source=SWEEP,
            name=f"{self.study} {place}",
        )


def grounds(request: Request, market: MarketReader, watchlist: Watchlist, plan: Blueprint) -> Grounds:
    """Read what the sweep stands on; nothing from `before` on.

    Raises
    ------
    NothingToValidateOn : no quarter before it has one to train on before itself, or it is not known what will be
        judged.
    ConfigError : what is to be varied is not.
    UserError : bars are missing.
    """
    base = plan.trading_of(request.traded)
    varied = varied_of(base, request.vary)
    before = _before(request, market.database)
    quarters, train_windows = _quarters(before, request, plan)
    settings = plan.settings.model_copy(update={"train_windows": train_windows})
    folds, sums = [], []
    for quarter in quarters:
        window, noting = Window(quarter, request.traded), Noting(market)
        members = watchlist.members(request.traded, quarter)
        training = training_panel(noting, window, members, settings)
        traded = episode_panel(noting, window, members, base, horizon(settings))
        folds.append(Fold(f"{quarter}", training, traded.with_channels(training.feature_names)))
        sums.append(noting.reads())
    bars = f"{wrapped_sum(sums) % 2**64:016x}"
    return Grounds(request, before, tuple(folds), quarters, base, varied, bars, plan)


def first_judged(database: Database, traded: str) -> date | None:
    """First day of the first window of `traded` that was rolled or judged; None where none was."""
    with database.connect() as connection:
        row = connection.execute("SELECT min(window_start) FROM tt_episode WHERE instrument = %s", [traded]).fetchone()
    rolled = [row[0]] if row and row[0] else []
    return min([*rolled, *(day for trial in trials_of(database, traded) for day in trial.windows)], default=None)


def _before(request: Request, database: Database) -> date:
    judged = first_judged(database, request.traded)
    if request.before is None:
        if judged is None:
            raise NothingToValidateOn(
                f"No window of {request.traded} was rolled yet, so it is open which are to be judged; say from when on "
                "with --before D: a sweep reads no bar of that day or later."
            )
        return judged
    if judged is not None and quarter_of(request.before) > judged:
        raise NothingToValidateOn(
            f"--before {request.before} would read bars of the window {judged} of {request.traded}, which is judged; "
            f"the latest is --before {judged}."
        )
    return request.before


def _quarters(before: date, request: Request, plan: Blueprint) -> tuple[tuple[date, ...], int]:
    """The quarters that validate, ascending, and how many train before each.

    Where no quarter has TT_TRAIN_WINDOWS whole ones before it, the last one is validated on with what there is.
    """
    first, ends = horizon(plan.settings).first, quarter_of(before)
    whole = [months_on(ends, -3 * back) for back in range(1, 400)]
    opening = quarter_of(first)
    whole = [quarter for quarter in whole if quarter > opening or quarter == first]
    most = plan.settings.train_windows
    if len(whole) < 2:
        raise NothingToValidateOn(
            f"Before {before} there are {len(whole)} whole quarters of bars of {request.traded}; a sweep trains on one "
            "and validates on the next at least. Start the history earlier, or roll later windows only."
        )
    if len(whole) <= most:
        return (whole[0],), len(whole) - 1
    return tuple(reversed(whole[: min(request.folds, len(whole) - most)])), most
