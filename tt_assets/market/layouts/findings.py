"""What a person should know about the bars of a path before they are loaded: why they are refused, or what is odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from tt_assets.errors import counted
from tt_assets.market.bars import BarFault, BarRule
from tt_assets.market.calendar import followed
from tt_assets.market.layouts.normalise import Normalised
from tt_assets.market.layouts.symbols import in_words

CLOSED_SHARE = 0.05
"""Share of rows on closed days above which the bars belong to another market."""
FEWEST_CLOSED = 3
FEWEST_ROWS = 10
"""Rows from which a file as a whole is judged by how many of them are bad."""
FEWEST_BARS = 8
"""Bars of an instrument from which its spacing, or the adjustment of its close, is judged."""
FEWEST_DAYS, SPARSE_SHARE = 5, 0.9
"""Bars of which that share lies that many days or more behind the one before are not daily."""
SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 1.5)
SPLIT_SLACK = 0.07
MOST_JUMPS = 5
SEVERAL = "several a day"


@dataclass(frozen=True)
class Findings:
    """What was found about bars as a whole.

    Parameters
    ----------
    refusal : why none is loaded, else empty.
    warnings : what is odd, one line a kind.
    spacing : how far apart an instrument's bars lie, in words.
    """

    refusal: str
    warnings: tuple[str, ...]
    spacing: str


def judge(path: str, bars: Normalised, market: str, date_format: str = "") -> Findings:
    """What is wrong with the bars of `path` as a whole, and what is odd.

    `market` names the exchange in words, `date_format` is what TT_BARS_DATE_FORMAT says.
    """
    warnings = [
        *_beyond_calendar(bars.checked.faults),
        *_sparse(bars.checked.clean),
        *_splits(bars.checked.clean),
        *(
            f"{kind}: {counted(count, 'row')} ({'; '.join(shown)}{'; …' if count > len(shown) else ''})"
            for kind, count, shown in bars.checked.mended
        ),
        *_left_out_columns(bars),
    ]
    if bars.passed_over:
        first = bars.passed_over[0]
        warnings.append(f"{counted(len(bars.passed_over), 'file')} of {path} hold no bars and are passed over: {first}")
    spacing = _every(bars)
    return Findings(_refusal(path, bars, market, spacing, date_format), tuple(warnings), spacing)


def _refusal(path: str, bars: Normalised, market: str, spacing: str, date_format: str) -> str:
    faults, rows = bars.checked.faults, bars.rows
    counts = Counter(fault.rule for fault in faults)
    for rule, remedy in _WHOLE.items():
        if (rows >= FEWEST_ROWS and counts[rule] > rows / 2) or (
            rule is BarRule.NOT_DAILY and counts[rule] == rows > 0
        ):
            first = next(fault for fault in faults if fault.rule is rule)
            if rule is BarRule.TIME_ZONE and spacing == SEVERAL:
                return f"{path}: bars come {SEVERAL} ({first.value}{first.place}). {_WHOLE[BarRule.TIME_OF_DAY]}"
            mended = remedy
            if rule is BarRule.DATE and date_format:
                mended = (
                    f"TT_BARS_DATE_FORMAT is {date_format}: set it to the format of the dates, or leave it empty where "
                    f"they tell it themselves."
                )
            shown = f'"{first.session}"' if rule is BarRule.DATE else first.value or str(first.session)
            bad = f"{counts[rule]:,} of {counted(rows, 'row')} {rule}"
            return f"{path}: {bad} ({shown}{first.place}). {mended}"
    adjusted = _only_close_adjusted(bars)
    if adjusted:
        return f"{path}: {adjusted}"
    if spacing not in ("daily", "unknown"):
        return f"{path}: bars come {spacing}. Daily bars are read only; export them daily."
    return _closed(path, rows - counts[BarRule.TOO_EARLY] - counts[BarRule.TOO_LATE], faults, market)


_WHOLE = {
    BarRule.DATE: "Set TT_BARS_DATE_FORMAT to the format of the dates, e.g. %d/%m/%Y.",
    BarRule.NOT_DAILY: "Daily bars are read only; export the period D.",
    BarRule.TIME_OF_DAY: "Daily bars are read only, one row an instrument and day: join the bars of a day to one.",
    BarRule.TIME_ZONE: "Write each session's date alone, e.g. 2014-01-02.",
    BarRule.PRICE: "Name the columns of the prices by TT_BARS_COLUMNS, or mend the file.",
    BarRule.VOLUME: "Name the column of the volume by TT_BARS_COLUMNS, or write 0 where there is none.",
}


def _only_close_adjusted(bars: Normalised) -> str:
    names, whole, outside = (bars.counts[key] for key in ("names", "whole", "outside"))
    bad = np.flatnonzero((outside >= 3) & (outside > 0.2 * whole) & (whole >= 5))
    if not len(bad):
        return ""
    worst = bad[np.argmax(outside[bad] / whole[bad])]
    others = f" (and of {counted(len(bad) - 1, 'other')})" if len(bad) > 1 else ""
    return (
        f"close of {names[worst]} lies outside low to high in {outside[worst]} of {whole[worst]} bars{others}: "
        f"close is adjusted for dividends and the other prices are not; put the unadjusted close, or scale open, "
        f"high and low alike."
    )


def _closed(path: str, rows: int, faults: Sequence[BarFault], market: str) -> str:
    closed = Counter(fault.instrument for fault in faults if fault.rule is BarRule.CLOSED_DAY)
    total = sum(closed.values())
    if total < FEWEST_CLOSED or total <= CLOSED_SHARE * rows:
        return ""
    name, _ = closed.most_common(1)[0]
    weekdays = Counter(
        fault.session.weekday()
        for fault in faults
        if fault.rule is BarRule.CLOSED_DAY and isinstance(fault.session, date)
    )
    # Markets that trade on Sundays and not on Saturdays are a calendar of their own.
    never = min(weekdays[5], weekdays[6]) * 4 > total
    remedy = "24/7 for a market that never closes" if never else "the exchange's own calendar, e.g. XLON"
    return (
        f"{path}: {total / rows:.0%} of the rows ({total:,} of {rows:,}; most of {name}) lie on days on which {market} "
        f"was closed. Set TT_CALENDAR to {remedy}."
    )


def _every(bars: Normalised) -> str:
    """How far apart an instrument's bars mostly lie: daily, weekly, monthly, several a day, every N days or unknown."""
    faults = bars.checked.faults
    timed = sum(fault.rule in (BarRule.TIME_OF_DAY, BarRule.NOT_DAILY) for fault in faults)
    if timed > bars.rows / 2 and bars.rows >= FEWEST_ROWS:
        return SEVERAL
    zoned = [(fault.instrument, fault.session) for fault in faults if fault.rule is BarRule.TIME_ZONE]
    if len(zoned) > bars.rows / 2 and len(set(zoned)) * 2 < len(zoned):
        return SEVERAL
    clean = bars.checked.clean
    days = clean["timestamp"].to_numpy().astype("datetime64[D]").astype(np.int64)
    symbols = clean["instrument"].to_numpy()
    # Weeks and months are dated by days without a session, too.
    closed = [fault for fault in faults if fault.rule is BarRule.CLOSED_DAY and isinstance(fault.session, date)]
    if len(closed) > CLOSED_SHARE * bars.rows:
        days = np.r_[days, np.array([fault.session for fault in closed], "datetime64[D]").astype(np.int64)]
        symbols = np.r_[symbols, np.array([fault.instrument for fault in closed], dtype=object)]
        order = np.lexsort((days, symbols.astype(str)))
        days, symbols = days[order], symbols[order]
    gaps = (days[1:] - days[:-1])[symbols[1:] == symbols[:-1]]
    if len(gaps) < FEWEST_BARS - 1:
        return "unknown"
    if np.mean(gaps >= FEWEST_DAYS) < SPARSE_SHARE:
        return "daily"
    middle = float(np.median(gaps))
    return "weekly" if middle <= 8 else "monthly" if 25 <= middle <= 35 else f"every {middle:.0f} days"


