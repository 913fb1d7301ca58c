"""Bars, features and scores by hand.

An upsert changes the keys it is given and nothing beside them. A bar is its cell (instrument × session);
of features only the named ones of the given cells change; of scores only the named signal of each row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from tt_assets.errors import UserError
from tt_assets.grid.horizon import latest_session
from tt_assets.market.bars import check_bars, summarise
from tt_assets.market.watchlist import read_watchlist
from tt_assets.notebook import arguments as checks
from tt_assets.notebook.arguments import Rows, RowsRefused, Rule
from tt_assets.notebook.engines import database_of
from tt_assets.notebook.positional import sessions_between
from tt_assets.notebook.reading import Day, read_from
from tt_assets.notebook.replaced_slices import Upserted, upsert
from tt_assets.research.compute import compute_features
from tt_assets.research.panel import BAR_FIELDS
from tt_assets.research.registry import RegistryError, Signal, feature, load_features, load_signals
from tt_assets.runtime.current import current_settings
from tt_assets.settings import Settings

BASIC_FEATURES = ("return_1", "vol_10", "vol_20")
SCORE_COLUMNS = ("instrument", "timestamp", "signal_name", "score")
BY_HAND = "by hand"
LineNumbers = Callable[[], Sequence[int] | None]


def fetch_prices(
    engine: Engine, instruments: Sequence[str] | str | None = None, start: Day | None = None, end: Day | None = None
) -> pd.DataFrame:
    """Bars of `tt_prices`, sorted by (instrument, timestamp).

    Parameters
    ----------
    engine : as `get_engine` gives it.
    instruments, start, end : as of `tt_assets.read`; both ends of the span are included. Of a datetime with a time of
        day the sessions between the two moments count, a session being its date at 00:00.

    Returns
    -------
    Columns instrument, timestamp (datetime64[ns], New York session at 00:00), open, high, low, close (USD,
    split-adjusted), volume (shares). A bar is known at the close of its session; a session without a bar has no row.

    Raises
    ------
    UserError : an instrument that has no bar and is not on the watchlist, a date that cannot be read, a reversed span.
    """
    return read_from(database_of(engine), "tt_prices", instruments, *sessions_between(start, end))


def upsert_price_bars(engine: Engine, frame: pd.DataFrame, *, report: bool = True) -> Upserted:
    """Replace the bars of the given (instrument, session) by `frame`, in one transaction; no other bar changes.

    Features and scores that were computed from older bars stay as they are: Dagster shows them as upstream changed.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    frame : instrument, timestamp (datetimes, dates or ISO text; New York sessions without time zone), open, high, low,
        close (USD, split-adjusted), volume (shares), in any order; further columns are left out. NaN is refused.
    report : whether Dagster is told of the partitions touched; without it they look unchanged there.

    Returns
    -------
    How many rows were written, cells touched and partitions reported.

    Raises
    ------
    RowsRefused : nothing was written; a row breaks the bar contract, is not on the watchlist, is of a session not
        closed yet or of one outside the partitions.
    BarsFileError : nothing was written; a column is missing.
    NotReported : the rows are written, but Dagster did not take the report.
    """
    settings = current_settings()
    database = database_of(engine)
    span = checks.partition_span(settings)
    checked = check_bars(frame, read_watchlist(settings.watchlist).symbols, latest_session())
    if checked.faults:
        raise RowsRefused(f"tt_prices: nothing was written. {summarise(checked.faults)} Mend these rows.")
    bars = checked.clean
    checks.refuse("tt_prices", bars, [checks.outside(bars["timestamp"], span)])
    return upsert(database, "tt_prices", bars, bars[["instrument", "timestamp"]], report=report)


def compute_basic_features(prices: pd.DataFrame) -> pd.DataFrame:
    """`return_1`, `vol_10` and `vol_20` of every bar. The formulas are the registry's, those of `tt_features`.

    Parameters
    ----------
    prices : long bars as `fetch_prices` gives them, in any order.

    Returns
    -------
    Wide, one row per bar, sorted by (instrument, timestamp): instrument, timestamp, return_1 (close.pct_change(),
    fraction), vol_10, vol_20 (standard deviation, ddof 1, of return_1 over 10 and 20 sessions, not annualised). Each is
    known at the close of its session. NaN where it is undefined: the first 1, 10 and 20 bars, and where a bar it needs
    is missing.

    Raises
    ------
    RowsRefused : a bar breaks the bar contract.
    """
    checked = check_bars(prices)
    if checked.faults:
        raise RowsRefused(f"The prices cannot be used. {summarise(checked.faults)} Mend these rows.")
    bars = checked.clean
    basic = [item for item in load_features() if item.name in BASIC_FEATURES]
    long = compute_features(bars, basic)
    wide = long.set_index(["instrument", "timestamp", "feature"])["value"].unstack()  # noqa: PD010 - never averaged
    places = pd.MultiIndex.from_frame(bars[["instrument", "timestamp"]])
    wide = wide.reindex(index=places, columns=list(BASIC_FEATURES)).astype("float64")
    return wide.rename_axis(columns=None).reset_index()


def upsert_features(
    engine: Engine,
    frame: pd.DataFrame,
    names: Sequence[str] | str,
    *,
    report: bool = True,
    delete_undefined: bool = False,
) -> Upserted:
    """Replace the features `names` of the given (instrument, session) in one transaction; other features stay.

    A NaN deletes nothing unless that is asked for: the first rows of a look-back are undefined in a frame that begins
    later than the stored bars, and defined in the table.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    frame : wide (instrument, timestamp and a column for each of `names`) or long (instrument, timestamp, feature,
        value). Sessions may be datetimes, dates or ISO text, New York, without time zone. NaN is an undefined value.
    names : the features that `frame` holds, one or several.
    report : whether Dagster is told of the partitions touched.
    delete_undefined : whether a cell has no row of a feature that is NaN here, or not given, also if it had one before.

    Returns
    -------
    How many rows were written, and how many of them are new or changed; how many were deleted; cells touched and
    partitions reported.

    Raises
    ------
    RowsRefused : nothing was written; an unknown instrument, a closed day, a session without a partition, an infinite
        value, text for a number, a key twice, or a long row of another feature.
    RegistryError : nothing was written; no feature may bear that name.
    FrameMismatch : nothing was written; a column is missing.
    NotReported : the rows are written, but Dagster did not take the report.
    """
    settings = current_settings()
    database = database_of(engine)
    wanted = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    _check_feature_names(wanted, settings)
    long = _long(frame, wanted)
    rows, rules = _sessions(long, settings)
    rows["value"] = checks.numbers(rows["value"])
    words = long["value"].notna().to_numpy() & rows["value"].isna().to_numpy()
    rules += [
        Rule("feature is none of the names", ~rows["feature"].isin(wanted).to_numpy(), ("feature",)),
        Rule("value is no number", words, ("feature", "value")),
        Rule("value is infinite", np.isinf(rows["value"].to_numpy()), ("feature", "value")),
        checks.repeated(rows, ("instrument", "timestamp", "feature")),
    ]
    checks.refuse("tt_features", long, rules)
    cells = rows[["instrument", "timestamp"]].drop_duplicates()
    defined = rows.dropna(subset=["value"])
    replaced = defined[["instrument", "timestamp", "feature"]]
    if delete_undefined:
        replaced = cells.merge(pd.DataFrame({"feature": wanted}), how="cross")
    return upsert(database, "tt_features", defined, replaced, report=report, touched=cells)


def upsert_signal_scores(engine: Engine, scores: Rows, *, report: bool = True) -> Upserted:
    """Replace the scores of the given (instrument, session, signal) in one transaction; other signals stay.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    scores : a frame, or a list of mappings. instrument, timestamp (datetimes, dates or ISO text; New York sessions
        without time zone), signal_name, score in [-1, 1] (NaN is refused: leave the row out), and perhaps meta_json (a
        JSON object as text, or a mapping: lookback in sessions, inputs, method); without it the method is "by hand". A
        mapping may leave it out, or have None.
    report : whether Dagster is told of the partitions touched.

    Returns
    -------
    How many rows were written, cells touched and partitions reported.

    Raises
    ------
    RowsRefused : nothing was written; an unknown instrument, a closed day, a session without a partition, a score that
        is no number in [-1, 1], text that is no JSON object, or a key twice.
    RegistryError : nothing was written; no signal may bear that name.
    FrameMismatch : nothing was written; a column is missing.
    NotReported : the rows are written, but Dagster did not take the report.
    """
    given = scores if isinstance(scores, pd.DataFrame) else frame_of_scores(scores)
    return write_scores(engine, given, method=BY_HAND, report=report)


def frame_of_scores(scores: Mapping[str, object] | Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """The frame of scores given as mappings; without any an empty one of the right columns.

    Raises
    ------
    UserError : what is given is neither a mapping nor a list of them.
    """
    rows = [scores] if isinstance(scores, Mapping) else list(scores)
    if not rows:
        return pd.DataFrame(columns=list(SCORE_COLUMNS))
    if not all(isinstance(row, Mapping) for row in rows):
        raise UserError("tt_signal_scores: give a frame, or a list of mappings such as {'instrument': 'AAPL', …}.")
    if any("meta_json" in row for row in rows):
        default = default_meta_json(BY_HAND)
        rows = [{**row, "meta_json": default if row.get("meta_json") is None else row["meta_json"]} for row in rows]
    return pd.DataFrame(rows)


def remove_signal(engine: Engine, name: str, *, report: bool = True) -> Upserted:
    """Delete every score of a signal in one transaction.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    name : of the signal; without a score of it nothing happens.
    report : whether Dagster is told of the partitions they were in.

    Returns
    -------
    How many rows were deleted, cells touched and partitions reported.
    """
    database = database_of(engine)
    keys = read_from(database, "tt_signal_scores")
    keys = keys.loc[keys["signal_name"] == name, ["instrument", "timestamp", "signal_name"]].reset_index(drop=True)
    nothing = keys.iloc[:0].assign(score=pd.Series(dtype="float64"), meta_json=pd.Series(dtype=object))
    return upsert(database, "tt_signal_scores", nothing, keys, report=report)


def write_scores(
    engine: Engine, scores: pd.DataFrame, *, method: str, report: bool, lines: LineNumbers | None = None
) -> Upserted:
    """As `upsert_signal_scores`, with errors that name the lines of a file.

    Parameters
    ----------
    engine : as `get_engine` gives it.
    scores : as of `upsert_signal_scores`.
    method : stands in meta_json where there is none.
    report : whether Dagster is told of the partitions touched.
    lines : gives the line of each row in its file.

    Raises
    ------
    RowsRefused, RegistryError, FrameMismatch, NotReported : as of `upsert_signal_scores`.
    """
    settings = current_settings()
    database = database_of(engine)
    checks.require("tt_signal_scores", scores, SCORE_COLUMNS)
    rows, rules = _sessions(scores, settings)
    rows["meta_json"] = _meta_json(rows, method)
    rows["score"] = checks.numbers(rows["score"])
    rules += [
        Rule("signal_name is missing", (rows["signal_name"].isna() | (rows["signal_name"] == "")).to_numpy(dtype=bool)),
        Rule("score is no number in [-1, 1]", ~(rows["score"].abs() <= 1).to_numpy(), ("signal_name", "score")),
        Rule("meta_json is no JSON object", checks.not_json_objects(rows["meta_json"]), ("signal_name", "meta_json")),
        checks.repeated(rows, ("instrument", "timestamp", "signal_name")),
    ]
    shown = scores.reset_index(drop=True).assign(meta_json=rows["meta_json"])
    checks.refuse("tt_signal_scores", shown, rules, lines)
    _check_signal_names(list(rows["signal_name"].unique()), settings)
    keys = rows[["instrument", "timestamp", "signal_name"]]
    return upsert(database, "tt_signal_scores", rows, keys, report=report)


def _sessions(frame: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, list[Rule]]:
    """A frame of one's own whose timestamps are sessions, and the rules of instrument and session."""
    rows = frame.reset_index(drop=True)
    if rows.empty:
        return rows.assign(timestamp=pd.to_datetime(pd.Series([], dtype=object))), []
    rules = checks.instruments(rows["instrument"], read_watchlist(settings.watchlist).symbols)
    stamps, of_reading = checks.timestamps(rows["timestamp"])
    rules += [*of_reading, checks.outside(stamps, checks.partition_span(settings))]
    return rows.assign(timestamp=stamps), rules


