"""Calendars by name: XNYS out of its committed list, 24/7, and every one that exchange_calendars knows.

The library builds a calendar in about a second; what comes of it is kept as a list of closed days under `TT_HOME`.
"""

from __future__ import annotations

import json
import os
from datetime import date, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tt_assets.errors import UserError, nearest_of
from tt_assets.market.calendar import LAST_DAY, XNYS, Calendar, new_york

ALWAYS = "24/7"
EARLIEST = date(1990, 1, 1)
"""Where other calendars begin at the earliest: before it the library knows few holidays."""


class UnknownCalendar(UserError):
    """TT_CALENDAR names no calendar."""


def named(name: str, kept: Path | None = None) -> Calendar:
    """The calendar of that name.

    Parameters
    ----------
    name : XNYS, 24/7, or a code or alias of exchange_calendars, e.g. XLON, XTKS, CMES.
    kept : folder in which what the library says is kept. None: it is asked anew.

    Raises
    ------
    UnknownCalendar : with the nearest name.
    """
    if name in (XNYS, "NYSE"):
        return new_york()
    if name == ALWAYS:
        # One session a day, from midnight to midnight UTC.
        return Calendar(ALWAYS, ZoneInfo("UTC"), time(), time(), date(1970, 1, 1), LAST_DAY, "1111111", ())
    file = kept / f"{name}.json" if kept is not None and name.isalnum() else None
    known = _read(file) if file is not None else None
    if known is None:
        known = _of_library(name)
        if file is not None:
            _write(file, known)
    return Calendar(
        name,
        ZoneInfo(known["zone"]),
        time.fromisoformat(known["opens"]),
        time.fromisoformat(known["closes"]),
        date.fromisoformat(known["first_day"]),
        date.fromisoformat(known["last_day"]),
        known["weekmask"],
        tuple(date.fromisoformat(day) for day in known["closed"]),
    )


def _of_library(name: str) -> dict[str, Any]:
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=True)
    if name not in known:
        near = nearest_of(name, known)
        meant = f'The nearest is "{near}"; ' if near else ""
        raise UnknownCalendar(
            f'TT_CALENDAR: there is no calendar "{name}". {meant}{XNYS} and {ALWAYS} are there '
            "too, and exchange_calendars names the others."
        )
    kind = type(exchange_calendars.get_calendar(name))
    lowest, highest = kind.bound_min(), kind.bound_max()
    first = max(EARLIEST, lowest.date()) if lowest is not None else EARLIEST
    last = min(LAST_DAY, highest.date()) if highest is not None else LAST_DAY
    calendar = kind(start=str(first), end=str(last))
    opened = calendar.sessions.to_numpy().astype("datetime64[D]")
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1, dtype="datetime64[D]")
    weekday = (days.astype(np.int64) + 3) % 7  # the epoch was a Thursday
    has = set(weekday[np.isin(days, opened)].tolist())
    closed = np.setdiff1d(days[np.isin(weekday, list(has))], opened)
    return {
        "zone": str(calendar.tz),
        "opens": (calendar.open_times[-1][1]).isoformat(),
        "closes": (calendar.close_times[-1][1]).isoformat(),
        "first_day": str(first),
        "last_day": str(last),
        "weekmask": "".join("1" if day in has else "0" for day in range(7)),
        "closed": [str(day) for day in closed],
    }


def _read(file: Path) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and "closed" in known else None


def _write(file: Path, known: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        staged = file.with_name(f".{file.name}.{os.getpid()}")
        staged.write_text(json.dumps(known), encoding="utf-8")
        staged.replace(file)
    except OSError:
        pass  # a home that cannot be written costs a second, nothing else
