"""The symbol of a table that has no column for it: from the file's name, or a watchlist of one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from tt_assets.errors import nearest_of

_VENDORS = "yahoo yf yfinance stooq kaggle alpha vantage alpaca tiingo polygon investing quandl binance coinbase kraken"
_KINDS = (
    "daily day days 1d d d1 1440 weekly hist historical history historic historicaldata data dataset time series eod"
)
_CONTENTS = "price prices stock stocks share shares ohlc ohlcv bars bar candles candle kline klines quote quotes equity"
_STATES = "week export table csv txt new final clean cleaned raw full max adjusted adj unadjusted test train sample ok"
_OTHERS = (
    "us usa nyse nasdaq amex chart ticker symbol the of and for from to finance kurse kurs daten timeseries historico"
)
_FETCHED = "download downloaded"
NOISE = frozenset(f"{_FETCHED} {_VENDORS} {_KINDS} {_CONTENTS} {_STATES} {_OTHERS}".split())
"""Words of file names that are no symbol."""


NEAR_SYMBOL = 0.75
"""Share of letters that two symbols have in common from which one may be meant by the other."""


def symbol_of(stem: str, symbols: Collection[str] | None) -> str | None:
    """The symbol that a file's name without endings stands for; None where it names none.

    With `symbols` (a watchlist) the one that the name, or one of its words, spells, whatever the case and the sign
    between share classes; else the one word that is left of the name when words like `daily` are taken away.
    """
    whole = re.sub(r"\s*\(\d+\)$", "", stem.strip())
    # The span of a download: ACME_2014-01-01_2014-12-31, ACME-1d-2014-01.
    whole = re.sub(r"(?<![0-9A-Za-z])(19|20)\d{2}(-\d{2}){1,2}(?![0-9A-Za-z])", " ", whole).strip(" _,-")
    whole = re.sub(r"(?<=[A-Za-z])1440$", "", whole)  # MetaTrader names the minutes of a bar
    words = [word for word in re.split(r"[_\s,]+|(?<=\d)-(?=\d{4})", whole) if word]
    words = [*words, *(part for word in words for part in word.split("-"))]
    if symbols is not None:
        by_spelling = {spelled(symbol): symbol for symbol in symbols}
        for name in (whole, _without_exchange(whole), *words, *map(_without_exchange, words)):
            if spelled(name) in by_spelling and (spelled(name) not in NOISE or name == whole):
                return by_spelling[spelled(name)]
    bare = _without_exchange(_without_ends(whole))
    if re.fullmatch(r"[A-Za-z0-9^][A-Za-z0-9.\-=^&]{0,14}", bare) and not is_noise(bare):
        return bare.upper()
    left = [
        word
        for word in map(_without_ends, re.split(r"[_\s,]+", whole))
        if word and not is_noise(_without_exchange(word))
    ]
    if len(left) > 1:
        left = [word for word in left if word == word.upper()] or left
    return _without_exchange(left[0]).upper() if len(left) == 1 and len(left[0]) <= 15 else None


def spelled(symbol: str) -> str:
    """A symbol as it is compared: without case, with one sign between share classes."""
    return re.sub(r"[\s.\-_/]+", " ", symbol.casefold()).strip()


def nearest(symbol: str, present: Iterable[str]) -> str | None:
    """The symbol of `present` that a person may have meant by `symbol`."""
    names = list(present)
    for name in names:
        if spelled(name) == spelled(symbol):
            return name
    return nearest_of(symbol, names, cutoff=NEAR_SYMBOL)


def in_words(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _without_exchange(name: str) -> str:
    return re.sub(r"\.us$", "", name, flags=re.IGNORECASE)


def _without_ends(name: str) -> str:
    """A name less words hung on it by a hyphen that are no symbol (ACME-daily); a share class is one letter."""
    parts = name.split("-")
    while len(parts) > 1 and len(parts[-1]) > 1 and is_noise(parts[-1]):
        parts.pop()
    while len(parts) > 1 and len(parts[0]) > 1 and is_noise(parts[0]):
        parts.pop(0)
    return "-".join(parts)


def is_noise(word: str) -> bool:
    """Whether a word of a file's name, or before the name of a column, is no symbol."""
    parts = [part for part in re.split(r"[-.\s]+", word.casefold()) if part]
    return all(
        part in NOISE or re.fullmatch(r"(19|20)\d{2}|\d{8,}|\d{1,2}(y|yr|yrs|years?|min|m|h|d)", part) for part in parts
    )
