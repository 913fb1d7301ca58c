"""Rules without a wire: pacing on a clock of our own, spans, plans, dates, meanings of errors."""

from __future__ import annotations

import asyncio
from datetime import date, datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_assets.market.calendar import NEW_YORK, is_session, sessions
from tt_assets.market.ibkr import IbkrConfig, plan
from tt_assets.market.ibkr.faults import RequestFailed, classify
from tt_assets.market.ibkr.history_asks import before, duration
from tt_assets.market.ibkr.pacing import NotReady, Pacer, seconds_needed
from tt_assets.market.ibkr.wire import read_day, read_history
from tt_assets.market.sources import BarRequest, Outcome
from tt_assets_tests.gateway.worlds import EVENING, FIRST, FRIDAY, NOON, ask, stored, walk


class OwnClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def starts(config: IbkrConfig, keys: list[object]) -> list[float]:
    """When turns for `keys` start that are asked for one after the other and take no time."""
    clock = OwnClock()
    pacer = Pacer(config, lambda: clock.now, clock.sleep)
    found = []

    async def take() -> None:
        for key in keys:
            async with pacer.turn(key):
                found.append(clock.now)

    asyncio.run(take())
    return found


def test_starts_are_at_least_the_interval_apart():
    assert starts(IbkrConfig(min_interval=0.15), list(range(4))) == pytest.approx([0.0, 0.15, 0.3, 0.45])


def test_an_identical_request_waits_fifteen_seconds_and_another_does_not():
    found = starts(IbkrConfig(min_interval=0.0), ["x", "y", "x", "z", "x"])
    assert found == pytest.approx([0.0, 0.0, 15.0, 15.0, 30.0])


def test_the_strict_budget_is_sixty_in_any_ten_minutes():
    found = starts(IbkrConfig(min_interval=1.0, strict_budget=True), list(range(150)))
    assert all(later - earlier >= 600 for earlier, later in zip(found, found[60:], strict=False))
    assert found[59] == pytest.approx(59.0)
    assert found[60] == pytest.approx(600.0)
    assert found[120] == pytest.approx(1200.0)


def test_no_more_are_open_than_allowed_and_the_first_come_is_the_first_served():
    async def crowd() -> tuple[int, list[int]]:
        pacer = Pacer(IbkrConfig(min_interval=0.0, max_in_flight=3))
        most, order = 0, []

        async def one(number: int) -> None:
            nonlocal most
            async with pacer.turn(number):
                order.append(number)
                most = max(most, pacer.in_flight)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(one(number) for number in range(20)))
        return most, order

    assert asyncio.run(crowd()) == (3, list(range(20)))


def test_each_pacing_violation_halves_what_may_be_open_and_doubles_the_pause():
    async def violations() -> list[tuple[float, int]]:
        clock = OwnClock()
        pacer = Pacer(IbkrConfig(max_in_flight=8, pacing_pause=10.0), lambda: clock.now, clock.sleep)
        seen = []
        for _ in range(5):
            pacer.slow_down()
            pacer.slow_down()  # of the same crowd
            async with pacer.turn(object()):
                seen.append((clock.now, pacer.capacity))
        return seen

    assert asyncio.run(violations()) == [(10.0, 4), (30.0, 2), (70.0, 1), (150.0, 1), (310.0, 1)]


def test_a_turn_that_comes_when_nothing_can_be_asked_counts_nothing():
    async def refused() -> tuple[int, float]:
        clock = OwnClock()
        pacer = Pacer(IbkrConfig(min_interval=5.0), lambda: clock.now, clock.sleep)
        with pytest.raises(NotReady):
            async with pacer.turn("x", lambda: False):
                pass
        async with pacer.turn("x"):
            return pacer.in_flight, clock.now

    assert asyncio.run(refused()) == (1, 0.0)


def test_the_estimate_is_the_larger_of_interval_and_concurrency_and_budget():
    assert seconds_needed(150, IbkrConfig(), 0.3) == pytest.approx(149 * 0.15 + 0.3)
    assert seconds_needed(150, IbkrConfig(min_interval=0.0), 0.4) == pytest.approx(150 * 0.4 / 8)
    assert seconds_needed(150, IbkrConfig(strict_budget=True), 0.3) == pytest.approx(1200.3)
    assert seconds_needed(0, IbkrConfig(), 0.3) == 0


@given(st.dates(date(1995, 1, 1), date(2024, 3, 1)), st.dates(date(2024, 3, 1), date(2030, 1, 1)))
def test_a_duration_reaches_back_to_its_first_day_within_what_a_gateway_takes(first: date, today: date):
    count, unit = duration(first, today).split()
    if unit == "D":
        assert 5 <= int(count) <= 365
        assert int(count) >= len(sessions(first, today))
    else:
        assert int(count) <= 68
        assert len(sessions(first, today)) + 1 > 365
        assert pd.Timestamp(today) - pd.DateOffset(years=int(count)) <= pd.Timestamp(first)


