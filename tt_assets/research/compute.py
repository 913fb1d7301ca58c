"""From long bars to the long tables: run features and signals on a panel and lay the results out row by row.

The long form is laid out by repeating and tiling the axes in key order, so the result is sorted by
(instrument, timestamp, name) without a sort.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.errors import UserError
from tt_assets.market.bar_checks import Finding
from tt_assets.research.panel import BAR_FIELDS, BarPanel, Grid, refuse_duplicates
from tt_assets.research.registry import Feature, Signal


class FeatureError(UserError):
    """A feature returned what no feature may return."""


class SignalError(UserError):
    """A signal returned what no signal may return."""


OnRefused = Callable[[Finding], None]
"""Hears of a value that may not be; it is then left out instead of ending the whole computation."""


def compute_features(
    prices: pd.DataFrame, features: Sequence[Feature], on_refused: OnRefused | None = None
) -> pd.DataFrame:
    """Long features of every bar session in `prices`.

    Parameters
    ----------
    prices : long bars (see BarPanel.from_prices), in any order. Values at a session are right when the
        `longest_lookback(features)` sessions before it are there too; the caller cuts what it asked for.
    features : what to compute; their order does not matter.
    on_refused : hears of each infinite value, which is then left out. None: the first one raises.

    Returns
    -------
    instrument, timestamp, feature, value (in the unit of the feature), sorted by the first three; row t is known at the
    close of t. An undefined value (NaN) is no row.

    Raises
    ------
    FeatureError : naming feature, instrument and session; an infinite value that nobody hears of, or a frame off the
        panel's axes.
    """
    bars = BarPanel.from_prices(prices)
    ordered = sorted(features, key=lambda item: item.name)
    names = [item.name for item in ordered]
    values = np.empty((*bars.grid.shape[::-1], len(ordered)))
    for k, item in enumerate(ordered):
        values[:, :, k] = _computed(item, FeatureError, bars.grid, _run(item, bars)).T
    for n, t, k in np.argwhere(np.isinf(values)):
        name, session = bars.instruments[n], bars.sessions[t]
        if on_refused is None:
            raise FeatureError(
                f'Feature "{names[k]}" is {values[n, t, k]} for {name} on {session.date()}. Return NaN where it is '
                f"undefined."
            )
        on_refused(Finding(name, session, f'feature "{names[k]}" is {values[n, t, k]}; return NaN where undefined'))
        values[n, t, k] = np.nan
    return _long(bars.grid, values, {"feature": names}, "value")


def compute_signals(
    prices: pd.DataFrame,
    features_long: pd.DataFrame,
    signals: Sequence[Signal],
    on_refused: OnRefused | None = None,
) -> pd.DataFrame:
    """Long scores of every session in `prices` and `features_long`.

    Parameters
    ----------
    prices, features_long : long, in any order; they cover the sessions asked for and `longest_lookback(signals)`
        before. A feature that a signal names and that has no rows is NaN throughout.
    signals : what to compute; their order does not matter.
    on_refused : hears of each score outside [-1, 1], which is then left out. None: the first one raises.

    Returns
    -------
    instrument, timestamp, signal_name, score (in [-1, 1]), meta_json (compact JSON with lookback, inputs and method,
    the same bytes each time), sorted by the first three; row t is known at the close of t. An undefined score (NaN) is
    no row.

    Raises
    ------
    SignalError : naming signal, instrument, session and value; a score outside [-1, 1] that nobody hears of, or a frame
        off the panel's axes.
    """
    grid = Grid.spanning(prices, features_long)
    bars = BarPanel.from_prices(prices, grid)
    ordered = sorted(signals, key=lambda item: item.name)
    wide = _wide_features(features_long, {name for item in ordered for name in item.inputs}, grid)
    values = np.empty((*grid.shape[::-1], len(ordered)))
    for k, item in enumerate(ordered):
        # A signal sees what it declares, so that meta_json tells all that it read.
        inputs = {name: wide[name] for name in item.inputs if name in wide}
        values[:, :, k] = _computed(item, SignalError, grid, _run(item, bars, inputs)).T
    for n, t, k in np.argwhere(np.abs(values) > 1):
        name, session, signal = grid.instruments[n], grid.sessions[t], ordered[k].name
        if on_refused is None:
            raise SignalError(
                f'Signal "{signal}" is {values[n, t, k]} for {name} on {session.date()}. Keep it in [-1, 1], for '
                f"instance by tanh."
            )
        on_refused(Finding(name, session, f'signal "{signal}" is {values[n, t, k]}; keep it in [-1, 1], as by tanh'))
        values[n, t, k] = np.nan
    labels = {"signal_name": [item.name for item in ordered], "meta_json": [meta_json(item) for item in ordered]}
    return _long(grid, values, labels, "score")[["instrument", "timestamp", "signal_name", "score", "meta_json"]]


def meta_json(item: Signal) -> str:
    """What tt_signal_scores says about a score: look-back in sessions, inputs, method."""
    meta = {"lookback": item.lookback, "inputs": list(item.inputs), "method": item.method}
    return json.dumps(meta, separators=(",", ":"), ensure_ascii=False)


def _run(item: Feature | Signal, *arguments: object) -> object:
    try:
        return item.compute(*arguments)  # type: ignore[arg-type]
    except Exception as error:
        error.add_note(f'while computing "{item.name}" of {item.compute.__module__}')
        raise


def _computed(item: Feature | Signal, error: type[UserError], grid: Grid, frame: object) -> npt.NDArray[np.float64]:
    """The (T, N) values of what `item` returned, refused when it does not stand on the panel's axes."""
    if not isinstance(frame, pd.DataFrame):
        raise error(f'"{item.name}" returned a {type(frame).__name__}. Return a DataFrame of sessions × instruments.')
    if not (frame.index.equals(grid.sessions) and frame.columns.equals(grid.instruments)):
        raise error(
            f'"{item.name}" returned {frame.shape[0]} × {frame.shape[1]} rows and columns that are not the '
            f"{grid.shape[0]} sessions × {grid.shape[1]} instruments it was given. Keep the panel's axes."
        )
    try:
        return frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as reason:
        raise error(f'"{item.name}" returned values that are no numbers ({reason}). Return floats.') from reason


