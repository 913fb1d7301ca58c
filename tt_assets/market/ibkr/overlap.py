"""Old bars against new ones: the same, revised here and there, or the whole history re-adjusted (a split).

A ratio that all prices share is an adjustment of the whole history, which then must be loaded again;
anything else that differs is a revision of single sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.bars import NUMBER_COLUMNS, PRICE_COLUMNS

CENT = 0.01
"""USD; prices may be rounded to it before and after an adjustment."""
SAME = 1e-9
"""Relative; doubles that came from the same text differ by nothing, this leaves room for other storage."""
SHARE_THAT_AGREES = 0.8
"""Of the sessions whose prices moved must fit one ratio; the rest may have been revised at the same time."""
FEWEST_SESSIONS = 2
"""One session alone may simply be a bad bar."""
LOT = 100.0
"""Shares in a lot, the unit of volume when the gateway is set to send lots."""


class Verdict(StrEnum):
    """What the sessions in common say."""

    NOTHING_TO_COMPARE = "nothing to compare"
    SAME = "same"
    REVISED = "revised"
    READJUSTED = "readjusted"
    IN_LOTS = "volume in lots"
    """The new volumes are in lots of 100 shares, the stored ones in shares."""
    WAS_IN_LOTS = "stored volume in lots"
    """The other way round."""


@dataclass(frozen=True)
class Overlap:
    """The verdict on one instrument.

    `sessions` were compared; `ratio` is new price over old, 1 unless re-adjusted; `revised` are the sessions whose bars
    differ, in a re-adjustment those that do not fit the ratio.
    """

    verdict: Verdict
    sessions: int = 0
    ratio: float = 1.0
    revised: tuple[date, ...] = ()

    @property
    def reloads_history(self) -> bool:
        """Whether the stored history as a whole no longer fits the new bars."""
        return self.verdict in (Verdict.READJUSTED, Verdict.WAS_IN_LOTS)


NOTHING_COMPARED = Overlap(Verdict.NOTHING_TO_COMPARE)


def compare(stored: pd.DataFrame, fetched: pd.DataFrame) -> Overlap:
    """Hold the bars of one instrument in `fetched` against those in `stored`, session by session.

    Both have BAR_COLUMNS with unique timestamps and finite positive prices; sessions in only one of them say nothing.
    """
    if stored.empty or fetched.empty:
        return NOTHING_COMPARED
    common = stored.merge(fetched, on="timestamp", suffixes=("_old", "_new"), validate="one_to_one")
    if common.empty:
        return NOTHING_COMPARED
    old, new = (_table(common, NUMBER_COLUMNS, suffix) for suffix in ("_old", "_new"))
    differs = ~np.isclose(new, old, rtol=SAME, atol=0.0)
    if not differs.any():
        return Overlap(Verdict.SAME, len(common))
    sessions = common["timestamp"]
    prices = slice(0, len(PRICE_COLUMNS))
    moved = differs[:, prices].any(axis=1)
    if not moved.any() and (unit := _unit_of_volume(old[:, -1], new[:, -1])):
        return Overlap(unit, len(common))
    ratio, fits = _shared_ratio(old[moved, prices], new[moved, prices])
    if ratio is not None:
        return Overlap(Verdict.READJUSTED, len(common), ratio, _dates(sessions[moved][~fits]))
    return Overlap(Verdict.REVISED, len(common), revised=_dates(sessions[differs.any(axis=1)]))


def _shared_ratio(
    old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]
) -> tuple[float | None, npt.NDArray[np.bool_]]:
    """The ratio that the sessions whose prices moved share, None without one; and which sessions fit it."""
    if len(old) < FEWEST_SESSIONS:
        return None, np.zeros(len(old), dtype=bool)
    ratio = float(np.median(new / old))
    # Either side may be rounded to the cent, the old rounding grows with the ratio.
    room = CENT * (1 + ratio)
    fits = (np.abs(new - ratio * old) <= room).all(axis=1)
    as_before = (np.abs(new - old) <= room).all(axis=1)
    return (ratio, fits) if fits.mean() >= SHARE_THAT_AGREES and fits.sum() > as_before.sum() else (None, fits)


def _unit_of_volume(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> Verdict | None:
    traded = (old > 0) & (new > 0)
    if traded.sum() < FEWEST_SESSIONS:
        return None
    ratio = float(np.median(new[traded] / old[traded]))
    # Whole lots round the ratio of thin sessions; no revision of volume comes near a factor of 50.
    if 1 / (2 * LOT) < ratio < 2 / LOT:
        return Verdict.IN_LOTS
    return Verdict.WAS_IN_LOTS if LOT / 2 < ratio < 2 * LOT else None


def _table(common: pd.DataFrame, columns: tuple[str, ...], suffix: str) -> npt.NDArray[np.float64]:
    return common[[f"{name}{suffix}" for name in columns]].to_numpy(dtype=np.float64)


def _dates(sessions: pd.Series) -> tuple[date, ...]:
    return tuple(sessions.dt.date)