@given(st.dates(date(1990, 2, 1), date(2030, 1, 1)).filter(is_session), st.integers(1, 40))
def test_the_overlap_begins_so_many_sessions_earlier(session: date, count: int):
    assert len(sessions(before(pd.Timestamp(session), count), session)) == min(
        count + 1, len(sessions(date(1962, 1, 2), session))
    )


def test_a_plan_says_how_many_requests_and_how_long():
    symbols = [f"S{n:03}" for n in range(150)]
    have = walk(symbols[:12])
    planned = plan(ask(*symbols), IbkrConfig(), EVENING, read_stored=stored(have))
    assert len(planned.asks) == 138
    assert str(planned) == (
        "138 historical requests to IBKR; 12 instruments complete; at least 21 s "
        "(0.15 s between starts, 8 open at once)."
    )
    strict = plan(ask(*symbols), IbkrConfig(strict_budget=True), EVENING)
    assert str(strict).endswith("at least 20 min (0.15 s between starts, 8 open at once, 60 in 10 minutes).")


def test_a_session_that_has_not_closed_is_never_asked_for():
    assert plan(ask("A", first=FRIDAY), IbkrConfig(), NOON).asks == ()
    just_closed = datetime(2024, 3, 1, 16, 29, tzinfo=NEW_YORK)
    assert plan(ask("A", first=FRIDAY), IbkrConfig(), just_closed).asks == ()
    final = datetime(2024, 3, 1, 16, 30, tzinfo=NEW_YORK)
    assert [one.duration for one in plan(ask("A", first=FRIDAY), IbkrConfig(), final).asks] == ["12 D"]


def test_several_requests_for_one_instrument_become_one():
    requests = [BarRequest("A", FIRST, date(2024, 1, 20)), BarRequest("A", date(2024, 2, 20), FRIDAY)]
    (one,) = plan(requests, IbkrConfig(), EVENING).asks
    assert (one.oldest, one.newest) == (FIRST, FRIDAY)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20240301", date(2024, 3, 1)),
        ("20240301 00:00:00", date(2024, 3, 1)),
        ("20240301-00:00:00", date(2024, 3, 1)),
        ("20240301 00:00:00 America/New_York", date(2024, 3, 1)),
        ("20240301 15:30:00 Europe/Berlin", date(2024, 3, 1)),
        ("20240302 05:00:00 Asia/Tokyo", date(2024, 3, 1)),
        ("1709251200", date(2024, 3, 1)),  # midnight in UTC
        ("1709303400", date(2024, 3, 1)),  # 09:30 in New York
        ("20240301 09:30:00", None),
        ("20240231", None),
        ("20240301 00:00:00 Nowhere/At_All", None),
        ("finished", None),
        ("", None),
    ],
)
def test_the_new_york_date_of_a_bar(text: str, day: date | None):
    assert read_day(text) == day


CELL = st.one_of(st.floats().map(str), st.sampled_from(["20240301", "", "x", "1e5"]))


@given(st.lists(st.lists(CELL, min_size=8, max_size=8), max_size=4), st.integers(-1, 5))
def test_whatever_the_wire_brings_is_all_its_bars_or_a_typed_failure(bars: list[list[str]], announced: int):
    def is_number(text: str) -> bool:
        try:
            float(text)
        except ValueError:
            return False
        return True

    fields = ["17", "3", "", "", str(announced), *(cell for bar in bars for cell in bar)]
    if announced == len(bars) > 0 and all(is_number(cell) for bar in bars for cell in bar[1:6]):
        read = read_history("A", fields)
        assert read["close"].map(str).tolist() == [str(float(bar[4])) for bar in bars]
    else:
        with pytest.raises(RequestFailed) as failed:
            read_history("A", fields)
        assert failed.value.outcome is Outcome.BAD_DATA


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (162, "HMDS query returned no data: X", Outcome.NO_BARS),
        (162, "Historical data request pacing violation", Outcome.PACED),
        (162, "No market data permissions for NYSE STK", Outcome.NOT_PERMITTED),
        (162, "Trading TWS session is connected from a different IP address", Outcome.UNAVAILABLE),
        (162, "API historical data query cancelled: 5", Outcome.UNAVAILABLE),
        (162, "something nobody has seen", Outcome.UNAVAILABLE),
        (200, "No security definition has been found for the request", Outcome.UNKNOWN_INSTRUMENT),
        (200, "The contract description specified for X is ambiguous.", Outcome.BAD_REQUEST),
        (321, "Error validating request", Outcome.BAD_REQUEST),
        (322, "Only 50 simultaneous API historical data requests allowed.", Outcome.PACED),
        (326, "client id is already in use", Outcome.CLIENT_ID_IN_USE),
        (354, "Requested market data is not subscribed.", Outcome.NOT_PERMITTED),
        (504, "Not connected", Outcome.UNAVAILABLE),
        (99_999, "a code of tomorrow", Outcome.UNAVAILABLE),
    ],
)
def test_what_an_error_code_means(code: int, text: str, outcome: Outcome):
    assert classify(code, text) is outcome
