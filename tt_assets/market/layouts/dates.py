"""The dates of a bars file: one format a file, told by all of its dates together.

01/02/2014 may be the first of February or the second of January; a day above twelve anywhere in the file settles it,
and where there is none the file is refused rather than guessed at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.bars import BarRule
from tt_assets.market.layouts.vocabulary import plain

NAMED_FORMATS = (
    *("%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%b %d %Y", "%B %d, %Y", "%d %B %Y", "%d-%b-%y", "%d %b %y", "%d. %b %Y"),
    *("%d %b, %Y", "%b-%d-%Y", "%Y-%b-%d", "%d-%B-%Y", "%d/%b/%Y", "%d%b%Y", "%Y %b %d", "%d. %B %Y"),
)
FIRST_EPOCH, LAST_EPOCH = date(1900, 1, 1), date(2200, 1, 1)
SERIAL_ZERO = date(1899, 12, 30)
"""Day 0 of a spreadsheet, as of 1900-03-01 (it takes 1900 for a leap year)."""

_CLOCK = r"(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[AaPp][Mm])?)"
_ZONE = r"\s*(?P<zone>Z|UTC|GMT|EST|EDT|[-+]\d{2}(?::?\d{2})?)?"
_AFTER = rf"(?:(?:[T\s,]|\s)+{_CLOCK}{_ZONE}(?:\s*\[[\w/]+\])?)?"
_ISO = re.compile(rf"(?P<y>\d{{4}})(?P<sep>[-/.])(?P<m>\d{{1,2}})(?P=sep)(?P<d>\d{{1,2}}){_AFTER}")
_COMPACT = re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:\.0)?(?:[T\s]?(?P<clock>\d{2}:?\d{2}(?::?\d{2})?))?Z?")
_NUMERIC = re.compile(rf"(?P<a>\d{{1,2}})(?P<sep>[-/.])(?P<b>\d{{1,2}})(?P=sep)(?P<y>\d{{4}}|\d{{2}}){_AFTER}")
_EPOCH = re.compile(r"(?P<epoch>-?\d{9,19})(?:\.0+)?")
_SERIAL = re.compile(r"(?P<days>\d{5})(?P<rest>\.\d+)?")
_SCIENTIFIC = re.compile(r"-?\d\.\d+[eE]\+?\d{1,2}")
_WEEKDAY = re.compile(r"^(mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{3,}")
_MONTHS = {
    "Jan": "jan january januar janvier janv enero ene gennaio gen janeiro januari",
    "Feb": "feb february februar fevrier fevr febrero febbraio fevereiro fev februari",
    "Mar": "mar march marz mrz maerz mars marzo marco maart mrt",
    "Apr": "apr april avril avr abril abr aprile",
    "May": "may mai mayo maggio mag maio mei maj",
    "Jun": "jun june juni juin junio giugno giu junho",
    "Jul": "jul july juli juillet juil julio luglio lug julho",
    "Aug": "aug august aout agosto ago augustus",
    "Sep": "sep sept september septembre septiembre settembre set setembro",
    "Oct": "oct october oktober okt octobre octubre ottobre ott outubro out",
    "Nov": "nov november novembre noviembre novembro",
    "Dec": "dec december dezember dez decembre diciembre dic dicembre dezembro",
}
_MONTH_OF = {word: month for month, words in _MONTHS.items() for word in words.split()}
_OFFSETS = {"Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4}


class Order(StrEnum):
    """How the dates of a file are written."""

    ISO = "year-month-day"
    COMPACT = "YYYYMMDD"
    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"
    AMBIGUOUS = "day or month first"
    CONTRADICTING = "day first and month first"
    EPOCH = "epoch"
    SERIAL = "days of a spreadsheet"
    NAMED = "month by name"
    GIVEN = "as TT_BARS_DATE_FORMAT says"
    NONE = "no date"


@dataclass(frozen=True)
class Day:
    """What one distinct cell names: a day, with a time of day or a zone where it has one; `rule` is what it breaks."""

    day: date | None
    rule: BarRule | None = None
    clock: time | None = None


@dataclass(frozen=True)
class ReadDates:
    """The days of the distinct cells in their order, how they are written, and examples where that is not settled."""

    days: list[Day]
    order: Order
    said: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class MarketClock:
    """Where and when the market trades; naive cells with just these times of day are dates all the same."""

    zone: ZoneInfo
    opens: time
    closes: time


def read_dates(cells: Sequence[str], clock: MarketClock, given: str = "", order: Order | None = None) -> ReadDates:
    """The days of the distinct `cells` of a file.

    `given` is a format of strptime that overrides; `order` is what other files of the folder settled. Dates with points
    (02.01.2014) are day first also where nothing proves it: nobody writes the month first with points.
    """
    texts = [cell.strip().strip("'\"") for cell in cells]
    if given:
        return ReadDates([_given(text, given) for text in texts], Order.GIVEN, given)
    filled = [text for text in texts if text]
    form = _form(filled)
    if form == "numeric":
        return _read_numeric(texts, filled, clock, order)
    if form == "named":
        best = _best_named(filled)
        return _with_times([_named(text, best) for text in texts], Order.NAMED, clock, best)
    if form not in _READERS:
        return ReadDates([_iso(text, clock) for text in texts], Order.NONE, Order.NONE, tuple(filled[:1]))
    written, read = _READERS[form]
    return _with_times([read(text, clock) for text in texts], written, clock)


def _read_numeric(texts: Sequence[str], filled: Sequence[str], clock: MarketClock, order: Order | None) -> ReadDates:
    settled, examples = _settle(filled)
    if settled is Order.AMBIGUOUS and order is not None:
        settled = order
    if settled is Order.AMBIGUOUS and all("." in text for text in filled):
        settled = Order.DAY_FIRST
    if settled in (Order.AMBIGUOUS, Order.CONTRADICTING):
        return ReadDates([Day(None, BarRule.DATE)] * len(texts), settled, settled, examples)
    return _with_times([_numeric(text, settled, clock) for text in texts], settled, clock)


def days_of_moments(
    moments: npt.NDArray[np.datetime64], clock: MarketClock
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.bool_]]:
    """Days (rows,) of moments in UTC, and which of them are midnight neither in the market's zone nor in UTC.

    Moments that all are the market's open, or all its close, are days, too.
    """
    utc = pd.DatetimeIndex(moments)
    local = utc.tz_localize("UTC").tz_convert(clock.zone).tz_localize(None)
    if not naive_rules(local.to_numpy(), clock).any():
        return local.to_numpy().astype("datetime64[D]"), np.zeros(len(moments), dtype=bool)
    there = local == local.normalize()
    plain = utc == utc.normalize()
    days = np.where(plain & ~there, utc.normalize().to_numpy(), local.normalize().to_numpy()).astype("datetime64[D]")
    return days, ~np.isnat(moments) & ~(there | plain)


def naive_rules(moments: npt.NDArray[np.datetime64], clock: MarketClock) -> npt.NDArray[np.bool_]:
    """Which naive moments (rows,) have a time of day that makes them no daily bar."""
    days = moments.astype("datetime64[D]")
    times = np.unique((moments - days)[~np.isnat(moments)])
    allowed = {0, *(_seconds(at) for at in (clock.opens, clock.closes))}
    seconds = times.astype("timedelta64[s]").astype(np.int64)
    if len(times) <= 1 and set(seconds.tolist()) <= allowed and (times == times.astype("timedelta64[s]")).all():
        return np.zeros(len(moments), dtype=bool)
    odd: npt.NDArray[np.bool_] = ~np.isnat(moments) & (moments != days)
    return odd


def _seconds(at: time) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second


def _form(filled: Sequence[str]) -> str:
    """Which family of formats most of the cells belong to."""
    votes: Counter[str] = Counter()
    for text in filled[:20_000]:
        if _ISO.fullmatch(text):
            votes["iso"] += 1
        elif _COMPACT.fullmatch(text):
            votes["compact"] += 1
        elif _NUMERIC.fullmatch(text):
            votes["numeric"] += 1
        elif _EPOCH.fullmatch(text) or _SCIENTIFIC.fullmatch(text):
            votes["epoch"] += 1
        elif _SERIAL.fullmatch(text):
            votes["serial"] += 1
        elif _WORD.search(text) and re.search(r"\d", text):
            votes["named"] += 1
        else:
            votes["none"] += 1
    return votes.most_common(1)[0][0] if votes else "none"


def _settle(filled: Sequence[str]) -> tuple[Order, tuple[str, ...]]:
    """Whether the day or the month comes first, with the cells that say so (or leave it open)."""
    day_first = month_first = ""
    for text in filled:
        match = _NUMERIC.fullmatch(text)
        if match is None:
            continue
        first, second = int(match["a"]), int(match["b"])
        if first > 12 >= second:
            day_first = day_first or text
        elif second > 12 >= first:
            month_first = month_first or text
    if day_first and month_first:
        return Order.CONTRADICTING, (day_first, month_first)
    if day_first or month_first:
        return (Order.DAY_FIRST, (day_first,)) if day_first else (Order.MONTH_FIRST, (month_first,))
    return Order.AMBIGUOUS, tuple(filled[:1])


def _with_times(days: list[Day], order: Order, clock: MarketClock, said: str = "") -> ReadDates:
    """Times of day are refused, unless they are one and the same, the market's open or close."""
    clocks = {day.clock for day in days if day.day is not None}
    if clocks <= {None} or (
        len(clocks) == 1 and (clocks <= {clock.opens, clock.closes} or _ends(next(iter(clocks)), clock))
    ):
        return ReadDates(days, order, said or order)
    judged = [
        Day(day.day, BarRule.TIME_OF_DAY, day.clock) if day.clock is not None and day.rule is None else day
        for day in days
    ]
    return ReadDates(judged, order, said or order)


