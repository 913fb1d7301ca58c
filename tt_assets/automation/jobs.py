"""Jobs: the named sets of assets a person runs together."""

from __future__ import annotations

import dagster as dg

from tt_assets.assets.grids import MARKET, WINDOWS
from tt_assets.partitions import traded_partitions
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

MARKET_JOB = "market_history"
AGENTS_JOB = "agents"
REPORT_JOB = "report_job"

jobs = [
    dg.define_asset_job(
        MARKET_JOB,
        selection=list(MARKET_TABLES),
        partitions_def=MARKET,
        description="Prices, features and signal scores for any sessions and instruments.",
    ),
    dg.define_asset_job(
        AGENTS_JOB,
        selection=["tt_policy", *EPISODE_TABLES],
        partitions_def=WINDOWS,
        description="Train agents and roll them over their walk-forward windows.",
    ),
    dg.define_asset_job(
        REPORT_JOB,
        selection=["report"],
        partitions_def=traded_partitions,
        description="Judge the agents of one symbol or portfolio against the baselines.",
    ),
]
