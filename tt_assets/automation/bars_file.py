"""The sensor of the bars file: when the file changes, exactly the prices that differ from it are loaded again.

The file as a whole is held against the table as a whole, some instruments at a time, once per change. Sessions and
instruments that have not landed yet are other sensors'.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd

from tt_assets.automation.jobs import MARKET_JOB
from tt_assets.automation.market import PRICES, MarketState
from tt_assets.automation.requests import range_requests
from tt_assets.automation.tries import SOURCE_TAG
from tt_assets.grid.bars_files import bars_files
from tt_assets.grid.keys import key_texts
from tt_assets.market.bars import BAR_COLUMNS, NUMBER_COLUMNS
from tt_assets.market.files import FileBars
from tt_assets.market.sources import BarRequest, Fetched
from tt_assets.runs.market_reader import MarketReader

BARS_FILE = "bars_file"
PRIORITY = 3
SHOWN = 3
AT_ONCE = 200
"""Instruments whose bars are compared together."""


@dataclass(frozen=True)
class Compared:
    """The cursor: the state of the file that was seen last, and the one whose differences are all dealt with."""

    seen: str = ""
    settled: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> Compared:
        """From the text of a cursor; one that cannot be read starts anew, which costs a comparison."""
        try:
            told = json.loads(cursor or "{}")
            return cls(str(told.get("seen", "")), str(told.get("settled", "")))
        except (ValueError, AttributeError):
            return cls()

    def text(self) -> str:
        """As a cursor."""
        return json.dumps(asdict(self))


def changes(state: MarketState, compared: Compared, market: MarketReader) -> tuple[list[dg.RunRequest], Compared, str]:
    """Requests for the prices that the file tells otherwise, the next cursor, and why there is nothing to ask for.

    A file is compared once it has stayed as it is for one tick, so that one that is being written is not taken at its
    word. Raises `BarsFileError` where it cannot be read.
    """
    now = state.source.fingerprint
    if compared.settled == now:
        return [], compared, "The bars file has not changed."
    if not state.wished.any():
        return [], compared, "No session is followed yet."
    if compared.seen != now:
        return [], Compared(now, compared.settled), "The bars file changed; it is compared if it stays as it is."
    rows = differing_bars(state, market)
    prices, tries = state.cells[PRICES], state.tries[PRICES]
    # What failed is the gap sensor's, as is everything that never landed.
    mine = state.wished & prices.done & ~prices.failed & (tries.count < state.settings.gap_tries)
    left = state.axes.cells(rows["key"]) & mine
    if not left.any():
        return [], Compared(now, now), "The stored prices are those of the bars file."
    wanted = left & ~prices.in_flight & tries.due(state.now, state.first_wait)
    asked = set(map(str, state.axes.pairs(wanted)))
    requests = range_requests(
        MARKET_JOB,
        {(PRICES,): wanted},
        state.axes,
        most_cells=state.most_cells,
        sensor=BARS_FILE,
        priority=PRIORITY,
        reason=_in_words(rows[[key in asked for key in rows["key"]]]),
        tags={SOURCE_TAG: now},
    )
    return requests, compared, "Prices that changed in the bars file are being loaded."


def differing_bars(state: MarketState, market: MarketReader) -> pd.DataFrame:
    """The bars of active instruments that the file and the table tell otherwise, bit for bit, NaN where one has none.

    Columns instrument, timestamp, `key` (of the partition), and every number as `open_was`, `open_now`, ...
    """
    axes, grain = state.axes, state.settings.date_grain
    names = [name for name in state.listed.watchlist.symbols if name in axes.instrument_at]
    first, last = date.fromisoformat(axes.dates[0]), grain.last_day(date.fromisoformat(axes.dates[-1]))
    files = bars_files(state.settings)
    # Some instruments at a time: all bars of thousands of them, twice and side by side, are more than memory has.
    parts = [
        _differing(files, market, names[begin : begin + AT_ONCE], first, last)
        for begin in range(0, max(len(names), 1), AT_ONCE)
    ]
    both = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    dates = both["timestamp"].to_numpy().astype(f"datetime64[{grain.unit}]").astype("datetime64[D]").astype(str)
    changed: pd.DataFrame = both.assign(key=key_texts(dates, both["instrument"]))
    return changed


def _differing(files: FileBars, market: MarketReader, names: list[str], first: date, last: date) -> pd.DataFrame:
    """As `differing_bars`, of some instruments and without `key`."""
    answers = files.fetch([BarRequest(name, first, last) for name in names])
    told = [answer.bars for answer in answers if isinstance(answer, Fetched) and len(answer.bars)]
    stored = market.read("tt_prices", names, first, last)[list(BAR_COLUMNS)]
    now_told = pd.concat(told, ignore_index=True)[list(BAR_COLUMNS)] if told else stored.iloc[:0]
    both = stored.merge(
        now_told.astype({"instrument": str}), how="outer", on=["instrument", "timestamp"], suffixes=("_was", "_now")
    )
    was, now = (both[[f"{name}_{when}" for name in NUMBER_COLUMNS]].to_numpy(float) for when in ("was", "now"))
    changed: pd.DataFrame = both[~((was == now) | (np.isnan(was) & np.isnan(now))).all(axis=1)]
    return changed


def _in_words(both: pd.DataFrame) -> str:
    words = []
    for _, row in both.head(SHOWN).iterrows():
        moved = [
            f"{name} was {_shown(row[f'{name}_was'])}, is {_shown(row[f'{name}_now'])}"
            for name in NUMBER_COLUMNS
            if row[f"{name}_was"] != row[f"{name}_now"]
        ]
        words.append(f"{row['instrument']} {row['timestamp']:%Y-%m-%d}: {'; '.join(moved[:2])}")
    more = f" and {len(both) - SHOWN} more" if len(both) > SHOWN else ""
    return f"changed in the bars file: {'. '.join(words)}{more}"


def _shown(value: float) -> str:
    return "absent" if np.isnan(value) else f"{value:g}"
