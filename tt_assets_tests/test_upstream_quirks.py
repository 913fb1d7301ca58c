"""One test for each habit of Dagster and SQLAlchemy that a decision here leans on: it fails the day the habit is gone.

A failure here is no defect of the platform. It says which workaround may now be simpler, or must be done anew.
"""

import importlib
import inspect
import logging
import multiprocessing
import re
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable
from datetime import date, datetime

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.storage import tags
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._grpc.server import DagsterApiServer
from sqlalchemy import create_engine

from tt_assets.grid import run_tags
from tt_assets.grid.horizon import Horizon
from tt_assets.grid.partitions import MultiPartitionsDefinition, session_partitions
from tt_assets.market.calendar import NEW_YORK
from tt_assets.runs import _dagster as door
from tt_assets.settings import DateGrain
from tt_assets_tests.dagster_runs import failure_text, landed_cells, partition_counts, range_tags

SESSIONS = session_partitions(Horizon(date(2012, 5, 1), date(2012, 7, 31)), DateGrain.SESSION)
NAMES = dg.DynamicPartitionsDefinition(name="instrument")
GRID = dg.MultiPartitionsDefinition({"date": SESSIONS, "instrument": NAMES})
ORDER = ["MSFT", "T", "AA", "A"]


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as ephemeral:
        ephemeral.add_dynamic_partitions("instrument", ORDER)
        yield ephemeral


def keys_of_range(instance: dg.DagsterInstance, first: str, last: str) -> list[str]:
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        return [str(key) for key in GRID.get_partition_keys_in_range(dg.PartitionKeyRange(first, last))]


def run_asset(instance: dg.DagsterInstance, body: Callable, first: str, last: str) -> dg.ExecuteInProcessResult:
    asset = dg.asset(name="probe", partitions_def=GRID, backfill_policy=dg.BackfillPolicy.single_run())(body)
    return dg.materialize([asset], instance=instance, tags=range_tags(first, last), raise_on_error=False)


def test_dimensions_are_sorted_by_name_so_a_key_reads_date_then_instrument():
    assert dg.MultiPartitionKey({"instrument": "A", "date": "2012-05-25"}) == "2012-05-25|A"


def test_dynamic_partitions_are_listed_in_the_order_they_were_added(instance):
    assert list(instance.get_dynamic_partitions("instrument")) == ORDER


def test_a_range_over_two_dimensions_is_a_rectangle_in_listing_order(instance):
    assert set(keys_of_range(instance, "2012-05-24|T", "2012-05-25|AA")) == {
        "2012-05-24|T", "2012-05-24|AA", "2012-05-25|T", "2012-05-25|AA",
    }  # fmt: skip


def test_a_range_end_on_a_closed_day_takes_in_the_next_session(instance):
    # 26 May 2012 is a Saturday and Monday the 28th Memorial Day: Tuesday's session comes along unasked.
    assert "2012-05-29|T" in keys_of_range(instance, "2012-05-25|T", "2012-05-26|T")


def test_a_reversed_range_of_instruments_is_silently_empty(instance):
    assert keys_of_range(instance, "2012-05-25|A", "2012-05-25|MSFT") == []


def test_a_run_request_over_a_rectangle_is_one_with_the_tags_of_a_range(instance):
    """A request has a parameter for one key only; Dagster hands its tags on, and the run takes them for its range."""
    taken = []

    @dg.asset(partitions_def=GRID, backfill_policy=dg.BackfillPolicy.single_run())
    def probe(context) -> None:
        taken.extend(context.partition_keys)

    job = dg.define_asset_job("probes", selection=[probe], partitions_def=GRID)
    asked = dg.RunRequest(job_name="probes", tags=range_tags("2012-05-24|T", "2012-05-25|AA"))
    sensor = dg.SensorDefinition(name="asks", evaluation_fn=lambda context: asked, jobs=[job])
    defs = dg.Definitions(assets=[probe], jobs=[job], sensors=[sensor])
    with dg.build_sensor_context(instance=instance, definitions=defs) as context:
        (request,) = sensor.evaluate_tick(context).run_requests
    span = request.partition_key_range
    assert (request.partition_key, span.start, span.end) == (None, "2012-05-24|T", "2012-05-25|AA")
    assert defs.resolve_job_def("probes").execute_in_process(instance=instance, tags=request.tags).success
    assert set(taken) == {"2012-05-24|T", "2012-05-24|AA", "2012-05-25|T", "2012-05-25|AA"}


def test_tags_and_statuses_are_called_as_dagster_calls_them():
    assert (run_tags.PARTITION, run_tags.DATA_VERSION) == (tags.PARTITION_NAME_TAG, DATA_VERSION_TAG)
    assert tags.get_multidimensional_partition_tag("date") == f"{run_tags.DIMENSION}date"
    assert run_tags.RANGE_START == tags.ASSET_PARTITION_RANGE_START_TAG
    assert run_tags.RANGE_END == tags.ASSET_PARTITION_RANGE_END_TAG
    assert run_tags.WILL_RETRY == tags.WILL_RETRY_TAG
    assert set(run_tags.UNFINISHED) == set(NOT_FINISHED_STATUSES)
    assert DagsterAssetCheckFailedError.__name__ == run_tags.CHECK_FAILED