def _ends(at: time | None, clock: MarketClock) -> bool:
    """Whether a time of day is the last second of a day at whose midnight the market closes."""
    return at is not None and at >= time(23, 59, 59) and clock.closes == time()


def _iso(text: str, clock: MarketClock) -> Day:
    match = _ISO.fullmatch(text)
    if match is None:
        return Day(None, BarRule.DATE)
    return _built(match["y"], match["m"], match["d"], match["clock"], match["zone"], clock)


def _compact(text: str, clock: MarketClock) -> Day:
    match = _COMPACT.fullmatch(text)
    if match is None:
        return Day(None, BarRule.DATE)
    at = match["clock"]
    if at and ":" not in at:
        at = ":".join(re.findall("..", at))
    return _built(match["y"], match["m"], match["d"], at, None, clock)


def _numeric(text: str, order: Order, clock: MarketClock) -> Day:
    match = _NUMERIC.fullmatch(text)
    if match is None:
        return Day(None, BarRule.DATE)
    day, month = (match["a"], match["b"]) if order is Order.DAY_FIRST else (match["b"], match["a"])
    return _built(_year(match["y"]), month, day, match["clock"], match["zone"], clock)


def _year(text: str) -> str:
    if len(text) == 4:
        return text
    return str(_past(2000 + int(text)))


