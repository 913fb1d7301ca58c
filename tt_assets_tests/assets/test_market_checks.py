"""The checks of the market tables in runs: what they judge, what they say of single partitions, what they stop."""

from datetime import date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from tt_assets.assets.coverage import as_markdown, coverage, expected_sessions
from tt_assets.assets.market_checks import CHECKS, Found, _of_sessions
from tt_assets.market.bar_checks import Finding
from tt_assets.postgres.slices import Selection
from tt_assets_tests.dagster_runs import (
    AllPartitionsSubset,
    current_definitions,
    keep_dates_of_sample,
    landed_cells,
    run_job,
)
from tt_assets_tests.postgres.test_slices import select

MARKET = ["tt_prices", "tt_features", "tt_signal_scores"]
SPAN = ("2012-05-14|AAPL", "2012-06-08|FB")
HOLIDAY = "2012-05-28"


def evaluations(instance: dg.DagsterInstance, run_id: str) -> dict[tuple[str, str | None], dg.AssetCheckEvaluation]:
    """(check, partition) → evaluation of one run; partition None is the one of the whole run."""
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.dagster_event.asset_check_evaluation_data for entry in logs]
    return {(evaluation.check_name, evaluation.partition): evaluation for evaluation in found}


def verify(instance: dg.DagsterInstance, *tables: str) -> dict[tuple[str, str | None], dg.AssetCheckEvaluation]:
    """The checks of `tables` alone, over everything that is stored."""
    from tt_assets.automation import MARKET_JOB

    keys = {check.spec.key for table in tables for check in CHECKS[table]}
    job = (
        current_definitions().resolve_job_def(MARKET_JOB).get_subset(asset_selection=set(), asset_check_selection=keys)
    )
    result = job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return evaluations(instance, result.run_id)


def text(evaluation: dg.AssetCheckEvaluation, entry: str) -> str:
    return str(evaluation.metadata[entry].value)


@pytest.fixture
def short(monkeypatch):
    """The checks of a run without partitions judge the sample's end only: two weeks are enough to look at."""
    from tt_assets.assets import market_checks

    monkeypatch.setattr(market_checks, "partitions_judged", _from_may(market_checks.partitions_judged))


def _from_may(judged):
    return lambda *asked: [key for key in judged(*asked) if "2012-05-14" <= key[:10] <= "2012-06-08"]


def test_a_range_run_judges_its_partitions_and_says_each_check_once(dagster_instance, connected):
    result = run_job(dagster_instance, MARKET, *SPAN)
    assert result.success
    found = evaluations(dagster_instance, result.run_id)
    assert {name for name, _ in found} == {check.spec.name for checks in CHECKS.values() for check in checks}
    assert all(partition is None and evaluation.passed for (_, partition), evaluation in found.items())
    assert found["bars_are_sound", None].metadata["partitions"].value == 95  # 19 sessions of 5 instruments
    assert found["bars_are_sound", None].metadata["rows"].value == 4 * 19 + 15  # Facebook since 18 May
    assert found["sessions_complete", None].metadata["rows"].value == 95
    assert "FB           |         19 |       15 |                4" in text(
        found["sessions_complete", None], "by_instrument"
    )
    assert text(found["no_look_ahead", None], "sampled_sessions").startswith("2012-05-14, ")


def targets(instance: dg.DagsterInstance, run_id: str) -> dict[str, tuple[str, int]]:
    """Check → the run and the storage id of the materialization that its evaluation judged."""
    found = evaluations(instance, run_id).values()
    return {
        one.check_name: (one.target_materialization_data.run_id, one.target_materialization_data.storage_id)
        for one in found
    }


def test_an_evaluation_names_the_materialization_that_dagster_would_without_listing_the_grid(
    dagster_instance, connected, monkeypatch
):
    from tt_assets.assets import market_checks

    listed = []
    own = AllPartitionsSubset.get_partition_keys
    monkeypatch.setattr(
        AllPartitionsSubset, "get_partition_keys", lambda self, *given: listed.append(self) or own(self, *given)
    )
    run = run_job(dagster_instance, MARKET, "2012-06-08|AAPL", "2012-06-08|GOOG").run_id
    assert listed == []
    ours = targets(dagster_instance, run)
    assert ours.keys() == {check.spec.name for checks in CHECKS.values() for check in checks}
    for table in MARKET:
        (latest,) = dagster_instance.fetch_materializations(dg.AssetKey(table), limit=1).records
        assert {ours[check.spec.name] for check in CHECKS[table]} == {(run, latest.storage_id)}

    monkeypatch.setattr(market_checks, "target_latest", lambda context, table: None)
    again = run_job(dagster_instance, MARKET, "2012-06-08|AAPL", "2012-06-08|GOOG").run_id
    assert listed  # the day Dagster lists nothing by itself, `target_latest` may go
    dagsters = targets(dagster_instance, again)
    for table in MARKET:
        (latest,) = dagster_instance.fetch_materializations(dg.AssetKey(table), limit=1).records
        assert {dagsters[check.spec.name] for check in CHECKS[table]} == {(again, latest.storage_id)}


