"""Dates, tables and instruments as a person types them, checked against what there is.

A mistake is answered with the nearest valid value, and nothing is snapped in silence. Dagster itself
takes a closed day for the next session and a reversed range of instruments for nothing at all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from tt_assets.errors import UserError
from tt_assets.grid.horizon import Horizon
from tt_assets.market.calendar import is_session, nearest_session, sessions
from tt_assets.settings import DateGrain
from tt_assets.tables import TABLES


@dataclass(frozen=True)
class Span:
    """First and last session of a request, both included and both sessions."""

    first: date
    last: date


def parse_date(text: str, option: str) -> date:
    """An ISO date; the error names the option and the form."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {text!r} is no date; write it as 2012-05-18.") from None


def session_span(first: date | None, last: date | None, horizon: Horizon, latest: date) -> Span:
    """The sessions from `first` to `last`; empty ends mean the first and last session of the horizon.

    `latest` is the last session that has closed. Raises for a reversed range, a date outside the horizon and an end on
    a closed day, naming the nearest session.
    """
    bounds = sessions(horizon.first, min(horizon.last or latest, latest))
    if bounds.empty:
        raise UserError(f"No session lies between TT_START_DATE {horizon.first} and {horizon.last or latest}.")
    lowest, highest = bounds[0].date(), bounds[-1].date()
    if first and last and last < first:
        raise UserError(f"--from {first} lies after --to {last}; did you mean --from {last} --to {first}?")
    ends = []
    for option, given, default in (("--from", first, lowest), ("--to", last, highest)):
        day = given or default
        if not lowest <= day <= highest:
            nearest = lowest if day < lowest else highest
            raise UserError(
                f"{option} {day} is outside the partitions {lowest} to {highest}; the nearest is {nearest}."
            )
        if not is_session(day):
            raise UserError(f"{option} {day} is no trading session; the nearest is {_within(day, lowest, highest)}.")
        ends.append(day)
    return Span(ends[0], ends[1])


def known_tables(names: Iterable[str], allowed: Sequence[str] = tuple(TABLES), also: Sequence[str] = ()) -> list[str]:
    """The named tables in flow order, without repetition; the `tt_` may be left out.

    `also` are further words that would have been right, for the error.
    """
    short = {name.removeprefix("tt_"): name for name in allowed}
    chosen = {short.get(name.removeprefix("tt_"), name) for name in names}
    for name in chosen.difference(allowed):
        _one_of(name, [*(short if not name.startswith("tt_") else allowed), *also], "table")
    return [name for name in allowed if name in chosen]


def known_instruments(text: str | None, known: Sequence[str], what: str = "instrument") -> list[str]:
    """The instruments of a comma-separated list in the order of `known`; empty means all of them."""
    if text is None:
        return list(known)
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if not wanted:
        raise UserError(f"--instruments is empty; name at least one of {', '.join(known)}.")
    chosen = {_one_of(name, known, what) for name in wanted}
    return [name for name in known if name in chosen]


def date_keys(span: Span, grain: DateGrain) -> tuple[str, str]:
    """First and last date key of the market grid that the span touches."""
    if grain is DateGrain.MONTH:
        return span.first.replace(day=1).isoformat(), span.last.replace(day=1).isoformat()
    return span.first.isoformat(), span.last.isoformat()


def _within(day: date, lowest: date, highest: date) -> date:
    return min(max(nearest_session(day), lowest), highest)


def _one_of(name: str, known: Sequence[str], what: str) -> str:
    if name in known:
        return name
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.0)
    nearest = f"the nearest is {folded[close[0]]}" if close else "there is none"
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    raise UserError(f"Unknown {what} {name!r}; {nearest}. Known: {listed}.")
