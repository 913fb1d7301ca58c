"""The sensors that tell a person, evaluated as the daemon does it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from tt_assets.automation import alerts
from tt_assets.market.bar_checks import Finding
from tt_assets.settings import Settings
from tt_assets_tests.automation.receivers import receiver
from tt_assets_tests.dagster_runs import SensorExecutionData, current_definitions, keep_dates_of_sample, run_job

UI = "http://127.0.0.1:3999"


@pytest.fixture
def home() -> Path:
    """The home, where `tt up` says what it serves."""
    settings = Settings()
    settings.home.mkdir(parents=True)
    settings.up_record.write_text(json.dumps({"url": UI}))
    return settings.home


def logged() -> list[dict[str, str]]:
    path = Settings().alert_log
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def tick(name: str, instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    """One evaluation; the cursor afterwards."""
    return answer(name, instance, cursor).cursor


def answer(name: str, instance: dg.DagsterInstance, cursor: str | None = None) -> SensorExecutionData:
    """What the daemon is told by one evaluation under the settings of now."""
    defs = current_definitions()
    with dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs) as context:
        return defs.get_repository_def().get_sensor_def(name).evaluate_tick(context)


@dg.op(out={"a": dg.Out(is_required=False), "b": dg.Out(is_required=False)})
def ends_badly():
    raise dg.Failure(
        "2 of 3 partitions failed",
        metadata={
            "failed_partitions": dg.MetadataValue.json({"2012-05-01|AAPL": "bad <bar>", "2012-05-02|AAPL": "bad"})
        },
    )


@dg.op
def ends_in_an_error():
    raise ValueError("the disk is full")


@dg.op
def ends_well():
    pass


def run(instance: dg.DagsterInstance, op: dg.OpDefinition, **tags: str) -> str:
    """The id of a run of `op`, of nobody's code location, as of `tt backfill`."""
    job = dg.GraphDefinition(name=f"job_of_{op.name}", node_defs=[op]).to_job()
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=tags).run_id


def test_a_failed_run_is_told_with_span_reasons_remedy_and_link(
    home: Path, dagster_instance: dg.DagsterInstance
) -> None:
    cursor = tick("alert_run_failure", dagster_instance, None)
    run(dagster_instance, ends_well)
    failed = run(
        dagster_instance,
        ends_badly,
        **{
            "dagster/asset_partition_range_start": "2012-05-01|AAPL",
            "dagster/asset_partition_range_end": "2012-05-03|AAPL",
        },
    )
    cursor = tick("alert_run_failure", dagster_instance, cursor)
    (line,) = logged()
    assert line["kind"] == "run failure"
    assert line["link"] == f"{UI}/runs/{failed}"
    assert line["message"] == (
        f"Run {failed[:8]} of job_of_ends_badly failed over 2012-05-01|AAPL to 2012-05-03|AAPL. "
        "ends_badly: 2012-05-01|AAPL: bad <bar>; 2012-05-02|AAPL: bad. "
        "Mend the cause and launch it again; what landed stays."
    )
    tick("alert_run_failure", dagster_instance, cursor)
    assert len(logged()) == 1


@pytest.mark.parametrize(
    ("tags", "remedy"),
    [
        ({"tt/sensor": "sessions"}, "Mend the cause; the sensors ask for it again by themselves, ever more rarely"),
        ({"dagster/will_retry": "true"}, "It is made again by itself"),
        ({"dagster/will_retry": "false"}, "Mend the cause and launch it again"),
    ],
)
def test_nobody_is_sent_to_launch_what_is_launched_by_itself(
    home: Path, dagster_instance: dg.DagsterInstance, tags: dict[str, str], remedy: str
) -> None:
    cursor = tick("alert_run_failure", dagster_instance, None)
    run(dagster_instance, ends_badly, **tags)
    tick("alert_run_failure", dagster_instance, cursor)
    (line,) = logged()
    assert line["message"].endswith(f"{remedy}; what landed stays.")


def test_the_innermost_error_of_a_run_is_told_in_one_line(home: Path, dagster_instance: dg.DagsterInstance) -> None:
    cursor = tick("alert_run_failure", dagster_instance, None)
    run(dagster_instance, ends_in_an_error)
    tick("alert_run_failure", dagster_instance, cursor)
    (line,) = logged()
    assert "ends_in_an_error: ValueError: the disk is full. Mend" in line["message"]
    assert "\n" not in line["message"]


