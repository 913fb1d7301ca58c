"""With TT_DATE_GRAIN=month a cell is a month, and what lands is the same as session by session."""

import json
import subprocess
import sys

import pytest

from tt_assets_tests.dagster_runs import stored

MARKET = ["tt_prices", "tt_features", "tt_signal_scores"]

# The grids are read once when the definitions load, so another grain is another process.
RUN = """
import json, sys
import dagster as dg
from tt_assets_tests.dagster_runs import landed_cells, run_job

first, last = sys.argv[1:]
tables = ["tt_prices", "tt_features", "tt_signal_scores"]
with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("instrument", ["AAPL", "FB"])
    result = run_job(instance, tables, first, last)
    assert result.success
    assert len(result.get_asset_check_evaluations()) == 8
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    print(json.dumps({t: {k: m["dagster/row_count"] for k, m in landed_cells(instance, t).items()} for t in tables}))
"""


@pytest.mark.slow
def test_months_land_the_same_rows_as_their_sessions_one_cell_a_month(empty_tables, settings_environment):
    def run(grain: str, first: str, last: str) -> dict[str, dict[str, int]]:
        done = subprocess.run(
            [sys.executable, "-c", RUN, f"{first}|AAPL", f"{last}|FB"],
            env=settings_environment | {"TT_DATE_GRAIN": grain},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    by_month = run("month", "2012-04-01", "2012-06-01")
    months = {table: stored(empty_tables, table) for table in MARKET}
    assert set(by_month["tt_features"]) == {f"2012-{m:02d}-01|{name}" for m in (4, 5, 6) for name in ("AAPL", "FB")}
    # Sessions of the exchange: 20 in April, 22 in May, 21 in June; Facebook from 18 May on.
    assert by_month["tt_prices"] == {
        "2012-04-01|AAPL": 20, "2012-05-01|AAPL": 22, "2012-06-01|AAPL": 21,
        "2012-04-01|FB": 0, "2012-05-01|FB": 9, "2012-06-01|FB": 21,
    }  # fmt: skip

    with empty_tables.connect() as connection:
        connection.execute("TRUNCATE tt_prices, tt_feature_bar, tt_signal_bar, tt_slice")
    run("session", "2012-04-02", "2012-06-29")
    assert {table: stored(empty_tables, table) for table in MARKET} == months
    assert all(months.values())
