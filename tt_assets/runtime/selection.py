"""Dates, tables and instruments as a person types them, checked against what there is.

A mistake is answered with the nearest valid value. An end of a span that lies on a closed day is taken inwards, to
the first or last session in the span, and that is said. Dagster itself takes a closed day for the next session, also
at the end of a span, and a reversed range of instruments for nothing at all.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import pandas as pd

from tt_assets.errors import UserError, nearest_of
from tt_assets.grid.horizon import Horizon
from tt_assets.market.calendar import nearest_session, sessions
from tt_assets.settings import DateGrain
from tt_assets.tables import TABLES


@dataclass(frozen=True)
class Span:
    """First and last session of a request, both included and both sessions; `notes` say what was taken inwards."""

    first: date
    last: date
    notes: tuple[str, ...] = field(default=(), compare=False)


def parse_date(text: str, option: str) -> date:
    """An ISO date; the error names the option and the form."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {text!r} is no date; write it as 2012-05-18.") from None


def session_span(first: date | None, last: date | None, horizon: Horizon, latest: date) -> Span:
    """The sessions from `first` to `last`; empty ends mean the first and last session of the horizon.

    `latest` is the last session that has closed. An end on a closed day is taken inwards, with a note. Raises for a
    reversed range, one without a session, and a date outside the horizon.
    """
    bounds = sessions(horizon.first, min(horizon.last or latest, latest))
    if bounds.empty:
        raise UserError(f"No session lies between TT_START_DATE {horizon.first} and {horizon.last or latest}.")
    lowest, highest = bounds[0].date(), bounds[-1].date()
    if first and last and last < first:
        raise UserError(f"--from {first} lies after --to {last}; did you mean --from {last} --to {first}?")
    for option, day in (("--from", first), ("--to", last)):
        if day and not min(horizon.first, lowest) <= day <= max(highest, _last_day(highest, latest)):
            nearest = lowest if day < lowest else highest
            raise UserError(
                f"{option} {day} is outside the partitions {lowest} to {highest}; the nearest is {nearest}."
            )
    inside = bounds[(bounds >= pd.Timestamp(first or lowest)) & (bounds <= pd.Timestamp(last or highest))]
    if inside.empty:
        raise UserError(
            f"No session lies from {first or lowest} to {last or highest}; the nearest is "
            f"{min(max(nearest_session(first or last or lowest), lowest), highest)}."
        )
    span = inside[0].date(), inside[-1].date()
    notes = tuple(
        f"{option} {given} is no trading session; {word} session in the span is {taken}."
        for option, given, taken, word in (("--from", first, span[0], "the first"), ("--to", last, span[1], "the last"))
        if given and given != taken
    )
    return Span(*span, notes)


def _last_day(highest: date, latest: date) -> date:
    """The last day behind the session `highest` that no session follows up to: a weekend belongs to it."""
    following = sessions(highest + timedelta(days=1), highest + timedelta(days=14))
    return highest if following.empty or highest == latest else following[0].date() - timedelta(days=1)


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
    return grain.key_of(span.first).isoformat(), grain.key_of(span.last).isoformat()


def _one_of(name: str, known: Sequence[str], what: str) -> str:
    if name in known:
        return name
    near = nearest_of(name, known)
    nearest = f"; the nearest is {near}" if near else "" if known else "; there is none"
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    raise UserError(
        f"Unknown {what} {name!r}{nearest}.{f' Known: {listed}.' if known else ''}{_how_to_add(name, what)}"
    )


def _how_to_add(name: str, what: str) -> str:
    """The command that would make the name known; empty for what nobody can add."""
    if what == "table":
        return ""
    if "episodes" in what:
        return f" `tt train --instruments {shlex.quote(name)}` makes episodes of what is on the watchlist."
    more = f", `--portfolio {shlex.quote(name)}` with it makes a portfolio" if "portfolio" in what else ""
    return f" `tt watchlist add {shlex.quote(name)}` adds a symbol{more}; `tt watchlist sync` makes it a partition."
