"""One door to Dagster's insides: what lies behind it, and that nobody goes around it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest

import tt_assets
import tt_assets_tests
from tt_assets.grid.keys import DATE, INSTRUMENT
from tt_assets.grid.partitions import MultiPartitionsDefinition
from tt_assets.runs import _dagster as door

PRODUCT, TESTS = (Path(package.__file__).parent for package in (tt_assets, tt_assets_tests))
DOORS = {"runs/_dagster.py", "runs/_dagster_folders.py"}
DOORS_OF_TESTS = {"dagster_runs.py", "test_upstream_quirks.py"}
KEYS = ["2012-05-24|A", "2012-05-24|T", "2012-05-25|A", "2012-05-25|T"]
GRID = MultiPartitionsDefinition(
    {
        DATE: dg.StaticPartitionsDefinition(["2012-05-24", "2012-05-25"]),
        INSTRUMENT: dg.StaticPartitionsDefinition(["A", "T"]),
    }
)


def private_imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of what a file imports from below Dagster's public modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in found:
            top, *below = name.split(".")
            if top.startswith("dagster") and any(part.startswith("_") for part in below[:-1]):
                yield name.rpartition(".")[0], below[-1]


@pytest.mark.parametrize(("package", "doors"), [(PRODUCT, DOORS), (TESTS, DOORS_OF_TESTS)])
def test_dagsters_private_modules_are_imported_in_the_door_alone(package: Path, doors: set[str]):
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if any(private_imports(path))}
    assert found <= doors


def test_the_door_adds_no_module_to_what_dagster_itself_loads():
    top = ast.parse((PRODUCT / "runs/_dagster.py").read_text(encoding="utf-8")).body
    modules = [node.module for node in top if isinstance(node, ast.ImportFrom) and node.module.startswith("dagster.")]
    assert len(modules) > 5
    script = f"import dagster, sys; print([name for name in {modules} if name not in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_daemon_is_a_module_that_can_be_run():
    assert find_spec(f"{door.DAEMON_MODULE}.__main__") is not None
    named = {path for path in PRODUCT.rglob("*.py") if f'"{door.DAEMON_MODULE}"' in path.read_text(encoding="utf-8")}
    assert named == {PRODUCT / "runs/_dagster.py"}


def test_nothing_behind_the_door_has_become_public():
    public = set(dir(dg))
    names = {name for path in DOORS for _, name in private_imports(PRODUCT / path)}
    assert len(names) > 10
    assert names & public == set()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def told(instance: dg.DagsterInstance, asset: str) -> dict[str, dict[str, object]]:
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=100, ascending=True).records
    assert records
    return {
        record.partition_key: {name: entry.value for name, entry in record.asset_materialization.metadata.items()}
        | dict(record.asset_materialization.tags)
        for record in records
    }


def materializations(asset: str) -> list[dg.AssetMaterialization]:
    return [
        dg.AssetMaterialization(asset, partition=key, metadata={"rows": place}, tags={"said": "so"})
        for place, key in enumerate(KEYS)
    ]


def test_a_batch_of_a_step_says_what_single_materializations_would(instance):
    @dg.op
    def publicly(context):
        yield from materializations("public")
        yield dg.Output(None)

    @dg.op
    def in_a_batch(context):
        yield from door.materialized(context.get_step_execution_context(), materializations("batch"))
        yield dg.Output(None)

    @dg.job
    def both():
        publicly()
        in_a_batch()

    assert both.execute_in_process(instance=instance).success
    assert told(instance, "batch") == told(instance, "public")
    assert list(told(instance, "batch")) == KEYS


def test_a_batch_of_no_run_says_what_single_reports_would(instance):
    door.report_runless(instance, materializations("batch"))
    for materialization in materializations("public"):
        instance.report_runless_asset_event(materialization)
    assert told(instance, "batch") == told(instance, "public")
    runs = [
        {record.run_id for record in instance.fetch_materializations(dg.AssetKey(asset), limit=100).records}
        for asset in ("batch", "public")
    ]
    assert runs[0] == runs[1]
    door.report_runless(instance, [])


def test_hooks_and_check_results_still_need_the_door():
    assert not hasattr(dg.HookContext, "log_event")
    assert not any("target" in name for name in dg.AssetCheckResult._fields)


def test_a_run_in_this_process_tells_its_events_as_they_happen(instance):
    seen = []

    @dg.op
    def probe():
        seen.append("work")

    @dg.job(executor_def=dg.in_process_executor)
    def one():
        probe()

    run = instance.create_run_for_job(one)
    seen.extend(event.event_type_value for event in door.execute(one, run, instance))
    assert seen.index("STEP_START") < seen.index("work") < seen.index("STEP_SUCCESS")
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.SUCCESS


def test_no_backfill_is_in_flight_where_none_was_asked_for(instance):
    assert list(door.backfills_in_flight(instance)) == []


def test_the_instance_has_no_public_call_for_evaluations_of_checks():
    """It has one for each of materializations, observations and changes of a run's status."""
    assert not any("check_evaluation" in name for name in dir(dg.DagsterInstance) if name.startswith("fetch_"))
    with dg.DagsterInstance.ephemeral() as instance, pytest.warns(DeprecationWarning, match="get_event_records"):
        instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION))
