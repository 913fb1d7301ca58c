"""Every layout in every container is read to the same ten bars."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tt_assets.market.files import FileBars
from tt_assets_tests.market.layouts.samples import CLOSE, DAYS, HIGH, LAYOUTS, LOW, OPEN, VOLUME, expected


def zipped(content: bytes, name: str = "inner.csv") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_in_every_container_gives_the_same_bars(tmp_path: Path, layout: str, container: str):
    name, text, recognised = LAYOUTS[layout]
    path = tmp_path / f"{name}{container}"
    path.write_bytes(CONTAINERS[container](text.encode()))
    bars = FileBars(path)
    pd.testing.assert_frame_equal(bars.check().clean, expected(), check_exact=True)
    assert bars.check().faults == ()
    assert [table.layout for table in bars.manifest().tables] == [recognised]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("layout", ["German export", "Yahoo", "pipe"])
def test_encodings_are_told_by_the_bytes(tmp_path: Path, layout: str, encoding: str):
    name, text, _ = LAYOUTS[layout]
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    pd.testing.assert_frame_equal(FileBars(path).check().clean, expected(), check_exact=True)


@pytest.mark.parametrize("layout", ["Yahoo", "Stooq", "QuantConnect"])
def test_a_zip_is_read_through_and_a_symbol_comes_from_the_file_inside(tmp_path: Path, layout: str):
    name, text, _ = LAYOUTS[layout]
    path = tmp_path / "download.zip"
    path.write_bytes(zipped(text.encode(), name))
    pd.testing.assert_frame_equal(FileBars(path).check().clean, expected(), check_exact=True)


def frame() -> pd.DataFrame:
    columns = {"Open": OPEN, "High": HIGH, "Low": LOW, "Close": CLOSE, "Volume": VOLUME}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(DAYS, name="Date"))


TYPED: dict[str, pd.DataFrame] = {
    "dates in the index": frame(),
    "New York midnights": frame().tz_localize("America/New_York"),
    "New York closes": frame().shift(freq="16h").tz_localize("America/New_York"),
    "moments in UTC": frame().tz_localize("America/New_York").tz_convert("UTC"),
    "dates as dates": frame().reset_index().assign(Date=lambda rows: rows["Date"].dt.date),
    "dates as text": frame().reset_index().assign(Date=lambda rows: rows["Date"].dt.strftime("%m/%d/%Y")),
    "yfinance": pd.concat({"ACME": frame()}, axis=1).swaplevel(axis=1).rename_axis(columns=["Price", "Ticker"]),
    "yfinance by ticker": pd.concat({"ACME": frame()}, axis=1).rename_axis(columns=["Ticker", "Price"]),
    "symbol and timestamp in the index": frame()
    .rename(columns=str.lower)
    .assign(symbol="ACME")
    .rename_axis(index="timestamp")
    .set_index("symbol", append=True)
    .swaplevel(),
}


@pytest.mark.parametrize("kind", TYPED)
def test_parquet_of_any_make(tmp_path: Path, kind: str):
    path = tmp_path / "ACME.parquet"
    TYPED[kind].to_parquet(path)
    pd.testing.assert_frame_equal(FileBars(path).check().clean, expected(), check_exact=True)


@pytest.mark.parametrize("kind", ["dates as dates", "dates as text"])
def test_feather_and_workbooks(tmp_path: Path, kind: str):
    feather, workbook = tmp_path / "ACME.feather", tmp_path / "ACME.xlsx"
    TYPED[kind].to_feather(feather)
    with pd.ExcelWriter(workbook, engine="openpyxl") as writer:
        pd.DataFrame({"about": ["nothing"]}).to_excel(writer, sheet_name="Notes", index=False)
        TYPED[kind].to_excel(writer, sheet_name="Bars", index=False)
    for path in (feather, workbook):
        pd.testing.assert_frame_equal(FileBars(path).check().clean, expected(), check_exact=True)


def as_sheet(text: str, *, typed: bool) -> list[list[object]]:
    """The lines of a delimited text as rows of a sheet; `typed` has plain numbers and ISO days kept as such."""
    separator = max(",;\t| ", key=lambda sign: (text.splitlines()[-2].count(sign), sign == ","))

    def cell(written: str) -> object:
        if re.fullmatch(r"[1-9]\d*(\.\d+)?", written):
            return float(written)
        return pd.Timestamp(written) if re.fullmatch(r"\d{4}-\d\d-\d\d", written) else written or None

    rows = csv.reader(text.lstrip("\ufeff").splitlines(), delimiter=separator)
    return [[cell(written) if typed else written for written in row] for row in rows]


@pytest.mark.parametrize("typed", [False, True], ids=["texts", "typed"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_from_a_sheet_as_from_text(tmp_path: Path, layout: str, typed: bool):
    name, text, _ = LAYOUTS[layout]
    path = tmp_path / Path(name).with_suffix(".xlsx").name
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        pd.DataFrame(as_sheet(text, typed=typed)).to_excel(writer, header=False, index=False)
    checked = FileBars(path).check()
    pd.testing.assert_frame_equal(checked.clean, expected(), check_exact=True)
    assert checked.faults == ()


def test_a_folder_takes_each_symbol_from_its_file_and_says_what_it_passed_over(tmp_path: Path):
    _, text, _ = LAYOUTS["Yahoo"]
    (tmp_path / "deeper").mkdir()
    (tmp_path / "ACME.csv").write_text(text)
    (tmp_path / "deeper" / "brk-b.csv").write_text(text)
    (tmp_path / "meta.csv").write_text("symbol,sector\nACME,Anvils\n")
    (tmp_path / "README.md").write_text("Date,Open")
    bars = FileBars(tmp_path)
    wanted = pd.concat([expected(), expected("BRK-B")], ignore_index=True)
    pd.testing.assert_frame_equal(bars.check().clean, wanted, check_exact=True)
    (said,) = [line for line in bars.warnings() if "passed over" in line]
    assert "1 file" in said
    assert "meta.csv lack the columns" in said
    pd.testing.assert_frame_equal(FileBars(tmp_path / "*.csv").check().clean, expected(), check_exact=True)


def test_a_watchlist_names_files_in_its_own_spelling(tmp_path: Path):
    _, text, _ = LAYOUTS["Yahoo"]
    (tmp_path / "BRK-B_daily.csv").write_text(text)
    assert set(FileBars(tmp_path, known=["BRK B", "X"]).check().clean["instrument"]) == {"BRK B"}
    (tmp_path / "BRK-B_daily.csv").rename(tmp_path / "HistoricalData.csv")
    assert set(FileBars(tmp_path / "HistoricalData.csv", known=["BRK B"]).check().clean["instrument"]) == {"BRK B"}


def test_several_tickers_across(tmp_path: Path):
    wide = pd.concat({"ACME": frame(), "OTHER": frame() * 2}, axis=1).swaplevel(axis=1).sort_index(axis=1)
    wide.loc[DAYS[0], (slice(None), "OTHER")] = None
    path = tmp_path / "yf.csv"
    wide.rename_axis(columns=["Price", "Ticker"]).to_csv(path)
    checked = FileBars(path).check()
    assert checked.clean.groupby("instrument")["close"].sum().round(2).to_dict() == {
        "ACME": round(sum(CLOSE), 2),
        "OTHER": round(2 * sum(CLOSE[1:]), 2),
    }
    assert checked.faults == ()
