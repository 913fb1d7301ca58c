"""What runs the assets: jobs a person starts, sensors and schedules that start them without one."""

from __future__ import annotations

from typing import Any

import dagster as dg

from tt_assets.automation.alerts import alert_sensors
from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB, REFRESH_JOB, REPORT_JOB, ROLL_JOB, VERIFY_JOB
from tt_assets.automation.jobs import jobs as asset_jobs
from tt_assets.automation.refresh import refresh_job
from tt_assets.automation.schedules import schedules
from tt_assets.automation.sensors import asset_sensors
from tt_assets.grid.blueprint import Blueprint
from tt_assets.runs.database_resource import OpenDatabase


def jobs(plan: Blueprint, open_database: OpenDatabase) -> list[Any]:
    """Every job of the code location."""
    return [refresh_job(plan, open_database), *asset_jobs]


def sensors(plan: Blueprint, open_database: OpenDatabase) -> list[dg.SensorDefinition]:
    """Every sensor of the code location."""
    return [*asset_sensors(plan, open_database), *alert_sensors(plan.settings, open_database)]


__all__ = [
    "AGENTS_JOB",
    "MARKET_JOB",
    "REFRESH_JOB",
    "REPORT_JOB",
    "ROLL_JOB",
    "VERIFY_JOB",
    "jobs",
    "schedules",
    "sensors",
]
