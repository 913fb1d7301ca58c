"""One test per fault of a gateway, over the wire: what landed, what was asked again, what failed, with which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

import pandas as pd
import pytest

from tt_assets.gateway import Kind, WireBar
from tt_assets.market.bars import BarRule
from tt_assets.market.ibkr import IbkrBars, IbkrFetched, IbkrLoad
from tt_assets.market.sources import FetchResult, NotFetched, Outcome, SessionOutcome
from tt_assets_tests.gateway import faults
from tt_assets_tests.gateway.faults import Bars, Drop, Late, Matches, Outage, Refuse, when
from tt_assets_tests.gateway.scripted import Reaction
from tt_assets_tests.gateway.thread import GatewayThread
from tt_assets_tests.gateway.worlds import EVENING, FIRST, FRIDAY, NOON, ask, of, quick, walk

Load = Callable[..., tuple[IbkrLoad, GatewayThread]]
WORLD = walk("ABC")
MIDDLE = date(2024, 2, 7)
STAMP = f"{MIDDLE:%Y%m%d}"


def landed(result: FetchResult, bars: pd.DataFrame = WORLD) -> None:
    """Every bar of the result's instrument is there, bit for bit, and nothing else."""
    assert isinstance(result, IbkrFetched), result
    assert result.outcome is Outcome.LOADED, result
    pd.testing.assert_frame_equal(result.bars, of(bars, result.request.instrument), check_exact=True)


def failed(result: FetchResult, outcome: Outcome, words: str) -> None:
    """No bar, this outcome, and a reason of one line with the instrument, the words, and a remedy after them."""
    assert isinstance(result, NotFetched), result
    assert result.outcome is outcome, result
    assert "\n" not in result.reason
    assert result.reason.startswith(f"{result.request.instrument}: ")
    assert re.search(words, result.reason), result.reason


def asked(gateway: GatewayThread, symbol: str, kind: Kind = Kind.HISTORY) -> int:
    return len(gateway.gateway.log.of(kind, symbol))


def edit(**cells: str) -> Reaction:
    """The answer with these cells changed in the bar of the session in the middle."""
    return Bars(lambda bars: [bar._replace(**cells) if bar.date == STAMP else bar for bar in bars])


def test_without_a_fault_every_bar_lands_bit_for_bit_with_one_request_each(load: Load):
    done, gateway = load()
    for result in done.results:
        landed(result)
    assert [asked(gateway, symbol) for symbol in "ABC"] == [1, 1, 1]
    assert [asked(gateway, symbol, Kind.DETAILS) for symbol in "ABC"] == [1, 1, 1]
    assert not done.report.retries


RETRIED = {
    "pacing violation": (when(Kind.HISTORY, "B", Refuse(*faults.PACING)), Outcome.PACED),
    "too many requests open": (when(Kind.HISTORY, "B", Refuse(322, "Only 50 simultaneous requests")), Outcome.PACED),
    "unknown text of 162": (when(Kind.HISTORY, "B", Refuse(*faults.OTHER_ADDRESS)), Outcome.UNAVAILABLE),
    "no answer": (when(Kind.HISTORY, "B", faults.silent), Outcome.TIMED_OUT),
    "slow answer": (when(Kind.HISTORY, "B", Late(1.0)), Outcome.TIMED_OUT),
    "no answer about the contract": (when(Kind.DETAILS, "B", faults.silent), Outcome.TIMED_OUT),
    "connection dropped before the answer": (when(Kind.HISTORY, "B", Drop()), Outcome.UNAVAILABLE),
    "connection dropped in the middle of the answer": (when(Kind.HISTORY, "B", Drop(0.5)), Outcome.UNAVAILABLE),
    "a frame of noise": (when(Kind.HISTORY, "B", faults.NOISE), Outcome.TIMED_OUT),
    "garbage bytes": (when(Kind.HISTORY, "B", faults.GARBAGE), Outcome.UNAVAILABLE),
    "a price that is no number": (when(Kind.HISTORY, "B", edit(open="n/a")), Outcome.BAD_DATA),
    "no bar in the answer": (when(Kind.HISTORY, "B", Bars(lambda bars: [])), Outcome.BAD_DATA),
    "history cut short at its end": (when(Kind.HISTORY, "B", Bars(lambda bars: bars[:-3])), Outcome.BAD_DATA),
    "history cut short at its start": (when(Kind.HISTORY, "B", Bars(lambda bars: bars[-7:])), Outcome.BAD_DATA),
    "IBKR away, data lost": (when(Kind.HISTORY, "B", Outage(0.1, 1101)), Outcome.UNAVAILABLE),
    "IBKR away, data maintained": (when(Kind.HISTORY, "B", Outage(0.1, 1102)), Outcome.UNAVAILABLE),
}


