"""Stored bars that the source no longer has: they stay, and their cells fail saying so, unless a person allows it.

A file that was cut at the end of a line, filtered, or exported over a shorter span looks exactly like one from which
bars were taken out on purpose; only a person knows which it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field

from tt_assets.assets.outcomes import SAID
from tt_assets.market.sources import SessionOutcome
from tt_assets.postgres.slices import Selection
from tt_assets.runs.io_managers import Slices
from tt_assets.runs.market_reader import MarketReader

DAYS_SHOWN = 3
REMEDY = (
    "Give the source its bars back, or have them deleted: tt backfill … --allow-deletions, or allow_deletions: true in "
    "the run's config"
)


class LoadConfig(dg.Config):
    """What a person may say to a load of prices."""

    allow_deletions: bool = Field(
        default=False,
        description="Delete stored bars that the source no longer has. False: their partitions fail and keep them.",
    )


def kept_from_deletion(
    slices: Slices, selection: Selection, market: MarketReader, reaches: date | None = None
) -> Slices:
    """The slices less the cells that would lose a stored bar, which fail with that reason.

    Only cells of which the source lacks a session are held against the table, so a load without gaps reads nothing. A
    month or year that goes on behind `reaches`, the source's last session, is one of them.
    """
    lacking = {key for key, words in slices.outcomes.items() if words not in _WHOLE}
    if reaches is not None:
        longer = selection.ends > np.datetime64(reaches) + np.timedelta64(1, "D")
        lacking |= {key for key, cut in zip(selection.keys, longer, strict=True) if cut and key in slices.outcomes}
    if not lacking:
        return slices
    suspects = selection.without(set(selection.keys) - lacking)
    stored = market.read(
        "tt_prices",
        sorted(set(suspects.instruments)),
        pd.Timestamp(suspects.starts.min()).date(),
        (pd.Timestamp(suspects.ends.max()) - pd.Timedelta(days=1)).date(),
    )[["instrument", "timestamp"]]
    there = pd.MultiIndex.from_frame(slices.frame[["instrument", "timestamp"]])
    lost = stored[~pd.MultiIndex.from_frame(stored).isin(there)]
    cells = suspects.cell_of(lost["instrument"], lost["timestamp"])
    of_a_day = suspects.ends - suspects.starts <= np.timedelta64(1, "D")
    failed = {
        suspects.keys[cell]: _reason([] if of_a_day[cell] else lost["timestamp"][cells == cell].tolist())
        for cell in np.unique(cells[cells >= 0])
    }
    return _failing(slices, selection, failed) if failed else slices


_WHOLE = frozenset({SAID[SessionOutcome.BAR], "no session"})


def _reason(days: Sequence[pd.Timestamp]) -> str:
    """Why a cell fails; `days` are those lost of a cell of several, so that cells of one day have one reason."""
    shown = ", ".join(f"{day:%Y-%m-%d}" for day in days[:DAYS_SHOWN])
    more = f" and {len(days) - DAYS_SHOWN} more" if len(days) > DAYS_SHOWN else ""
    named = f" ({shown}{more})" if days else ""
    return f"tt_prices holds a bar that the source no longer has{named}. {REMEDY}."


def _failing(slices: Slices, selection: Selection, failed: Mapping[str, str]) -> Slices:
    landing = selection.without({**slices.failed, **failed})
    return replace(
        slices,
        frame=landing.keep(slices.frame),
        failed={**slices.failed, **failed},
        outcomes={key: words for key, words in slices.outcomes.items() if key not in failed},
    )
