"""What runs the assets: jobs a person starts, sensors and schedules that start them without one."""

from typing import Any

from tt_assets.automation.alerts import alert_sensors
from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB, REFRESH_JOB, REPORT_JOB, ROLL_JOB, VERIFY_JOB
from tt_assets.automation.jobs import jobs as asset_jobs
from tt_assets.automation.refresh import refresh_now
from tt_assets.automation.schedules import schedules
from tt_assets.automation.sensors import sensors as cell_sensors

jobs: list[Any] = [refresh_now, *asset_jobs]
sensors = [*cell_sensors, *alert_sensors]

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
