"""The jobs a person looks for: what each takes, what is left to choose, and when the clock starts it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import dagster as dg
import pytest

from tt_assets.grid.partitions import traded_partitions
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES
from tt_assets_tests.dagster_runs import current_definitions, current_plan, ticks_after


@pytest.mark.parametrize(
    ("name", "tables", "partitions_of"),
    [
        ("backfill_history", MARKET_TABLES, lambda plan: plan.market_partitions),
        ("retrain", ("tt_policy", *EPISODE_TABLES), lambda plan: plan.window_partitions),
        ("re_roll", EPISODE_TABLES, lambda plan: plan.window_partitions),
        ("judge", ("report",), lambda plan: traded_partitions),
        ("refresh_now", (), lambda plan: None),
        ("verify_everything", (), lambda plan: None),
    ],
)
def test_a_job_takes_its_tables_over_the_partitions_a_person_chooses(name, tables, partitions_of) -> None:
    job = current_definitions().resolve_job_def(name)
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(tables)
    assert job.partitions_def == partitions_of(current_plan())
    assert job.description


def test_these_are_all_the_jobs() -> None:
    names = {job.name for job in current_definitions().get_repository_def().get_all_jobs()}
    assert {name for name in names if not name.startswith("__")} == {
        "refresh_now",
        "backfill_history",
        "retrain",
        "re_roll",
        "judge",
        "verify_everything",
    }


def test_verifying_makes_every_check_there_is_and_no_table() -> None:
    job = current_definitions().resolve_job_def("verify_everything")
    made = {
        key
        for checks in current_definitions().get_repository_def().asset_checks_defs_by_key.values()
        if checks.op.name in {node.name for node in job.nodes}
        for key in checks.check_keys
    }
    assert made == set(current_definitions().resolve_asset_graph().asset_check_keys)
    assert {key.asset_key.to_user_string() for key in made} == {*MARKET_TABLES, "tt_episode", "report"}


@pytest.mark.parametrize(
    ("name", "job", "ticks"),
    [
        (
            "refresh_after_each_session",
            "refresh_now",
            # The clocks of New York go forward on Sunday, 10 March 2013: an hour earlier in UTC from then on.
            ["Fri 05:30", "Sat 05:30", "Tue 04:30", "Wed 04:30"],
        ),
        ("verify_every_night", "verify_everything", ["Thu 08:00", "Fri 08:00", "Sat 08:00", "Sun 07:00", "Mon 07:00"]),
    ],
)
def test_the_clock_of_new_york_starts_a_job(name: str, job: str, ticks: list[str]) -> None:
    (schedule,) = (found for found in current_definitions().schedules if found.name == name)
    assert schedule.job_name == job
    after = datetime(2013, 3, 7, 6, tzinfo=UTC)  # a Thursday
    external = dg.build_schedule_context(scheduled_execution_time=after)
    assert schedule.evaluate_tick(external).run_requests
    found = ticks_after(schedule, after)
    assert [f"{tick.astimezone(UTC):%a %H:%M}" for tick in islice(found, len(ticks))] == ticks
