"""A historical answer of the TWS protocol as a frame of bars.

The message is read here as a whole and not by ib_insync, which drops an answer without a word at the
first cell it cannot read and then waits for the timeout. Here a garbled answer is an error at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tt_assets.market.bars import NUMBER_COLUMNS
from tt_assets.market.calendar import NEW_YORK
from tt_assets.market.ibkr.faults import RequestFailed
from tt_assets.market.sources import Outcome

CELLS = 8
"""Of one bar: date, open, high, low, close, volume, weighted average, number of trades."""


def read_history(symbol: str, fields: Sequence[str]) -> pd.DataFrame:
    """The bars of message 17 as they were sent: BAR_COLUMNS, in the order of the wire, unchecked.

    `fields` begin with the message id and the request id. `timestamp` is datetime64[ns]; where a text names no New York
    date it holds dates and raw texts as objects. Raises RequestFailed(BAD_DATA) when count and cells do not match, a
    number cannot be read, or there is no bar at all (a gateway says error 162 then).
    """
    try:
        count = int(fields[4])
    except (IndexError, ValueError) as wrong:
        raise RequestFailed(Outcome.BAD_DATA, "the answer has no count of bars") from wrong
    cells = fields[5:]
    if count <= 0 or len(cells) != CELLS * count:
        raise RequestFailed(Outcome.BAD_DATA, f"{count} bars announced, {len(cells)} cells sent")
    table = np.array(cells, dtype=object).reshape(count, CELLS)
    try:
        numbers = table[:, 1 : 1 + len(NUMBER_COLUMNS)].astype(np.float64)
    except ValueError as wrong:
        raise RequestFailed(Outcome.BAD_DATA, f"a price or volume is no number: {wrong}") from wrong
    columns = {name: numbers[:, place] for place, name in enumerate(NUMBER_COLUMNS)}
    return pd.DataFrame({"instrument": symbol, "timestamp": _days(table[:, 0].tolist()), **columns})


def _days(texts: Sequence[str]) -> pd.Series[Any]:
    days = [read_day(text) for text in texts]
    if None in days:
        return pd.Series([text if day is None else day for day, text in zip(days, texts, strict=True)], dtype=object)
    return pd.Series(np.array(days, dtype="datetime64[D]").astype("datetime64[ns]"))


@lru_cache(maxsize=50_000)  # every instrument has bars of the same days
def read_day(text: str) -> date | None:
    """The New York date a bar's date text names, None where it names none for certain.

    `yyyyMMdd` is what daily bars carry. A moment with a time zone, or in seconds since 1970, at midnight of its own
    zone names that date; at any other time it is a moment of the session and read on New York's clock. A moment
    without a zone is taken at midnight only, since it says no more than a date there.
    """
    try:
        if len(text) == 8 and text.isdigit():
            return date(int(text[:4]), int(text[4:6]), int(text[6:]))
        if text.isdigit():
            return _session_date(datetime.fromtimestamp(int(text), UTC))
        parts = text.replace("-", " ", 1).split() if text[8:9] == "-" else text.split()
        moment = datetime.strptime(" ".join(parts[:2]), "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - the zone follows
        if len(parts) == 3:
            return _session_date(moment.replace(tzinfo=ZoneInfo(parts[2])))
        return moment.date() if len(parts) == 2 and moment.time() == time.min else None
    except (ValueError, KeyError, OverflowError, OSError):
        return None


def _session_date(moment: datetime) -> date:
    return moment.date() if moment.time() == time.min else moment.astimezone(NEW_YORK).date()
