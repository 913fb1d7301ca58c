"""What Dagster loads: the table of contents of the platform."""

from __future__ import annotations

import dagster as dg

from tt_assets.assets.episode_checks import episode_checks
from tt_assets.assets.episodes import episodes
from tt_assets.assets.features import tt_features
from tt_assets.assets.market_checks import market_checks
from tt_assets.assets.policy import tt_policy
from tt_assets.assets.prices import tt_prices
from tt_assets.assets.report import report
from tt_assets.assets.signals import tt_signal_scores
from tt_assets.assets.sources import PriceSourceResource
from tt_assets.automation import jobs, schedules, sensors
from tt_assets.runs.io_managers import EpisodeIOManager, SliceIOManager
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.other_instance import warn_of_another_instance
from tt_assets.settings import Settings

warn_of_another_instance(Settings().home / "dagster")
episode_tables = EpisodeIOManager()

defs = dg.Definitions(
    assets=[tt_prices, tt_features, tt_signal_scores, tt_policy, episodes, report],
    asset_checks=[*market_checks, episode_checks],
    jobs=jobs,
    schedules=schedules,
    sensors=sensors,
    # One process a run: a run already takes whole slices, and training brings worker processes of its own.
    executor=dg.in_process_executor,
    resources={
        "slices": SliceIOManager(),
        "episodes": episode_tables,
        "episode_tables": episode_tables,
        "price_source": PriceSourceResource(),
        "market": MarketReader(),
    },
)
