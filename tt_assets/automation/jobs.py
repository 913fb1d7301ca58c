"""Jobs: the named sets of assets and checks a person runs together, under the name of what they are for."""

from __future__ import annotations

import dagster as dg

from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

REFRESH_JOB = "refresh_now"
MARKET_JOB = "backfill_history"
AGENTS_JOB = "retrain"
ROLL_JOB = "re_roll"
REPORT_JOB = "judge"
VERIFY_JOB = "verify_everything"

jobs = [
    dg.define_asset_job(
        MARKET_JOB,
        selection=list(MARKET_TABLES),
        description="Prices, features and signal scores for the sessions and instruments you choose.",
    ),
    dg.define_asset_job(
        AGENTS_JOB,
        selection=["tt_policy", *EPISODE_TABLES],
        description="Train the agents of the walk-forward windows you choose, then roll them beside the baselines.",
    ),
    dg.define_asset_job(
        ROLL_JOB,
        selection=list(EPISODE_TABLES),
        description="Roll the agents there are, and the baselines, over the windows you choose. Nothing is trained.",
    ),
    dg.define_asset_job(
        REPORT_JOB,
        selection=["report"],
        description="Judge the agents of a symbol or portfolio against the baselines: figures, plots, one HTML file.",
    ),
    dg.define_asset_job(
        VERIFY_JOB,
        selection=dg.AssetSelection.all_asset_checks(),
        description="Check every stored row of the market tables and every stored episode. Nothing to choose, and "
        "nothing is written.",
    ),
]
