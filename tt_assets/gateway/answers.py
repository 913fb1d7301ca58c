"""The right answers of the TWS protocol, field by field, for server versions 157 to 176."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tt_assets.gateway.book import BarBook, WireBar
from tt_assets.gateway.frames import frame
from tt_assets.market.calendar import previous_session, shift_session

_DURATION = re.compile(r"(\d+) ([SDWMY])")
_LONGEST = {"D": 365, "W": 52, "M": 12, "Y": 68}
"""Longest durations of daily bars."""
_ADVANCED_REJECT = 166
_NO_SIZE_MULTIPLIER = 164
EXCHANGES = ("NASDAQ", "NYSE", "LSE", "TSE", "AEB")


class BadRequestError(Exception):
    """A request a gateway refuses with error 321; the text is its cause."""


@dataclass(frozen=True)
class HistoryFields:
    """What a historical request says. `end` is empty for now."""

    contract_id: int
    symbol: str
    end: str
    bar_size: str
    duration: str
    what: str

    @classmethod
    def of(cls, fields: Sequence[str]) -> HistoryFields:
        """Read the fields of message 20, the first being the message id and the second the request id."""
        contract, rest = fields[2:14], fields[15:]
        return cls(
            contract_id=int(contract[0] or 0),
            symbol=contract[1],
            end=rest[0],
            bar_size=rest[1],
            duration=rest[2],
            what=rest[4],
        )

    def span(self, today: date) -> tuple[date, date]:
        """First and last day of the answer. Raises BadRequestError for what a gateway refuses."""
        if self.bar_size not in ("1 day", "1D"):
            raise BadRequestError(f"this stand-in has daily bars only, not '{self.bar_size}'")
        if self.what not in ("TRADES", "ADJUSTED_LAST"):
            raise BadRequestError(f"this stand-in has TRADES and ADJUSTED_LAST only, not '{self.what}'")
        if self.what == "ADJUSTED_LAST" and self.end:
            raise BadRequestError("End Date not supported with adjusted last")
        match = _DURATION.fullmatch(self.duration)
        if match is None or match[2] == "S" or not int(match[1]):
            raise BadRequestError(f"Historical data query duration is invalid: '{self.duration}'")
        count, unit = int(match[1]), match[2]
        if count > _LONGEST[unit]:
            raise BadRequestError(
                "Historical data requests for durations longer than 365 days must be made in years."
                if unit == "D"
                else f"Historical data query duration is too long: '{self.duration}'"
            )
        last = _end_day(self.end) or today
        newest = previous_session(last, inclusive=True)
        match unit:
            case "D":  # days are counted in sessions
                return shift_session(newest, 1 - count), last
            case "W":
                return newest - timedelta(days=7 * count - 1), last
            case "M":
                return _months_before(last, count), last
            case _:
                return _months_before(last, 12 * count), last


def history(request_id: int, bars: Sequence[WireBar]) -> bytes:
    """Message 17: every bar of an answer; its end is the end of the message."""
    first, last = (bars[0].date, bars[-1].date) if bars else ("", "")
    head = (17, request_id, f"{first} 00:00:00 US/Eastern", f"{last} 00:00:00 US/Eastern", len(bars))
    return frame("\0".join([*map(str, head), *("\0".join(bar) for bar in bars)]))


def error(version: int, request_id: int, code: int, text: str) -> bytes:
    """Message 4."""
    return frame(4, 2, request_id, code, text, *([""] if version >= _ADVANCED_REJECT else []))


def contract_details(version: int, request_id: int, book: BarBook, symbol: str, matches: int = 1) -> bytes:
    """Messages 10 and 52: `matches` contracts of the symbol, on different exchanges, then the end."""
    return b"".join(_match(version, request_id, book, symbol, place) for place in range(matches)) + frame(
        52, 1, request_id
    )


def _match(version: int, request_id: int, book: BarBook, symbol: str, place: int) -> bytes:
    old = version < _NO_SIZE_MULTIPLIER
    number = book.contract_ids.get(symbol, 0) + 100_000 * place
    exchange = EXCHANGES[place % len(EXCHANGES)]
    sizes = (
        ["1", "1", "100"] if version >= _NO_SIZE_MULTIPLIER else ["100"] if version == _NO_SIZE_MULTIPLIER - 1 else []
    )
    return frame(
        10,
        *([8] if old else []),
        request_id,
        symbol,
        "STK",
        "",  # last trade date
        0,  # strike
        "",  # right
        "SMART",
        "USD",
        symbol,  # local symbol
        exchange,  # market name
        exchange,  # trading class
        number,
        0.01,  # smallest tick
        *([100] if old else []),  # obsolete size multiplier
        "",  # multiplier
        "LMT,MKT",
        f"SMART,{exchange}",
        1,  # price magnifier
        0,  # underlying
        symbol,  # long name
        exchange,
        "",  # contract month
        "",  # industry
        "",  # category
        "",  # subcategory
        "US/Eastern",
        "",  # trading hours
        "",  # liquid hours
        "",  # economic value rule
        0,  # economic value multiplier
        0,  # number of security ids
        1,  # aggregated group
        "",  # underlying symbol
        "",  # underlying type
        "26",  # market rules
        "",  # real expiration
        "COMMON",
        *sizes,
    )


def _end_day(text: str) -> date | None:
    if not text:
        return None
    digits = text.replace("-", "")[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError as wrong:
        raise BadRequestError(f"The date, time, or time-zone entered is invalid: '{text}'") from wrong


def _months_before(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 - months
    year, month = divmod(count, 12)
    for last_of_month in range(day.day, day.day - 4, -1):
        try:
            return date(year, month + 1, last_of_month)
        except ValueError:
            continue
    raise AssertionError(f"no day near {day} {months} months before")
