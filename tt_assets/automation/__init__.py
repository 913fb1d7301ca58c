"""What runs the assets: jobs a person starts, sensors and schedules that start them without one."""

from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB, REPORT_JOB, jobs
from tt_assets.automation.sensors import sensors

__all__ = ["AGENTS_JOB", "MARKET_JOB", "REPORT_JOB", "jobs", "sensors"]