@pytest.mark.parametrize("name", RETRIED)
def test_a_passing_fault_is_asked_again_and_every_bar_lands(load: Load, name: str):
    script, outcome = RETRIED[name]
    done, gateway = load(script, timeout=0.4 if outcome is Outcome.TIMED_OUT else 20.0, alive_timeout=0.3)
    for result in done.results:
        landed(result)
    assert outcome in {retry.outcome for retry in done.report.retries if retry.instrument == "B"}, done.report
    assert asked(gateway, "B") + asked(gateway, "B", Kind.DETAILS) > 2


FINAL = {
    "pacing violation": (Refuse(*faults.PACING), Outcome.PACED, 8, r"pacing violation.*TT_IBKR_MIN_INTERVAL"),
    "no data": (Refuse(*faults.NO_DATA), Outcome.NO_BARS, 1, r"no daily bars.*no data.*off the watchlist"),
    "no permission": (Refuse(*faults.NO_PERMISSION), Outcome.NOT_PERMITTED, 1, r"may not see.*Subscribe"),
    "no permission, code 10089": (
        Refuse(10089, "Requires subscription."),
        Outcome.NOT_PERMITTED,
        1,
        r"error 10089.*Subscr",
    ),
    "refused": (Refuse(321, "Error validating request"), Outcome.BAD_REQUEST, 1, r"error 321.*primary_exchange"),
    "unknown text of 162": (Refuse(*faults.OTHER_ADDRESS), Outcome.UNAVAILABLE, 3, r"after 3 attempts.*different IP"),
    "no answer": (faults.silent, Outcome.TIMED_OUT, 3, r"no answer after 3 attempts.*TT_IBKR_TIMEOUT"),
    "a price that is no number": (edit(low="?"), Outcome.BAD_DATA, 3, r"garbled.*after 3 attempts.*no number"),
}


@pytest.mark.parametrize("name", FINAL)
def test_a_lasting_fault_fails_its_instrument_with_the_reason_and_no_other(load: Load, name: str):
    reaction, outcome, times, words = FINAL[name]
    patience = 0.4 if outcome is Outcome.TIMED_OUT else 20.0
    done, gateway = load(
        when(Kind.HISTORY, "B", reaction, always=True), timeout=patience, attempts=3, pacing_pause=0.01
    )
    landed(done.results[0])
    failed(done.results[1], outcome, words)
    landed(done.results[2])
    assert asked(gateway, "B") == times
    assert done.by_outcome()[outcome] == ("B",)


def test_an_unknown_symbol_is_final_and_says_how_ibkr_writes_share_classes(load: Load):
    done, gateway = load(requests=ask("A", "BRK.B"))
    landed(done.results[0])
    failed(done.results[1], Outcome.UNKNOWN_INSTRUMENT, r'error 200: No security definition.*space: "BRK B".*watchlist')
    assert asked(gateway, "BRK.B", Kind.DETAILS) == 1
    assert asked(gateway, "BRK.B") == 0


def test_an_ambiguous_contract_names_the_exchanges_and_asks_for_no_bars(load: Load):
    done, gateway = load(when(Kind.DETAILS, "B", Matches(3)))
    failed(done.results[1], Outcome.BAD_REQUEST, r"3 contracts fit: NASDAQ in USD, NYSE in USD, LSE.*primary_exchange")
    assert asked(gateway, "B") == 0
    landed(done.results[2])


def test_a_contract_that_drops_the_connection_each_time_fails_alone(load: Load):
    done, _ = load(when(Kind.HISTORY, "B", Drop(), always=True))
    landed(done.results[0])
    failed(done.results[1], Outcome.UNAVAILABLE, r"lost 5 times while it was asked")
    landed(done.results[2])
    assert done.report.reconnects >= 4


