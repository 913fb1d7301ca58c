"""Symbols out of file names, workbooks of several sheets, archives of several files, numbers kept in other types."""

from __future__ import annotations

import io
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tt_assets.market.calendar import are_sessions
from tt_assets.market.errors import BarsFileError
from tt_assets.market.files import BarsOptions, FileBars
from tt_assets.market.layouts.report import report_on
from tt_assets_tests.market.layouts.samples import CLOSE, DAYS, HIGH, LOW, OPEN, ROWS, VOLUME, expected, midnight, table

YAHOO = table(
    "Date,Open,High,Low,Close,Adj Close,Volume",
    lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o},{h},{lo},{c},{c * 0.9:.6f},{v}",
)
FRAME = expected().rename(columns={"instrument": "symbol", "timestamp": "date"})


def read(path: Path) -> pd.DataFrame:
    checked = FileBars(path).check()
    assert checked.faults == ()
    return checked.clean.astype({"instrument": str})


def of(*symbols: str) -> pd.DataFrame:
    return pd.concat([expected(symbol) for symbol in sorted(symbols)], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("ACME_2014-01-01_2014-12-31.csv", "ACME"),
        ("ACME-daily.csv", "ACME"),
        ("ACME-1d-2014.csv", "ACME"),
        ("acme_us_d.csv", "ACME"),
        ("BRK-B.csv", "BRK-B"),
        ("BF-D.csv", "BF-D"),
        ("BTC-USD.csv", "BTC-USD"),
        ("^GSPC.csv", "^GSPC"),
        ("EURUSD=X.csv", "EURUSD=X"),
        ("7203.T.csv", "7203.T"),
        ("ACME (1).csv", "ACME"),
        ("BTCUSDT-1d-2014-01.csv", "BTCUSDT"),
        ("HistoricalData_ACME_1389800000000.csv", "ACME"),
    ],
)
def test_a_file_is_named_after_its_symbol(tmp_path: Path, name: str, symbol: str):
    (tmp_path / name).write_text(YAHOO)
    pd.testing.assert_frame_equal(read(tmp_path / name), of(symbol), check_exact=True)


def test_a_workbook_with_a_sheet_for_each_symbol(tmp_path: Path):
    path = tmp_path / "book.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"made": ["by hand"]}).to_excel(book, sheet_name="About", index=False)
        for symbol in ("ACME", "MSFT"):
            FRAME.drop(columns="symbol").to_excel(book, sheet_name=symbol, index=False)
    pd.testing.assert_frame_equal(read(path), of("ACME", "MSFT"), check_exact=True)


def test_a_workbook_of_one_sheet_is_named_by_its_file_and_may_begin_with_words(tmp_path: Path):
    path = tmp_path / "ACME.xlsx"
    FRAME.drop(columns="symbol").to_excel(path, startrow=3, index=False)
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx"])
@pytest.mark.parametrize("by_ticker", [False, True])
def test_several_tickers_of_yfinance_side_by_side(tmp_path: Path, ending: str, by_ticker: bool):
    values = {"Close": CLOSE, "High": HIGH, "Low": LOW, "Open": OPEN, "Volume": VOLUME}
    wide = pd.DataFrame(
        {(price, symbol): numbers for price, numbers in values.items() for symbol in ("ACME", "BRK-B", "MSFT")},
        index=pd.DatetimeIndex(DAYS, name="Date"),
    )
    wide.columns.names = ["Price", "Ticker"]
    if by_ticker:
        wide = wide.swaplevel(axis=1).sort_index(axis=1)
    path = tmp_path / f"yf.{ending}"
    {"csv": wide.to_csv, "parquet": wide.to_parquet, "xlsx": wide.to_excel}[ending](path)
    pd.testing.assert_frame_equal(read(path), of("ACME", "BRK-B", "MSFT"), check_exact=True)