def test_a_bad_bar_stops_the_features_and_names_its_partition_until_it_is_mended(dagster_instance, connected):
    with connected.connect() as connection:
        connection.execute(
            "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
            "VALUES ('AAPL', %s, 80, 80, 80, 80, 1)",
            [HOLIDAY],
        )
    spoiled = run_job(dagster_instance, MARKET, *SPAN)

    assert not spoiled.success
    assert not landed_cells(dagster_instance, "tt_features")
    found = evaluations(dagster_instance, spoiled.run_id)
    whole, cell = found["bars_are_sound", None], found["bars_are_sound", "2012-05-25|AAPL"]
    assert not whole.passed
    assert whole.metadata["failing_partitions"].value == 1
    assert whole.description.startswith("1 of 95 partitions fail, the first is 2012-05-25|AAPL: 2012-05-28 no session")
    assert (cell.passed, cell.blocking, cell.severity) == (False, True, dg.AssetCheckSeverity.ERROR)
    assert text(cell, "reason") == "2012-05-28 no session on that day"
    assert cell.metadata["run"].value == spoiled.run_id
    assert len([partition for _, partition in found if partition]) == 1

    with connected.connect() as connection:
        connection.execute("DELETE FROM tt_prices WHERE timestamp = %s", [HOLIDAY])
    mended = run_job(dagster_instance, MARKET, "2012-05-25|AAPL", "2012-05-29|AAPL")
    assert mended.success
    found = evaluations(dagster_instance, mended.run_id)
    assert {key: evaluation.passed for key, evaluation in found.items() if key[1]} == {
        ("bars_are_sound", "2012-05-25|AAPL"): True
    }
    assert set(landed_cells(dagster_instance, "tt_features")) == {"2012-05-25|AAPL", "2012-05-29|AAPL"}


def test_a_jump_is_a_warning_that_stops_nothing(dagster_instance, connected, monkeypatch):
    monkeypatch.setenv("TT_JUMP_SIGMAS", "2")
    assert run_job(dagster_instance, ["tt_prices"], "2012-03-01|AAPL", "2012-05-18|AAPL").success
    result = run_job(dagster_instance, MARKET, "2012-05-21|AAPL")
    assert result.success
    cell = evaluations(dagster_instance, result.run_id)["no_jumps", "2012-05-21|AAPL"]
    assert cell.severity == dg.AssetCheckSeverity.WARN
    assert "close moved +5.8%" in text(cell, "reason")  # 530.38 to 561.28 USD before the later splits


def test_checks_run_alone_find_rows_that_went_missing_or_wrong(dagster_instance, connected, short):
    assert run_job(dagster_instance, MARKET, *SPAN).success
    with connected.connect() as connection:
        connection.execute("DELETE FROM tt_prices WHERE instrument = 'IBM' AND timestamp = '2012-06-05'")
        connection.execute(
            "DELETE FROM tt_features WHERE instrument = 'IBM' AND timestamp = '2012-05-31' AND feature = 'return_1'"
        )
        connection.execute(
            "UPDATE tt_features SET value = value * 2 "
            "WHERE instrument = 'FB' AND timestamp = '2012-06-08' AND feature = 'return_1'"
        )
    found = verify(dagster_instance, *MARKET)

    failing = {key: text(evaluation, "reason") for key, evaluation in found.items() if key[1] and not evaluation.passed}
    assert failing["sessions_complete", "2012-06-05|IBM"] == (
        "2012-06-05 no bar: recorded as loaded but not stored; materialize this partition again"
    )
    assert "return_1 has no value although" in failing["values_where_due", "2012-05-31|IBM"]
    assert "although there is no bar" in failing["values_where_due", "2012-06-05|IBM"]
    assert failing["no_look_ahead", "2012-06-08|FB"].startswith("2012-06-08 return_1 is ")
    assert {name for name, _ in failing} == {"sessions_complete", "values_where_due", "no_look_ahead"}
    assert found["scores_within_bounds", None].passed
    assert "| IBM " in text(found["sessions_complete", None], "by_instrument").splitlines()[2]  # the worst comes first


def test_sessions_nobody_loaded_are_missing_and_every_one_of_them_is_named(dagster_instance, connected, short):
    assert run_job(dagster_instance, ["tt_prices"], "2012-05-14|AAPL", "2012-06-06|AAPL").success
    assert run_job(dagster_instance, ["tt_prices"], "2012-05-14|FB", "2012-05-16|FB").success
    found = verify(dagster_instance, "tt_prices")
    failing = {partition for name, partition in found if partition and name == "sessions_complete"}
    assert {key for key in failing if key.endswith("AAPL")} == {"2012-06-07|AAPL", "2012-06-08|AAPL"}
    assert len([key for key in failing if key.endswith("|FB")]) == 19 - 3  # three are known to lie before the listing
    assert len([key for key in failing if key.endswith("|GOOG")]) == 19
    assert "never loaded" in text(found["sessions_complete", "2012-06-08|AAPL"], "reason")


