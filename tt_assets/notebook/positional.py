"""Calls as scripts of before this package make them: one row by its values in order, scores as a list of mappings.

The functions of `tt_assets.population` take both; what comes in by position is named here and then checked as
everything else is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import pandas as pd

from tt_assets.errors import UserError
from tt_assets.market.watchlist_format import CASH
from tt_assets.notebook.arguments import Rows


def named(
    table: str, columns: Sequence[str], rows: Rows | int | None, values: Sequence[Any], row: Mapping[str, Any]
) -> tuple[Rows | None, dict[str, Any]]:
    """`rows` and `row` of an insert, with values that were given by position under the names of `columns`.

    Parameters
    ----------
    table : for the error.
    columns : what the positions behind the engine mean; the first is episode_id.
    rows : what stands first behind the engine: rows, or the episode_id of one row.
    values : what stands behind it.
    row : what is given by keyword.

    Returns
    -------
    The rows, or None and one row by column: what `arguments.frame_of` takes.

    Raises
    ------
    UserError : a value too many, one given twice, or rows with values behind them.
    """
    if rows is None or isinstance(rows, pd.DataFrame | Mapping | Sequence):
        if values:
            raise UserError(f"{table}: behind the engine give rows alone, or the values of one row: {_order(columns)}.")
        return rows, dict(row)
    given = (int(rows), *values)
    if len(given) > len(columns):
        raise UserError(f"{table}: {len(given)} values for {len(columns)} columns; the order is {_order(columns)}.")
    placed = dict(zip(columns, given, strict=False))
    if twice := [name for name in placed if name in row]:
        raise UserError(f"{table}: {', '.join(twice)} is given by position and by keyword; give it once.")
    return None, {**placed, **row}


def are_weights(value: object) -> bool:
    """Whether `value` is all weights of a session: a mapping, or a series, of instrument to weight."""
    return isinstance(value, Mapping | pd.Series)


def rows_of_a_session(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per instrument of `weights` in `row`. Where they have no CASH, it is what they leave of 1.

    `rationale` may be a mapping by instrument, too.
    """
    rest = {name: value for name, value in row.items() if name not in ("weights", "rationale")}
    weights = dict(row["weights"])
    if CASH not in weights:
        weights[CASH] = 1.0 - sum(map(float, weights.values()))
    reasons = row.get("rationale")
    rows = []
    for instrument, weight in weights.items():
        reason = reasons.get(instrument) if isinstance(reasons, Mapping) else reasons
        words = {} if reason is None else {"rationale": reason}
        rows.append({**rest, "instrument": instrument, "target_weight": weight, **words})
    return rows


def sessions_between(start: Any, end: Any) -> tuple[Any, Any]:
    """A span whose ends are moments as one of sessions: a session is its date at 00:00, and only those inside count.

    Parameters
    ----------
    start, end : both included. What is no datetime with a time of day, or has a time zone, stays as it is.

    Returns
    -------
    First and last day.
    """
    first = start.date() + timedelta(days=1) if _within_a_day(start) else start
    return first, end.date() if _within_a_day(end) else end


def looks_like_a_day(value: Any) -> bool:
    """Whether `value` is a date, a datetime or ISO text, so that it cannot be what is traded."""
    if isinstance(value, date):
        return True
    try:
        return bool(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def _within_a_day(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None and value.time() != time.min


def _order(columns: Sequence[str]) -> str:
    return ", ".join(columns)
