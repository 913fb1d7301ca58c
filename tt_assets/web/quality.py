"""The page of data quality: faults by rule and instrument, jumps, suspected splits, coverage over time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.grain import DateGrain
from tt_assets.grid.keys import CellKey
from tt_assets.market.bar_checks import jumps
from tt_assets.report.charts import Chart, Series
from tt_assets.report.palette import AGENT_COLOUR, FALLING
from tt_assets.tables import LEDGER
from tt_assets.web.due import DAY, Due, due_sessions
from tt_assets.web.site import Choice, Look, Page, address

SPLITS = (2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 1.5)
CLOSE_TO = 0.02
"""How near the ratio of two closes comes to a split's, as a fraction, to be called one."""
SHOWN = 100
SPANS = {"1y": 370, "3y": 1100, "all": 40_000}
"""Days back from the newest bar."""


def page(look: Look) -> Page:
    """Faults, jumps, suspected splits and coverage."""
    span = look.one_of("span", list(SPANS), "all")
    prices = _closes(look, SPANS[span])
    found = jumps(prices, pd.Timestamp.min, look.site.settings.jump_sigmas) if len(prices) else []
    due = due_sessions(look, days=SPANS[span])
    charts = [chart] if (chart := _coverage(due)) else []
    return Page(
        "quality.html",
        "Data quality",
        {
            "here_address": address("/tt/quality", span=span),
            "choices": [Choice("span", "Span", span, [("1y", "a year"), ("3y", "three years"), ("all", "all")])],
            "faults": _faults(look),
            "gaps": _gaps(look, due),
            "jumps": [
                {
                    "name": own.instrument,
                    "day": f"{own.session:%Y-%m-%d}",
                    "what": own.message,
                    "address": address(
                        "/tt/partition/tt_prices", key=str(CellKey(f"{own.session:%Y-%m-%d}", own.instrument))
                    ),
                }
                for own in reversed(found[-SHOWN:])
            ],
            "jump_count": len(found),
            "by_instrument": Counter(own.instrument for own in found).most_common(12),
            "sigmas": f"{look.site.settings.jump_sigmas:g}",
            "splits": _splits(prices),
            "by_key": {own.key: own for own in charts},
        },
        charts,
    )


def _closes(look: Look, days: int) -> pd.DataFrame:
    """instrument, timestamp, close of the last `days`, in that order; arrays, for an object a row would cost."""
    rows = look.rows(
        "SELECT instrument, array_agg(timestamp::date - DATE '1970-01-01' ORDER BY timestamp), "
        "array_agg(close ORDER BY timestamp) FROM tt_prices "
        "WHERE timestamp > (SELECT max(timestamp) FROM tt_prices) - make_interval(days => %s) GROUP BY 1 ORDER BY 1",
        days,
    )
    since = np.concatenate([np.array(own, dtype=np.int64) for _, own, _ in rows] or [np.array([], dtype=np.int64)])
    return pd.DataFrame(
        {
            "instrument": np.repeat([name for name, _, _ in rows], [len(own) for _, own, _ in rows]),
            "timestamp": since.astype("datetime64[D]").astype("datetime64[ns]"),
            "close": np.concatenate([np.array(own, dtype=float) for *_, own in rows] or [np.array([])]),
        }
    )


def _faults(look: Look) -> list[dict[str, Any]]:
    rows = look.rows(
        f"""
        SELECT table_name, regexp_replace(coalesce(failure ->> 'reason', failure::text), '[-0-9.]{{3,}}', '…', 'g'),
               instrument, count(*), max(date)::text
        FROM {LEDGER.name} WHERE failure IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 3 LIMIT %s
        """,
        SHOWN,
    )
    return [
        {
            "table": table,
            "rule": str(rule)[:200],
            "name": name,
            "count": count,
            "last": day,
            "address": address(f"/tt/partition/{table}", key=str(CellKey(str(day), name))),
        }
        for table, rule, name, count, day in rows
    ]


def _splits(prices: pd.DataFrame) -> list[dict[str, str]]:
    """Closes that moved by just the factor of a common split: bars that were not adjusted look like that."""
    if prices.empty:
        return []
    before = prices.groupby("instrument")["close"].shift()
    ratio = (before / prices["close"]).to_numpy(dtype=float)
    found = []
    for factor in SPLITS:
        for value, words in ((factor, f"{factor:g} for 1"), (1.0 / factor, f"1 for {factor:g}")):
            for place in np.flatnonzero(np.abs(ratio / value - 1.0) < CLOSE_TO):
                row = prices.iloc[place]
                day = f"{row['timestamp']:%Y-%m-%d}"
                found.append(
                    {
                        "name": str(row["instrument"]),
                        "day": day,
                        "what": words,
                        "address": address("/tt/partition/tt_prices", key=str(CellKey(str(day), row["instrument"]))),
                    }
                )
    return sorted(found, key=lambda own: own["day"], reverse=True)[:SHOWN]


def _coverage(due: Due) -> Chart | None:
    """Bars of the sessions that are due, in percent, by month (by year where partitions are so wide)."""
    width = DateGrain.YEAR if due.grain is DateGrain.YEAR else DateGrain.MONTH
    counts = due.count
    times, place = np.unique(due.keys[counts > 0].astype(f"datetime64[{width.unit}]"), return_inverse=True)
    if not len(times):
        return None

    def of_each(values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.bincount(place, weights=values[counts > 0], minlength=len(times)).astype(float)

    whole = of_each(counts)
    share = 100.0 * of_each(np.minimum(due.rows, counts)) / whole
    failed = 100.0 * of_each(np.where(due.failed, counts, 0)) / whole
    series = [Series("With a bar", share, AGENT_COLOUR, kind="line"), Series("Failed", failed, FALLING)]
    return Chart(
        "coverage",
        "Coverage of tt_prices",
        f"% of the {width}'s sessions since each instrument's first bar",
        [str(day) for day in times.astype(DAY)],
        series,
        digits=1,
    )


def _gaps(look: Look, due: Due) -> list[dict[str, Any]]:
    """Instruments that lack bars of sessions that are due: how many of how many, and the latest; most first."""
    owed = np.where(due.made, due.count, 0)
    sums = {name: (int(owed[own].sum()), int(due.rows[own].sum())) for name, own in due.places.items()}
    short = [name for name, (whole, rows) in sums.items() if whole > rows]
    bars = dict(
        look.rows(
            "SELECT instrument, array_agg(timestamp::date - DATE '1970-01-01') FROM tt_prices "
            "WHERE instrument = ANY(%s) AND timestamp >= %s GROUP BY 1",
            short,
            due.keys.min().item() if len(due.keys) else None,
        )
    )
    found: list[tuple[int, dict[str, Any]]] = []
    for name in short:
        lacking = due.lacking(name, np.array(bars.get(name, []), dtype=np.int64).astype(DAY))
        if len(lacking):
            row = {
                "name": name,
                "count": f"{len(lacking):,}",
                "of": f"{sums[name][0]:,}",
                "last": str(lacking[-1]),
                "address": address("/tt/partition/tt_prices", key=str(CellKey(str(lacking[-1]), name))),
            }
            found.append((len(lacking), row))
    return [row for _, row in sorted(found, key=lambda own: -own[0])[:SHOWN]]