def test_a_stored_set_of_partitions_is_read_back_by_the_name_of_the_class_alone(instance):
    """So the grid of the product is a class with the name of Dagster's own."""
    own = MultiPartitionsDefinition({"date": SESSIONS, "instrument": NAMES})
    subset = own.empty_subset().with_partition_keys(["2012-05-24|T"])
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        unique = own.get_serializable_unique_identifier()
        for name, readable in ((type(own).__name__, True), ("Grid", False)):
            assert GRID.can_deserialize_subset(subset.serialize(), unique, name) is readable
        assert GRID.get_serializable_unique_identifier() == unique
    assert own == GRID


def test_the_weekday_cron_hides_friday_until_monday():
    weekdays = dg.TimeWindowPartitionsDefinition(
        start=datetime(2024, 1, 2), cron_schedule="0 0 * * 1-5", fmt="%Y-%m-%d", timezone="America/New_York"
    )
    saturday = datetime(2024, 7, 6, 12, tzinfo=NEW_YORK)
    assert weekdays.get_partition_keys(current_time=saturday)[-1] == "2024-07-04"


def test_an_end_offset_with_exclusions_invents_a_session_that_has_not_come():
    ahead = dg.TimeWindowPartitionsDefinition(
        start=datetime(2024, 1, 2),
        cron_schedule="0 0 * * *",
        fmt="%Y-%m-%d",
        timezone="America/New_York",
        exclusions=["0 0 * * 6,0"],
        end_offset=1,
    )
    saturday = datetime(2024, 7, 6, 12, tzinfo=NEW_YORK)
    assert ahead.get_partition_keys(current_time=saturday)[-1] == "2024-07-08"


def test_a_rectangle_has_no_one_key_and_its_time_window_forgets_the_instruments(instance):
    seen = {}

    def body(context) -> None:
        seen["keys"] = list(context.partition_keys)
        op = context.op_execution_context
        for name, ask in {
            "one key": lambda: context.partition_key,
            "time window": lambda: op.asset_partitions_time_window_for_output("result"),
        }.items():
            try:
                seen[name] = ask()
            except Exception:  # noqa: BLE001 - any refusal is the habit
                seen[name] = "refused"

    assert run_asset(instance, body, "2012-05-24|T", "2012-05-25|AA").success
    assert len(seen["keys"]) == 4
    assert seen["one key"] == "refused"
    assert [moment.date() for moment in seen["time window"]] == [date(2012, 5, 24), date(2012, 5, 26)]


def test_metadata_of_many_partitions_is_what_add_asset_metadata_would_give_each(instance):
    """The door fills a private accumulator; the public way is quadratic in the partitions of a run."""
    told = {
        key: {"rows": number}
        for number, key in enumerate(sorted(keys_of_range(instance, "2012-05-24|T", "2012-05-25|AA")))
    }

    def public(context) -> None:
        for key, metadata in told.items():
            context.add_asset_metadata(metadata, partition_key=key)

    def private(context) -> None:
        door.add_metadata(door.step_of(context), dg.AssetKey("probe"), told)

    for body in (public, private):
        result = run_asset(instance, body, "2012-05-24|T", "2012-05-25|AA")
        assert result.success
        landed = landed_cells(instance, "probe", result.run_id)
        assert {key: {"rows": metadata["rows"]} for key, metadata in landed.items()} == told


def test_outputs_of_a_multi_asset_must_come_in_topological_order(instance):
    def materialize(order: tuple[str, ...]) -> dg.ExecuteInProcessResult:
        @dg.multi_asset(
            outs={"parent": dg.AssetOut(), "child": dg.AssetOut()},
            internal_asset_deps={"parent": set(), "child": {dg.AssetKey("parent")}},
            can_subset=False,
        )
        def both():
            for name in order:
                yield dg.Output(1, name)

        return dg.materialize([both], instance=instance, raise_on_error=False)

    assert materialize(("parent", "child")).success
    assert not materialize(("child", "parent")).success


def test_annotations_as_text_hide_the_context_type_from_dagster():
    """Modules that annotate `context` therefore do without `from __future__ import annotations`."""
    body = """
    import dagster as dg
    @dg.asset
    def probe(context: dg.AssetExecutionContext) -> None: ...
    """
    module = types.ModuleType("plain")
    exec(textwrap.dedent(body), module.__dict__)
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="context"):
        exec("from __future__ import annotations\n" + textwrap.dedent(body), types.ModuleType("postponed").__dict__)


