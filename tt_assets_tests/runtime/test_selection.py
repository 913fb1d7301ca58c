"""Spans and names as a person types them."""

from __future__ import annotations

from datetime import date

import pytest

from tt_assets.errors import UserError
from tt_assets.grid.horizon import Horizon
from tt_assets.runtime.selection import known_instruments, session_span

LATEST = date(2026, 11, 25)
SAMPLE = Horizon(date(2005, 3, 1), date(2013, 3, 1))


@pytest.mark.parametrize(
    ("first", "last", "taken", "notes"),
    [
        # 2012-09-01 is a Saturday, 09-03 Labor Day, 09-30 a Sunday.
        ("2012-09-01", "2012-09-30", ("2012-09-04", "2012-09-28"), 2),
        ("2012-10-29", "2012-11-02", ("2012-10-31", "2012-11-02"), 1),  # two days of a hurricane
        ("2012-09-04", "2012-12-25", ("2012-09-04", "2012-12-24"), 1),
        ("2012-09-04", "2012-09-28", ("2012-09-04", "2012-09-28"), 0),
        ("2012-09-02", None, ("2012-09-04", "2013-03-01"), 1),
        (None, "2013-03-03", ("2005-03-01", "2013-03-01"), 1),  # the weekend behind the last session
    ],
)
def test_an_end_on_a_closed_day_is_taken_inwards_and_said(
    first: str | None, last: str | None, taken: tuple[str, str], notes: int
) -> None:
    span = session_span(_day(first), _day(last), SAMPLE, LATEST)
    assert (str(span.first), str(span.last)) == taken
    assert len(span.notes) == notes
    for note in span.notes:
        assert "is no trading session" in note


def test_a_note_names_the_option_and_what_is_taken() -> None:
    span = session_span(date(2012, 9, 1), date(2012, 9, 30), SAMPLE, LATEST)
    assert span.notes == (
        "--from 2012-09-01 is no trading session; the first session in the span is 2012-09-04.",
        "--to 2012-09-30 is no trading session; the last session in the span is 2012-09-28.",
    )


@pytest.mark.parametrize(
    ("first", "last", "complaint"),
    [
        ("2012-09-01", "2012-09-03", "No session lies from 2012-09-01 to 2012-09-03"),
        ("2005-02-25", None, "outside the partitions 2005-03-01 to 2013-03-01; the nearest is 2005-03-01"),
        (None, "2013-03-04", "outside the partitions"),
        ("2012-09-05", "2012-09-04", "did you mean --from 2012-09-04 --to 2012-09-05"),
    ],
)
def test_a_span_that_cannot_be_is_refused(first: str | None, last: str | None, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        session_span(_day(first), _day(last), SAMPLE, LATEST)


def test_an_unknown_name_is_answered_with_the_command_that_adds_it() -> None:
    with pytest.raises(UserError, match=r"`tt watchlist add 'BRK B'` adds a symbol; `tt watchlist sync`"):
        known_instruments("BRK B", ["AAPL"])
    with pytest.raises(UserError, match=r"`tt watchlist add tech` adds a symbol, `--portfolio tech` with it"):
        known_instruments("tech", ["AAPL"], "instrument or portfolio")
    with pytest.raises(UserError, match=r"`tt train --instruments IBM` makes episodes"):
        known_instruments("IBM", ["AAPL"], "instrument or portfolio with episodes")


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
