"""`tt db prune` while the UI is served: every page says afterwards what it said before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tt_assets_tests.e2e.command_line import Machine, Ui, free_port, machine, serve, wait_until
from tt_assets_tests.e2e.conftest import spoil

pytestmark = pytest.mark.slow

SPAN = ("--from", "2012-05-14", "--to", "2012-05-18", "--instruments", "AAPL,IBM")
KEYS = [f"2012-05-{day}|{name}" for day in (14, 15, 16, 17, 18) for name in ("AAPL", "IBM")]
TABLES = ("tt_prices", "tt_features", "tt_signal_scores")

SHOWN = """
    fragment Shown on MaterializationEvent { runId timestamp partition tags {key value}
      metadataEntries {label description ... on TextMetadataEntry {text} ... on IntMetadataEntry {intValue}}}
"""
NODE = f"""{SHOWN}
    query($key: AssetKeyInput!, $partitions: [String!]) {{ assetNodeOrError(assetKey: $key) {{ ... on AssetNode {{
      partitionStats {{numMaterialized numFailed numMaterializing numPartitions}}
      assetPartitionStatuses {{ ... on MultiPartitionStatuses {{ primaryDimensionName ranges {{
        primaryDimStartKey primaryDimEndKey secondaryDim {{ ... on DefaultPartitionStatuses {{
          materializedPartitions failedPartitions materializingPartitions unmaterializedPartitions }}}}}}}}}}
      latestMaterializationByPartition(partitions: $partitions) {{ ...Shown }}
      assetMaterializations(limit: 1) {{ ...Shown runOrError {{... on Run {{id status startTime endTime}}}}}}
      assetChecksOrError {{ ... on AssetChecks {{ checks {{ name executionForLatestMaterialization {{
        id runId status timestamp stepKey
        evaluation {{success severity description timestamp targetMaterialization {{runId}}}}}}}}}}}}
    }}}}}}
"""
PARTITION = """
    query($key: AssetKeyInput!, $partition: String!) {
      assetNodeOrError(assetKey: $key) { ... on AssetNode { latestRunForPartition(partition: $partition) {id status}}}
      assetOrError(assetKey: $key) { ... on Asset {
        assetObservations(partitions: [$partition], limit: 1) { runId timestamp partition metadataEntries {label}}}}}
"""
LATEST = """
    query($keys: [AssetKeyInput!]!) { assetsLatestInfo(assetKeys: $keys) {
      inProgressRunIds unstartedRunIds latestRun {id status} latestMaterialization {runId timestamp}}}
"""
BACKFILLS = """{ partitionBackfillsOrError { ... on PartitionBackfills { results {
      id status numPartitions timestamp partitionNames numCancelable
      assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts { assetKey {path}
        numPartitionsTargeted numPartitionsInProgress numPartitionsMaterialized numPartitionsFailed}}}}}}}
"""


@pytest.fixture(scope="module")
def here() -> Iterator[Machine]:
    with machine(TT_PICTURES="1") as made:
        yield made


def _pages(here: Machine, ui: Ui) -> dict[str, Any]:
    """What the pages of the three tables, of their partitions and checks, and of the backfills say, computed anew."""
    here.rows("UPDATE asset_keys SET cached_status_data = NULL", "dagster")
    said: dict[str, Any] = {"backfills": ui.ask(BACKFILLS)}
    keys = [{"path": [table]} for table in TABLES]
    said["latest"] = ui.ask(LATEST, keys=keys)
    for key in keys:
        said[str(key)] = ui.ask(NODE, key=key, partitions=KEYS)
        said |= {f"{key} {name}": ui.ask(PARTITION, key=key, partition=name) for name in KEYS}
    return said


def _backfill_from_the_ui(ui: Ui) -> None:
    answer = ui.ask(
        "mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {"
        "... on LaunchBackfillSuccess {backfillId}}}",
        params={
            "assetSelection": [{"path": ["tt_prices"]}],
            "partitionNames": KEYS[:2],
            "fromFailure": False,
            "tags": [],
        },
    )["launchPartitionBackfill"]
    status = "query($id: String!) {partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status}}}"
    wait_until(
        lambda: (
            ui.ask(status, id=answer["backfillId"])["partitionBackfillOrError"]["status"]
            not in ("REQUESTED", "COMPLETING")
        ),
        every=2,
    )


def _make_all_of_it_old(here: Machine) -> None:
    here.rows("UPDATE event_logs SET timestamp = timestamp - interval '100 days'", "dagster")
    here.rows("UPDATE asset_check_executions SET create_timestamp = create_timestamp - interval '100 days'", "dagster")
    here.rows(
        "UPDATE runs SET end_time = end_time - 8640000, start_time = start_time - 8640000, "
        "update_timestamp = update_timestamp - interval '100 days'",
        "dagster",
    )


def test_every_page_says_after_it_what_it_said_before(here: Machine, tmp_path: Path) -> None:
    for _ in range(2):
        told = here.tt("backfill", "market", *SPAN)
        assert told.returncode == 0, told.stderr
    spoil(here, tmp_path, "2012-05-16")
    ui = serve(here, free_port())
    _backfill_from_the_ui(ui)
    _make_all_of_it_old(here)
    count = "SELECT count(*) FROM event_logs"
    events = here.rows(count, "dagster")[0][0]
    before = _pages(here, ui)
    stats = before[str({"path": ["tt_prices"]})]["assetNodeOrError"]["partitionStats"]
    assert (stats["numMaterialized"], stats["numFailed"]) == (9, 1), stats
    assert len(before["backfills"]["partitionBackfillsOrError"]["results"]) == 1
    nothing = here.tt("db", "prune", "--older-than", "1y")
    assert "Removed 0 runs, 0 events and 0 results" in nothing.stdout, nothing
    pruned = here.tt("db", "prune", "--older-than", "90d", "--vacuum")
    assert pruned.returncode == 0, pruned.stderr
    assert here.rows(count, "dagster")[0][0] < events - 30, pruned.stdout
    assert _pages(here, ui) == before
    assert "Removed 0 runs, 0 events and 0 results" in here.tt("db", "prune").stdout
    assert here.tt("status").returncode == 0