def test_the_managers_of_dagsters_database_packages_refuse_a_dynamic_dimension(instance):
    manager = DbIOManager(
        type_handlers=[_Bars()], db_client=_NoDatabase(), database="tt", schema="public", io_manager_name="probe"
    )

    @dg.asset(partitions_def=GRID, metadata={"partition_expr": {"date": "timestamp", "instrument": "instrument"}})
    def probe() -> int:
        return 1

    result = dg.materialize(
        [probe],
        instance=instance,
        resources={"io_manager": manager},
        partition_key="2012-05-25|T",
        raise_on_error=False,
    )
    said = failure_text(result, "probe")
    assert "DynamicPartitionsDefinition" in said or "instance is not available" in said, said


class _Bars(DbTypeHandler):
    supported_types = (int,)

    def handle_output(self, *arguments: object) -> None: ...

    def load_input(self, *arguments: object) -> int:
        return 1


class _NoDatabase:
    def ensure_schema_exists(self, *arguments: object) -> None: ...


def test_a_static_mapping_cannot_take_a_dynamic_dimension_upstream(instance):
    mapping = dg.StaticPartitionMapping({"T": "T"})
    static = dg.StaticPartitionsDefinition(["T"])
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="StaticPartitionsDefinition"):
        mapping.validate_partition_mapping(NAMES, static)


def test_the_outer_key_of_a_multi_partition_mapping_is_the_upstream_dimension():
    mapping = dg.MultiPartitionMapping(
        {"upstream": dg.DimensionPartitionMapping("downstream", dg.IdentityPartitionMapping())}
    )
    assert list(mapping.downstream_mappings_by_upstream_dimension) == ["upstream"]
    assert mapping.downstream_mappings_by_upstream_dimension["upstream"].dimension_name == "downstream"


def test_a_window_whose_first_day_is_closed_leaks_the_session_before_it():
    """So the panel of a window is clipped by date at both ends, whatever the mapping names."""
    quarters = dg.TimeWindowPartitionsDefinition(
        start=datetime(2012, 4, 1),
        end=datetime(2012, 10, 1),
        cron_schedule="0 0 1 1,4,7,10 *",
        fmt="%Y-%m-%d",
        timezone="America/New_York",
    )
    window = quarters.empty_subset().with_partition_keys(["2012-07-01"])  # a Sunday
    result = dg.TimeWindowPartitionMapping().get_upstream_mapped_partitions_result_for_partitions(
        window, quarters, SESSIONS
    )
    assert min(result.partitions_subset.get_partition_keys()) == "2012-06-29"


def test_the_failed_partitions_of_a_range_run_are_not_counted_by_dagster_alone(postgres_instance, monkeypatch):
    """Its one planned event names no partition; `name_failed_cells` names those that failed."""
    postgres_instance.add_dynamic_partitions("instrument", ["T", "AA"])

    def body(context) -> None:
        raise RuntimeError("all of it")

    for subset, failed in (("1", 0), ("0", 4)):
        monkeypatch.setenv("DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS", subset)
        assert not run_asset(postgres_instance, body, "2012-05-24|T", "2012-05-25|AA").success
        assert partition_counts(postgres_instance, "probe", GRID)[2] == failed


def test_a_postgres_url_without_a_driver_is_not_psycopg2():
    """Dagster's event log needs psycopg2, so every URL of its storage names it."""
    assert create_engine("postgresql://nobody@127.0.0.1:1/none").driver == "psycopg"
    assert create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none").driver == "psycopg2"


def test_the_storage_of_the_instance_names_psycopg2(postgres):
    assert postgres.dagster_url().startswith("postgresql+psycopg2://")


@pytest.mark.parametrize("module", ["prices", "features", "signals", "policy", "episodes"])
def test_modules_of_assets_do_not_postpone_their_annotations(module):
    assert "annotations" not in vars(importlib.import_module(f"tt_assets.assets.{module}"))


def test_the_code_server_starts_its_runs_by_the_one_spawn_context_of_its_process():
    """So `start_runs_as` reaches them. Of the context it takes nothing but queue, event and process of a run."""
    ended = threading.Event()
    ended.set()  # the thread that looks after its runs has none to look after
    server = DagsterApiServer(ended, logging.getLogger("test"), FuturesAwareThreadPoolExecutor(1))
    server.cleanup()
    assert server._mp_ctx is multiprocessing.get_context("spawn")
    taken = re.findall(r"_mp_ctx\.(\w+)\(", inspect.getsource(DagsterApiServer))
    assert taken == ["Queue", "Event", "Process"]


def test_runs_are_started_as_the_process_that_was_named():
    script = """
import multiprocessing
from tt_assets.runs._dagster import start_runs_as
class Named(multiprocessing.get_context("forkserver").Process):
    pass
start_runs_as(Named)
print(type(multiprocessing.get_context("spawn").Process(target=print)).__name__)
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "Named"
