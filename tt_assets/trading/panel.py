"""Bars and channels of one span as arrays: what both engines trade on.

The panel carries look-back sessions before the span, and `start` says where the span begins. Everything
that an engine derives at session t is taken from rows up to t.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.trading.config import SIGMA_SESSIONS, Execution
from tt_assets.trading.errors import NotEnoughHistory

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

Actions = npt.NDArray[np.floating[Any]]
"""Raw actions as they come from a network: float32 or float64."""

BAR_FIELDS = ("open", "high", "low", "close", "volume")

CASH_RESERVE = 1e-12
"""Fraction of the cash that buys leave, so that rounding never overdraws the account."""


@dataclasses.dataclass(frozen=True, eq=False)
class MarketPanel:
    """Bars (T sessions × N instruments) and channels (T × N × F) of one span and its look-back.

    Parameters
    ----------
    sessions : dates of the exchange calendar at 00:00 in market time, without time zone (T), strictly ascending.
    instruments : symbols (N).
    open, high, low, close : USD per share, split-adjusted (T × N). Known at the close of their session, `open` at its
        open. A missing bar is NaN in all five fields.
    volume : shares (T × N), known at the close.
    features : features and signal scores alike (T × N × F), known at the close; NaN where undefined.
    feature_names : names of the channels (F).
    start : row of the span's first session; the rows before are look-back.

    Raises
    ------
    NotEnoughHistory
        `start` is not a row.
    ValueError
        Shapes do not fit together, or sessions do not ascend.
    """

    sessions: npt.NDArray[np.datetime64]
    instruments: tuple[str, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    features: Floats
    feature_names: tuple[str, ...]
    start: int = 0

    def __post_init__(self) -> None:
        sessions, instruments = len(self.sessions), len(self.instruments)
        for name in BAR_FIELDS:
            if getattr(self, name).shape != (sessions, instruments):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {(sessions, instruments)}")
        if self.features.shape != (sessions, instruments, len(self.feature_names)):
            raise ValueError(f"features has shape {self.features.shape}; {len(self.feature_names)} names are given")
        if not 0 <= self.start < max(sessions, 1):
            raise NotEnoughHistory(f"the span starts after the last of {sessions} sessions; choose a later end.")
        if np.any(np.diff(self.sessions.astype("datetime64[ns]").astype(np.int64)) <= 0):
            raise ValueError("sessions must be strictly increasing")

    @classmethod
    def from_frames(
        cls,
        prices: pd.DataFrame,
        features: pd.DataFrame,
        scores: pd.DataFrame,
        instruments: Sequence[str],
        sessions: Sequence[Any] | pd.DatetimeIndex,
        start: Any = None,
    ) -> MarketPanel:
        """The panel of `instruments` × `sessions` from long frames with the columns of the market tables.

        Parameters
        ----------
        prices : instrument, timestamp, open, high, low, close (USD), volume (shares).
        features : instrument, timestamp, feature, value.
        scores : instrument, timestamp, signal_name, score in [−1, 1].
        instruments : symbols in the order of the panel's columns.
        sessions : dates at 00:00 in market time, without time zone, strictly ascending: the rows.
        start : first session of the span; rows before it are look-back. None: there are none.

        Other columns, instruments and sessions of the frames are left out; what is missing is NaN. Channels are
        features and scores together, sorted by name.

        Raises
        ------
        NotEnoughHistory
            The span starts after the last session.
        """
        index = pd.DatetimeIndex(np.asarray(sessions)).as_unit("ns")
        names = tuple(instruments)
        bars = {field: _grid(prices, field, index, names) for field in BAR_FIELDS}
        channels = pd.concat(
            [
                features[["instrument", "timestamp", "feature", "value"]],
                scores[["instrument", "timestamp", "signal_name", "score"]].set_axis(
                    ["instrument", "timestamp", "feature", "value"], axis=1
                ),
            ],
            ignore_index=True,
        )
        channel_names = tuple(sorted(channels["feature"].unique()))
        grid = np.full((len(index), len(names), len(channel_names)), np.nan)
        row, column, known = _positions(channels, index, names)
        layer = pd.Index(channel_names).get_indexer(channels["feature"])
        grid[row[known], column[known], layer[known]] = channels["value"].to_numpy(np.float64)[known]
        first = 0 if start is None else int(index.searchsorted(pd.Timestamp(start)))
        return cls(
            sessions=index.to_numpy(),
            instruments=names,
            features=grid,
            feature_names=channel_names,
            start=first,
            **bars,
        )

    def until(self, stop: int, start: int | None = None) -> MarketPanel:
        """The rows before one, as views of the same arrays.

        Parameters
        ----------
        stop : first row that is left out.
        start : row of the new span's first session; as before when None.
        """
        rows = {name: getattr(self, name)[:stop] for name in ("sessions", *BAR_FIELDS, "features")}
        return dataclasses.replace(self, start=self.start if start is None else start, **rows)

    def with_channels(self, names: Sequence[str]) -> MarketPanel:
        """The panel with the channels `names`, in their order; those it does not offer are left out."""
        place = {name: layer for layer, name in enumerate(self.feature_names)}
        kept = tuple(name for name in names if name in place)
        if kept == self.feature_names:
            return self
        layers = [place[name] for name in kept]
        return dataclasses.replace(self, features=self.features[:, :, layers], feature_names=kept)

    @property
    def priced_sessions(self) -> int:
        """Sessions of the span in which at least one instrument has a bar."""
        return int(np.isfinite(self.close[self.start :]).any(axis=1).sum())

    @cached_property
    def listed(self) -> Booleans:
        """Whether an instrument has had a close at or before t (T × N)."""
        return np.logical_or.accumulate(np.isfinite(self.close), axis=0)

    def gone(self, stale_sessions: int) -> Booleans:
        """Whether an instrument has had no bar in the last `stale_sessions` sessions, t included, and had one before.

        T × N, known at the close of t. It counts as delisted from then on, until it has a bar again. 0: never.
        """
        rows = np.arange(len(self.sessions))[:, None]
        last = np.maximum.accumulate(np.where(np.isfinite(self.close), rows, -1), axis=0)
        if not stale_sessions:
            return np.zeros(last.shape, dtype=bool)
        found: Booleans = (last >= 0) & (rows - last >= stale_sessions)
        return found

    @cached_property
    def marks(self) -> Floats:
        """Price a position is marked at (T × N, USD): the close, or the last close before; 0 while not listed."""
        # The row of the last close so far: where there is none yet it is row 0, which `listed` then blanks.
        row = np.where(np.isfinite(self.close), np.arange(len(self.sessions))[:, None], 0)
        last = np.take_along_axis(self.close, np.maximum.accumulate(row, axis=0), axis=0)
        return np.where(self.listed, last, 0.0)

    @cached_property
    def sigma(self) -> Floats:
        """Standard deviation of close-to-close returns, trailing 20 sessions, ddof 1 (T × N, per day).

        Row t reads closes up to t. A session without a bar counts as a return of 0 (it is marked at the last close).
        NaN until 20 returns are known.
        """
        marks = self.marks
        returns = np.full(marks.shape, np.nan)
        # A mark of 0 says not listed: the first bar of an instrument is not a return from nothing.
        before = marks[:-1] > 0
        np.divide(marks[1:], marks[:-1], out=returns[1:], where=before)
        returns -= 1.0
        sigma = np.full(marks.shape, np.nan)
        if len(marks) > SIGMA_SESSIONS:
            windows = np.lib.stride_tricks.sliding_window_view(returns[1:], SIGMA_SESSIONS, axis=0)
            sigma[SIGMA_SESSIONS:] = windows.std(axis=-1, ddof=1)
        return sigma

    def fill_prices(self, execution: Execution) -> Floats:
        """Price before slippage at which an order fills in session t (T × N, USD); NaN where nothing can be filled.

        Nothing fills in a session without a bar or with no volume: nobody traded.
        """
        price = self.open if execution is Execution.NEXT_OPEN else self.close
        return np.where(np.isfinite(price) & np.isfinite(self.close) & (self.volume != 0), price, np.nan)

    def span_text(self) -> str:
        """First and last session of the span, for messages."""
        return (
            f"{str(self.sessions[self.start])[:10]} to {str(self.sessions[-1])[:10]}"
            if len(self.sessions)
            else "no session"
        )


def _positions(
    frame: pd.DataFrame, sessions: pd.DatetimeIndex, instruments: tuple[str, ...]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Booleans]:
    """Row and column of each row of a long frame in the grid, and whether it lies inside."""
    row = sessions.get_indexer(pd.DatetimeIndex(frame["timestamp"]).as_unit("ns"))
    column = pd.Index(instruments, dtype=object).get_indexer(pd.Index(frame["instrument"], dtype=object))
    return row, column, (row >= 0) & (column >= 0)


def _grid(prices: pd.DataFrame, field: str, sessions: pd.DatetimeIndex, instruments: tuple[str, ...]) -> Floats:
    row, column, known = _positions(prices, sessions, instruments)
    grid = np.full((len(sessions), len(instruments)), np.nan)
    grid[row[known], column[known]] = prices[field].to_numpy(np.float64)[known]
    return grid