LINES = "instrument,timestamp,open,high,low,close,volume\n"


@pytest.fixture
def bars_file(tmp_path, monkeypatch, connected) -> Path:
    """GOOG has every session of the week, AAPL was halted on Wednesday, IBM ended on Thursday."""
    path = tmp_path / "bars.csv"
    days = [f"2012-05-{day}" for day in (14, 15, 16, 17, 18)]
    gaps = {("AAPL", days[2]), ("IBM", days[4])}
    rows = [f"{name},{day},1,1,1,1,5\n" for name in ("AAPL", "GOOG", "IBM") for day in days if (name, day) not in gaps]
    path.write_text(LINES + "".join(rows), encoding="utf-8")
    monkeypatch.setenv("TT_BARS_PATH", str(path))
    keep_dates_of_sample(monkeypatch)
    return path


def test_a_halt_is_no_failure_and_an_instrument_that_ended_is_one_at_the_latest_session(dagster_instance, bars_file):
    result = run_job(dagster_instance, ["tt_prices"], "2012-05-14|AAPL", "2012-05-18|IBM")
    assert result.success
    found = evaluations(dagster_instance, result.run_id)
    assert {partition for name, partition in found if partition and name == "sessions_complete"} == {"2012-05-18|IBM"}
    assert "bring its bars up to date, or retire it" in text(found["sessions_complete", "2012-05-18|IBM"], "reason")
    assert "no bar in the source" in text(found["sessions_complete", None], "by_instrument")


def test_a_retired_instrument_is_expected_nothing_of(dagster_instance, bars_file, tmp_path, monkeypatch):
    assert run_job(dagster_instance, ["tt_prices"], "2012-05-14|AAPL", "2012-05-18|IBM").success
    watchlist = tmp_path / "watchlist.csv"
    watchlist.write_text("symbol\nAAPL\nGOOG\n", encoding="utf-8")
    monkeypatch.setenv("TT_WATCHLIST", str(watchlist))
    result = run_job(dagster_instance, ["tt_prices"], "2012-05-14|AAPL", "2012-05-18|GOOG")
    assert evaluations(dagster_instance, result.run_id)["sessions_complete", None].passed


def test_the_sessions_a_month_is_expected_to_have_end_with_the_latest_closed_one():
    month = Selection.of({"2012-05-01|A": ("A", datetime(2012, 5, 1), datetime(2012, 6, 1))})
    expected = expected_sessions(month, ["A", "B"], date(2012, 5, 30))
    assert len(expected) == 21  # 22 sessions in May, the last not closed yet
    assert set(expected["key"]) == {"2012-05-01|A"}


def test_any_set_of_cells_is_expected_as_it_is(empty_tables):
    chosen = {("A", datetime(2012, 5, 14)), ("A", datetime(2012, 5, 16)), ("MSFT", datetime(2012, 5, 15))}
    expected = expected_sessions(select(chosen), ["A", "MSFT"], date(2012, 12, 31))
    assert {(row.instrument, row.timestamp.to_pydatetime()) for row in expected.itertuples()} == chosen
    stored = pd.DataFrame({"instrument": ["A"], "timestamp": pd.to_datetime(["2012-05-14"])})
    covered = coverage(select(chosen), stored, ["A", "MSFT"], date(2012, 12, 31), empty_tables)
    assert [(finding.instrument, str(finding.session.date())) for finding in covered.missing] == [
        ("A", "2012-05-16"),
        ("MSFT", "2012-05-15"),
    ]
    assert covered.by_instrument.loc["A"].to_dict() == {"expected": 2, "stored": 1, "missing": 1}
    assert as_markdown(covered.by_instrument, 1).count("\n") == 2


def test_a_large_selection_is_judged_in_parts_of_whole_instruments():
    every = select({(name, datetime(2012, 5, day)) for name in ("A", "AA", "T") for day in (14, 15, 16)})
    assert [set(part.instruments) for part in every.parts(6)] == [{"A", "AA"}, {"T"}]
    assert [len(part) for part in every.parts(1)] == [3, 3, 3]
    assert [key for part in every.parts(4) for key in part.keys] == list(every.keys)
    assert list(select(set()).parts(4)) == []


def test_a_check_of_some_sessions_counts_those_and_names_each_feature_once():
    days = [pd.Timestamp(2014, 1, day) for day in (2, 3, 6)]
    findings = [
        Finding(name, day, words)
        for day in days[:2]
        for name in ("A", "B")
        for words in (
            "peek_1 is 0.5; bars up to this session give no value",
            "short_lb reads more than the 2 sessions before that it declares: it is 1, on those no value",
        )
    ]
    found = Found(findings, rows=12, looked_at=tuple(days), of_the_run=61)
    assert _of_sessions([found]) == (
        "2 of 3 sessions looked at (61 in the run) fail: "
        "peek_1, short_lb reads more than the 2 sessions before that it declares"
    )
    assert _of_sessions([Found([], 3, looked_at=tuple(days), of_the_run=61)]) == ""