BAD_BARS = {
    "duplicate": (
        Bars(lambda bars: [row for bar in bars for row in (bar, bar._replace(volume="7"))[: 1 + (bar.date == STAMP)]]),
        BarRule.DUPLICATE,
    ),
    "NaN": (edit(close="nan"), BarRule.PRICE),
    "infinite": (edit(high="inf"), BarRule.PRICE),
    "zero": (edit(open="0"), BarRule.PRICE),
    "negative": (edit(low="-3.5"), BarRule.PRICE),
    "high below low": (edit(high="1", low="2"), BarRule.HIGH_BELOW_LOW),
    "high below the close": (edit(high="60", low="50", open="55", close="70"), BarRule.HIGH_BELOW_BODY),
    "volume -1": (edit(volume="-1"), BarRule.VOLUME),
}


def test_a_bar_that_comes_twice_alike_is_one_bar(load: Load):
    twice = Bars(lambda bars: [row for bar in bars for row in [bar] * (1 + (bar.date == STAMP))])
    done, _ = load(when(Kind.HISTORY, "B", twice, always=True))
    landed(done.results[1])


@pytest.mark.parametrize("name", BAD_BARS)
def test_a_bad_bar_fails_its_session_by_its_rule_and_the_others_land(load: Load, name: str):
    reaction, rule = BAD_BARS[name]
    done, gateway = load(when(Kind.HISTORY, "B", reaction, always=True))
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert result.outcome is Outcome.BAD_BARS
    assert {(fault.session, fault.rule) for fault in result.faults} == {(MIDDLE, rule)}
    good = of(WORLD, "B")
    good = good[good["timestamp"] != pd.Timestamp(MIDDLE)].reset_index(drop=True)
    pd.testing.assert_frame_equal(result.bars, good, check_exact=True)
    outcomes = result.by_session()
    assert outcomes[pd.Timestamp(MIDDLE)] == SessionOutcome.BAD
    assert (outcomes.drop(pd.Timestamp(MIDDLE)) == SessionOutcome.BAR).all()
    assert asked(gateway, "B") == 1
    landed(done.results[0])


def test_a_date_that_nobody_can_read_is_a_fault_and_its_session_is_not_taken_for_missing(load: Load):
    done, _ = load(when(Kind.HISTORY, "B", edit(date="2024-02-xx"), always=True))
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert [(fault.session, fault.rule) for fault in result.faults] == [("2024-02-xx", BarRule.DATE)]
    assert result.by_session()[pd.Timestamp(MIDDLE)] == SessionOutcome.BAD