def test_runs_that_failed_while_the_daemon_was_down_are_told_afterwards(
    home: Path, dagster_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = tick("alert_run_failure", dagster_instance, None)
    with receiver() as here:
        monkeypatch.setenv("TT_ALERT_WEBHOOK", here.url)
        for _ in range(3):
            run(dagster_instance, ends_in_an_error)
        for _ in range(3):
            cursor = tick("alert_run_failure", dagster_instance, cursor)
        assert here.arrived.wait(30)
    assert len(logged()) == 3
    assert len(here.texts) == 1  # the others are held back


@pytest.mark.parametrize("code", [200, 500])
def test_a_webhook_that_hangs_or_fails_leaves_the_tick_as_it_is(
    home: Path, dagster_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    cursor = tick("alert_run_failure", dagster_instance, None)
    with receiver(code, silent=code == 200) as here:
        monkeypatch.setenv("TT_ALERT_WEBHOOK", here.url)
        run(dagster_instance, ends_in_an_error)
        ticked = answer("alert_run_failure", dagster_instance, cursor)
        assert here.arrived.wait(30)
        assert not here.released.is_set()  # the tick has ended while the receiver still keeps its answer back
    assert [reaction.error for reaction in ticked.dagster_run_reactions] == [None]
    assert ticked.cursor != cursor


def test_without_a_ui_there_is_no_link(dagster_instance: dg.DagsterInstance) -> None:
    cursor = tick("alert_run_failure", dagster_instance, None)
    run(dagster_instance, ends_in_an_error)
    tick("alert_run_failure", dagster_instance, cursor)
    assert "link" not in logged()[0]


def evaluate(
    instance: dg.DagsterInstance,
    *partitions: str | None,
    passed: bool = False,
    check: str = "books_balance",
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> None:
    """Evaluations of a check in a run of its own, as the episodes report them: over all, then for each partition."""
    run_id = run(instance, ends_well)
    for partition in partitions:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("tt_episode"),
            check_name=check,
            passed=passed,
            metadata={},
            severity=severity,
            description=None if partition else "2 of 4 episodes fail",
            partition=partition,
        )
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name="agents",
            event_specific_data=evaluation,
        )
        instance.report_dagster_event(event, run_id)


def test_a_failing_check_is_one_alert_that_names_its_partitions(
    home: Path, dagster_instance: dg.DagsterInstance
) -> None:
    evaluate(dagster_instance, None)  # history: nobody wants to hear of it now
    cursor = tick("alert_failing_check", dagster_instance, None)
    evaluate(dagster_instance, None, "2012-07-01|sample", "2012-04-01|sample")
    evaluate(dagster_instance, None, passed=True)
    evaluate(dagster_instance, None, check="replays")
    cursor = tick("alert_failing_check", dagster_instance, cursor)
    first, second = logged()
    assert first == {
        "at": first["at"],
        "kind": "failing check",
        "message": "Check books_balance of tt_episode fails for 2012-04-01|sample, 2012-07-01|sample: 2 of 4 episodes "
        "fail. Look at the rows, then materialize these partitions again.",
        "link": f"{UI}/assets/tt_episode?view=checks&checkDetail=books_balance",
    }
    assert second["message"].startswith("Check replays of tt_episode fails: 2 of 4 episodes fail.")
    assert tick("alert_failing_check", dagster_instance, cursor) == cursor
    assert len(logged()) == 2


def test_a_check_that_warns_is_logged_and_not_sent(
    home: Path, dagster_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = tick("alert_failing_check", dagster_instance, None)
    evaluate(dagster_instance, None, severity=dg.AssetCheckSeverity.WARN)
    with receiver() as here:
        monkeypatch.setenv("TT_ALERT_WEBHOOK", here.url)
        tick("alert_failing_check", dagster_instance, cursor)
        alerts.AlertDesk.of(Settings()).deliver()
    assert "warns" in logged()[0]["message"]
    assert here.texts == []


def test_a_flood_of_evaluations_is_read_in_bounded_ticks_and_none_is_lost(
    home: Path, dagster_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "EVALUATIONS_A_TICK", 3)
    cursor = tick("alert_failing_check", dagster_instance, None)
    for number in range(7):
        evaluate(dagster_instance, None, check=f"check_{number}")
    counts = []
    for _ in range(3):
        cursor = tick("alert_failing_check", dagster_instance, cursor)
        counts.append(len(logged()))
    assert counts == [3, 6, 7]


@pytest.mark.parametrize("cursor", ["", "nonsense", "{}"])
def test_a_cursor_that_cannot_be_read_begins_anew(
    home: Path, dagster_instance: dg.DagsterInstance, cursor: str
) -> None:
    evaluate(dagster_instance, None)
    after = tick("alert_failing_check", dagster_instance, cursor)
    assert after is not None
    assert after.isdigit()
    assert logged() == []


def test_stale_data_names_who_is_behind_since_when_and_what_to_do(
    home: Path, dagster_instance: dg.DagsterInstance, connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 1_000_000.0}
    monkeypatch.setattr("tt_assets.automation.alerts.time.time", lambda: clock["now"])
    monkeypatch.setenv("TT_STALE_AFTER", "2")
    with connected.connect() as connection:
        for name, day in (
            ("AAPL", "2013-03-01"),
            ("GOOG", "2013-02-28"),
            ("IBM", "2013-03-01"),
            ("MSFT", "2013-03-01"),
        ):
            connection.execute(
                "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
                "VALUES (%s, %s, 1, 1, 1, 1, 1)",
                [name, day],
            )
    cursor = tick("alert_stale_data", dagster_instance, None)
    clock["now"] += 2 * 3600
    cursor = tick("alert_stale_data", dagster_instance, cursor)
    assert logged() == []
    clock["now"] += 1
    cursor = tick("alert_stale_data", dagster_instance, cursor)
    (line,) = logged()
    assert line["kind"] == "stale data"
    assert line["message"].startswith(
        "The bar of 2013-03-01 has been missing for more than 2 h for 2 of 5 active instruments: "
        "GOOG (last 2013-02-28), FB (last none). "
    )
    assert "tt status --partitions" in line["message"]
    assert line["link"] == f"{UI}/assets/tt_prices?view=partitions"
    clock["now"] += 100 * 3600
    tick("alert_stale_data", dagster_instance, cursor)
    assert len(logged()) == 1


def test_stale_data_waits_out_a_database_that_is_away_and_a_watchlist_that_is_broken(
    dagster_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert "127.0.0.1" in (answer("alert_stale_data", dagster_instance).skip_message or "")
    broken = tmp_path / "broken.csv"
    broken.write_text("symbol\nA|B\n")
    monkeypatch.setenv("TT_WATCHLIST", str(broken))
    assert "A|B" in (answer("alert_stale_data", dagster_instance).skip_message or "")
    assert logged() == []


def test_a_failed_run_of_the_product_is_told_in_the_words_of_its_asset(
    home: Path, dagster_instance: dg.DagsterInstance, connected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TT_BARS_PATH", str(tmp_path / "gone.csv"))
    keep_dates_of_sample(monkeypatch)
    cursor = tick("alert_run_failure", dagster_instance, None)
    run_job(dagster_instance, ["tt_prices"], "2012-05-01|AAPL", "2012-05-02|AAPL")
    tick("alert_run_failure", dagster_instance, cursor)
    (line,) = logged()
    assert "of backfill_history failed over 2012-05-01|AAPL to 2012-05-02|AAPL. tt_prices: " in line["message"]
    assert "gone.csv" in line["message"]
    assert date.fromisoformat(line["at"][:10])


def test_a_run_that_a_failing_check_stopped_sends_the_message_of_the_check_and_not_one_more(
    home: Path, dagster_instance: dg.DagsterInstance, connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_assets.assets import market_checks

    def broken(bars: pd.DataFrame) -> list[Finding]:
        return [Finding("AAPL", pd.Timestamp("2012-05-01"), "high below low")]

    of_runs = tick("alert_run_failure", dagster_instance, None)
    of_checks = tick("alert_failing_check", dagster_instance, None)
    monkeypatch.setattr(market_checks, "broken_bars", broken)
    assert not run_job(dagster_instance, ["tt_prices"], "2012-05-01|AAPL", "2012-05-02|AAPL").success
    with receiver() as here:
        monkeypatch.setenv("TT_ALERT_WEBHOOK", here.url)
        tick("alert_run_failure", dagster_instance, of_runs)
        tick("alert_failing_check", dagster_instance, of_checks)
        assert here.arrived.wait(20)
        alerts.AlertDesk.of(Settings()).deliver()
    assert [line["kind"] for line in logged()] == ["run failure", "failing check"]
    (text,) = here.texts
    assert "bars_are_sound" in text
