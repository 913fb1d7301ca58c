"""Charts that answer: what a page draws with, as data, with the same values as a table and as CSV.

A chart is declared here once; the dashboard and the file of the report hand its JSON to the same script.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

STATIC = Path(__file__).parent / "static"
LIBRARY = STATIC / "vendor" / "lightweight-charts-5.2.1.js"
LIBRARY_SHA256 = "e21cc5caa0226ef30bd8549c50b9ef926615f2a4ee6b4e486353477a55f598cf"
"""Of the file as the npm package `lightweight-charts` 5.2.1 has it (its production build)."""
SCRIPT = STATIC / "charts.js"
NOTICE = "Charts: TradingView Lightweight Charts™, Copyright (c) TradingView, Inc., https://www.tradingview.com/"
"""What the licence (Apache-2.0) asks pages to say."""

Kind = Literal["line", "area", "histogram", "candles"]


@dataclass(frozen=True, eq=False)
class Series:
    """One series of a chart, a value for each of its times; NaN is a gap.

    Parameters
    ----------
    name : for people. values : T, or T × 4 (open, high, low, close) for candles.
    colour : `#rrggbb`, fit for both themes. style : 0 solid, 1 dotted, 2 dashed.
    pane : 0 is the upper one. shown : whether it is drawn before somebody asks for it.
    """

    name: str
    values: Any
    colour: str
    kind: Kind = "line"
    style: int = 0
    width: int = 2
    pane: int = 0
    shown: bool = True


@dataclass(frozen=True)
class Marker:
    """Something that happened at a time, drawn at the first series: a trade, a restatement."""

    time: str
    text: str
    colour: str
    above: bool


@dataclass(frozen=True, eq=False)
class Chart:
    """One chart.

    Parameters
    ----------
    key : its name in addresses. title, unit : for people; the unit of pane 0.
    times : dates as 2012-05-18, ascending.
    digits : decimals shown. stacked : series are parts of a whole, the first at the bottom.
    zero : whether a line is drawn at 0. note : one sentence below it.
    """

    key: str
    title: str
    unit: str
    times: Sequence[str]
    series: Sequence[Series]
    digits: int = 2
    stacked: bool = False
    zero: bool = False
    markers: Sequence[Marker] = ()
    note: str = ""
    height: int = 320

    def json(self) -> str:
        """For the script; safe inside a `<script>` element."""
        told = {
            "key": self.key,
            "title": self.title,
            "unit": self.unit,
            "digits": self.digits,
            "stacked": self.stacked,
            "zero": self.zero,
            "times": list(self.times),
            "series": [
                {
                    "name": own.name, "kind": own.kind, "colour": own.colour, "style": own.style, "width": own.width,
                    "pane": own.pane, "shown": own.shown, "values": _numbers(own.values),
                }
                for own in self.series
            ],
            "markers": [vars(marker) for marker in self.markers],
        }  # fmt: skip
        return json.dumps(told, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

    def csv(self) -> str:
        """The values under the names of the series; what is not known is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        header, columns = ["date"], []
        for own in self.series:
            if own.kind == "candles":
                header += ["open", "high", "low", "close"]
                columns += list(np.asarray(own.values, dtype=float).T)
            else:
                header.append(_plain(own.name))
                columns.append(np.asarray(own.values, dtype=float))
        writer.writerow(header)
        for place, time in enumerate(self.times):
            writer.writerow(
                [time, *("" if math.isnan(column[place]) else repr(float(column[place])) for column in columns)]
            )
        return text.getvalue()


def _numbers(values: Any) -> list[Any]:
    """Six significant digits, None for what is not finite."""
    array = np.asarray(values, dtype=float)
    if array.ndim == 2:
        return [None if row[0] is None else row for row in map(_numbers, array)]
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in array.tolist()]


def _plain(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@") else name