def _wide_features(features_long: pd.DataFrame, names: set[str], grid: Grid) -> dict[str, pd.DataFrame]:
    """Sessions × instruments per feature among `names`; all NaN for one without rows."""
    rows = features_long[features_long["feature"].isin(list(names))]
    codes, present = pd.factorize(rows["feature"].to_numpy())
    cells = grid.cells(rows)
    # One number a cell and feature, so that one search finds rows that are there twice.
    refuse_duplicates(cells * max(1, len(present)) + codes, rows)
    values = rows["value"].to_numpy(dtype=np.float64)
    wide = {name: grid.frame(cells[codes == code], values[codes == code]) for code, name in enumerate(present)}
    for name in sorted(names - wide.keys() - {*BAR_FIELDS}):
        wide[name] = grid.wide(np.full(grid.shape, np.nan))
    return wide


def _long(grid: Grid, values: npt.NDArray[np.float64], labels: dict[str, list[str]], value: str) -> pd.DataFrame:
    """Rows of `values` (N, T, K) in key order; `labels` are columns that run along K. NaN is no row."""
    kept = np.flatnonzero(~np.isnan(values))
    cell, k = np.divmod(kept, max(1, values.shape[2]))
    n, t = np.divmod(cell, max(1, values.shape[1]))
    return pd.DataFrame(
        {
            "instrument": grid.instruments.to_numpy(dtype=object)[n],
            "timestamp": grid.sessions.to_numpy()[t],
            **{column: np.array(texts, dtype=object)[k] for column, texts in labels.items()},
            value: values.reshape(-1)[kept],
        }
    )
