"""Which words head which column of a bars file, in the spellings of the vendors and the languages of exports.

A header is compared without case, accents, spaces, brackets, signs and underscores, so `<TICKER>`, `Adj. Close**` and
`adj_close` need one entry each. Of several columns that could be a field, the one whose word comes first is taken.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

WORDS: dict[str, tuple[str, ...]] = {
    "timestamp": (
        *("timestamp", "date", "datetime", "dateandtime", "day", "tradedate", "tradingdate", "tradingday", "session"),
        *("sessiondate", "pricedate", "asofdate", "businessdate", "reportdate", "caldt", "datadate", "dtyyyymmdd"),
        *(
            "formatteddate",
            "observationdate",
            "beginsat",
            "windowstart",
            "opentime",
            "timeopen",
            "datum",
            "handelstag",
            "tag",
            "fecha",
        ),
        *("giorno", "dato", "dag", "pvm", "tarih", "unix", "unixtime", "unixtimestamp", "epoch", "time", "t"),
        *("dt", "indexlevel0", "index", "data", "日期", "交易日期", "日付", "дата", "날짜", "일자"),
    ),
    "instrument": (
        *("instrument", "symbol", "ticker", "tic", "tickersymbol", "stocksymbol", "symbolcode", "tscode", "sid"),
        *("stockcode", "code", "stock", "asset", "security", "pair", "actsymbol", "symbole", "simbolo", "name"),
        *("indexlevel1", "s", "代码", "股票代码", "тикер", "종목코드"),
    ),
    "open": (
        *(
            "open",
            "openprice",
            "priceopen",
            "opening",
            "openingprice",
            "opn",
            "o",
            "1open",
            "dayopen",
            "eroffnung",
            "eroffn",
        ),
        *("eroffnungskurs", "erster", "ersterkurs", "offnungskurs", "apertura", "ouverture", "ouv", "abertura"),
        *("oppning", "oppningskurs", "otwarcie", "aapning", "acilis", "avattu", "pxopen", "openprc", "prcod"),
        *("开盘", "开盘价", "開盤", "開盤價", "始値", "открытие", "откр", "시가"),
    ),
    "high": (
        *("high", "highprice", "pricehigh", "highest", "dayhigh", "hi", "h", "2high", "max", "maximum", "hoch"),
        *("hochst", "hochstkurs", "tageshoch", "maximo", "plushaut", "haut", "maxima", "massimo", "hogst", "hogsta"),
        *("hoogste", "hoog", "najwyzszy", "hoy", "yuksek", "ylin", "pxhigh", "askhi", "prchd"),
        *("最高", "最高价", "最高價", "高値", "максимум", "макс", "고가"),
    ),
    "low": (
        *("low", "lowprice", "pricelow", "lowest", "daylow", "lo", "l", "3low", "min", "minimum", "tief", "tiefst"),
        *("tiefstkurs", "tagestief", "minimo", "plusbas", "bas", "minima", "lagst", "lagsta", "laagste", "laag"),
        *("lav", "dusuk", "najnizszy", "alin", "pxlow", "bidlo", "prcld"),
        *("最低", "最低价", "最低價", "安値", "минимум", "мин", "저가"),
    ),
    "close": (
        *("close", "closeprice", "priceclose", "closing", "closingprice", "closelast", "dayclose", "cls", "c"),
        *("4close", "schluss", "schlusskurs", "cierre", "cloture", "chiusura", "fechamento", "slutkurs", "slotkoers"),
        *("sluttkurs", "kapanis", "last", "lastprice", "lasttradeprice", "latest", "settle", "settlement"),
        *("settlementprice", "price", "letzter", "zuletzt", "kurs", "ultimo", "dernier", "senast", "laatste"),
        *("prezzo", "prix", "precio", "preco", "viimeisin", "simdi", "zamkniecie", "slot", "pxlast", "prc", "prccd"),
        *("收盘", "收盘价", "收盤", "收盤價", "終値", "закрытие", "закр", "цена", "종가"),
    ),
    "volume": (
        *("volume", "vol", "volumeshares", "sharevolume", "tradedvolume", "tradingvolume", "totalvolume", "dayvolume"),
        *("v", "5volume", "6volume", "stucke", "stuecke", "stuck", "volumen", "volum", "volym", "hacim", "shares"),
        *(
            "sharestraded",
            "totaltradedquantity",
            "totaltradequantity",
            "ttltrdqnty",
            "tottrdqty",
            "wolumen",
            "nooftshares",
            "noofshares",
            "numberofshares",
            "pxvolume",
            "cshtrd",
        ),
        *("成交量", "出来高", "объем", "объём", "거래량"),
        *("quantity", "qty", "tickvol", "tickvolume", "volumebtc", "volumeeth", "umsatz"),
    ),
    "adj_close": (
        *("adjclose", "adjustedclose", "adjcloseprice", "closeadj", "closeadjusted", "adjusted", "adjclosing"),
        *("adjustedcloseprice", "adjclosingprice", "5adjustedclose", "adjlast"),
    ),
    "period": ("per", "period", "timeframe", "interval", "resolution"),
    "time_of_day": ("time", "timehhmmss", "timeofday", "hour", "uhrzeit", "hora", "heure"),
}
"""Words per field, the ones that say it most plainly first."""

_CURRENCY = re.compile(r"(usd|eur|gbp|chf|jpy|inr|cad|aud)$")


def plain(header: object) -> str:
    """A header without case, accents and anything that is neither a letter nor a digit."""
    text = unicodedata.normalize("NFKD", str(header).replace("ß", "ss").replace("Ø", "O").replace("ø", "o"))
    return "".join(sign for sign in text.casefold() if sign.isalnum())


FIELD_OF: dict[str, str] = {
    plain(word): field for field, words in WORDS.items() for word in words if field != "time_of_day"
}
RANK: dict[tuple[str, str], int] = {
    (field, plain(word)): place for field, words in WORDS.items() for place, word in enumerate(words)
}
_ENGLISH = frozenset(
    "open openprice opening openingprice opn o dayopen pxopen openprc high highprice hi h low".split()  # noqa: SIM905
)


def says_decimal_comma(headers: Iterable[str]) -> bool:
    """Whether the headers of open, high and low are in a language whose numbers have a comma."""
    words = {plain(header) for header in headers if field_of(header) in ("open", "high", "low")}
    return bool(words) and all(re.fullmatch("[a-zа-яё]+", word) for word in words) and not words & _ENGLISH


def field_of(header: object) -> str | None:
    """The field a header names, or None: `Close/Last` is close, `Eröffnung` open, `Open (USD)` open."""
    word = plain(header)
    if word in FIELD_OF:
        return FIELD_OF[word]
    bare = _CURRENCY.sub("", word)
    if bare in FIELD_OF and len(bare) > 2:
        return FIELD_OF[bare]
    # Vendors number the members of an answer: "1. open", "5. adjusted close".
    return FIELD_OF.get(re.sub(r"^\d+", "", word)) if len(re.sub(r"^\d+", "", word)) > 2 else None


def rank_of(field: str, header: object) -> int:
    """How plainly a header says the field; smaller is plainer."""
    return RANK.get((field, plain(header)), len(WORDS[field]))


def header_levels(names: Sequence[str]) -> list[list[str]]:
    """Header lines of column names; pandas writes names of several levels as the text of a tuple."""
    split: list[tuple[str, ...]] = []
    for name in names:
        parts: Any = name
        if name.startswith("("):
            try:
                parts = ast.literal_eval(name)
            except (ValueError, SyntaxError):
                parts = name
        split.append(tuple(map(str, parts)) if isinstance(parts, tuple) else (name,))
    depth = max(map(len, split), default=1)
    if depth == 1:
        return [list(names)]
    return [[parts[level] if level < len(parts) else "" for parts in split] for level in range(depth)]
