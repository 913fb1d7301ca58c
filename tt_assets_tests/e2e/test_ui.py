"""What a person does in the UI, through the GraphQL requests that its pages send.

Cells of its own on the shared machine: January 2013, and one of the features of November 2012.
"""

from __future__ import annotations

import json

import pytest

from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB
from tt_assets.tables import TABLES
from tt_assets_tests.e2e.command_line import Machine, Ui, wait_until

pytestmark = pytest.mark.slow

REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "tt_assets.definitions"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def test_the_code_location_loads_with_all_thirteen_tables_and_the_report(ui: Ui) -> None:
    entries = ui.ask(
        "{workspaceOrError{... on Workspace{locationEntries{loadStatus locationOrLoadError{__typename}}}}}"
    )["workspaceOrError"]["locationEntries"]
    assert entries == [{"loadStatus": "LOADED", "locationOrLoadError": {"__typename": "RepositoryLocation"}}]
    nodes = ui.ask("{assetNodes{assetKey{path} groupName description owners{... on TeamAssetOwner{team}}}}")[
        "assetNodes"
    ]
    assert {node["assetKey"]["path"][0] for node in nodes} == {*TABLES, "report"}
    assert all(node["groupName"] and node["description"] and node["owners"] for node in nodes)


def test_tt_status_counts_partitions_as_the_ui_does(ui: Ui, filled: Machine) -> None:
    nodes = ui.ask("{assetNodes{assetKey{path} partitionStats{numMaterialized numFailed numPartitions}}}")["assetNodes"]
    in_ui = {node["assetKey"]["path"][0]: node["partitionStats"] for node in nodes}
    lines = json.loads(filled.tt("status", "--json").stdout)
    assert [line["table"] for line in lines] == list(TABLES)
    for line in lines:
        counted = in_ui[line["table"]]
        assert line["materialized"] == counted["numMaterialized"], line
        assert line["failed"] == counted["numFailed"], line
        assert line["materialized"] + line["missing"] + line["failed"] == counted["numPartitions"], line
        landed = filled.rows(
            f"SELECT count(DISTINCT partition) FROM event_logs WHERE asset_key = '[\"{line['table']}\"]' "
            "AND dagster_event_type = 'ASSET_MATERIALIZATION'",
            "dagster",
        )
        assert landed == [(line["materialized"],)]


def test_runs_of_the_command_line_are_on_the_timeline_and_on_the_page_of_their_job(ui: Ui, filled: Machine) -> None:
    label = {"key": ".dagster/repository", "value": "__repository__@tt_assets.definitions"}
    for job, table in ((MARKET_JOB, "tt_prices"), (AGENTS_JOB, "tt_policy")):
        found = ui.ask(
            """query($filter: RunsFilter!) {
                 runsOrError(filter: $filter, limit: 1000) {
                   ... on Runs {results {assetSelection {path} tags {key value}
                                         repositoryOrigin {repositoryName repositoryLocationName}}}
                 }
               }""",
            filter={"pipelineName": job, "tags": [label]},  # as the page of the job asks
        )["runsOrError"]["results"]
        ours = [run for run in found if any(tag["key"] == "tt/process" for tag in run["tags"])]
        assert any({"path": [table]} in run["assetSelection"] for run in ours), job
        assert {tuple(run["repositoryOrigin"].values()) for run in ours} == {tuple(REPOSITORY.values())}


