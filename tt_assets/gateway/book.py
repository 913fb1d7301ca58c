"""The bars a stand-in gateway serves, as the text they have on the wire.

A price goes out as the shortest text that reads back as the same double, so that what comes through the
gateway equals the file bit for bit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tt_assets.market.bars import check_bars
from tt_assets.market.files import FileBars

FIRST_CONTRACT_ID = 1001


class WireBar(NamedTuple):
    """One bar of a historical answer; every field is text. `date` is yyyyMMdd, prices USD, volume shares."""

    date: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    wap: str
    trades: str


class BarBook:
    """Daily bars by instrument, each instrument with a contract id of its own (in the order of the symbols)."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """`frame` has BAR_COLUMNS; rows that break the bar contract are left out (`left_out` counts them)."""
        checked = check_bars(frame)
        self.left_out = len(frame) - len(checked.clean)
        self._frames = {str(name): rows for name, rows in checked.clean.groupby("instrument", sort=True)}
        self._rows: dict[str, tuple[list[str], list[WireBar]]] = {}
        self.contract_ids = {name: FIRST_CONTRACT_ID + place for place, name in enumerate(self._frames)}
        self._names = {number: name for name, number in self.contract_ids.items()}

    @classmethod
    def from_file(cls, path: Path) -> BarBook:
        """The bars of a CSV or parquet file. Raises BarsFileError as the file source does."""
        checked = FileBars(path).check()
        book = cls(checked.clean)
        book.left_out = len(checked.faults)
        return book

    @property
    def instruments(self) -> tuple[str, ...]:
        """Symbols with a bar, sorted."""
        return tuple(self._frames)

    def symbol_of(self, contract_id: int) -> str | None:
        """The symbol with this contract id."""
        return self._names.get(contract_id)

    def first_day(self, symbol: str) -> date:
        """Day of the first bar."""
        first: date = self._frames[symbol]["timestamp"].iloc[0].date()
        return first

    def between(self, symbol: str, first: date, last: date) -> list[WireBar]:
        """Bars from `first` to `last`, both included, ascending; empty for an unknown symbol."""
        if symbol not in self._frames:
            return []
        days, rows = self._wire(symbol)
        return rows[bisect_left(days, f"{first:%Y%m%d}") : bisect_right(days, f"{last:%Y%m%d}")]

    def _wire(self, symbol: str) -> tuple[list[str], list[WireBar]]:
        if symbol not in self._rows:
            bars = self._frames[symbol]
            days = bars["timestamp"].dt.strftime("%Y%m%d").tolist()
            columns = [_texts(bars[name]) for name in ("open", "high", "low", "close", "volume")]
            rows = [
                WireBar(day, opened, high, low, close, volume, wap=close, trades="1")
                for day, opened, high, low, close, volume in zip(days, *columns, strict=True)
            ]
            self._rows[symbol] = (days, rows)
        return self._rows[symbol]


def _texts(values: pd.Series[Any]) -> Sequence[str]:
    numbers = values.to_numpy(dtype=np.float64)
    # Volumes are whole in practice and are sent without a point, as a gateway does.
    return [str(int(number)) if number.is_integer() else repr(number) for number in numbers.tolist()]
