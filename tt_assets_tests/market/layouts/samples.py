"""One and the same ten bars written in every layout, with the values that must be read from each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pandas as pd

DAYS = pd.to_datetime([f"2014-01-{day:02}" for day in (2, 3, 6, 7, 8, 9, 10, 13, 14, 15)])
OPEN = [40.37, 40.16, 40.05, 40.08, 41.29, 41.33, 40.95, 41.16, 40.21, 41.06]
HIGH = [40.49, 40.44, 40.32, 41.20, 41.72, 41.35, 41.35, 41.22, 41.14, 41.31]
LOW = [39.31, 39.82, 39.75, 40.08, 41.02, 40.61, 40.82, 39.80, 40.04, 40.76]
CLOSE = [39.59, 40.12, 39.93, 40.92, 41.02, 40.92, 41.23, 39.99, 41.14, 41.07]
VOLUME = [21504200, 15755200, 12467500, 14100000, 18638200, 12897300, 8721700, 16047200, 14473900, 9475500]
ROWS = list(zip(DAYS, OPEN, HIGH, LOW, CLOSE, VOLUME, strict=True))
NEW_YORK = ZoneInfo("America/New_York")


def expected(symbol: str = "ACME") -> pd.DataFrame:
    """What every layout must be read as."""
    return pd.DataFrame(
        {
            "instrument": symbol,
            "timestamp": DAYS.to_numpy().astype("datetime64[ns]"),
            "open": OPEN,
            "high": HIGH,
            "low": LOW,
            "close": CLOSE,
            "volume": [float(volume) for volume in VOLUME],
        }
    )


def table(header: str, row: Callable[..., str], *, newest_first: bool = False) -> str:
    """A text table; `row` is given day, open, high, low, close and volume."""
    lines = [row(*bar) for bar in (ROWS[::-1] if newest_first else ROWS)]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def european(number: float) -> str:
    """1234.5 as 1.234,50."""
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def midnight(day: pd.Timestamp) -> int:
    """Epoch seconds of New York's midnight."""
    return int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp())


