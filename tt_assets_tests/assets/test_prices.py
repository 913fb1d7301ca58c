"""`tt_prices` from files with bad rows: the clean bars land, bad partitions fail with the reason, the rest stays."""

from pathlib import Path

import dagster as dg
import pytest

from tt_assets.postgres.restated import RESTATED
from tt_assets_tests.dagster_runs import (
    cells,
    current_plan,
    failure_text,
    keep_dates_of_sample,
    landed_cells,
    partition_counts,
    query,
    run_job,
)

DAYS = ["2012-05-14", "2012-05-15", "2012-05-16", "2012-05-17", "2012-05-18"]
HEADER = "instrument,timestamp,open,high,low,close,volume"


def line(name: str, day: str, close: str = "10", **cell: str) -> str:
    values = {"open": close, "high": close, "low": close, "close": close, "volume": "5"} | cell
    return ",".join([name, day, *values.values()])


def good_lines(close: str = "10") -> list[str]:
    return [line(name, day, close) for name in ("AAPL", "GOOG") for day in DAYS]


@pytest.fixture
def bars_file(tmp_path, monkeypatch, connected) -> Path:
    path = tmp_path / "bars.csv"
    monkeypatch.setenv("TT_BARS_PATH", str(path))
    keep_dates_of_sample(monkeypatch)
    return path


def write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


def closes(database) -> dict[str, float]:
    return dict(query(database, "SELECT timestamp::date::text || '|' || instrument, close FROM tt_prices"))


BAD = {
    "a price of zero": (line("GOOG", DAYS[2], low="0"), "price not finite and positive"),
    "a negative price": (line("GOOG", DAYS[2], low="-1"), "price not finite and positive"),
    "a price that is not there": (line("GOOG", DAYS[2], low=""), "price not finite and positive"),
    "an infinite price": (line("GOOG", DAYS[2], high="inf"), "price not finite and positive"),
    "a price that is no number": (line("GOOG", DAYS[2], high="ten"), "price not finite and positive"),
    "high below low": (line("GOOG", DAYS[2], high="9", low="11"), "high below low"),
    "high below the body": (line("GOOG", DAYS[2], high="9.5", low="9"), "high below open or close"),
    "low above the body": (line("GOOG", DAYS[2], low="10.5", high="11"), "low above open or close"),
    "a negative volume": (line("GOOG", DAYS[2], volume="-1"), "volume not finite and >= 0"),
    "too many cells": (line("GOOG", DAYS[2]) + ",7", "wrong number of cells"),
}


@pytest.mark.parametrize(("bad", "rule"), BAD.values(), ids=list(BAD))
def test_a_bad_row_fails_its_partition_alone_and_leaves_what_was_stored(
    dagster_instance, bars_file, connected, bad, rule
):
    write(bars_file, good_lines("10"))
    span = (f"{DAYS[0]}|AAPL", f"{DAYS[-1]}|GOOG")
    assert run_job(dagster_instance, ["tt_prices"], *span).success
    everything = cells(DAYS, ["AAPL", "GOOG"])
    assert closes(connected) == dict.fromkeys(everything, 10.0)

    spoiled = f"{DAYS[2]}|GOOG"
    kept = [text for text in good_lines("20") if not text.startswith(f"GOOG,{DAYS[2]}")]
    write(bars_file, [*kept, bad])
    result = run_job(dagster_instance, ["tt_prices"], *span)

    assert not result.success
    assert closes(connected) == {key: 10.0 if key == spoiled else 20.0 for key in everything}
    said = failure_text(result, "tt_prices")
    assert "1 of 10 partitions failed" in said
    assert f"{spoiled}: " in said
    assert rule in said
    landed = landed_cells(dagster_instance, "tt_prices", result.run_id)
    assert set(landed) == everything - {spoiled}
    done, _, failed = partition_counts(dagster_instance, "tt_prices", current_plan().market_partitions)
    assert (done, failed) == (9, 1)


