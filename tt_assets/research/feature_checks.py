"""What must hold of stored features and signal scores.

The yardstick for a feature is the feature itself, computed again on bars that end with the session. What
looks ahead, reaches back further than it says, or was computed on other bars then differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.market.bar_checks import Finding
from tt_assets.research.compute import compute_features
from tt_assets.research.panel import Grid
from tt_assets.research.registry import Feature, longest_lookback

EQUAL_TO = 1e-9
"""Relative difference up to which a stored value equals the one computed again."""


def values_not_finite(features_long: pd.DataFrame) -> list[Finding]:
    """Rows of tt_features whose value is infinite or NaN; an undefined value is no row at all."""
    bad = features_long[~np.isfinite(features_long["value"].to_numpy())]
    return [Finding(row.instrument, row.timestamp, f"{row.feature} is {row.value}") for row in _rows(bad)]


def values_out_of_place(
    features_long: pd.DataFrame, prices: pd.DataFrame, features: Sequence[Feature], since: pd.Timestamp
) -> list[Finding]:
    """Values that are missing although their look-back is full, or there although the bar is missing.

    A feature may be undefined on bars that are all there (a division by zero): only what the feature itself says
    otherwise of is a finding.

    Parameters
    ----------
    features_long : rows of tt_features; those of features that are not judged are left out.
    prices : rows of tt_prices, every bar of the sessions judged and of the longest look-back before.
    features : those that are judged.
    since : first session that is judged.

    Returns
    -------
    Findings by instrument, session, feature.
    """
    ordered = sorted(features, key=lambda item: item.name)
    names = [item.name for item in ordered]
    stored = features_long[features_long["feature"].isin(names)]
    grid = Grid.spanning(prices, stored)
    there = _present(stored, names, grid)
    bar = _present(prices.assign(feature="bar"), ["bar"], grid)[:, :, 0]
    run = _consecutive(bar)
    due = run[:, :, None] > np.array([item.lookback for item in ordered], dtype=np.int64)
    suspect = (due & ~there) | (there & ~bar[:, :, None])
    suspect[grid.sessions < since] = False
    # Computing again costs as much as the features did, so it is left to tables that look wrong.
    if not suspect.any():
        return []
    recomputed = _present(compute_features(prices, features), names, grid)
    wrong = np.transpose(suspect & (recomputed != there), (1, 0, 2))
    return [
        Finding(
            str(grid.instruments[n]),
            grid.sessions[t],
            f"{names[k]} has no value although its look-back of {ordered[k].lookback} sessions is full"
            if not there[t, n, k]
            else f"{names[k]} has a value although there is no bar to compute it from",
        )
        for n, t, k in np.argwhere(wrong)
    ]


def values_that_differ_on_truncated_bars(
    features_long: pd.DataFrame, prices: pd.DataFrame, features: Sequence[Feature], sampled: Sequence[pd.Timestamp]
) -> list[Finding]:
    """Values that are not what the features give on bars that end with their session: what was known then.

    For each feature bars are cut to the session and its own look-back before it. One that gives its stored value on
    bars of the longest look-back, and another on its own, reads more than it declares: its lineage would name too few
    sessions.

    Parameters
    ----------
    features_long : rows of tt_features.
    prices : rows of tt_prices, with the longest look-back before the first of `sampled`.
    features : those that are judged.
    sampled : the sessions whose values are computed again.

    Returns
    -------
    Findings by session, instrument, feature; values that differ by more than 1e-9 of themselves, or are there on one
    side.
    """
    lookbacks = {item.name: item.lookback for item in features}
    names = set(lookbacks)
    reach = longest_lookback(features)
    calendar = Grid.spanning(prices).sessions
    findings: list[Finding] = []
    for session in sampled if len(calendar) else ():
        position = int(calendar.searchsorted(session))

        def cut(before: int, session: pd.Timestamp = session, position: int = position) -> pd.DataFrame:
            return prices[prices["timestamp"].between(calendar[max(position - before, 0)], session)]

        again = pd.concat(
            [
                compute_features(cut(lookback), [item for item in features if item.lookback == lookback])
                for lookback in sorted(set(lookbacks.values()))
            ]
        )
        stored = features_long[features_long["timestamp"] == session]
        key = ["instrument", "feature"]
        both = stored[stored["feature"].isin(names)].merge(
            again[again["timestamp"] == session],
            on=key,
            how="outer",
            suffixes=("_stored", "_again"),
        )
        differ = both[~_same(both["value_stored"], both["value_again"])].sort_values(key)
        if differ.empty:
            continue
        suspects = [item for item in features if item.name in set(differ["feature"])]
        longest = compute_features(cut(reach), suspects)
        longest = longest[longest["timestamp"] == session][[*key, "value"]]
        differ = differ.merge(longest.rename(columns={"value": "value_longest"}), on=key, how="left")
        reads_more = _same(differ["value_stored"], differ["value_longest"])
        findings += [
            Finding(row.instrument, session, _why_it_differs(row, lookbacks[row.feature], more=more))
            for row, more in zip(_rows(differ), reads_more, strict=True)
        ]
    return findings


def reads_more(name: str, lookback: int) -> str:
    """What is said of a feature whose look-back is declared too short.

    Parameters
    ----------
    name : of the feature.
    lookback : sessions before t that it declares.
    """
    return f"{name} reads more than the {lookback} sessions before that it declares"


def _same(one: pd.Series, other: pd.Series) -> npt.NDArray[np.bool_]:
    return np.isclose(one.to_numpy(np.float64), other.to_numpy(np.float64), rtol=EQUAL_TO, atol=1e-15)


def _why_it_differs(row: Any, lookback: int, *, more: bool) -> str:
    given = f"{_shown(row.value_stored)}; bars up to this session give {_shown(row.value_again)}"
    if more:
        return (
            f"{reads_more(row.feature, lookback)}: it is {_shown(row.value_stored)}, on those {_shown(row.value_again)}"
        )
    return f"{row.feature} is {given}"


def scores_out_of_bounds(scores: pd.DataFrame) -> list[Finding]:
    """Rows of tt_signal_scores whose score is not in [-1, 1]."""
    bad = scores[~scores["score"].between(-1.0, 1.0)]
    return [Finding(row.instrument, row.timestamp, f"{row.signal_name} is {row.score}") for row in _rows(bad)]


def meta_json_not_an_object(scores: pd.DataFrame) -> list[Finding]:
    """Rows of tt_signal_scores whose meta_json is not a JSON object."""
    codes, texts = pd.factorize(scores["meta_json"])
    reasons = np.array([*map(_why_no_object, texts), "missing"], dtype=object)  # code -1 is a missing text
    bad = scores.assign(reason=reasons[codes])
    return [
        Finding(row.instrument, row.timestamp, f"meta_json of {row.signal_name} is {row.reason}")
        for row in _rows(bad[bad["reason"] != ""])
    ]


def _shown(value: float) -> str:
    return "no value" if np.isnan(value) else f"{value:.10g}"


def _why_no_object(text: object) -> str:
    try:
        read = json.loads(str(text))
    except ValueError:
        return f"no JSON: {str(text)[:60]}"
    return "" if isinstance(read, dict) else f"a JSON {type(read).__name__}, not an object: {str(text)[:60]}"


def evenly(sessions: Sequence[pd.Timestamp], count: int) -> list[pd.Timestamp]:
    """Some of the sessions, evenly spread, first and last among them.

    Parameters
    ----------
    sessions : ascending.
    count : how many at most; at least 1.
    """
    places = np.unique(np.linspace(0, len(sessions) - 1, min(count, len(sessions))).round().astype(int))
    return [sessions[place] for place in places] if len(sessions) else []


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    return frame.itertuples(index=False)


def _present(long: pd.DataFrame, names: Sequence[str], grid: Grid) -> npt.NDArray[np.bool_]:
    """(T, N, K): whether `long` has a row for each session, instrument and feature name; rows off the grid are left."""
    present = np.zeros((*grid.shape, len(names)), dtype=bool)
    rows = grid.sessions.get_indexer(pd.DatetimeIndex(long["timestamp"]))
    codes, instruments = pd.factorize(long["instrument"])
    columns = grid.instruments.get_indexer(pd.Index(instruments, dtype=object))[codes]
    codes, features = pd.factorize(long["feature"])
    places = pd.Index(list(names)).get_indexer(pd.Index(features, dtype=object))[codes]
    inside = (rows >= 0) & (columns >= 0) & (places >= 0)
    present[rows[inside], columns[inside], places[inside]] = True
    return present


def _consecutive(bar: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(T, N) how many sessions in a row, up to and including this one, have a bar."""
    count = np.cumsum(bar, axis=0, dtype=np.int64)
    before: npt.NDArray[np.int64] = np.maximum.accumulate(np.where(bar, 0, count), axis=0)
    return count - before
