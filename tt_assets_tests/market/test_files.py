"""Bars from CSV and parquet files."""

from __future__ import annotations

import gzip
import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tt_assets.market.bars import BAR_COLUMNS, BarRule
from tt_assets.market.errors import BarsFileError
from tt_assets.market.files import FileBars, span
from tt_assets.market.sources import BarRequest, Fetched, NotFetched, Outcome, SessionOutcome

SAMPLE = Path("tt_assets/sample/daily_bars_2005_2013.csv")
HEADER = ",".join(BAR_COLUMNS) + "\n"
A1, A2, A3 = (f"A,2013-02-{day},10,12,9,11,100\n" for day in (26, 27, 28))
B1, B2, B3 = (f"B,2013-02-{day},20,22,19,21,200\n" for day in (26, 27, 28))
WEEK = (date(2013, 2, 25), date(2013, 3, 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bars.csv"


def fetch_one(path: Path, instrument: str = "A", first: date = WEEK[0], last: date = WEEK[1], **options: object):
    (result,) = FileBars(path, **options).fetch([BarRequest(instrument, first, last)])  # type: ignore[arg-type]
    return result


def test_a_request_gets_exactly_the_bars_of_its_instrument_and_days():
    result = fetch_one(SAMPLE, "IBM", date(2008, 9, 12), date(2008, 9, 16))
    assert isinstance(result, Fetched)
    assert result.outcome is Outcome.LOADED
    expected = pd.read_csv(SAMPLE).query("instrument == 'IBM' and '2008-09-12' <= timestamp <= '2008-09-16'")
    assert result.bars["timestamp"].dt.strftime("%Y-%m-%d").tolist() == expected["timestamp"].tolist()
    for column in BAR_COLUMNS[2:]:
        assert result.bars[column].tolist() == expected[column].tolist()
    assert result.bars.index.tolist() == [0, 1, 2]


def test_results_come_in_the_order_of_the_requests():
    requests = [BarRequest(symbol, *WEEK) for symbol in ("MSFT", "AAPL", "GOOG")]
    results = FileBars(SAMPLE).fetch(requests)
    assert [result.request for result in results] == requests
    assert [set(result.bars["instrument"]) for result in results] == [{"MSFT"}, {"AAPL"}, {"GOOG"}]


def test_facebook_before_its_listing_is_not_listed_yet_session_by_session():
    result = fetch_one(SAMPLE, "FB", date(2012, 5, 16), date(2012, 5, 21))
    assert result.outcome is Outcome.LOADED
    assert result.listed == date(2012, 5, 18)
    assert result.by_session().tolist() == ["not_listed_yet", "not_listed_yet", "bar", "bar"]
    assert fetch_one(SAMPLE, "FB", date(2012, 5, 1), date(2012, 5, 17)).outcome is Outcome.NOT_LISTED_YET


def test_after_the_last_bar_of_the_file_is_said_so():
    result = fetch_one(SAMPLE, "AAPL", date(2013, 2, 28), date(2013, 3, 5))
    assert result.by_session().tolist() == ["bar", "bar", "after_last", "after_last"]
    assert fetch_one(SAMPLE, "AAPL", date(2013, 3, 4), date(2013, 3, 5)).outcome is Outcome.NO_BARS


def test_a_gap_inside_the_history_is_missing(path: Path):
    path.write_text(HEADER + A1 + A3)
    result = fetch_one(path)
    assert result.by_session().tolist() == ["not_listed_yet", "bar", "missing", "bar", "after_last"]
    assert result.missing.tolist() == [pd.Timestamp("2013-02-27")]


def test_an_instrument_without_a_row_is_an_answer_of_its_own(path: Path):
    path.write_text(HEADER + A1)
    result = fetch_one(path, "Q")
    assert isinstance(result, NotFetched)
    assert result.outcome is Outcome.NO_BARS
    assert not result.outcome.retried
    assert "has no bar of Q" in result.reason
    assert set(result.by_session()) == {SessionOutcome.NOT_FETCHED}


def test_one_bad_instrument_leaves_the_others_clean(path: Path):
    path.write_text(HEADER + A1 + A2.replace("11", "-11") + A3 + B1 + B2 + B3)
    bad, good = FileBars(path, known={"A", "B"}).fetch([BarRequest("A", *WEEK), BarRequest("B", *WEEK)])
    assert good.outcome is Outcome.LOADED
    assert len(good.bars) == 3
    assert bad.outcome is Outcome.BAD_BARS
    assert bad.by_session().tolist() == ["not_listed_yet", "bar", "bad", "bar", "after_last"]
    assert [(f.line, f.rule, f.value) for f in bad.faults] == [(3, BarRule.PRICE, "close=-11")]


def test_a_request_hears_of_its_own_faults_only(path: Path):
    path.write_text(HEADER + A1.replace("11", "-11") + A2 + B1)
    result = fetch_one(path, "A", date(2013, 2, 27), date(2013, 2, 28))
    assert result.faults == ()
    assert result.listed == date(2013, 2, 26)


def test_a_row_whose_date_cannot_be_read_may_be_any_absent_session(path: Path):
    path.write_text(HEADER + A1 + A2.replace("2013-02-27", "27/02/2013") + A3)
    result = fetch_one(path)
    assert result.by_session().tolist() == ["not_listed_yet", "bar", "bad", "bar", "bad"]
    assert result.faults[0].session == "27/02/2013"


def test_instruments_off_the_watchlist_are_named_in_one_line_and_the_rest_lands(path: Path):
    path.write_text(HEADER + A1 + B1 + B2)
    bars = FileBars(path, known={"A"})
    assert bars.warnings() == ["in the bars and not on the watchlist: B"]
    assert set(bars.check().clean["instrument"]) == {"A"}
    assert bars.fetch([BarRequest("A", *WEEK)])[0].outcome is Outcome.LOADED


def test_a_cell_that_is_no_number_is_one_fault_and_changes_no_other_number(path: Path):
    price = "61.23000000000000007"
    path.write_text(HEADER + A1.replace("10", price, 1).replace("12", "70") + A2.replace("100", "many"))
    result = fetch_one(path)
    assert [(f.line, f.value) for f in result.faults] == [(3, "volume=many")]
    assert result.bars["open"].tolist() == [float(price)]


def test_lines_are_those_of_the_file_past_blank_and_overlong_ones(path: Path):
    path.write_text(HEADER + A1 + "\n   \n" + "A,2013-02-27,10,12,9,11,100,7\n" + A3.replace("11", "0"))
    result = fetch_one(path)
    assert [(f.line, f.rule, f.value) for f in result.faults] == [
        (5, BarRule.CELLS, "8 cells instead of 7"),
        (6, BarRule.PRICE, "close=0"),
    ]
    assert result.by_session().tolist() == ["not_listed_yet", "bar", "bad", "bad", "after_last"]


def test_a_session_with_an_overlong_line_and_a_good_one_has_no_clean_bar(path: Path):
    path.write_text(HEADER + A1 + A2 + A2.strip() + ",7\n")
    result = fetch_one(path)
    assert result.bars["timestamp"].tolist() == [pd.Timestamp("2013-02-26")]
    assert result.by_session().tolist()[2] == "bad"


def test_a_line_with_too_few_cells_is_a_fault(path: Path):
    path.write_text(HEADER + A1 + "A,2013-02-27,10,1\n")
    assert [(f.rule, f.value, f.line) for f in fetch_one(path).faults] == [(BarRule.CELLS, "4 cells instead of 7", 3)]


def test_the_symbols_na_and_true_are_symbols(path: Path):
    path.write_text(HEADER + A1.replace("A,", "NA,", 1) + A1.replace("A,", "TRUE,", 1))
    results = FileBars(path).fetch([BarRequest("NA", *WEEK), BarRequest("TRUE", *WEEK)])
    assert [len(result.bars) for result in results] == [1, 1]


def test_other_columns_their_order_a_byte_order_mark_and_gzip_do_not_matter(tmp_path: Path):
    path = tmp_path / "bars.csv.gz"
    text = "volume,wap,close,low,high,open,timestamp,instrument\n100,10.5,11,9,12,10,2013-02-26T00:00:00,A\n"
    with gzip.open(path, "wb") as file:
        file.write(b"\xef\xbb\xbf" + text.encode())
    assert fetch_one(path).bars.to_numpy().tolist() == [["A", pd.Timestamp("2013-02-26"), 10, 12, 9, 11, 100]]
    assert span(path) == (date(2013, 2, 26), date(2013, 2, 26))


def test_the_file_is_parsed_once_until_it_changes(path: Path):
    path.write_text(HEADER + A1)
    bars = FileBars(path)
    assert bars.check() is bars.check()
    path.write_text(HEADER + A1 + A2)
    os.utime(path, ns=(1, 1))
    assert len(bars.check().clean) == 2


def test_a_bar_after_the_latest_closed_session_is_a_fault(path: Path):
    path.write_text(HEADER + A1 + A2)
    result = fetch_one(path, latest=date(2013, 2, 26))
    assert [f.rule for f in result.faults] == [BarRule.NOT_CLOSED]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no bars file .*TT_BARS_PATH"),
        (b"", "is empty"),
        (b"instrument,timestamp,open\n", "lack the columns high, low, close, volume"),
        (HEADER.encode() + b"\x81\xfe,2013-02-26,1,1,1,1,1\n", "cannot be read"),
        (HEADER.encode() + b"A,2013-02-26,10,12,9,11,100,7\nA,2013-02-27,10,12,9,11,100,8\n", "more cells than the"),
        (b"PAR1 is not enough", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_with_its_name(path: Path, content: bytes | None, complaint: str):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BarsFileError, match=complaint) as caught:
        FileBars(path).fetch([BarRequest("A", *WEEK)])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_file_of_bars_is_refused(tmp_path: Path):
    (tmp_path / "README.md").write_text("bars")
    with pytest.raises(BarsFileError, match="is a folder without a file of bars"):
        span(tmp_path)


def test_the_span_is_that_of_the_sessions_in_the_file(path: Path):
    assert span(SAMPLE) == (date(2005, 3, 1), date(2013, 3, 1))
    path.write_text(HEADER + A2 + "A,2013-03-02,1,1,1,1,1\n" + "A,9999-12-31,1,1,1,1,1\n" + "A,junk\n" + A1)
    assert span(path) == (date(2013, 2, 26), date(2013, 2, 27))


def test_a_file_without_a_session_has_no_span(path: Path):
    path.write_text(HEADER)
    with pytest.raises(BarsFileError, match="no row below its header"):
        span(path)
    path.write_text("date,open\n2013-02-26,1\n")
    with pytest.raises(BarsFileError, match="lack the columns high, low, close, volume"):
        span(path)


def test_a_request_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="is before"):
        BarRequest("A", date(2013, 3, 1), date(2013, 2, 28))


@pytest.mark.parametrize("kind", ["text", "date", "datetime", "datetime_us"])
def test_parquet_gives_the_same_bars_and_span_as_csv(tmp_path: Path, kind: str):
    sample = pd.read_csv(SAMPLE)
    moments = pd.to_datetime(sample["timestamp"])
    timestamps = {
        "text": sample["timestamp"],
        "date": moments.dt.date,
        "datetime": moments,
        "datetime_us": moments.astype("datetime64[us]"),
    }
    path = tmp_path / "bars.parquet"
    sample.assign(timestamp=timestamps[kind]).to_parquet(path, row_group_size=1000)
    pd.testing.assert_frame_equal(FileBars(path).check().clean, FileBars(SAMPLE).check().clean, check_exact=True)
    assert FileBars(path).check().faults == ()
    assert span(path) == (date(2005, 3, 1), date(2013, 3, 1))


def test_parquet_with_a_bad_row_a_time_zone_or_a_missing_column_is_refused_like_csv(tmp_path: Path):
    sample = pd.read_csv(SAMPLE).tail(10).assign(timestamp=lambda frame: pd.to_datetime(frame["timestamp"]))
    path = tmp_path / "bars.parquet"
    bad = sample.copy()
    bad.iloc[3, bad.columns.get_loc("close")] = np.nan
    bad.to_parquet(path)
    checked = FileBars(path).check()
    assert [f.rule for f in checked.faults] == [BarRule.PRICE]
    assert len(checked.clean) == 9
    sample.assign(timestamp=sample["timestamp"].dt.tz_localize("UTC") + pd.Timedelta(hours=1)).to_parquet(path)
    with pytest.raises(BarsFileError, match="10 of 10 rows midnight neither where the market is nor in its own zone"):
        FileBars(path).check()
    sample.drop(columns="low").to_parquet(path)
    with pytest.raises(BarsFileError, match="lack the column low"):
        FileBars(path).check()