def test_a_session_that_stands_twice_fails_although_each_row_is_good(dagster_instance, bars_file, connected):
    write(bars_file, [*good_lines(), line("AAPL", DAYS[1], "11")])
    result = run_job(dagster_instance, ["tt_prices"], f"{DAYS[0]}|AAPL", f"{DAYS[-1]}|GOOG")
    assert "instrument and session twice" in failure_text(result, "tt_prices")
    assert set(closes(connected)) == cells(DAYS, ["AAPL", "GOOG"]) - {f"{DAYS[1]}|AAPL"}


@pytest.mark.parametrize(
    ("stray", "rule"),
    [
        (line("AAPL", "2012-05-19"), "no session on that day"),
        (line("AAPL", "2012-05-28"), "no session on that day"),
    ],
)
def test_a_row_of_no_partition_is_reported_and_every_partition_lands(
    dagster_instance, bars_file, connected, stray, rule
):
    write(bars_file, [*good_lines(), stray])
    result = run_job(dagster_instance, ["tt_prices"], f"{DAYS[0]}|AAPL", f"{DAYS[-1]}|GOOG")
    warnings = _warnings(dagster_instance, result.run_id)
    assert result.success, failure_text(result, "tt_prices")
    assert any(rule in text for text in warnings), warnings
    assert set(closes(connected)) == cells(DAYS, ["AAPL", "GOOG"])


def _warnings(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id) if entry.level >= 30]


def test_a_date_nobody_can_read_fails_the_sessions_it_may_have_been(dagster_instance, bars_file, connected):
    lines = [text for text in good_lines() if not text.startswith(f"GOOG,{DAYS[2]}")]
    write(bars_file, [*lines, line("GOOG", "16 May")])
    result = run_job(dagster_instance, ["tt_prices"], f"{DAYS[0]}|AAPL", f"{DAYS[-1]}|GOOG")
    assert "date not readable" in failure_text(result, "tt_prices")
    assert set(closes(connected)) == cells(DAYS, ["AAPL", "GOOG"]) - {f"{DAYS[2]}|GOOG"}


def test_a_file_without_a_column_fails_the_step_and_changes_nothing(dagster_instance, bars_file, connected):
    write(bars_file, good_lines())
    assert run_job(dagster_instance, ["tt_prices"], f"{DAYS[0]}|AAPL").success
    bars_file.write_text("instrument,timestamp,open,high,low,close\nAAPL,2012-05-14,1,1,1,1\n")
    result = run_job(dagster_instance, ["tt_prices"], f"{DAYS[0]}|AAPL")
    said = failure_text(result, "tt_prices")
    assert "volume" in said
    assert str(bars_file) in said
    assert closes(connected) == {f"{DAYS[0]}|AAPL": 10.0}


def test_an_instrument_without_bars_fails_with_the_remedy_and_the_others_land(dagster_instance, bars_file, connected):
    write(bars_file, good_lines())
    result = run_job(dagster_instance, ["tt_prices"], f"{DAYS[0]}|AAPL", f"{DAYS[1]}|IBM")
    assert "has no bar of IBM" in failure_text(result, "tt_prices")
    assert set(closes(connected)) == cells(DAYS[:2], ["AAPL", "GOOG"])


def test_a_session_before_the_listing_is_materialized_without_rows_and_says_so(dagster_instance, connected):
    # Facebook was first traded on 18 May 2012.
    result = run_job(dagster_instance, ["tt_prices"], "2012-05-16|FB", "2012-05-21|FB")
    assert result.success
    landed = landed_cells(dagster_instance, "tt_prices")
    assert {key: (said["dagster/row_count"], said["outcome"]) for key, said in landed.items()} == {
        "2012-05-16|FB": (0, "not listed yet"),
        "2012-05-17|FB": (0, "not listed yet"),
        "2012-05-18|FB": (1, "loaded"),
        "2012-05-21|FB": (1, "loaded"),
    }
    assert set(closes(connected)) == {"2012-05-18|FB", "2012-05-21|FB"}


def test_a_gap_in_the_bars_is_materialized_without_rows_and_says_so(dagster_instance, bars_file, connected):
    write(bars_file, [text for text in good_lines() if not text.startswith(f"GOOG,{DAYS[2]}")])
    assert run_job(dagster_instance, ["tt_prices"], f"{DAYS[0]}|GOOG", f"{DAYS[-1]}|GOOG").success
    said = landed_cells(dagster_instance, "tt_prices")[f"{DAYS[2]}|GOOG"]
    assert said["dagster/row_count"] == 0
    assert said["outcome"].startswith("no bar in the source")


