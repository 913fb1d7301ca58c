"""What happens by the clock of New York.

The refresh comes after midnight, not after the close: a session's partition appears at the midnight that
follows it. It starts switched off, because the sensors do the same and sooner.
"""

from __future__ import annotations

import dagster as dg

from tt_assets.automation.jobs import REFRESH_JOB, VERIFY_JOB
from tt_assets.market.calendar import followed
from tt_assets.settings import Settings


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Both schedules; the nightly one starts as TT_AUTOMATION says."""
    return [
        dg.ScheduleDefinition(
            name="refresh_after_each_session",
            job_name=REFRESH_JOB,
            cron_schedule="30 0 * * 2-6",
            execution_timezone=followed().zone.key,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Half past midnight after each weekday: what is missing is loaded and the open window rolled. "
            "For those who keep the sensors switched off.",
        ),
        dg.ScheduleDefinition(
            name="verify_every_night",
            job_name=VERIFY_JOB,
            cron_schedule="0 3 * * *",
            execution_timezone=followed().zone.key,
            default_status=dg.DefaultScheduleStatus.RUNNING
            if settings.automation
            else dg.DefaultScheduleStatus.STOPPED,
            description="Three in the morning: every stored row of the market tables is checked.",
        ),
    ]
