"""Bars from a gateway under each of Dagster's executors: in the run's process, and in a process of the step's own."""

from __future__ import annotations

import dagster as dg
import pytest

from tt_assets.gateway import BarBook, StandIn
from tt_assets_tests.conftest import INSTRUMENTS_OF_SAMPLE
from tt_assets_tests.dagster_runs import current_definitions, range_tags, stored
from tt_assets_tests.gateway.thread import GatewayThread


def _job(executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    own = current_definitions()
    prices = own.get_assets_def("tt_prices")
    job = dg.define_asset_job("prices", selection=["tt_prices"], executor_def=executor)
    return dg.Definitions(assets=[prices], jobs=[job], resources=own.resources).resolve_job_def("prices")


def in_process() -> dg.JobDefinition:
    """`tt_prices` in the process of its run; at the top of the module, so that a step's process finds it."""
    return _job(dg.in_process_executor)


def multiprocess() -> dg.JobDefinition:
    """`tt_prices` in a process of its own."""
    return _job(dg.multiprocess_executor)


@pytest.mark.parametrize("job", [in_process, multiprocess])
def test_bars_come_through_the_executor(job, connected, sample_bars, monkeypatch):
    # A step's process loads the definitions again, with the dates this process has.
    monkeypatch.setenv("TT_START_DATE", "2005-03-01")
    monkeypatch.setenv("TT_END_DATE", "2013-03-01")
    monkeypatch.setenv("TT_PRICE_SOURCE", "ibkr")
    with GatewayThread(StandIn(BarBook(sample_bars))) as gateway, dg.instance_for_test() as instance:
        monkeypatch.setenv("TT_IBKR_PORT", str(gateway.port))
        instance.add_dynamic_partitions("instrument", list(INSTRUMENTS_OF_SAMPLE))
        run_config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        tags = range_tags("2012-06-01|AAPL", "2012-06-15|IBM")
        with dg.execute_job(dg.reconstructable(job), instance=instance, tags=tags, run_config=run_config) as result:
            assert result.success
    chosen = sample_bars["timestamp"].between("2012-06-01", "2012-06-15")
    wanted = sample_bars[chosen & sample_bars["instrument"].isin(["AAPL", "GOOG", "IBM"])]
    rows = wanted.sort_values(["instrument", "timestamp"]).itertuples(index=False)
    assert stored(connected, "tt_prices") == [
        (row.instrument, row.timestamp.to_pydatetime(), row.open, row.high, row.low, row.close, row.volume)
        for row in rows
    ]
