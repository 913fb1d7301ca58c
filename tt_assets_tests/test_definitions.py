"""What Dagster loads: thirteen described tables, their checks, a report, and nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

import dagster as dg
import pytest

from tt_assets.assets.episode_checks import STORED
from tt_assets.automation import AGENTS_JOB, MARKET_JOB, REPORT_JOB
from tt_assets.grid.partitions import traded_partitions
from tt_assets.tables import BAR_FORMS, EPISODE_TABLES, MARKET_TABLES, TABLES
from tt_assets_tests.dagster_runs import current_definitions

HEAVY = (
    "torch",
    "stable_baselines3",
    "gymnasium",
    "tensortrade",
    "tensorflow",
    "matplotlib",
    "numba",
    "ib_insync",
    "talib",
    "alembic",
    "adbc_driver_postgresql",
)

LOAD = f"""
import json, sys
import tt_assets.definitions
print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))
"""


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in current_definitions().resolve_all_asset_specs()}


def graph():
    return current_definitions().resolve_asset_graph()


def test_loading_the_definitions_imports_no_heavy_library(settings_environment):
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD], env=settings_environment, capture_output=True, text=True, check=True
    )
    assert json.loads(loaded.stdout) == []


def test_the_definitions_load_without_a_database(settings_environment):
    nowhere = settings_environment | {"TT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    loaded = subprocess.run([sys.executable, "-c", LOAD], env=nowhere, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr


def test_the_definitions_are_valid_and_hold_the_thirteen_tables_and_the_report():
    dg.Definitions.validate_loadable(current_definitions())
    assert set(specs()) == {*TABLES, "report"}


@pytest.mark.parametrize("table", TABLES)
def test_an_asset_says_where_it_belongs_who_owns_it_and_what_it_is(table):
    spec = specs()[table]
    assert spec.group_name == TABLES[table].info["layer"]
    assert set(TABLES[table].info["kinds"]) == spec.kinds
    assert "postgres" in spec.kinds
    assert spec.owners
    assert spec.description.startswith(TABLES[table].comment)
    assert spec.metadata["dagster/table_name"] == table


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_shown_are_those_of_the_server(table, postgres):
    with postgres.connect() as connection:
        served = connection.execute(
            "SELECT a.attname, a.attnotnull, col_description(a.attrelid, a.attnum) FROM pg_attribute a "
            "WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            [table],
        ).fetchall()
    schema = specs()[table].metadata["dagster/column_schema"]
    schema = schema.value if isinstance(schema, dg.MetadataValue) else schema
    assert [column.name for column in schema.columns] == [name for name, _, _ in served]
    # PostgreSQL knows of no column of a view whether it can be NULL; ours are made of columns that cannot.
    shown = [not column.constraints.nullable for column in schema.columns]
    assert shown == ([True] * len(served) if table in BAR_FORMS else [not_null for _, not_null, _ in served])
    for column, (_, _, comment) in zip(schema.columns, served, strict=True):
        assert column.description
        assert column.description.startswith((comment or column.description).rstrip("."))


@pytest.mark.parametrize("table", TABLES)
def test_a_selection_of_partitions_is_one_run_through_an_io_manager_of_ours(table):
    node = graph().get(dg.AssetKey(table))
    assert node.backfill_policy == dg.BackfillPolicy.single_run()
    asset = current_definitions().get_assets_def(table)
    manager = asset.get_io_manager_key_for_asset_key(dg.AssetKey(table))
    assert manager == ("episodes" if table in EPISODE_TABLES else "slices")


@pytest.mark.parametrize("table", TABLES)
def test_every_asset_is_partitioned_by_date_and_instrument(table):
    grid = graph().get(dg.AssetKey(table)).partitions_def
    assert isinstance(grid, dg.MultiPartitionsDefinition)
    assert grid.partition_dimension_names == ["date", "instrument"]


def test_data_flows_in_the_order_of_the_tables():
    order = list(TABLES)
    upstream = {table: {key.to_user_string() for key in graph().get(dg.AssetKey(table)).parent_keys} for table in order}
    assert upstream["tt_prices"] == set()
    assert upstream["tt_features"] == {"tt_prices"}
    assert upstream["tt_signal_scores"] == {"tt_prices", "tt_features"}
    assert upstream["tt_policy"] == set(MARKET_TABLES)
    assert {*MARKET_TABLES, "tt_policy"} <= upstream["tt_observation"]
    # tt_prices reaches every table.
    for table in order[1:]:
        seen, todo = set(), [table]
        while todo:
            for parent in upstream[todo.pop()] - seen:
                seen.add(parent)
                todo.append(parent)
        assert "tt_prices" in seen, table


def test_each_job_takes_its_tables():
    for job, tables in (
        (MARKET_JOB, MARKET_TABLES),
        (AGENTS_JOB, ("tt_policy", *EPISODE_TABLES)),
        (REPORT_JOB, ("report",)),
    ):
        chosen = current_definitions().resolve_job_def(job).asset_layer.executable_asset_keys
        assert {key.to_user_string() for key in chosen} == set(tables)


def test_training_waits_in_its_pool():
    assert current_definitions().get_assets_def("tt_policy").op.pool == "training"


CHECKED = {
    "finished",
    "books_balance",
    "cash_follows_orders",
    "fills_change_holdings",
    "weights_sum_to_one",
    "leverage_within_limit",
    "rewards_recompute",
    "metrics_recompute",
    "engines_agree",
    "replays",
    "no_look_ahead",
}


def test_eleven_checks_guard_every_episode_and_each_of_them_blocks():
    found = {key: graph().get(key) for key in graph().asset_check_keys}
    on_episodes = {key.name: node for key, node in found.items() if key.asset_key == dg.AssetKey("tt_episode")}
    assert set(on_episodes) == CHECKED == set(STORED)
    assert all(node.blocking for node in on_episodes.values())
    assert all(node.description for node in on_episodes.values())


BLOCKING = {
    "tt_prices": {"bars_are_sound"},
    "tt_features": {"values_are_finite", "values_where_due", "no_look_ahead"},
    "tt_signal_scores": {"scores_within_bounds", "meta_json_is_valid"},
}


@pytest.mark.parametrize("table", MARKET_TABLES)
def test_the_market_tables_are_checked_by_a_step_of_its_own_that_blocks_where_downstream_would_be_wrong(table):
    nodes = {key.name: graph().get(key) for key in graph().asset_check_keys if key.asset_key == dg.AssetKey(table)}
    assert {name for name, node in nodes.items() if node.blocking} == BLOCKING[table]
    assert all(node.description for node in nodes.values())
    job = current_definitions().resolve_job_def(MARKET_JOB)
    assert f"{table}_checks" in {node.name for node in job.graph.nodes}
    # A planned event of a partitioned check would store a row, with all partitions in it, for each of them.
    assert all(node.partitions_def is None for node in nodes.values())


def test_the_agents_job_runs_the_checks_of_the_episodes():
    chosen = current_definitions().resolve_job_def(AGENTS_JOB).asset_layer.executable_asset_keys
    keys = current_definitions().resolve_job_def(AGENTS_JOB).asset_layer.asset_graph.asset_check_keys
    assert dg.AssetKey("tt_episode") in chosen
    assert {key.name for key in keys if key.asset_key == dg.AssetKey("tt_episode")} == CHECKED


def test_a_report_is_of_one_traded_key_over_all_its_windows():
    node = graph().get(dg.AssetKey("report"))
    assert node.partitions_def == traded_partitions
    assert {key.to_user_string() for key in node.parent_keys} == {"tt_episode", "tt_policy", "tt_target_weights"}
    assert specs()["report"].owners
    assert specs()["report"].description
    assert specs()["report"].group_name == "5_report"
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("traded", ["AAPL", "MSFT"])
        for parent in node.parent_keys:
            mapping = graph().get_partition_mapping(node.key, parent)
            read = mapping.get_upstream_mapped_partitions_result_for_partitions(
                traded_partitions.subset_with_partition_keys(["AAPL"]),
                traded_partitions,
                graph().get(parent).partitions_def,
                dynamic_partitions_store=instance,
            ).partitions_subset.get_partition_keys()
            assert {key.split("|")[1] for key in map(str, read)} == {"AAPL"}, parent
            assert len(set(read)) > 20, parent  # every quarter of the sample that has three behind it


def test_the_groups_sorted_by_name_as_the_ui_has_them_stand_in_the_order_of_flow():
    flow = [*TABLES, "report"]
    assert sorted(flow, key=lambda asset: specs()[asset].group_name) == flow
    assert len({specs()[asset].group_name for asset in flow}) == 5