def _past(year: int) -> int:
    """A year of two digits in its century: no bar is of a later year than the next."""
    return year if year <= datetime.now(UTC).year + 1 else year - 100


def _built(year: str, month: str, day: str, at: str | None, zone: str | None, clock: MarketClock) -> Day:
    try:
        plain = date(int(year), int(month), int(day))
        moment = _time(at) if at else time()
    except ValueError:
        return Day(None, BarRule.DATE)
    if zone:
        return _zoned(datetime.combine(plain, moment), zone, clock)
    return Day(plain, None, None if moment == time() else moment)


def _time(text: str) -> time:
    plain = text.strip().replace(",", ".")
    afternoon = plain[-2:].upper() if plain[-1:] in "mM" else ""
    parts = plain[: -2 if afternoon else None].strip().split(":")
    hour, minute = int(parts[0]), int(parts[1])
    if afternoon:
        hour = hour % 12 + (12 if afternoon == "PM" else 0)
    second, _, fraction = (parts[2] if len(parts) > 2 else "0").partition(".")
    return time(hour, minute, int(second), int((fraction or "0")[:6].ljust(6, "0")))


def _zoned(naive: datetime, zone: str, clock: MarketClock) -> Day:
    """A moment with a zone is the date itself at its own midnight, else the market's date at the market's midnight."""
    if naive.time() == time():
        return Day(naive.date())
    hours = _OFFSETS.get(zone)
    if hours is None:
        digits = zone[1:].replace(":", "").ljust(4, "0")
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        offset = timedelta(minutes=-minutes if zone[0] == "-" else minutes)
    else:
        offset = timedelta(hours=hours)
    local = (naive - offset).replace(tzinfo=UTC).astimezone(clock.zone)
    if local.time() == time() or _ends(local.time(), clock):
        return Day(local.date())
    if local.time() in (clock.opens, clock.closes):
        return Day(local.date(), None, local.time())
    return Day(naive.date(), BarRule.TIME_ZONE)