def test_one_date_and_instrument_is_materialized_from_the_asset_page(ui: Ui, filled: Machine) -> None:
    assert filled.rows("DELETE FROM tt_features WHERE instrument = 'IBM' AND timestamp = '2012-11-15' RETURNING id")
    job = next(
        name
        for node in ui.ask("{assetNodes{assetKey{path} jobNames}}")["assetNodes"]
        if node["assetKey"]["path"] == ["tt_features"]
        for name in node["jobNames"]
        if name.startswith("__ASSET_JOB")
    )
    answer = ui.ask(
        """mutation($params: [ExecutionParams!]!) {
             launchMultipleRuns(executionParamsList: $params) {
               __typename
               ... on LaunchMultipleRunsResult {
                 launchMultipleRunsResult {__typename ... on LaunchRunSuccess {run {id}} ... on PythonError {message}}
               }
               ... on PythonError {message}
             }
           }""",
        params=[
            {
                "mode": "default",
                "runConfigData": "{}\n",
                "selector": {
                    **REPOSITORY,
                    "pipelineName": job,
                    "assetSelection": [{"path": ["tt_features"]}],
                    "assetCheckSelection": [],
                },
                "executionMetadata": {
                    "tags": [
                        {"key": "dagster/partition/date", "value": "2012-11-15"},
                        {"key": "dagster/partition/instrument", "value": "IBM"},
                        {"key": "dagster/partition", "value": "2012-11-15|IBM"},
                    ]
                },
            }
        ],
    )["launchMultipleRuns"]
    (launched,) = answer["launchMultipleRunsResult"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    assert _end_of_run(ui, launched["run"]["id"]) == "SUCCESS"
    # The same rows as the cell next to it, which the bulk run wrote.
    (count,), (neighbour,) = filled.rows(
        "SELECT count(*) FROM tt_features WHERE instrument = 'IBM' AND timestamp IN ('2012-11-15', '2012-11-16') "
        "GROUP BY timestamp"
    )
    assert count == neighbour > 0


def test_a_month_of_two_instruments_is_backfilled_through_three_tables_by_the_daemon(ui: Ui, filled: Machine) -> None:
    tables = ["tt_prices", "tt_features", "tt_signal_scores"]
    dates = [f"2013-01-{day:02d}" for day in range(2, 32) if day not in (5, 6, 12, 13, 19, 20, 21, 26, 27)]
    assert len(dates) == 21
    before = _materialized(ui, "tt_prices")
    cells = [f"{day}|{name}" for day in dates for name in ("AAPL", "IBM")]
    answer = ui.ask(
        """mutation($params: LaunchBackfillParams!) {
             launchPartitionBackfill(backfillParams: $params) {
               __typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}
             }
           }""",
        params={
            "assetSelection": [{"path": [table]} for table in tables],
            "partitionNames": cells,
            "fromFailure": False,
            "tags": [],
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    state: dict[str, str] = {}

    def ended() -> bool:
        state.update(
            ui.ask(
                "query($id: String!) {partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status}}}",
                id=answer["backfillId"],
            )["partitionBackfillOrError"]
        )
        return state["status"] not in ("REQUESTED", "COMPLETING", "FAILING", "CANCELING")

    wait_until(ended, within=600, every=2)
    assert state["status"] == "COMPLETED_SUCCESS"
    # Dagster takes in what looks back on January too, so beyond it there may be more; of January all is there.
    done = filled.rows(
        "SELECT asset_key, count(DISTINCT partition) FROM event_logs WHERE partition LIKE '2013-01-%' "
        "AND dagster_event_type = 'ASSET_MATERIALIZATION' GROUP BY 1 ORDER BY 1",
        "dagster",
    )
    assert done == [(f'["{table}"]', len(cells)) for table in sorted(tables)]
    assert _materialized(ui, "tt_prices") - before == 21 * 2
    assert filled.rows("SELECT count(*), count(DISTINCT timestamp) FROM tt_prices WHERE timestamp >= '2013-01-01'") == [
        (42, 21)
    ]
    for table in tables[1:]:
        # The look-back across the first of the month was read: the first session of January has all its values.
        (first, before), *_ = filled.rows(
            "SELECT count(*) FILTER (WHERE timestamp = '2013-01-02'), "
            "count(*) FILTER (WHERE timestamp = '2012-12-31') "
            f"FROM {table} WHERE instrument = 'IBM'"
        )
        assert first == before > 0


def _materialized(ui: Ui, table: str) -> int:
    nodes = ui.ask("{assetNodes{assetKey{path} partitionStats{numMaterialized numFailed}}}")["assetNodes"]
    (stats,) = (node["partitionStats"] for node in nodes if node["assetKey"]["path"] == [table])
    assert stats["numFailed"] == 0
    return int(stats["numMaterialized"])


def _end_of_run(ui: Ui, run_id: str) -> str:
    state = {"status": ""}

    def ended() -> bool:
        state.update(ui.ask("query($id: ID!) {runOrError(runId: $id) {... on Run {status}}}", id=run_id)["runOrError"])
        return state["status"] in ENDED

    wait_until(ended)
    return state["status"]
