"""Reading and editing the watchlist, good and bad."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tt_assets.market import watchlist as module
from tt_assets.market.watchlist import (
    Instrument,
    Watchlist,
    WatchlistError,
    add,
    read_watchlist,
    retire,
    write_watchlist,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watchlist.csv"


def test_the_bundled_watchlist_has_five_instruments_and_a_portfolio_of_four():
    watchlist = read_watchlist(Path("tt_assets/sample/watchlist.csv"))
    assert watchlist.symbols == ("AAPL", "GOOG", "IBM", "MSFT", "FB")
    assert watchlist.portfolios == {"sample": ("AAPL", "GOOG", "IBM", "MSFT")}
    assert watchlist.traded == ("AAPL", "GOOG", "IBM", "MSFT", "FB", "sample")
    assert watchlist.members("sample") == ("AAPL", "GOOG", "IBM", "MSFT")
    assert watchlist.members("FB") == ("FB",)
    assert watchlist.instruments[4] == Instrument(
        "FB", description="Facebook Inc., listed 2012-05-18", exchange="NASDAQ", currency="USD"
    )


@pytest.mark.parametrize("text", ["AAPL,BRK B, MSFT\n", "AAPL,BRK B,MSFT,", "\n# held\nAAPL,BRK B,MSFT\n"])
def test_one_line_of_symbols_is_a_watchlist(path: Path, text: str):
    path.write_text(text)
    watchlist = read_watchlist(path)
    assert watchlist.symbols == ("AAPL", "BRK B", "MSFT")
    assert watchlist.instruments[1] == Instrument("BRK B", exchange="SMART", currency="USD")


def test_comments_blank_lines_a_byte_order_mark_and_short_rows_are_fine(path: Path):
    path.write_bytes(
        b"\xef\xbb\xbfInstrument,Portfolio,Primary_Exchange\r\n# core\r\n\r\nT,a; b ,NYSE\r\nBRK B\r\n,,\r\nA,b\r\n"
    )
    watchlist = read_watchlist(path)
    assert watchlist.symbols == ("T", "BRK B", "A")
    assert watchlist.portfolios == {"a": ("T",), "b": ("T", "A")}
    assert watchlist.instruments[0].primary_exchange == "NYSE"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("symbol,portfolio\n# nobody\n", "is empty"),
        ("symbol\nAAPL\nMSFT\nAAPL\n", r'line 4: symbol "AAPL" is on line 2'),
        ("AAPL,MSFT,AAPL\n", r'line 1: symbol "AAPL" is on line 1'),
        ("symbol\nAAPL\nA|B\n", r'line 3: symbol "A\|B" .*\'\|\''),
        ("symbol\n[A\n", r'line 2: symbol "\[A" .*\'\[\''),
        ("symbol\nA]\n", r'line 2: symbol "A\]" .*\'\]\''),
        ('symbol\n"A,B"\n', r'line 2: symbol "A,B" .*\',\''),
        ("symbol\nA\x07\n", r"line 2: symbol .*illegal character"),
        ("symbol\nA...B\n", r'line 2: symbol "A\.\.\.B"'),
        ("symbol\nCASH\n", r'line 2: symbol "CASH" is taken'),
        ("symbol,portfolio\nA,x\nB,A\n", r'line 3: portfolio "A" has the name of a symbol'),
        ("symbol,portfolio\nA,x|y\n", r'line 2: portfolio "x\|y"'),
        ("symbol,sector\nA,tech\n", r'line 1: unknown column "sector"'),
        ("symbol,currency,currency\nA,USD,USD\n", r'line 1: column "currency" is there twice'),
        ("symbol,instrument\nA,B\n", r'line 1: unknown column "instrument"'),
        ("ticker,description\nA,Agilent\n", r'line 1: the header starts with "ticker"'),
        ("symbol,description\n,Agilent\n", r"line 2: the symbol is missing"),
        ("symbol,description\nA,Agilent, Inc.\n", r'line 2: "Inc\." has no column above it'),
        ('symbol,description\nA,"Agilent\n', r"line 2: .*Close the quote"),
    ],
)
def test_a_bad_watchlist_is_one_line_with_file_line_and_value(path: Path, text: str, complaint: str):
    path.write_text(text)
    with pytest.raises(WatchlistError, match=complaint) as caught:
        read_watchlist(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_watchlist_names_the_file_and_the_remedy(path: Path):
    with pytest.raises(WatchlistError, match=r"watchlist\.csv: there is no watchlist.*TT_WATCHLIST"):
        read_watchlist(path)


def test_a_watchlist_that_is_no_text_is_refused(path: Path):
    path.write_bytes(b"symbol\n\xff\xfe\n")
    with pytest.raises(WatchlistError, match="Save it as UTF-8"):
        read_watchlist(path)


def test_an_unknown_name_is_answered_with_the_nearest():
    watchlist = Watchlist((Instrument("AAPL"), Instrument("MSFT")), {"tech": ("AAPL", "MSFT")})
    with pytest.raises(WatchlistError, match=r'"growth"\. There are .*tech'):
        watchlist.members("growth")
    with pytest.raises(WatchlistError, match=r'"teck".*nearest is "tech"'):
        watchlist.members("teck")


def test_adding_appends_one_line_and_leaves_every_other_byte(path: Path):
    text = b'symbol,currency,portfolio\r\n# core\r\nA , USD,x\r\n"BRK B",USD,x'
    path.write_bytes(text)
    watchlist = add(path, "T", portfolios=("x", "y"))
    assert path.read_bytes() == text + b"\r\nT,,x;y\r\n"
    assert watchlist == read_watchlist(path)
    assert watchlist.members("x") == ("A", "BRK B", "T")


def test_adding_a_description_to_a_file_without_one_adds_the_column(path: Path):
    path.write_text("# mine\nsymbol,currency\nA\n")
    add(path, "T", description="AT&T, Inc.", portfolios=("x",))
    assert path.read_text() == '# mine\nsymbol,currency,description,portfolio\nA,,,\nT,,"AT&T, Inc.",x\n'


def test_adding_to_one_line_keeps_one_line_until_there_is_a_portfolio(path: Path):
    path.write_text("A,B\n")
    add(path, "C")
    assert path.read_text() == "A,B,C\n"
    assert add(path, "D", portfolios=("all",)).portfolios == {"all": ("D",)}
    assert read_watchlist(path).symbols == ("A", "B", "C", "D")


def test_retiring_removes_one_line_and_leaves_every_other_byte(path: Path):
    path.write_text("symbol,portfolio\n# a\nA,x\n# b\nB,x;y\nC,y\n")
    watchlist = retire(path, "B")
    assert path.read_text() == "symbol,portfolio\n# a\nA,x\n# b\nC,y\n"
    assert watchlist.portfolios == {"x": ("A",), "y": ("C",)}
    path.write_text("A,B,C\n")
    assert retire(path, "B").symbols == ("A", "C")


@pytest.mark.parametrize(
    "change",
    [
        lambda path: add(path, "A"),
        lambda path: add(path, "X|Y"),
        lambda path: add(path, "X", portfolios=("B",)),
        lambda path: add(path, "X", portfolios=("a;b",)),
        lambda path: add(path, "x"),  # a portfolio is named so
        lambda path: retire(path, "Z"),
    ],
)
def test_a_refused_change_leaves_the_file_as_it_was(path: Path, change):
    text = "symbol,portfolio\nA,x\nB,\n"
    path.write_text(text)
    with pytest.raises(WatchlistError):
        change(path)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_the_last_symbol_cannot_be_retired(path: Path):
    path.write_text("symbol\nA\n")
    with pytest.raises(WatchlistError, match="only symbol"):
        retire(path, "A")
    assert path.read_text() == "symbol\nA\n"


def test_a_crash_while_writing_leaves_the_old_file_and_no_other(path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_text("symbol\nA\n")

    def full_disk(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module.os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        add(path, "B")
    assert path.read_text() == "symbol\nA\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_symbolic_link_stays_one_and_the_mode_stays_the_same(path: Path):
    real = path.with_name("real.csv")
    real.write_text("symbol\nA\n")
    real.chmod(0o640)
    path.symlink_to(real)
    add(path, "B")
    assert path.is_symlink()
    assert real.read_text() == "symbol\nA\nB\n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_what_is_written_reads_back_the_same(path: Path):
    watchlist = Watchlist(
        (Instrument("BRK B", description='Berkshire, "B"', primary_exchange="NYSE"), Instrument("T", currency="EUR")),
        {"x": ("BRK B", "T"), "y": ("T",)},
    )
    write_watchlist(path.parent / "new" / "w.csv", watchlist)
    assert read_watchlist(path.parent / "new" / "w.csv") == watchlist


DATED = """symbol,portfolio,listed,delisted,from,to
AAPL,TECH;ALL,,,2005-03-01,
GOOG,TECH;ALL,2004-08-19,,2006-04-03;2005-03-01,
IBM,TECH,,2012-06-29,2005-03-01,2012-03-30
"""


def test_a_portfolio_has_the_members_of_the_day(tmp_path):
    path = tmp_path / "watchlist.csv"
    path.write_text(DATED)
    listed = read_watchlist(path)
    assert listed.members("TECH") == ("AAPL", "GOOG", "IBM")
    for day, members in (
        ("2006-01-03", ("AAPL", "IBM")),
        ("2006-04-03", ("AAPL", "GOOG", "IBM")),
        ("2012-03-30", ("AAPL", "GOOG", "IBM")),
        ("2012-04-02", ("AAPL", "GOOG")),
    ):
        assert listed.members("TECH", date.fromisoformat(day)) == members
    assert listed.members("ALL", date(2005, 3, 1)) == ("AAPL", "GOOG")
    with pytest.raises(WatchlistError, match="Portfolio TECH has no member on 2005-01-03"):
        listed.members("TECH", date(2005, 1, 3))
    assert listed.chosen("TECH") == (date(2005, 3, 1), 2)
    write_watchlist(tmp_path / "again.csv", listed)
    assert read_watchlist(tmp_path / "again.csv") == listed


def test_a_list_without_dates_is_today_s_universe(tmp_path):
    path = tmp_path / "watchlist.csv"
    path.write_text("symbol,portfolio\nAAPL,TECH\nGOOG,TECH\n")
    listed = read_watchlist(path)
    assert listed.chosen("TECH") == (None, 0)
    assert listed.members("TECH", date(1990, 1, 1)) == ("AAPL", "GOOG")
    write_watchlist(tmp_path / "again.csv", listed)
    assert "listed" not in (tmp_path / "again.csv").read_text()
    path.write_text("symbol,portfolio,from\nAAPL,TECH,2005-03-01\nGOOG,TECH,\n")
    assert read_watchlist(path).chosen("TECH") == (None, 0)  # one member is of today


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("AAPL,TECH,yesterday,,", 'line 2: listed "yesterday" is no date'),
        ("AAPL,TECH,2012-01-03,2011-01-03,", "line 2: delisted 2011-01-03 lies before 2012-01-03"),
        ("AAPL,TECH,,,2012-01-03;2012-01-04;2012-01-05", "line 2: from has 3 dates for 1 portfolios"),
    ],
)
def test_dates_that_are_none_are_said(tmp_path, line, said):
    path = tmp_path / "watchlist.csv"
    path.write_text(f"symbol,portfolio,listed,delisted,from\n{line}\n")
    with pytest.raises(WatchlistError, match=said):
        read_watchlist(path)