def test_an_archive_of_several_files_is_read_but_for_its_readme(tmp_path: Path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ACME.csv", YAHOO)
        archive.writestr("more/MSFT.csv", YAHOO)
        archive.writestr("README.txt", "made by hand")
    pd.testing.assert_frame_equal(read(path), of("ACME", "MSFT"), check_exact=True)


def test_a_table_whose_name_says_nothing_is_named_by_its_archive(tmp_path: Path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("data.csv", YAHOO)
    path = tmp_path / "ACME.zip"
    path.write_bytes(packed.getvalue())
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


def test_a_folder_a_symbol(tmp_path: Path):
    for symbol in ("ACME", "MSFT"):
        (tmp_path / symbol).mkdir()
        (tmp_path / symbol / "daily.csv").write_text(YAHOO)
    pd.testing.assert_frame_equal(read(tmp_path), of("ACME", "MSFT"), check_exact=True)


def test_a_folder_a_symbol_in_an_archive_and_an_archive_a_symbol(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("AAA/daily.csv", YAHOO)
        archive.writestr("BBB/daily.csv", YAHOO)
    pd.testing.assert_frame_equal(read(tmp_path / "all.zip"), of("AAA", "BBB"), check_exact=True)
    (tmp_path / "all.zip").unlink()
    for symbol in ("ACME", "MSFT"):
        with zipfile.ZipFile(tmp_path / f"{symbol}.zip", "w") as archive:
            archive.writestr("data.csv", YAHOO)
    pd.testing.assert_frame_equal(read(tmp_path), of("ACME", "MSFT"), check_exact=True)


@pytest.mark.parametrize(
    "months",
    [
        "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        "Jan. Feb. März April Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
        "ene feb mar abr may jun jul ago sep oct nov dic",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    ],
)
@pytest.mark.parametrize("written", ["{d} {m} {y}", "{d}-{m}-{y}"])
def test_months_by_the_names_of_other_languages(tmp_path: Path, months: str, written: str):
    days = pd.bdate_range("2013-01-02", "2013-12-30")[::3]
    cells = [written.format(d=day.day, m=months.split()[day.month - 1], y=day.year) for day in days]
    path = tmp_path / "ACME.csv"
    path.write_text("Date;Open;High;Low;Close;Volume\n" + "".join(f"{cell};1;2;1;2;7\n" for cell in cells))
    checked = FileBars(path).check()
    sessions = days[are_sessions(days.to_numpy().astype("datetime64[D]"))]
    assert checked.clean["timestamp"].tolist() == sessions.tolist()


def test_an_instrument_of_which_columns_are_missing_is_named(tmp_path: Path):
    wide = FRAME.drop(columns="symbol").rename(columns=lambda name: name if name == "date" else f"ACME.{name}")
    wide.assign(**{"MSFT.close": 1.0}).to_csv(tmp_path / "wide.csv", index=False)
    (told,) = FileBars(tmp_path / "wide.csv").manifest().tables
    assert told.why.endswith("; MSFT without all of them")


def test_blank_rows_and_totals_of_a_sheet_are_nothing(tmp_path: Path):
    path = tmp_path / "ACME.xlsx"
    blank = pd.DataFrame({"date": [None, "Total"], "volume": [None, 7.0]})
    pd.concat([FRAME.drop(columns="symbol"), blank]).to_excel(path, index=False)
    bars = FileBars(path)
    pd.testing.assert_frame_equal(bars.check().clean, of("ACME"), check_exact=True)
    assert (bars.check().faults, bars.warnings()) == ((), [])


def test_a_partitioned_data_set_has_its_symbols_in_its_folders(tmp_path: Path):
    pd.concat([FRAME, FRAME.assign(symbol="BTC/USD")]).to_parquet(tmp_path / "bars", partition_cols=["symbol"])
    pd.testing.assert_frame_equal(read(tmp_path / "bars"), of("ACME", "BTC/USD"), check_exact=True)


def test_symbols_that_are_words_and_a_file_without_a_byte(tmp_path: Path):
    for symbol in ("ACME", "DAY", "OK"):
        (tmp_path / f"{symbol}.csv").write_text(YAHOO)
    (tmp_path / "GONE.csv").touch()
    pd.testing.assert_frame_equal(read(tmp_path), of("ACME", "DAY", "OK"), check_exact=True)
    assert any("GONE.csv is empty" in line for line in FileBars(tmp_path).manifest().warnings)


@pytest.mark.parametrize("joined", ["{field}_{symbol}", "{symbol}.{field}", "('{field}', '{symbol}')"])
@pytest.mark.parametrize("adjust", ["", "adj_close"])
def test_headers_that_join_symbol_and_field(tmp_path: Path, joined: str, adjust: str):
    values = {"Adj Close": np.array(CLOSE) / 2, "Close": CLOSE, "High": HIGH, "Low": LOW, "Open": OPEN}
    wide = pd.DataFrame(
        {
            joined.format(field=field, symbol=symbol): numbers
            for field, numbers in (values | {"Volume": VOLUME}).items()
            for symbol in ("ACME", "MSFT")
        },
        index=pd.DatetimeIndex(DAYS, name="Date"),
    )
    wide.to_csv(tmp_path / "wide.csv")
    bars = FileBars(tmp_path / "wide.csv", options=BarsOptions.parse(adjust=adjust))
    prices = ["open", "high", "low", "close"]
    should = of("ACME", "MSFT")
    pd.testing.assert_frame_equal(
        bars.check().clean[prices], should[prices] / 2 if adjust else should[prices], check_exact=True
    )
    assert any("Adj Close is there and is left out" in line for line in bars.manifest().warnings) != bool(adjust)


@pytest.mark.parametrize("before", ["stock_", "PX_"])
def test_one_word_before_every_column_is_no_symbol(tmp_path: Path, before: str):
    renamed = FRAME.rename(columns={"close": "last"} if before == "PX_" else {}).drop(columns="symbol")
    path = tmp_path / "ACME.csv"
    renamed.rename(columns=lambda name: name if name == "date" else f"{before}{name}").to_csv(path, index=False)
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


def test_quotes_after_a_space(tmp_path: Path):
    path = tmp_path / "ACME.csv"
    quoted = table(
        '"Date", "Open", "High", "Low", "Close", "Volume"',
        lambda d, o, h, lo, c, v: f'"{d:%Y-%m-%d}", "{o}", "{h}", "{lo}", "{c}", "{v}"',
    )
    path.write_text(quoted)
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


def test_decimals_in_parquet_are_the_nearest_doubles(tmp_path: Path):
    path = tmp_path / "bars.parquet"
    prices = {name: [Decimal(str(price)) for price in FRAME[name]] for name in ("open", "high", "low", "close")}
    FRAME.assign(**prices).to_parquet(path)
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


@pytest.mark.parametrize(("scale", "sign"), [(1e3, "K"), (1e6, "M"), (1e9, "B")])
def test_volumes_in_thousands_millions_and_billions(tmp_path: Path, scale: float, sign: str):
    path = tmp_path / "ACME Historical Data.csv"
    path.write_text(
        table(
            '"Date","Price","Open","High","Low","Vol.","Change %"',
            lambda d, o, h, lo, c, v: f'"{d:%m/%d/%Y}","{c}","{o}","{h}","{lo}","{v / scale:.7f}{sign}","0.1%"',
        )
    )
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


def test_no_header_and_the_symbol_after_the_date(tmp_path: Path):
    path = tmp_path / "bars.csv"
    path.write_text(table("", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},ACME,{o},{h},{lo},{c},{v}"))
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


def test_a_file_a_day_of_all_symbols(tmp_path: Path):
    for d, o, h, lo, c, v in ROWS:
        rows = "".join(f"{name},{v},{o},{c},{h},{lo},{midnight(d)}000000000,12\n" for name in ("ACME", "ZZ"))
        header = "ticker,volume,open,close,high,low,window_start,transactions\n"
        (tmp_path / f"{d:%Y-%m-%d}.csv").write_text(header + rows)
    pd.testing.assert_frame_equal(read(tmp_path), of("ACME", "ZZ"), check_exact=True)


BOTH_WAYS = pytest.mark.parametrize("ending", ["csv", "xlsx"])


def written(frame: pd.DataFrame, path: Path) -> Path:
    {".csv": frame.to_csv, ".xlsx": frame.to_excel, ".parquet": frame.to_parquet}[path.suffix](path)
    return path


def across(*symbols: str, fields: dict[str, list[float]]) -> pd.DataFrame:
    """Symbols side by side under two header lines."""
    bars = {(symbol, field): numbers for symbol in symbols for field, numbers in fields.items()}
    return pd.DataFrame(bars, index=pd.DatetimeIndex(DAYS, name="Date"))


FIELDS = {"Open": OPEN, "High": HIGH, "Low": LOW, "Close": CLOSE, "Volume": [float(shares) for shares in VOLUME]}


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet"])
@pytest.mark.parametrize("joined", ["{1}_{0}", "{0}.{1}"])
def test_a_wide_header_is_read_in_any_container(tmp_path: Path, ending: str, joined: str):
    wide = across("JPM", "XOM", fields=FIELDS)
    wide.columns = [joined.format(*names) for names in wide.columns]
    path = written(wide, tmp_path / f"wide.{ending}")
    pd.testing.assert_frame_equal(read(path), of("JPM", "XOM"), check_exact=True)
    assert [told.layout for told in FileBars(path).manifest().tables] == ["wide"]


@BOTH_WAYS
def test_two_header_lines_without_a_word_for_them(tmp_path: Path, ending: str):
    path = written(across("JPM", "XOM", fields=FIELDS), tmp_path / f"bars.{ending}")
    pd.testing.assert_frame_equal(read(path), of("JPM", "XOM"), check_exact=True)


def test_a_sheet_whose_tickers_are_merged_beside_the_word_for_the_date(tmp_path: Path):
    tickers = ["Date", "JPM", *[None] * 4, "XOM", *[None] * 4]
    rows = [tickers, [None, *FIELDS, *FIELDS], *([row[0], *row[1:], *row[1:]] for row in ROWS)]
    pd.DataFrame(rows).to_excel(tmp_path / "bars.xlsx", header=False, index=False)
    pd.testing.assert_frame_equal(read(tmp_path / "bars.xlsx"), of("JPM", "XOM"), check_exact=True)


def test_a_title_above_the_second_column_of_a_sheet_is_no_ticker(tmp_path: Path):
    rows = [["", "Prices of ACME", *[""] * 4], ["Date", *FIELDS], *map(list, ROWS)]
    pd.DataFrame(rows).to_excel(tmp_path / "ACME.xlsx", header=False, index=False)
    pd.testing.assert_frame_equal(read(tmp_path / "ACME.xlsx"), of("ACME"), check_exact=True)


def test_a_sheet_in_words_that_nobody_knows_is_named_by_hand(tmp_path: Path):
    rows = [["as of today"], [], ["Day", "Eins", "Zwei", "Drei", "Vier", "Stk"], *map(list, ROWS)]
    pd.DataFrame(rows).to_excel(tmp_path / "ACME.xlsx", header=False, index=False)
    options = BarsOptions.parse("timestamp=Day,open=Eins,high=Zwei,low=Drei,close=Vier,volume=Stk")
    checked = FileBars(tmp_path / "ACME.xlsx", options=options).check()
    pd.testing.assert_frame_equal(checked.clean, of("ACME"), check_exact=True)


def closes(*symbols: str, headed: str = "{}") -> pd.DataFrame:
    return pd.DataFrame({headed.format(symbol): CLOSE for symbol in symbols}, index=pd.DatetimeIndex(DAYS, name="Date"))


CLOSES = {
    "symbols": closes("NVDA", "JPM", "V", "LOW", "KO", "PG", "AAPL", "BRK.B"),
    "one symbol": closes("SP500"),
    "joined": closes("NVDA", "JPM", headed="Close_{}"),
    "joined, adjusted": closes("NVDA", "JPM", headed="{} Adj Close"),
    "two lines": across("NVDA", "JPM", fields={"Close": CLOSE}),
    "two lines with words for them": across("NVDA", "JPM", fields={"Close": CLOSE}).rename_axis(
        columns=["Ticker", "Price"]
    ),
    "two lines, many": across("NVDA", *"ABCDEF", fields={"Adj Close": CLOSE}),
}


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet"])
@pytest.mark.parametrize("kind", CLOSES)
def test_a_table_of_closes_alone_is_told_as_that(tmp_path: Path, kind: str, ending: str):
    path = written(CLOSES[kind], tmp_path / f"closes.{ending}")
    with pytest.raises(BarsFileError, match=r"Ask the vendor for the daily open, high, low, close and vol") as caught:
        FileBars(path).check()
    said = str(caught.value)
    assert said.startswith(f"{path} holds one price a session (closes, it seems) for ")
    assert ("SP500" if kind == "one symbol" else "NVDA") in said
    assert "TT_BARS_COLUMNS" not in said
    assert "Ticker" not in said
    (tmp_path / "ACME.csv").write_text(YAHOO)  # and in a folder it is passed over
    assert read(tmp_path)["instrument"].unique().tolist() == ["ACME"]


@pytest.mark.parametrize(
    "headers", ["DATE,OPEN,HIGH,LOW,CLOSE", "DATE,CLOSE,ADJ,DIV", "DATE,OPEN,HIGH,LOW,CLOSE,TURNOVER", "Date,Note"]
)
def test_a_table_of_a_part_of_the_columns_is_no_table_of_closes(tmp_path: Path, headers: str):
    path = tmp_path / "ACME.csv"
    path.write_text("\n".join([headers, *(f"2014-01-{day:02}{',1.5' * headers.count(',')}" for day in (2, 3, 6, 7))]))
    with pytest.raises(BarsFileError, match="lack the column"):
        FileBars(path).check()


@BOTH_WAYS
def test_a_column_that_every_symbol_of_a_wide_table_lacks_is_named(tmp_path: Path, ending: str):
    wide = across("JPM", "XOM", fields=FIELDS).drop(columns="Volume", level=1)
    wide.columns = [f"{field}_{symbol}" for symbol, field in wide.columns]
    with pytest.raises(BarsFileError, match="lack volume of JPM, XOM, whose other columns are there"):
        FileBars(written(wide, tmp_path / f"wide.{ending}")).check()


def test_sessions_that_an_instrument_lacks_inside_its_span_are_told_in_one_line(tmp_path: Path):
    (tmp_path / "ACME.csv").write_text(YAHOO)
    assert report_on(FileBars(tmp_path)).warnings == report_on(FileBars(tmp_path / "ACME.csv")).warnings
    for symbol, rows in {"KO": (3, 5, 6, 7), "XOM": (1,)}.items():
        lines = YAHOO.splitlines()
        (tmp_path / f"{symbol}.csv").write_text("\n".join(line for at, line in enumerate(lines) if at not in rows))
    bad = "\n".join(YAHOO.splitlines()).replace("2014-01-07,", "2014-01-07,-")
    (tmp_path / "BAD.csv").write_text(bad)  # left out, and told as that
    (line,) = [line for line in report_on(FileBars(tmp_path)).warnings if "lack" in line]
    assert line == "KO lacks 4 sessions (2014-01-06, 2014-01-08, 2014-01-09, …)"


@BOTH_WAYS
def test_symbols_of_a_wide_table_that_lack_other_columns_are_told_apart(tmp_path: Path, ending: str):
    wide = across("JPM", "XOM", "KO", fields=FIELDS)
    wide = wide.drop(columns=[("JPM", "Volume"), ("XOM", "Open"), ("KO", "Volume")])
    wide.columns = [f"{field}_{symbol}" for symbol, field in wide.columns]
    with pytest.raises(BarsFileError, match="lack volume of JPM, KO; open of XOM, whose other columns are there"):
        FileBars(written(wide, tmp_path / f"wide.{ending}")).check()


def adjusted(**more: list[float]) -> pd.DataFrame:
    """Bars whose prices are all headed by a word that is no symbol."""
    prices = {f"Adj {name}": numbers for name, numbers in FIELDS.items() if name != "Volume"}
    return pd.DataFrame(prices | more, index=pd.DatetimeIndex(DAYS, name="Date"))


def test_a_word_before_every_price_is_no_symbol_that_lacks_a_volume(tmp_path: Path):
    with pytest.raises(BarsFileError, match=r"lack the column volume \(there are: Date, Adj Open, "):
        FileBars(written(adjusted(), tmp_path / "ACME.csv")).check()
    path = written(adjusted(Volume=FIELDS["Volume"]), tmp_path / "ACME.csv")
    pd.testing.assert_frame_equal(read(path), of("ACME"), check_exact=True)


def test_one_adjusted_close_beside_prices_as_traded_makes_no_bars(tmp_path: Path):
    names = {"Open": OPEN, "High": HIGH, "Low": LOW, "Adj Close": CLOSE, "Volume": FIELDS["Volume"]}
    path = written(pd.DataFrame(names, index=pd.DatetimeIndex(DAYS, name="Date")), tmp_path / "ACME.csv")
    with pytest.raises(BarsFileError, match=r"lack the column close \("):
        FileBars(path).check()


def in_own_words(volume: bool = True) -> pd.DataFrame:
    """Bars under headers that look like symbols."""
    named = {f"P{place}": numbers for place, numbers in enumerate(FIELDS.values(), start=1) if volume or place < 5}
    return pd.DataFrame(named, index=pd.DatetimeIndex(DAYS, name="DATE"))


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet"])
def test_bars_under_headers_that_look_like_symbols_are_no_closes(tmp_path: Path, ending: str):
    path = written(in_own_words(), tmp_path / f"OWN.{ending}")
    (tmp_path / "ACME.csv").write_text(YAHOO)
    for whole in (path, tmp_path):  # and in a folder they are not passed over
        with pytest.raises(BarsFileError, match=r"lack the columns open, .*, volume \(there are: .*P1"):
            FileBars(whole).check()
    options = BarsOptions.parse("open=P1,high=P2,low=P3,close=P4,volume=P5")
    pd.testing.assert_frame_equal(FileBars(path, options=options).check().clean, of("OWN"), check_exact=True)


def test_a_volume_that_is_forgotten_among_columns_named_by_hand_is_told(tmp_path: Path):
    path = written(in_own_words(), tmp_path / "OWN.csv")
    options = BarsOptions.parse("open=P1,high=P2,low=P3,close=P4")
    with pytest.raises(BarsFileError, match=r"lack the column volume \(there are: DATE, P1, .*TT_BARS_COLUMNS=volume="):
        FileBars(path, options=options).check()


def test_closes_of_as_many_symbols_as_bars_have_columns_stay_closes_and_both_readings_are_named(tmp_path: Path):
    levels = {"AAPL": 550.0, "MSFT": 37.0, "KO": 40.0, "PG": 80.0, "GE": 27.0}
    moves = pd.DataFrame({name: level * pd.Series(CLOSE) / CLOSE[0] for name, level in levels.items()})
    path = written(moves.set_index(pd.DatetimeIndex(DAYS, name="Date")), tmp_path / "closes.csv")
    with pytest.raises(BarsFileError, match=r"closes, it seems\) for AAPL, .*TT_BARS_COLUMNS=open=HEADER"):
        FileBars(path).check()
