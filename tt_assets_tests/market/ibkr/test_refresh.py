"""Refreshing what is stored: one request for everything missing, splits, revisions, lots, and rows that stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tt_assets.gateway import Kind
from tt_assets.market.bars import PRICE_COLUMNS
from tt_assets.market.calendar import sessions
from tt_assets.market.ibkr import IbkrBars, IbkrFetched, IbkrLoad, Verdict, compare
from tt_assets.market.sources import NotFetched, Outcome
from tt_assets_tests.gateway import faults
from tt_assets_tests.gateway.faults import when
from tt_assets_tests.gateway.thread import GatewayThread
from tt_assets_tests.gateway.worlds import EVENING, FIRST, FRIDAY, ask, of, quick, stored, walk

Load = Callable[..., tuple[IbkrLoad, GatewayThread]]
WORLD = walk("ABC", first=date(2023, 1, 3))
THURSDAY = date(2024, 2, 29)
OLD = WORLD[WORLD["timestamp"] < pd.Timestamp(FRIDAY)].reset_index(drop=True)


def split(bars: pd.DataFrame, symbol: str, ratio: float) -> pd.DataFrame:
    """The history of one symbol as a gateway tells it after a split: prices times `ratio`, to the cent."""
    adjusted = bars.copy()
    rows = adjusted["instrument"] == symbol
    adjusted.loc[rows, list(PRICE_COLUMNS)] = (adjusted.loc[rows, list(PRICE_COLUMNS)] * ratio).round(2)
    adjusted.loc[rows, "volume"] = (adjusted.loc[rows, "volume"] / ratio).round()
    return adjusted


def refresh(
    load: Load, bars: pd.DataFrame, old: pd.DataFrame = OLD, **options: object
) -> tuple[IbkrLoad, GatewayThread]:
    """Load Friday of A, B and C while `old` is stored."""
    return load(bars=bars, requests=ask("A", "B", "C", first=FRIDAY), source={"read_stored": stored(old)}, **options)


def durations(gateway: GatewayThread, symbol: str) -> list[str]:
    return [request.request.duration for request in gateway.gateway.log.of(Kind.HISTORY, symbol)]


def test_a_daily_refresh_is_one_short_request_each_and_leaves_the_overlap_alone(load: Load):
    done, gateway = refresh(load, WORLD)
    for result, symbol in zip(done.results, "ABC", strict=True):
        assert isinstance(result, IbkrFetched)
        assert result.bars["timestamp"].tolist() == [pd.Timestamp(FRIDAY)]
        assert (result.overlap.verdict, result.overlap.sessions) == (Verdict.SAME, 10)
        assert result.restated.empty
        assert durations(gateway, symbol) == ["12 D"]


def test_everything_missing_of_an_instrument_is_one_request(load: Load):
    holes = pd.to_datetime(["2023-06-01", "2023-06-02", "2024-01-18", "2024-03-01"])
    old = WORLD[~WORLD["timestamp"].isin(holes)].reset_index(drop=True)
    done, gateway = load(bars=WORLD, requests=ask("A", first=date(2023, 5, 1)), source={"read_stored": stored(old)})
    (result,) = done.results
    assert isinstance(result, IbkrFetched)
    expected = of(WORLD[WORLD["timestamp"] >= pd.Timestamp("2023-05-01")], "A")
    pd.testing.assert_frame_equal(result.bars, expected, check_exact=True)
    count = len(sessions(date(2023, 5, 17), FRIDAY)) + 1  # ten sessions before the first of June, one to spare
    assert durations(gateway, "A") == [f"{count} D"]


def test_a_second_run_asks_nothing_and_refetch_asks_again(load: Load):
    done, gateway = load(bars=WORLD, source={"read_stored": stored(WORLD)})
    assert gateway.gateway.log.requests == []
    assert [result.outcome for result in done.results] == [Outcome.LOADED] * 3
    done, gateway = load(bars=WORLD, source={"read_stored": stored(WORLD)}, refetch=True)
    assert len(gateway.gateway.log.of(Kind.HISTORY)) == 3


def test_prices_with_dividends_are_asked_for_and_a_dividend_reloads_the_history(load: Load):
    paid = WORLD.copy()
    # As a gateway tells the history after a dividend of 1 % on Friday: everything before is lower, volume stays.
    before = (paid["instrument"] == "A") & (paid["timestamp"] < pd.Timestamp(FRIDAY))
    paid.loc[before, list(PRICE_COLUMNS)] *= 0.99
    done, gateway = refresh(load, paid, total_return=True)
    asked = [seen.request.what for seen in gateway.gateway.log.of(Kind.HISTORY)]
    assert set(asked) == {"ADJUSTED_LAST"}
    result = done.results[0]
    assert isinstance(result, IbkrFetched)
    assert result.overlap.verdict is Verdict.READJUSTED
    assert result.overlap.ratio == pytest.approx(0.99)
    history = pd.concat([result.restated, result.bars])
    pd.testing.assert_series_equal(
        history.set_index("timestamp")["close"].sort_index(), of(paid, "A").set_index("timestamp")["close"]
    )
    _, plain = refresh(load, WORLD)
    assert {seen.request.what for seen in plain.gateway.log.of(Kind.HISTORY)} == {"TRADES"}


def holed(*days: str) -> pd.DataFrame:
    """The world in which B was listed on 7 February 2024 and has no bar of these days."""
    b = WORLD["instrument"] == "B"
    early = WORLD["timestamp"] < pd.Timestamp("2024-02-07")
    return WORLD[~(b & (early | WORLD["timestamp"].isin(pd.to_datetime(list(days)))))].reset_index(drop=True)


def test_sessions_the_source_has_no_bar_of_are_asked_for_once_and_again_only_on_request(load: Load, tmp_path: Path):
    bars = holed("2024-02-20", "2024-02-29")
    memory: dict[str, object] = {"empty_sessions_path": tmp_path / "cache" / "empty.json"}
    first, gateway = load(bars=bars, **memory)
    assert len(gateway.gateway.log.of(Kind.HISTORY)) == 3
    for refetch, requests in ((False, 0), (True, 3), (False, 0)):
        source: dict[str, object] = {"read_stored": stored(bars)}
        again, gateway = load(bars=bars, source=source, refetch=refetch, **memory)
        assert len(gateway.gateway.log.of(Kind.HISTORY)) == requests
        for before, now in zip(first.results, again.results, strict=True):
            pd.testing.assert_series_equal(before.by_session(), now.by_session())
            assert before.outcome is now.outcome is Outcome.LOADED
    said = first.results[1].by_session()
    assert said[pd.Timestamp("2024-02-06")] == "not_listed_yet"
    assert said[pd.Timestamp("2024-02-29")] == "missing"


def test_an_instrument_listed_after_all_that_is_asked_is_not_asked_again(load: Load, tmp_path: Path):
    memory: dict[str, object] = {"empty_sessions_path": tmp_path / "empty.json"}
    requests = ask("B", last=date(2024, 1, 31))
    for asked in (1, 0):
        done, gateway = load(bars=holed(), requests=requests, **memory)
        assert len(gateway.gateway.log.of(Kind.HISTORY)) == asked
        assert set(done.results[0].by_session()) == {"not_listed_yet"}
        assert done.results[0].outcome is Outcome.NOT_LISTED_YET


def test_sessions_that_failed_are_not_remembered_as_empty(load: Load, tmp_path: Path):
    memory: dict[str, object] = {"empty_sessions_path": tmp_path / "empty.json"}
    bad = faults.Bars(lambda bars: [bar._replace(low="-1") if bar.date == "20240220" else bar for bar in bars[:-2]])
    load(when(Kind.HISTORY, "B", bad, always=True), bars=WORLD, **memory)
    have = WORLD[~((WORLD["instrument"] == "B") & WORLD["timestamp"].isin(pd.to_datetime(["2024-02-20", FRIDAY])))]
    done, gateway = load(bars=WORLD, source={"read_stored": stored(have)}, **memory)
    assert [len(gateway.gateway.log.of(Kind.HISTORY, symbol)) for symbol in "ABC"] == [0, 1, 0]
    pd.testing.assert_frame_equal(done.results[1].bars, of(between_days(WORLD, FIRST, FRIDAY), "B"), check_exact=True)


def test_a_bar_that_turns_up_later_is_known_again(load: Load, tmp_path: Path):
    memory: dict[str, object] = {"empty_sessions_path": tmp_path / "empty.json"}
    load(bars=holed("2024-02-27"), **memory)
    have = holed("2024-02-27", "2024-03-01")
    load(bars=holed(), source={"read_stored": stored(have)}, requests=ask("B", first=FRIDAY), **memory)
    done, gateway = load(bars=holed(), source={"read_stored": stored(holed("2024-02-27"))}, **memory)
    assert len(gateway.gateway.log.of(Kind.HISTORY, "B")) == 1
    assert pd.Timestamp("2024-02-27") in set(done.results[1].bars["timestamp"])


def between_days(bars: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    return bars[bars["timestamp"].between(pd.Timestamp(first), pd.Timestamp(last))]


@pytest.mark.parametrize(
    "text", ["{ not json", '{"format": 1, "instruments": [{"instrument": {}}]}', '{"format": 9}', "[]"]
)
def test_a_broken_memory_of_empty_sessions_costs_only_asking_again(load: Load, tmp_path: Path, text: str):
    path = tmp_path / "empty.json"
    path.write_text(text)
    done, _ = load(bars=holed(), empty_sessions_path=path)
    assert done.results[1].by_session().tolist()[0] == "not_listed_yet"
    assert json.loads(path.read_text())["instruments"][0]["listed"] == "2024-02-07"


def test_a_split_between_two_loads_reloads_the_stored_history_of_that_instrument_alone(load: Load):
    after = split(WORLD, "B", 0.25)
    done, gateway = refresh(load, after)
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert result.overlap.verdict is Verdict.READJUSTED
    assert result.overlap.ratio == pytest.approx(0.25, rel=1e-3)
    pd.testing.assert_frame_equal(
        result.bars, of(after[after["timestamp"] == pd.Timestamp(FRIDAY)], "B"), check_exact=True
    )
    history = of(after[after["timestamp"] < pd.Timestamp(FRIDAY)], "B")
    pd.testing.assert_frame_equal(result.restated, history, check_exact=True)
    assert len(durations(gateway, "B")) == 2
    assert [len(durations(gateway, symbol)) for symbol in "AC"] == [1, 1]
    for other in (done.results[0], done.results[2]):
        assert isinstance(other, IbkrFetched)
        assert other.overlap.verdict is Verdict.SAME


def test_a_split_whose_history_cannot_be_loaded_lands_nothing(load: Load):
    script = when(Kind.HISTORY, "B", None, faults.Refuse(*faults.NO_PERMISSION))
    done, _ = refresh(load, split(WORLD, "B", 0.1), script=script)
    result = done.results[1]
    assert isinstance(result, NotFetched)
    assert "re-adjusted by 0.1" in result.reason
    assert "may not see its history" in result.reason


def test_a_revised_bar_is_restated_and_the_history_is_not_loaded_again(load: Load):
    revised = WORLD.copy()
    row = (revised["instrument"] == "B") & (revised["timestamp"] == pd.Timestamp("2024-02-27"))
    revised.loc[row, "close"] = revised.loc[row, "low"]
    revised.loc[row, "volume"] += 700
    done, gateway = refresh(load, revised)
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert (result.overlap.verdict, result.overlap.revised) == (Verdict.REVISED, (date(2024, 2, 27),))
    pd.testing.assert_frame_equal(result.restated, of(revised[row], "B"), check_exact=True)
    assert result.bars["timestamp"].tolist() == [pd.Timestamp(FRIDAY)]
    assert len(durations(gateway, "B")) == 1


def test_volume_in_lots_is_refused_with_the_setting_to_change(load: Load):
    lots = WORLD.copy()
    rows = lots["instrument"] == "B"
    lots.loc[rows, "volume"] = (lots.loc[rows, "volume"] / 100).round()
    done, _ = refresh(load, lots)
    result = done.results[1]
    assert isinstance(result, NotFetched)
    assert result.outcome is Outcome.BAD_BARS
    assert 'switch off "Send market data in lots' in result.reason
    assert isinstance(done.results[0], IbkrFetched)


def test_a_request_that_fails_leaves_what_is_stored_complete(load: Load):
    script = when(Kind.HISTORY, "B", faults.Refuse(*faults.NO_PERMISSION))
    done, _ = load(script, bars=WORLD, requests=ask("A", "B"), source={"read_stored": stored(OLD)})
    result = done.results[1]
    assert isinstance(result, IbkrFetched)
    assert result.outcome is Outcome.NOT_PERMITTED
    pd.testing.assert_frame_equal(result.bars, of(between_days(OLD, FIRST, THURSDAY), "B"), check_exact=True)
    assert result.by_session().tolist()[-2:] == ["bar", "not_fetched"]
    assert "may not see its history" in (result.why_withheld(FRIDAY, FRIDAY) or "")
    assert result.why_withheld(FIRST, THURSDAY) is None
    assert "not permitted: 1 (B)" in str(done)


def test_a_refetch_that_fails_fails_every_session_it_asked_for(load: Load):
    script = when(Kind.HISTORY, "B", faults.Refuse(*faults.NO_PERMISSION))
    source: dict[str, object] = {"read_stored": stored(OLD)}
    done, _ = load(script, bars=WORLD, requests=ask("B"), source=source, refetch=True)
    assert isinstance(done.results[0], NotFetched)


def test_stored_volume_in_lots_is_loaded_again_in_shares(load: Load):
    lots = OLD.copy()
    lots["volume"] = (lots["volume"] / 100).round()
    done, _ = refresh(load, WORLD, old=lots)
    result = done.results[0]
    assert isinstance(result, IbkrFetched)
    assert result.overlap.verdict is Verdict.WAS_IN_LOTS
    pd.testing.assert_frame_equal(result.restated, of(OLD, "A"), check_exact=True)


def test_a_stored_bar_the_gateway_no_longer_has_stays(load: Load):
    gone = pd.Timestamp("2024-02-20")
    old = OLD[OLD["timestamp"] != pd.Timestamp("2024-02-15")].reset_index(drop=True)
    script = when(Kind.HISTORY, "B", faults.Bars(lambda bars: [bar for bar in bars if bar.date != "20240220"]))
    done, _ = load(script, bars=WORLD, requests=ask("B", first=date(2024, 2, 14)), source={"read_stored": stored(old)})
    (result,) = done.results
    expected = of(WORLD[WORLD["timestamp"] >= pd.Timestamp("2024-02-14")], "B")
    assert isinstance(result, IbkrFetched)
    assert gone in set(result.bars["timestamp"])
    pd.testing.assert_frame_equal(result.bars, expected, check_exact=True)


def test_the_details_of_a_contract_are_remembered_between_runs_and_forgotten_when_stale(gateway, tmp_path: Path):
    thread = gateway(WORLD)
    path = tmp_path / "cache" / "contracts.json"
    config = quick(thread.port, contracts_path=path)
    for _ in range(2):  # a new source each time, as a new process
        IbkrBars(config, clock=lambda: EVENING).fetch(ask("A", "B"))
    assert [len(thread.gateway.log.of(Kind.DETAILS, symbol)) for symbol in "AB"] == [1, 1]

    remembered = json.loads(path.read_text())
    remembered["contracts"][0]["contract_id"] = 999_999
    path.write_text(json.dumps(remembered))
    stale = when(Kind.HISTORY, "A", faults.Refuse(*faults.NO_DEFINITION))
    again = gateway(WORLD, stale)
    (result,) = IbkrBars(quick(again.port, contracts_path=path), clock=lambda: EVENING).fetch(ask("A"))
    assert isinstance(result, IbkrFetched)
    assert len(again.gateway.log.of(Kind.DETAILS, "A")) == 1
    assert json.loads(path.read_text())["contracts"][0]["contract_id"] == 1001


def test_a_broken_memory_of_contracts_costs_only_asking_again(gateway, tmp_path: Path):
    path = tmp_path / "contracts.json"
    path.write_text("{ not json")
    thread = gateway(WORLD)
    (result,) = IbkrBars(quick(thread.port, contracts_path=path), clock=lambda: EVENING).fetch(ask("A"))
    assert isinstance(result, IbkrFetched)
    assert json.loads(path.read_text())["contracts"]


def two_loads(ratio: float, count: int = 10, low: float = 100.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    bars = walk("A", first=date(2024, 1, 2)).tail(count).reset_index(drop=True)
    bars[list(PRICE_COLUMNS)] *= low / 100
    bars[list(PRICE_COLUMNS)] = bars[list(PRICE_COLUMNS)].round(2)
    return bars, split(bars, "A", ratio)


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.95, 1.05, 2.0, 10.0, 25.0])
@pytest.mark.parametrize("count", [2, 10])
def test_a_constant_ratio_is_a_readjustment(ratio: float, count: int):
    verdict = compare(*two_loads(ratio, count))
    assert verdict.verdict is Verdict.READJUSTED
    assert verdict.ratio == pytest.approx(ratio, rel=2e-3)


def test_cents_that_scatter_are_revisions_also_of_a_cheap_share():
    old, new = two_loads(1.0, low=3.0)
    new["close"] += np.where(np.arange(10) % 2, 0.01, -0.01)
    new["high"] = new[["high", "close"]].max(axis=1)
    new["low"] = new[["low", "close"]].min(axis=1)
    verdict = compare(old, new)
    assert verdict.verdict is Verdict.REVISED
    assert len(verdict.revised) == 10


def test_a_split_with_one_revised_bar_is_still_a_readjustment():
    old, new = two_loads(0.5)
    new.loc[4, list(PRICE_COLUMNS)] *= 1.07
    verdict = compare(old, new)
    assert verdict.verdict is Verdict.READJUSTED
    assert verdict.revised == (new["timestamp"].iloc[4].date(),)


def test_one_session_alone_is_a_revision_and_none_is_no_comparison():
    old, new = two_loads(0.5, count=1)
    assert compare(old, new).verdict is Verdict.REVISED
    assert compare(old.iloc[:0], new).verdict is Verdict.NOTHING_TO_COMPARE
