"""What Dagster loads: the table of contents of the platform."""

from __future__ import annotations

import logging
from functools import cache, partial

import dagster as dg

from tt_assets.assets.episode_checks import episode_checks
from tt_assets.assets.episodes import episodes_asset
from tt_assets.assets.features import features_asset
from tt_assets.assets.gate import promotion_check
from tt_assets.assets.market_checks import market_checks
from tt_assets.assets.policy import policy_asset
from tt_assets.assets.prices import prices_asset
from tt_assets.assets.report import report_asset
from tt_assets.assets.signals import signal_scores_asset
from tt_assets.assets.sources import price_source_resource
from tt_assets.automation import jobs, schedules, sensors
from tt_assets.grid.blueprint import blueprint, forget_dates, is_outgrown
from tt_assets.grid.source_version import refuse_other_version
from tt_assets.runs.database_resource import database_resource
from tt_assets.runs.io_managers import EpisodeIOManager, SliceIOManager
from tt_assets.runs.market_reader import market_reader_resource
from tt_assets.runs.other_instance import warn_of_another_instance
from tt_assets.settings import Settings, database_of
from tt_assets.settings.variables import misspelt_once


@cache
def definitions(settings: Settings) -> dg.Definitions:
    """Everything the platform is, made from `settings`; the same settings give the same object.

    Raises a UserError for a module of the user's own, or trading settings, that cannot be used. No database is opened.
    """
    plan = blueprint(settings)
    open_database = partial(database_of, settings)
    database = database_resource(open_database, partial(refuse_other_version, settings=settings))
    episode_tables = EpisodeIOManager(database=database)
    return dg.Definitions(
        assets=[
            prices_asset(plan),
            features_asset(plan),
            signal_scores_asset(plan),
            policy_asset(plan),
            episodes_asset(plan),
            report_asset(plan),
        ],
        asset_checks=[*market_checks(plan), episode_checks(plan), promotion_check(plan)],
        jobs=jobs(plan, open_database),
        schedules=schedules(settings),
        sensors=sensors(plan, open_database),
        # One process a run: a run already takes whole slices, and training brings worker processes of its own.
        executor=dg.in_process_executor,
        resources={
            "database": database,
            "slices": SliceIOManager(database=database),
            "episodes": episode_tables,
            "episode_tables": episode_tables,
            "market": market_reader_resource(settings),
            "price_source": price_source_resource(settings),
        },
    )


def definitions_of_bars(settings: Settings) -> dg.Definitions:
    """As `definitions`, but made anew where the bars have come to span other dates since."""
    if is_outgrown(settings):
        forget_dates()
        definitions.cache_clear()
    return definitions(settings)


settings = Settings()
warn_of_another_instance(settings.home / "dagster")
for line in misspelt_once():
    logging.getLogger("dagster").warning(line)

defs = definitions(settings)