def _epoch(text: str, clock: MarketClock) -> Day:
    if _SCIENTIFIC.fullmatch(text):
        text = str(int(float(text)))
    match = _EPOCH.fullmatch(text)
    if match is None:
        return Day(None, BarRule.DATE)
    moment = moment_of(int(match["epoch"]))
    if moment is None:
        return Day(None, BarRule.DATE)
    # Midnight of the market goes first: Polygon and Alpaca stamp so; midnight in UTC is what crypto venues stamp.
    local = moment.replace(tzinfo=UTC).astimezone(clock.zone)
    if local.time() == time():
        return Day(local.date())
    if moment.time() == time():
        return Day(moment.date())
    if local.time() in (clock.opens, clock.closes):
        return Day(local.date(), None, local.time())
    return Day(local.date(), BarRule.TIME_ZONE)


def _serial(text: str, clock: MarketClock) -> Day:
    """Days since 1899-12-30, as a spreadsheet writes a date whose cells have lost their format."""
    match = _SERIAL.fullmatch(text)
    if match is None:
        return Day(None, BarRule.DATE)
    plain = SERIAL_ZERO + timedelta(days=int(match["days"]))
    seconds = round(float(match["rest"] or 0) * 86_400)
    if not seconds:
        return Day(plain)
    if seconds == 86_400:
        return Day(plain + timedelta(days=1))
    return Day(plain, None, time(seconds // 3600, seconds % 3600 // 60, seconds % 60))


def moment_of(number: int) -> datetime | None:
    """The moment (UTC, naive) of an epoch in seconds, milli-, micro- or nanoseconds, told by its size."""
    for unit in (1, 1_000, 1_000_000, 1_000_000_000):
        seconds, rest = divmod(number, unit)
        if abs(seconds) < 7_300_000_000:
            moment = datetime(1970, 1, 1) + timedelta(seconds=seconds, microseconds=rest * 1_000_000 // unit)  # noqa: DTZ001
            return moment if FIRST_EPOCH <= moment.date() < LAST_EPOCH else None
    return None


_READERS = {
    "iso": (Order.ISO, _iso),
    "compact": (Order.COMPACT, _compact),
    "epoch": (Order.EPOCH, _epoch),
    "serial": (Order.SERIAL, _serial),
}


def _best_named(filled: Sequence[str]) -> str:
    sample = filled[:500]
    return max(NAMED_FORMATS, key=lambda named: sum(_named(text, named).day is not None for text in sample))


def _named(text: str, named: str) -> Day:
    return _given(_in_english(_WEEKDAY.sub("", text), whole="%B" in named), named)


def _in_english(text: str, *, whole: bool) -> str:
    """A date with the name of its month in English, abbreviated unless it is `whole`; exports have theirs."""
    if whole:
        return text
    match = _WORD.search(text)
    month = _MONTH_OF.get(plain(match[0])) if match else None
    if match is None or month is None:
        return text
    return text[: match.start()] + month + text[match.end() :].removeprefix(".")


def _given(text: str, given: str) -> Day:
    try:
        moment = datetime.strptime(text, given)  # noqa: DTZ007 - a zone is judged like any other
    except ValueError:
        return Day(None, BarRule.DATE)
    if "%y" in given:
        try:
            moment = moment.replace(year=_past(moment.year))
        except ValueError:  # 29 February
            return Day(None, BarRule.DATE)
    return Day(moment.date())


def ambiguous(name: str, dates: ReadDates) -> str:
    """The refusal of a file whose dates do not tell the day from the month."""
    if dates.order is Order.CONTRADICTING:
        return (
            f"{name}: {dates.examples[0]} can only be day first and {dates.examples[1]} only month first. Write one "
            f"format in the whole file."
        )
    return (
        f'{name}: "{dates.examples[0]}" may be day first or month first, and no day above 12 settles it. Set '
        f"TT_BARS_DATE_FORMAT={_written(dates.examples[0], '%d', '%m')} or "
        f"TT_BARS_DATE_FORMAT={_written(dates.examples[0], '%m', '%d')}."
    )


def _written(text: str, first: str, second: str) -> str:
    match = _NUMERIC.fullmatch(text)
    sep = match["sep"] if match else "/"
    return f"{first}{sep}{second}{sep}{'%Y' if match is None or len(match['y']) == 4 else '%y'}"
