"""The sessions of a run say which run it is."""

from __future__ import annotations

import os

import dagster as dg
import pytest

from tt_assets.runs.io_managers import SliceIOManager
from tt_assets.runs.session_names import NAME


@pytest.mark.parametrize(
    ("before", "after"), [("tt up: code server", "tt run {}"), ("tt backfill", "tt backfill"), ("", "")]
)
def test_a_served_run_is_named_and_a_command_keeps_its_name(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    monkeypatch.setenv(NAME, before)
    seen = []

    @dg.op(required_resource_keys={"slices"})
    def look() -> None:
        seen.append(os.environ[NAME])

    @dg.job(resource_defs={"slices": SliceIOManager.configure_at_launch()})
    def looking() -> None:
        look()

    with dg.DagsterInstance.ephemeral() as instance:
        run = looking.execute_in_process(instance=instance)
    assert seen == [after.format(run.run_id[:8])]