def test_sessions_after_the_end_of_the_file_fail_with_the_day_it_ends(dagster_instance, bars_file, connected):
    write(bars_file, good_lines())
    result = run_job(dagster_instance, ["tt_prices"], f"{DAYS[-1]}|AAPL", "2012-05-22|AAPL")
    assert "the source ends on 2012-05-18" in failure_text(result, "tt_prices")
    assert set(closes(connected)) == {f"{DAYS[-1]}|AAPL"}


def test_what_lands_is_the_file_value_by_value(dagster_instance, connected, sample_bars):
    result = run_job(dagster_instance, ["tt_prices"], "2012-05-01|AAPL", "2012-06-29|FB")
    assert result.success
    wanted = sample_bars[sample_bars["timestamp"].between("2012-05-01", "2012-06-29")]
    wanted = wanted.sort_values(["instrument", "timestamp"])
    stored = query(
        connected,
        "SELECT instrument, timestamp, open, high, low, close, volume FROM tt_prices ORDER BY instrument, timestamp",
    )
    assert stored == [
        (row.instrument, row.timestamp.to_pydatetime(), row.open, row.high, row.low, row.close, row.volume)
        for row in wanted.itertuples()
    ]
    assert len(stored) > 150


def test_cells_whose_bar_changed_in_the_file_say_what_it_was_and_the_others_do_not(
    dagster_instance, bars_file, connected
):
    span = (f"{DAYS[0]}|AAPL", f"{DAYS[-1]}|GOOG")
    write(bars_file, good_lines("10"))
    first = run_job(dagster_instance, ["tt_prices"], *span)
    assert not any(RESTATED in said for said in landed_cells(dagster_instance, "tt_prices", first.run_id).values())

    changed, gone = f"{DAYS[2]}|GOOG", f"{DAYS[1]}|AAPL"
    lines = [text for text in good_lines("10") if text != line("AAPL", DAYS[1]) and text != line("GOOG", DAYS[2])]
    write(bars_file, [*lines, line("GOOG", DAYS[2], "10", volume="7")])
    second = run_job(dagster_instance, ["tt_prices"], *span, allow_deletions=True)
    said = landed_cells(dagster_instance, "tt_prices", second.run_id)
    assert len(said) == 10
    restated = {key: metadata[RESTATED] for key, metadata in said.items() if RESTATED in metadata}
    prices = dict.fromkeys(("open", "high", "low", "close"), 10.0)
    assert {key: (told["was"], told["now"], told["cause"], told["ratio"]) for key, told in restated.items()} == {
        changed: (prices | {"volume": 5.0}, prices | {"volume": 7.0}, "source changed", None),
        gone: (prices | {"volume": 5.0}, None, "source changed", None),
    }


def test_a_stored_bar_that_the_file_no_longer_has_stays_unless_a_person_allows_it(
    dagster_instance, bars_file, connected
):
    span = (f"{DAYS[0]}|AAPL", f"{DAYS[-1]}|GOOG")
    write(bars_file, good_lines("10"))
    assert run_job(dagster_instance, ["tt_prices"], *span).success

    # Cut at the end of a line: nothing in the file tells.
    write(
        bars_file,
        [text for text in good_lines("11") if text not in (line("GOOG", DAYS[4], "11"), line("AAPL", DAYS[1], "11"))],
    )
    cut = run_job(dagster_instance, ["tt_prices"], *span)
    said = failure_text(cut, "tt_prices")
    assert "tt_prices holds a bar that the source no longer has. Give the source its bars back" in said
    assert "--allow-deletions" in said
    kept = {f"{DAYS[1]}|AAPL", f"{DAYS[4]}|GOOG"}
    assert closes(connected) == {key: 10.0 if key in kept else 11.0 for key in cells(DAYS, ["AAPL", "GOOG"])}

    allowed = run_job(dagster_instance, ["tt_prices"], *span, allow_deletions=True)
    assert allowed.success
    assert set(closes(connected)) == cells(DAYS, ["AAPL", "GOOG"]) - kept
