"""What the assets, checks, jobs, sensors and schedules are made from, worked out once from the settings.

Every factory of the code location takes a blueprint, so all of them agree on the partitions and the registries, and a
command that asks for a partition means the one that Dagster has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import dagster as dg

from tt_assets.grid.followed_calendar import follow_calendar
from tt_assets.grid.horizon import horizon
from tt_assets.grid.partitions import grid_span, market_grid, window_grid
from tt_assets.research.registry import Feature, Signal, load_features, load_signals
from tt_assets.settings import Settings
from tt_assets.trading.agents.learners import learner_modules
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.rules.registry import trading_modules


@dataclass(frozen=True, eq=False)
class Blueprint:
    """The platform as the settings describe it.

    Parameters
    ----------
    settings : what a person set.
    market_partitions : trading session (or month, or year) × instrument, of the three market tables.
    window_partitions : walk-forward quarter × traded key, of `tt_policy` and the nine episode tables.
    features, signals : the built-in ones and those of the user's own modules, in the order they are computed.
    trading : how agents trade and are trained, with the modules of entry points; of one portfolio see `trading_of`.
    """

    settings: Settings
    market_partitions: dg.MultiPartitionsDefinition
    window_partitions: dg.MultiPartitionsDefinition
    features: tuple[Feature, ...]
    signals: tuple[Signal, ...]
    trading: TradingConfig

    def trading_of(self, traded: str) -> TradingConfig:
        """How the agents of one portfolio or symbol trade and are trained."""
        learner = self.settings.agents.get(traded, self.trading.agent)
        return self.trading if learner == self.trading.agent else self.trading.replace(agent=learner)


@cache
def blueprint(settings: Settings) -> Blueprint:
    """The blueprint of `settings`. Dates are read off the bars once: a process keeps the partitions it began with.

    Raises RegistryError for a module of features or signals that cannot be used, ConfigError for trading settings that
    contradict each other.
    """
    follow_calendar(settings)
    features = load_features(settings.feature_modules)
    signals = load_signals(settings.signal_modules, features)
    return Blueprint(
        settings,
        market_grid(settings),
        window_grid(settings),
        features,
        signals,
        settings.trading.replace(
            trading_modules=trading_modules(settings.trading.trading_modules),
            learner_modules=learner_modules(settings.trading.learner_modules),
        ),
    )


def is_outgrown(settings: Settings) -> bool:
    """Whether the bars span other dates now than the partitions that this process began with."""
    return horizon(settings) != grid_span(settings)


def forget_dates() -> None:
    """Have the next blueprint read its dates off the bars again."""
    for kept in (grid_span, market_grid, window_grid, blueprint):
        kept.cache_clear()