def _long(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    long_form = ("instrument", "timestamp", "feature", "value")
    if {"feature", "value"} <= set(frame.columns):
        checks.require("tt_features", frame, long_form)
        return frame[list(long_form)]
    checks.require("tt_features", frame, ("instrument", "timestamp", *names))
    return frame.melt(["instrument", "timestamp"], list(names), "feature", "value")


def default_meta_json(method: str) -> str:
    """What tt_signal_scores says about a score that no signal of the registry made."""
    return json.dumps({"lookback": 0, "inputs": [], "method": method}, separators=(",", ":"), ensure_ascii=False)


def _meta_json(rows: pd.DataFrame, method: str) -> pd.Series:
    if "meta_json" not in rows.columns:
        return pd.Series(default_meta_json(method), index=rows.index, dtype=object)
    return rows["meta_json"].map(
        lambda meta: json.dumps(meta, separators=(",", ":"), ensure_ascii=False) if isinstance(meta, Mapping) else meta
    )


def _check_feature_names(names: Sequence[str], settings: Settings) -> None:
    """A feature by hand obeys the registry's rules of names, and is not called like a signal: agents see both."""
    if not names:
        raise UserError('tt_features: names is empty; name the features to write, such as ["return_1", "vol_10"].')
    signals = {item.name for item in load_signals(settings.signal_modules)}
    for name in names:
        feature(name=name, lookback=0, unit="")(_never_computed)
        if name in signals:
            raise RegistryError(f'Feature "{name}" has the name of a signal. Choose another name.')


def _check_signal_names(names: Sequence[str], settings: Settings) -> None:
    features = {item.name for item in load_features(settings.feature_modules)} | {*BAR_FIELDS}
    for name in names:
        Signal(name, 0, (), "", _never_computed)
        if name in features:
            raise RegistryError(f'Signal "{name}" has the name of a feature. Choose another name.')


def _never_computed(*_: object) -> pd.DataFrame:
    raise NotImplementedError("written by hand, not computed")
