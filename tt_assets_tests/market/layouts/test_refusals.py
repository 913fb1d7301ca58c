"""Bars that cannot be used as a whole: one line that names file, value and remedy, before anything else happens."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import time
import zipfile
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather

from tt_assets.market.errors import BarsFileError
from tt_assets.market.files import FileBars
from tt_assets.market.layouts import containers
from tt_assets.market.layouts.options import BarsOptions
from tt_assets_tests.market.layouts.samples import DAYS, LAYOUTS, ROWS, expected, table

YAHOO = LAYOUTS["Yahoo"][1]
HEADER = "Date,Open,High,Low,Close,Volume"


def iso(day: pd.Timestamp, *cells: float) -> str:
    return ",".join([f"{day:%Y-%m-%d}", *map(str, cells)])


def many(days: pd.DatetimeIndex, written: str = "%Y-%m-%d") -> str:
    return "\n".join([HEADER, *(f"{day.strftime(written)},10,12,9,11,100" for day in days)]) + "\n"


def gz(text: str) -> bytes:
    return gzip.compress(text.encode())


def in_zip(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


REFUSED: dict[str, tuple[bytes, str]] = {
    "a pickle": (pickle.dumps({"a": 1}), "is a pickle, which is never opened.*Save it as CSV"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old Excel workbook"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "JSON": (b'{"Meta Data": {"1": "x"}, "Time Series": {"2014-01-02": {"1. open": "40"}}}', "is JSON"),
    "a list in JSON": (b'[{"t": 1, "o": 2}]', "is JSON"),
    "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "zeros": (bytes(4096), "no text"),
    "nothing": (b"", "is empty"),
    "blanks": (b"\n\n  \n", "is empty"),
    "words": (b"once upon a time\nthere was a price\n", "is no table: its first line is"),
    "columns set by runs of spaces": (b"Date     Close\n2014-01-02  40.0\n", "is no table: its first line is"),
    "a broken gzip": (gz(YAHOO)[:100], "cannot be read"),
    "a gzip of zeros": (gzip.compress(bytes(10_000)), "no text"),
    "a broken zip": (in_zip("ACME.csv", YAHOO.encode())[:200], "cannot be read"),
    "a zip in a zip": (in_zip("inner.zip", in_zip("ACME.csv", b"x")), "archive or a workbook inside a zip"),
    "a broken workbook": (in_zip("[Content_Types].xml", b"<x/>"), "cannot be read"),
    "a broken parquet": (b"PAR1" + bytes(64) + b"PAR1", "cannot be read"),
    "a broken feather": (b"ARROW1\0\0" + bytes(64), "cannot be read"),
    "columns missing": (b"Date,Close\n2014-01-02,1\n", "lack the columns open, high, low, volume"),
    "every column missing at once": (b"x,y,z\n1,2,3\n", "lack the columns timestamp, open, high, low, close, volume"),
    "a column twice": (
        f"{HEADER},close\n2014-01-02,1,1,1,1,1,1\n".encode(),
        r'has the column close more than once: "Close" \(column 5\), "close" \(column 7\)',
    ),
    "day or month": (
        many(DAYS[:5], "%m/%d/%Y").encode(),
        r'"01/02/2014" may be day first or month first.*TT_BARS_DATE_FORMAT=%d/%m/%Y or TT_BARS_DATE_FORMAT=%m/%d/%Y',
    ),
    "day and month": (
        f"{HEADER}\n13/01/2014,1,1,1,1,1\n01/14/2014,1,1,1,1,1\n".encode(),
        "13/01/2014 can only be day first and 01/14/2014 only month first",
    ),
    "no dates": (
        ("\n".join([HEADER, *(f"x{n},1,1,1,1,1" for n in range(12))]) + "\n").encode(),
        'date not readable.*"x0", line 2.*TT_BARS_DATE_FORMAT',
    ),
    "neither midnight": (
        many(DAYS, "%Y-%m-%dT12:00:00Z").encode(),
        "10 of 10 rows midnight neither where the market is nor in its own zone.*2014-01-02T12:00:00Z, line 2",
    ),
    "minutes in a zone": (
        many(pd.date_range("2014-01-02 14:31", periods=60, freq="min"), "%Y-%m-%dT%H:%M:%SZ").encode(),
        "bars come several a day .timestamp=2014-01-02T14:31:00Z, line 2.*join the bars of a day to one",
    ),
    "weeks dated on Sundays": (
        many(pd.date_range("2014-01-05", periods=60, freq="W-SUN"), "%Y-%m-%d").encode(),
        "bars come weekly. Daily bars are read only",
    ),
    "a market of Sundays": (
        many(pd.bdate_range("2014-01-06", periods=60) - pd.Timedelta(days=1), "%Y-%m-%d").encode(),
        "lie on days on which the New York exchange was closed. Set TT_CALENDAR to the exchange's own calendar",
    ),
    "minutes": (
        many(pd.date_range("2014-01-02 09:30", periods=60, freq="min"), "%Y-%m-%d %H:%M").encode(),
        "time of day",
    ),
    "hours of Stooq": (
        (
            b"<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
            b"A.US,60,20140102,160000,1,1,1,1,1,0\n"
        ),
        "1 of 1 row not daily .period=60, line 2",
    ),
    "weeks": (many(pd.date_range("2014-01-02", periods=20, freq="W-THU")).encode(), "bars come weekly"),
    "months": (many(pd.bdate_range("2014-01-02", periods=24, freq="BMS")).encode(), "bars come monthly|lie on days"),
    "weekends": (
        many(pd.date_range("2014-01-02", periods=30)).encode(),
        "of the rows .* lie on days on which .* TT_CALENDAR to 24/7",
    ),
    "prices in words": (
        ("\n".join([HEADER, *(f"{day:%Y-%m-%d},n/a x,1,1,1,1" for day in DAYS)]) + "\n").encode(),
        "price not finite and positive .open=n/a x, line 2",
    ),
    "cut in the middle of a row": ((YAHOO[:-40]).encode(), "ends in the middle of a row.*Copy it again"),
    "cut in the middle of a volume": (YAHOO[:-2].encode(), 'its last value "94755" looks cut off'),
    "cut in the middle of a price": (
        table(
            "Date,Volume,Open,High,Low,Close",
            lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{v},{o:.2f},{h:.2f},{lo:.2f},{c:.2f}",
        )[:-2].encode(),
        'its last value "41.0" looks cut off',
    ),
    "a quote that is not closed": (
        YAHOO.replace("2014-01-06,", '2014-01-06,"').encode(),
        "line 4: a quote is opened and not closed .*Close it, or take it out",
    ),
    "half of a surrogate pair": (
        YAHOO.replace("2014-01-06", "2014\ud800-01-06").encode("utf-8", "surrogatepass"),
        "half of a surrogate pair.*Write it again as UTF-8",
    ),
    "a line without an end": (b"a," * 300_000 + b"\n", "first line is longer than"),
    "a gzip of which the end is missing": (
        gzip.compress(YAHOO.encode())[:-40],
        "copy or download broke: fetch it again",
    ),
    "cut in the middle of a quoted cell": (
        LAYOUTS["Investing"][1][:-3].encode(),
        "looks cut off|in the middle of a row",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_one_line_that_names_the_file(tmp_path: Path, kind: str):
    content, words = REFUSED[kind]
    path = tmp_path / "ACME.csv"
    path.write_bytes(content)
    with pytest.raises(BarsFileError, match=words) as caught:
        FileBars(path).check()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_of_lists_and_of_objects_are_refused(tmp_path: Path):
    path = tmp_path / "ACME.parquet"
    rows = {"date": pa.array(DAYS.date), **{name: pa.array([1.0] * 10) for name in ("open", "high", "low", "volume")}}
    for close, words in (
        (pa.array([[1.0]] * 10), "column close holds lists"),
        (pa.array([{"usd": 1.0}] * 10), "column close holds objects"),
    ):
        pq.write_table(pa.table({**rows, "close": close}), path)
        with pytest.raises(BarsFileError, match=words):
            FileBars(path).check()


@pytest.mark.parametrize("nothing", [pa.nulls(10), pa.nulls(10).dictionary_encode()], ids=["nulls", "categories"])
def test_a_column_of_empty_dates_is_refused(tmp_path: Path, nothing: pa.Array):
    path = tmp_path / "ACME.feather"
    prices = {name: pa.array([1.0] * 10) for name in ("open", "high", "low", "close", "volume")}
    feather.write_feather(pa.table({"date": nothing, **prices}), str(path))
    with pytest.raises(BarsFileError, match="10 of 10 rows date not readable"):
        FileBars(path).check()


def test_a_device_is_never_read():
    began = time.monotonic()
    with pytest.raises(BarsFileError, match=r"/dev/zero is no regular file"):
        FileBars(Path("/dev/zero")).check()
    assert time.monotonic() - began < 60


def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(containers, "HARMLESS", 2 << 20)
    path = tmp_path / "ACME.csv.gz"
    for path, content in (
        (tmp_path / "ACME.csv.gz", gzip.compress(f"{HEADER}\n".encode() + b"2014-01-02,1,1,1,1,1\n" * 500_000)),
        (tmp_path / "ACME.zip", _deflated("ACME.csv", f"{HEADER}\n".encode() + b"2014-01-02,1,1,1,1,1\n" * 500_000)),
    ):
        path.write_bytes(content)
        with pytest.raises(BarsFileError, match="unpacks to more than 250 times its size"):
            FileBars(path).check()


def test_a_workbook_with_a_cell_at_the_end_of_the_world_is_refused(tmp_path: Path):
    path = tmp_path / "ACME.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/worksheets/sheet1.xml", '<sheetData><row><c r="XFD1048576"><v>1</v></c></row></sheetData>')
    with pytest.raises(BarsFileError, match="reaches over 1,048,576 rows and 16,384 columns"):
        FileBars(path).check()


def _deflated(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def test_a_cut_file_is_whole_again_with_its_rest(tmp_path: Path):
    path = tmp_path / "ACME.csv"
    bars = FileBars(path)
    for end in (-40, -2):
        path.write_text(YAHOO[:end])
        with pytest.raises(BarsFileError, match=r"cut off|middle of a row"):
            bars.check()
    path.write_text(YAHOO)
    pd.testing.assert_frame_equal(bars.check().clean, expected(), check_exact=True)


def test_a_symbol_that_nothing_names_is_asked_for(tmp_path: Path):
    path = tmp_path / "HistoricalData_2014.csv"
    path.write_text(YAHOO)
    with pytest.raises(BarsFileError, match=r"names no symbol.*Name the file after it \(ACME.csv\).*TT_WATCHLIST"):
        FileBars(path).check()


def test_bars_of_which_none_is_on_the_watchlist_name_the_nearest_spelling(tmp_path: Path):
    path = tmp_path / "bars.csv"
    path.write_text(LAYOUTS["tt_prices"][1].replace("ACME", "BRK-B"))
    with pytest.raises(BarsFileError, match=r"the watchlist has BRK B \(the bars have BRK-B\)"):
        FileBars(path, known=["BRK B"]).check()


def test_overrides(tmp_path: Path):
    path = tmp_path / "ACME.csv"
    path.write_text(table("Day,Eins,Zwei,Drei,Vier,Stk", lambda *bar: iso(*bar)))
    options = BarsOptions.parse("timestamp=Day,open=Eins,high=Zwei,low=Drei,close=Vier,volume=stk")
    pd.testing.assert_frame_equal(FileBars(path, options=options).check().clean, expected(), check_exact=True)
    with pytest.raises(BarsFileError, match='no column "Fünf"'):
        FileBars(path, options=BarsOptions.parse("close=Fünf")).check()
    for written, said in (("%m/%d/%Y", "%m/%d/%Y"), ("%d/%m/%Y", "DD/MM/YYYY")):
        path.write_text(many(DAYS[:5], written))
        checked = FileBars(path, options=BarsOptions.parse(date_format=said)).check()
        assert checked.clean["timestamp"].tolist() == DAYS[:5].tolist()


def test_the_adjusted_close_scales_all_four_prices_where_it_is_asked_for(tmp_path: Path):
    path = tmp_path / "ACME.csv"
    path.write_text(YAHOO)
    plain, scaled = (FileBars(path, options=BarsOptions.parse(adjust=name)) for name in ("", "adj_close"))
    assert plain.warnings() == [
        "the column Adj Close is there and is left out; TT_BARS_ADJUST=adj_close scales all four prices by it"
    ]
    assert scaled.warnings() == []
    assert scaled.manifest().tables[0].why.endswith("; all four prices are scaled by adj_close")
    assert "scaled" not in plain.manifest().tables[0].why
    for name in ("open", "high", "low", "close"):
        wanted = [value * 0.9 for value in expected()[name]]
        assert scaled.check().clean[name].tolist() == pytest.approx(wanted, rel=1e-6)
    assert scaled.check().clean["close"].tolist() == [float(f"{row[4] * 0.9:.6f}") for row in ROWS]
    assert scaled.check().clean["volume"].tolist() == expected()["volume"].tolist()


def test_a_date_format_that_does_not_fit_is_named(tmp_path: Path):
    path = tmp_path / "ACME.csv"
    path.write_text(many(DAYS, "%Y-%m-%d"))
    with pytest.raises(BarsFileError, match=r'"2014-01-02", line 2.*TT_BARS_DATE_FORMAT is %d/%m/%Y: set it to'):
        FileBars(path, options=BarsOptions.parse(date_format="%d/%m/%Y")).check()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEADER}\n", "holds no row below its header"),
        (many(pd.bdate_range("1950-01-02", periods=60)), "session .before the session calendar begins: 60"),
    ],
)
def test_bars_without_a_session_say_why(tmp_path: Path, text: str, words: str):
    path = tmp_path / "ACME.csv"
    path.write_text(text)
    with pytest.raises(BarsFileError, match=words):
        FileBars(path).span()


def test_an_instrument_that_comes_weekly_beside_others_is_named(tmp_path: Path):
    (tmp_path / "ACME.csv").write_text(many(pd.bdate_range("2014-03-03", periods=60)))
    (tmp_path / "SLOW.csv").write_text(many(pd.bdate_range("2014-03-03", periods=60)[::5]))
    assert any("bars of SLOW come weekly or rarer" in line for line in FileBars(tmp_path).warnings())


def test_a_header_in_another_script_is_no_other_header_in_that_script(tmp_path: Path):
    path = tmp_path / "ACME.csv"
    path.write_text("日期,开盘,最高,最低,收市,成交\n2014-01-02,1,2,1,1.5,7\n")
    named = BarsOptions.parse(columns="close=收市,volume=成交")
    assert FileBars(path, options=named).check().clean["close"].tolist() == [1.5]
    with pytest.raises(BarsFileError, match='has no column "涨跌"'):
        FileBars(path, options=BarsOptions.parse(columns="close=涨跌")).check()


def test_a_bad_row_names_its_file_where_a_folder_is_named(tmp_path: Path):
    (tmp_path / "ACME.csv").write_text(many(DAYS, "%Y-%m-%d") + "2014-01-16,-1,1,1,1,1\n")
    (fault,) = FileBars(tmp_path).check().faults
    assert str(fault) == "ACME 2014-01-16 open=-1, ACME.csv line 12"


def test_rows_before_the_calendar_begins_are_left_out_and_counted_in_a_line(tmp_path: Path):
    path = tmp_path / "ACME.csv"
    path.write_text(many(pd.bdate_range("1961-11-01", "1962-06-29"), "%m/%d/%y"))
    bars = FileBars(path)
    assert bars.span()[0] == date(1962, 1, 2)
    early, others = bars.warnings()
    assert early == "43 rows before 1962-01-01, where the session calendar begins, are left out"
    assert others.startswith(f"{path}: 4 faults in the bars. no session on that day: 4 (")


@pytest.mark.parametrize(
    ("text", "words"),
    [("close", "is not FIELD=HEADER"), ("last=Close", "is not FIELD=HEADER"), ("close=a,close=b", "names close twice")],
)
def test_overrides_that_say_nothing_are_refused(text: str, words: str):
    with pytest.raises(BarsFileError, match=words):
        BarsOptions.parse(columns=text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from(
        [b"", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"BZh9", b"\x28\xb5\x2f\xfd", b"ARROW1\0\0", b"\xff\xfe"]
    )
    | st.sampled_from([f"{HEADER}\n".encode(), f"{HEADER}\n2014-01-02,1,1,1,1,1\n".encode(), YAHOO.encode()]),
    garbage=st.binary(max_size=300),
)
def test_garbage_is_bars_or_one_line_and_never_anything_else(tmp_path: Path, start: bytes, garbage: bytes):
    path = tmp_path / "ACME.csv"
    path.write_bytes(start + garbage + b"\n")
    said, clean = "", expected()[:0]
    try:
        clean = FileBars(path).check().clean
    except BarsFileError as error:
        said = str(error)
    assert "\n" not in said
    assert not clean.isna().to_numpy().any()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(end=st.integers(min_value=60, max_value=len(YAHOO) - 1))
def test_a_file_cut_anywhere_never_gives_a_bar_that_was_not_there(tmp_path: Path, end: int):
    """A last value that happens to look whole is the only way past: then every other value is still right."""
    path = tmp_path / "ACME.csv"
    path.write_text(YAHOO[:end])
    os.utime(path, (1_000_000_000 + end, 1_000_000_000 + end))  # at rest: a file of this moment is waited for
    try:
        clean = FileBars(path).check().clean
    except BarsFileError:
        return
    whole = expected()[: len(clean)]
    if len(clean):  # of the last row the last value, the volume
        whole.loc[whole.index[-1], "volume"] = clean["volume"].iloc[-1]
    pd.testing.assert_frame_equal(clean, whole, check_exact=True)


def test_a_moment_that_no_calendar_has_is_a_fault_with_its_number(tmp_path: Path):
    path = tmp_path / "ACME.parquet"
    table = pa.table(
        {
            "date": pa.array([16072, 2147483647], pa.int32()).cast(pa.date32()),
            **{name: [10.0, 10.0] for name in ("open", "high", "low", "close", "volume")},
        }
    )
    pq.write_table(table, path)
    checked = FileBars(path, known=["ACME"]).check()
    assert len(checked.clean) == 1
    (fault,) = checked.faults
    assert "2147483647" in str(fault)


def test_a_name_longer_than_the_system_bears_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(BarsFileError, match=r"cannot be read .*too long.*Point TT_BARS_PATH"):
        FileBars(tmp_path / ("n" * 5_000)).check()


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_sign_that_is_no_end_of_a_line_ends_none(tmp_path: Path, end: str, sign: str):
    header, first, *rest = YAHOO.splitlines()
    path = tmp_path / "ACME.csv"
    path.write_bytes(end.join([header, first + sign, *rest, ""]).encode())
    checked = FileBars(path).check()
    pd.testing.assert_frame_equal(checked.clean, expected()[-len(checked.clean) :].reset_index(drop=True))
    assert len(checked.clean) + len(checked.faults) >= len(expected())