WRITTEN = {
    "disorder": lambda bars: bars[::-1],
    "with time and zone": lambda bars: [bar._replace(date=f"{bar.date} 00:00:00 US/Eastern") for bar in bars],
    "at the opening, with zone": lambda bars: [
        bar._replace(date=f"{bar.date} 09:30:00 America/New_York") for bar in bars
    ],
    "midnight in UTC": lambda bars: [bar._replace(date=f"{bar.date}-00:00:00 UTC") for bar in bars],
    "epoch of midnight": lambda bars: [bar._replace(date=str(pd.Timestamp(bar.date).value // 10**9)) for bar in bars],
    "epoch of the opening": lambda bars: [
        bar._replace(date=str(pd.Timestamp(f"{bar.date} 09:30", tz="America/New_York").value // 10**9)) for bar in bars
    ],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_bars_in_any_order_and_any_unambiguous_writing_of_the_date_land(load: Load, name: str):
    done, gateway = load(when(Kind.HISTORY, "B", Bars(WRITTEN[name])))
    landed(done.results[1])
    assert asked(gateway, "B") == 1


def test_todays_unfinished_bar_is_left_out_and_its_session_is_not_fetched(load: Load):
    done, _ = load(clock=NOON)
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert result.bars["timestamp"].max() == pd.Timestamp("2024-02-29")
    assert not result.faults
    assert result.by_session()[pd.Timestamp(FRIDAY)] == SessionOutcome.NOT_FETCHED
    assert "2024-03-01 has not closed" in (result.why_withheld(FRIDAY, FRIDAY) or "")
    assert result.why_withheld(FIRST, MIDDLE) is None


def test_the_newest_sessions_missing_for_good_are_not_fetched_rather_than_empty(load: Load):
    done, gateway = load(when(Kind.HISTORY, "B", Bars(lambda bars: bars[:-3]), always=True))
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert result.outcome is Outcome.BAD_DATA
    assert result.by_session().tolist()[-4:] == ["bar", "not_fetched", "not_fetched", "not_fetched"]
    assert "ends on 2024-02-27 although 2024-03-01 has closed" in (result.why_withheld(FRIDAY, FRIDAY) or "")
    assert asked(gateway, "B") == 2


def test_a_history_cut_short_is_not_taken_for_a_listing(load: Load):
    done, _ = load(when(Kind.HISTORY, "B", Bars(lambda bars: bars[-7:]), always=True))
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert result.outcome is Outcome.BAD_DATA
    assert result.by_session().tolist()[:-7] == [SessionOutcome.NOT_FETCHED] * (len(result.request.sessions) - 7)
    assert "although it trades since 2024-01-16" in (result.why_withheld(FIRST, FIRST) or "")


def test_a_listing_inside_the_request_is_confirmed_by_the_head_timestamp_with_one_request(load: Load):
    late = walk("ABC")
    late = late[(late["instrument"] != "B") | (late["timestamp"] >= pd.Timestamp(MIDDLE))]
    done, gateway = load(bars=late)
    result = done.results[1]
    landed(result, late)
    assert isinstance(result, IbkrFetched)
    assert result.listed == MIDDLE
    assert set(result.by_session()[: pd.Timestamp("2024-02-06")]) == {SessionOutcome.NOT_LISTED_YET}
    assert asked(gateway, "B") == 1
    assert asked(gateway, "B", Kind.HEAD) == 1
    assert asked(gateway, "A", Kind.HEAD) == 0


def test_a_gap_in_the_middle_is_said_to_be_missing(load: Load):
    gap = WORLD[(WORLD["instrument"] != "B") | (WORLD["timestamp"] != pd.Timestamp(MIDDLE))]
    done, _ = load(bars=gap)
    result = done.results[1]
    landed(result, gap)
    assert result.by_session()[pd.Timestamp(MIDDLE)] == SessionOutcome.MISSING


def test_after_a_pacing_violation_half_as_many_are_open(gateway: Callable[..., GatewayThread]):
    symbols = [f"S{n:02}" for n in range(24)]
    thread = gateway(walk(symbols), when(Kind.HISTORY, "S08", Refuse(*faults.PACING)), latency=0.2)
    done = IbkrBars(quick(thread.port, max_in_flight=8), clock=lambda: EVENING).load(ask(*symbols))
    assert set(done.by_outcome()) == {Outcome.LOADED}
    seen = thread.gateway.log.of(Kind.HISTORY)
    assert [request.request.nth for request in seen if request.request.symbol == "S08"] == [1, 2]
    assert max(request.open_then for request in seen) > 4
    assert max(request.open_then for request in seen[-6:]) <= 4


def test_never_more_requests_are_open_than_configured(load: Load):
    symbols = [f"S{n:02}" for n in range(30)]
    done, gateway = load(bars=walk(symbols), requests=ask(*symbols), max_in_flight=6)
    assert set(done.by_outcome()) == {Outcome.LOADED}
    assert gateway.gateway.log.most_open == 6


def test_a_gateway_that_keeps_fewer_open_than_we_ask_is_obeyed(gateway: Callable[..., GatewayThread]):
    symbols = [f"S{n:02}" for n in range(30)]
    world = walk(symbols)
    thread = gateway(world, most_open=3, latency=0.03)
    done = IbkrBars(quick(thread.port), clock=lambda: EVENING).load(ask(*symbols))
    for result in done.results:
        landed(result, world)
    assert Outcome.PACED in {retry.outcome for retry in done.report.retries}


def test_a_wire_bar_has_the_eight_cells_the_protocol_knows():
    assert len(WireBar._fields) == 8
