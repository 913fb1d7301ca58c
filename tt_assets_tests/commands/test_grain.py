"""`tt grain` leaves a home alone on which somebody works, and says who and what to do."""

from __future__ import annotations

import os

import dagster as dg

from tt_assets.automation import MARKET_JOB
from tt_assets.runs._dagster import job_origin
from tt_assets.runs.process_identity import identity
from tt_assets.runtime import up_record
from tt_assets.runtime.home import make_home
from tt_assets.runtime.one_grain import mark
from tt_assets.runtime.up_record import Owner
from tt_assets.settings import Settings
from tt_assets_tests.commands.conftest import Tt
from tt_assets_tests.dagster_runs import current_definitions


def left_alone(settings: Settings) -> bool:
    """Whether the home is neither moved nor on its way."""
    return not mark(settings).exists() and not (settings.home / ".env").exists()


def test_a_home_that_is_served_is_not_moved(tt: Tt) -> None:
    settings = Settings()
    make_home(settings.home)
    up_record.write(settings, Owner(os.getpid(), str(identity(os.getpid())), "http://127.0.0.1:3000", "its token"))
    told = tt("grain", "year")
    assert told.is_one_line_of_advice()
    assert f"tt up (process {os.getpid()}) works on this home: `tt down`, then `tt grain year`." in told.err
    assert left_alone(settings)


def test_a_home_with_a_run_that_has_not_ended_is_not_moved(tt: Tt, postgres_instance: dg.DagsterInstance) -> None:
    run = postgres_instance.create_run_for_job(
        current_definitions().resolve_job_def(MARKET_JOB),
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=job_origin(MARKET_JOB),
    )
    told = tt("grain", "year")
    assert told.is_one_line_of_advice()
    assert f"Run {run.run_id[:8]} has not ended; wait for it or end it, then `tt grain year`." in told.err
    assert left_alone(Settings())
    postgres_instance.report_run_canceled(run)