def _splits(clean: pd.DataFrame) -> list[str]:
    """Sessions that open at a whole fraction (or multiple) of the close before and stay there."""
    opens, closes = clean["open"].to_numpy(), clean["close"].to_numpy()
    symbols, days = clean["instrument"].to_numpy(), clean["timestamp"].to_numpy().astype("datetime64[D]")
    same = symbols[1:] == symbols[:-1]
    near = (days[1:] - days[:-1]).astype(np.int64) <= 10
    with np.errstate(all="ignore"):
        opened, closed = closes[:-1] / opens[1:], closes[:-1] / closes[1:]
        # Few sessions open that far from the close before, and only they are held against every ratio.
        far = np.flatnonzero(same & near & (np.abs(np.log(opened)) > np.log(min(SPLITS)) - SPLIT_SLACK))
    opened, closed = opened[far], closed[far]
    found: dict[int, tuple[float, bool]] = {}
    for ratio in SPLITS:
        slack = SPLIT_SLACK if ratio > 2 else SPLIT_SLACK / 2
        for reverse in (False, True):
            wanted = 1 / ratio if reverse else ratio
            hit = (np.abs(opened / wanted - 1) < slack) & (np.abs(closed / wanted - 1) < 2 * slack)
            for place in far[hit].tolist():
                found.setdefault(place, (ratio, reverse))
    if not found:
        return []
    shown = []
    for place in sorted(found)[:MOST_JUMPS]:
        ratio, reverse = found[place]
        moved = closes[place + 1] / closes[place] - 1
        part = f"{ratio:g} times" if reverse else f"1/{ratio:g} of"
        split = (f"1:{ratio:g}" if reverse else f"{ratio:g}:1") if ratio != 1.5 else ("2:3" if reverse else "3:2")
        shown.append(
            f"{symbols[place + 1]} {days[place + 1]} close moved {moved:+.1%}, open {part} the close before: an "
            f"unadjusted {split} split?"
        )
    more = f" And {len(found) - MOST_JUMPS} more." if len(found) > MOST_JUMPS else ""
    return [" ".join(shown) + more + " Use split-adjusted prices, or name the adjusted close by TT_BARS_ADJUST."]