def utc(day: pd.Timestamp) -> int:
    """Epoch seconds of midnight in UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


LAYOUTS: dict[str, tuple[str, str, str]] = {
    "tt_prices": (
        "bars.csv",
        table(
            "instrument,timestamp,open,high,low,close,volume",
            lambda d, o, h, lo, c, v: f"ACME,{d:%Y-%m-%d},{o},{h},{lo},{c},{v}",
        ),
        "tt_prices",
    ),
    "Yahoo": (
        "ACME.csv",
        table(
            "Date,Open,High,Low,Close,Adj Close,Volume",
            lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o:.6f},{h:.6f},{lo:.6f},{c:.6f},{c * 0.9:.6f},{v}",
        ).rstrip("\n"),
        "Yahoo",
    ),
    "yfinance": (
        "yf.csv",
        "Price,Close,High,Low,Open,Volume\nTicker,ACME,ACME,ACME,ACME,ACME\nDate,,,,,\n"
        + table("", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{c},{h},{lo},{o},{v}"),
        "yfinance",
    ),
    "yfinance by ticker": (
        "yf.csv",
        "Ticker,ACME,ACME,ACME,ACME,ACME\nPrice,Open,High,Low,Close,Volume\nDate,,,,,\n"
        + table("", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o},{h},{lo},{c},{v}"),
        "yfinance",
    ),
    "yfinance history": (
        "ACME.csv",
        table(
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d} 00:00:00-05:00,{o},{h},{lo},{c},{v},0.0,0.0",
        ),
        "yfinance history",
    ),
    "Stooq": (
        "acme.us.txt",
        table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            lambda d, o, h, lo, c, v: f"ACME.US,D,{d:%Y%m%d},000000,{o},{h},{lo},{c},{v},0",
        ),
        "Stooq",
    ),
    "Kaggle": (
        "all_stocks_5yr.csv",
        table(
            "date,open,high,low,close,volume,Name", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o},{h},{lo},{c},{v},ACME"
        ),
        "Kaggle",
    ),
    "FinRL": (
        "train.csv",
        table(
            ",date,open,high,low,close,volume,tic,day",
            lambda d, o, h, lo, c, v: f"{d.day},{d:%Y-%m-%d},{o},{h},{lo},{c},{v},ACME,{d.weekday()}",
        ),
        "FinRL",
    ),
    "Nasdaq": (
        "ACME_HistoricalData.csv",
        table(
            "Date,Close/Last,Volume,Open,High,Low",
            lambda d, o, h, lo, c, v: f"{d:%m/%d/%Y},${c:.2f},{v},${o:.2f},${h:.2f},${lo:.2f}",
            newest_first=True,
        ),
        "Nasdaq",
    ),
    "Alpha Vantage": (
        "daily_ACME.csv",
        table(
            "timestamp,open,high,low,close,volume",
            lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o:.4f},{h:.4f},{lo:.4f},{c:.4f},{v}\r",
            newest_first=True,
        ),
        "Alpha Vantage",
    ),
    "Alpaca": (
        "bars.csv",
        table(
            "symbol,timestamp,open,high,low,close,volume,trade_count,vwap",
            lambda d, o, h, lo, c, v: f"ACME,{d:%Y-%m-%d} 05:00:00+00:00,{o},{h},{lo},{c},{v},1234,{c}",
        ),
        "Alpaca",
    ),
    "Tiingo": (
        "ACME.csv",
        table(
            "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor",
            lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d}T00:00:00.000Z,{c},{h},{lo},{o},{v},{c},{h},{lo},{o},{v},0.0,1.0",
        ),
        "Tiingo",
    ),
    "Polygon ns": (
        "day_aggs.csv",
        table(
            "ticker,volume,open,close,high,low,window_start,transactions",
            lambda d, o, h, lo, c, v: f"ACME,{v},{o},{c},{h},{lo},{midnight(d)}000000000,1234",
        ),
        "Polygon",
    ),
    "Polygon ms": (
        "ACME.csv",
        table("v,vw,o,c,h,l,t,n", lambda d, o, h, lo, c, v: f"{v},{c},{o},{c},{h},{lo},{midnight(d)}000,1234"),
        "Alpaca",
    ),
    "epoch µs": (
        "ACME.csv",
        table("time,open,high,low,close,volume", lambda d, o, h, lo, c, v: f"{midnight(d)}000000,{o},{h},{lo},{c},{v}"),
        "columns by name",
    ),
    "TradingView, epoch s": (
        "NYSE_ACME, 1D.csv",
        table("time,open,high,low,close,Volume", lambda d, o, h, lo, c, v: f"{utc(d)},{o},{h},{lo},{c},{v}"),
        "columns by name",
    ),
    "Investing": (
        "ACME Historical Data.csv",
        "\ufeff"
        + table(
            '"Date","Price","Open","High","Low","Vol.","Change %"',
            lambda d, o, h, lo, c, v: (
                f'"{d:%m/%d/%Y}","{c:.2f}","{o:.2f}","{h:.2f}","{lo:.2f}","{v / 1e6:.4f}M","0.12%"'
            ),
            newest_first=True,
        ).rstrip("\n"),
        "Investing",
    ),
    "ib_insync": (
        "ACME.csv",
        table(
            ",date,open,high,low,close,volume,average,barCount",
            lambda d, o, h, lo, c, v: f"{d.day},{d:%Y-%m-%d},{o},{h},{lo},{c},{float(v)},{c},1234",
        ),
        "ib_insync",
    ),
    "zipline csvdir": (
        "ACME.csv",
        table(
            "date,open,high,low,close,volume,dividend,split",
            lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o},{h},{lo},{c},{v},0.0,1.0",
        ),
        "zipline csvdir",
    ),
    "QuantConnect": (
        "acme.csv",
        table(
            "",
            lambda d, o, h, lo, c, v: f"{d:%Y%m%d} 00:00,{o * 1e4:.0f},{h * 1e4:.0f},{lo * 1e4:.0f},{c * 1e4:.0f},{v}",
        ),
        "QuantConnect",
    ),
    "German export": (
        "ACME.csv",
        table(
            "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen",
            lambda d, o, h, lo, c, v: (
                f"{d:%d.%m.%Y};{european(o)};{european(h)};{european(lo)};{european(c)};{european(v)[:-3]}"
            ),
        ),
        "export",
    ),
    "ariva": (
        "wkn_ACME_historic.csv",
        table(
            "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen",
            lambda d, o, h, lo, c, v: (
                f"{d:%Y-%m-%d};{european(o)};{european(h)};{european(lo)};{european(c)};{european(v)[:-3]};1"
            ),
        ),
        "ariva",
    ),
    "French export": (
        "ACME.csv",
        table(
            "Date;Ouverture;Plus haut;Plus bas;Clôture;Volume",
            lambda d, o, h, lo, c, v: (
                f"{d:%d/%m/%Y};{european(o)};{european(h)};{european(lo)};{european(c)};"
                + f"{v:,}".replace(",", "\u202f")
            ),
        ),
        "export",
    ),
    "MetaTrader": (
        "ACME.csv",
        table(
            "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            lambda d, o, h, lo, c, v: f"{d:%Y.%m.%d}\t{o}\t{h}\t{lo}\t{c}\t77\t{v}\t5",
        ),
        "MetaTrader",
    ),
    "spaces": (
        "ACME.txt",
        table("Date Open High Low Close Volume", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d} {o} {h} {lo} {c} {v}"),
        "export",
    ),
    "days of a spreadsheet": (
        "ACME.csv",
        table(
            "Date,Open,High,Low,Close,Volume",
            lambda d, o, h, lo, c, v: f"{(d - pd.Timestamp('1899-12-30')).days},{o},{h},{lo},{c},{v}",
        ),
        "columns by name",
    ),
    "pipe": (
        "bars.txt",
        table(
            "SYMBOL|DATE|OPEN|HIGH|LOW|CLOSE|VOLUME",
            lambda d, o, h, lo, c, v: f"ACME|{d:%d-%b-%Y}|{o}|{h}|{lo}|{c}|{v}",
        ),
        "export",
    ),
    "quantmod": (
        "ACME.csv",
        table(
            '"","ACME.Open","ACME.High","ACME.Low","ACME.Close","ACME.Volume","ACME.Adjusted"',
            lambda d, o, h, lo, c, v: f'"{d:%Y-%m-%d}",{o},{h},{lo},{c},{v},{c}',
        ),
        "wide",
    ),
    "R data frame": (
        "ACME.csv",
        table(
            '"date","open","high","low","close","volume"',
            lambda d, o, h, lo, c, v: f'"{d.day}","{d:%Y-%m-%d}",{o},{h},{lo},{c},{v}',
        ),
        "columns by name",
    ),
    "three decimals after a comma": (
        "ACME.csv",
        table(
            "Datum,Eröffnung,Hoch,Tief,Schluss,Volumen",
            lambda d, o, h, lo, c, v: (
                f"{d:%Y-%m-%d}," + ",".join(f'"{price:.3f}"'.replace(".", ",") for price in (o, h, lo, c)) + f",{v}"
            ),
        ),
        "columns by name",
    ),
    "MetaTrader 4": (
        "ACME1440.csv",
        table("", lambda d, o, h, lo, c, v: f"{d:%Y.%m.%d},00:00,{o},{h},{lo},{c},{v}"),
        "no header",
    ),
    "akshare": (
        "ACME.csv",
        table("日期,开盘,最高,最低,收盘,成交量", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o},{h},{lo},{c},{v}"),
        "columns by name",
    ),
    "TradingView, the open": (
        "NYSE_ACME, 1D.csv",
        table(
            "time,open,high,low,close,Volume", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d}T14:30:00Z,{o},{h},{lo},{c},{v}"
        ),
        "columns by name",
    ),
    "Wall Street Journal": (
        "ACME.csv",
        table(
            "Date, Open, High, Low, Close, Volume", lambda d, o, h, lo, c, v: f"{d:%m/%d/%y}, {o}, {h}, {lo}, {c}, {v}"
        ),
        "columns by name",
    ),
    "Google Sheets": (
        "ACME.csv",
        table(
            "Date,Open,High,Low,Close,Volume",
            lambda d, o, h, lo, c, v: f"{d.month}/{d.day}/{d.year} 16:00:00,{o},{h},{lo},{c},{v}",
        ),
        "columns by name",
    ),
    "months by name": (
        "ACME.csv",
        table("Date,Open,High,Low,Close,Volume", lambda d, o, h, lo, c, v: f'"{d:%b %d, %Y}",{o},{h},{lo},{c},"{v:,}"'),
        "columns by name",
    ),
    "MetaStock": (
        "ACME.txt",
        table(
            "<TICKER>,<DTYYYYMMDD>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
            lambda d, o, h, lo, c, v: f"ACME,{d:%Y%m%d},{o},{h},{lo},{c},{v}",
        ),
        "columns by name",
    ),
    "no header": (
        "eod.csv",
        table("", lambda d, o, h, lo, c, v: f"ACME,{d:%Y%m%d},{o},{h},{lo},{c},{v}"),
        "no header",
    ),
    "preamble and footer": (
        "ACME.csv",
        "https://www.example.org\n"
        + table("Date,Open,High,Low,Last,Volume", lambda d, o, h, lo, c, v: f"{d:%Y-%m-%d},{o},{h},{lo},{c},{v}")
        + '"Downloaded from a vendor"\n',
        "columns by name",
    ),
}
"""Name → file name, text, and the name of the layout that must be recognised."""