def _sparse(clean: pd.DataFrame) -> list[str]:
    """Instruments whose bars come weekly or rarer beside others."""
    days = clean["timestamp"].to_numpy().astype("datetime64[D]").astype(np.int64)
    symbols = clean["instrument"].to_numpy()
    starts = np.flatnonzero(np.r_[True, symbols[1:] != symbols[:-1]]) if len(symbols) else np.array([], dtype=int)
    rare = np.r_[days[1:] - days[:-1] >= FEWEST_DAYS, False]
    rare[starts[1:] - 1] = False
    counts = np.diff(np.r_[starts, len(symbols)])
    shares = np.add.reduceat(rare, starts) / np.maximum(counts - 1, 1) if len(starts) else np.array([])
    names = symbols[starts[(counts >= FEWEST_BARS) & (shares >= SPARSE_SHARE)]].tolist()
    if not names or len(names) == len(starts):
        return []
    return [f"bars of {in_words(names)} come weekly or rarer: sessions between them have none. Export them daily."]


def _beyond_calendar(faults: Sequence[BarFault]) -> list[str]:
    """Rows that no calendar can judge, one line before it and one after it."""
    counts, market = Counter(fault.rule for fault in faults), followed()
    ends = (
        (BarRule.TOO_EARLY, f"before {market.first_day}, where the session calendar begins"),
        (BarRule.TOO_LATE, f"after {market.last_day}, where the session calendar ends"),
    )
    return [
        f"{counted(counts[rule], 'row')} {where}, {'is' if counts[rule] == 1 else 'are'} left out"
        for rule, where in ends
        if counts[rule]
    ]


def _left_out_columns(bars: Normalised) -> list[str]:
    named: dict[str, int] = Counter(table.left_out_column for table in bars.tables if table.left_out_column)
    return [
        f"the column {column} is there and is left out; TT_BARS_ADJUST={column.replace(' ', '_').lower()} scales all "
        f"four prices by it"
        for column in named
    ]


def watched(symbols_of_bars: Sequence[str], watchlist: Sequence[str]) -> tuple[str, list[str]]:
    """The refusal of bars none of which is on the watchlist (else empty), and warnings about both sides."""
    from tt_assets.market.layouts.symbols import nearest

    present, listed = set(symbols_of_bars), list(watchlist)
    absent = [symbol for symbol in listed if symbol not in present]
    said = []
    for symbol in absent:
        near = nearest(symbol, symbols_of_bars)
        said.append(f"{symbol} (the bars have {near})" if near else symbol)
    if listed and len(absent) == len(listed):
        return (
            f"no symbol of the watchlist is in the bars: the watchlist has {in_words(said)}, the bars have "
            f"{in_words(list(symbols_of_bars))}. Correct the symbols, or point TT_WATCHLIST at a list of those in the "
            f"bars."
        ), []
    warnings = [f"without bars, of the watchlist: {in_words(said, 10)}"] if absent else []
    others = sorted(present - set(listed))
    if others:
        warnings.append(f"in the bars and not on the watchlist: {in_words(others)}")
    return "", warnings
