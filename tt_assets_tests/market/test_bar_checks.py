"""Checks of stored bars against faults and jumps that were planted."""

import numpy as np
import pandas as pd
import pytest

from tt_assets.market.bar_checks import FEWEST_RETURNS, absent_bars, broken_bars, jumps
from tt_assets.market.calendar import sessions

DAYS = sessions(pd.Timestamp("2012-01-03").date(), pd.Timestamp("2012-12-31").date())


def walk(instrument: str = "A", count: int = 120, sigma: float = 0.01, seed: int = 0) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, sigma, count)))
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return pd.DataFrame({"instrument": instrument, "timestamp": DAYS[:count], **prices, "volume": 1.0})


def scaled(bars: pd.DataFrame, position: int, factor: float) -> pd.DataFrame:
    changed = bars.copy()
    columns = ["open", "high", "low", "close"]
    changed.loc[position:, columns] = changed.loc[position:, columns] * factor
    return changed


def test_sound_bars_have_no_findings(sample_bars):
    assert broken_bars(sample_bars) == []


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("close", 0.0, "price not finite and positive"),
        ("open", np.inf, "price not finite and positive"),
        ("low", np.nan, "price not finite and positive"),
        ("high", 1.0, "high below low"),
        ("volume", -1.0, "volume not finite"),
    ],
)
def test_a_row_that_breaks_the_contract_is_named_with_its_value(column, value, rule):
    bars = walk()
    bars.loc[7, column] = value
    (finding,) = broken_bars(bars)
    assert (finding.instrument, finding.session) == ("A", DAYS[7])
    assert rule in finding.message
    assert f"{column}={value}" in finding.message


def test_a_bar_on_a_closed_day_and_a_bar_that_is_there_twice_are_found():
    bars = walk()
    saturday = bars.iloc[[3]].assign(timestamp=pd.Timestamp("2012-01-07"))
    found = broken_bars(pd.concat([bars, saturday, bars.iloc[[9]].assign(volume=7.0)]))
    assert {(finding.session, finding.message) for finding in found} == {
        (pd.Timestamp("2012-01-07"), "no session on that day"),
        (DAYS[9], "instrument and session twice"),
    }


def test_a_split_that_was_not_adjusted_for_is_a_jump_and_only_its_session_is():
    bars = pd.concat([scaled(walk(seed=1), 80, 0.5), walk("B", seed=2)], ignore_index=True)
    (finding,) = jumps(bars, DAYS[0], 10.0)
    returns = np.diff(np.log(bars.loc[bars["instrument"] == "A", "close"]))
    sigmas = abs(returns[79]) / np.std(returns[19:79], ddof=1)
    assert (finding.instrument, finding.session) == ("A", DAYS[80])
    assert f"{sigmas:.1f} standard deviations" in finding.message
    assert f"{np.expm1(returns[79]):+.1%}" in finding.message


def test_how_far_is_too_far_is_the_callers_choice():
    bars = scaled(walk(), 80, 1.05)
    assert jumps(bars, DAYS[0], 10.0) == []
    assert [finding.session for finding in jumps(bars, DAYS[0], 4.0)] == [DAYS[80]]


def test_what_lies_before_the_sessions_judged_is_history_only():
    assert jumps(scaled(walk(), 80, 0.5), DAYS[81], 10.0) == []


def test_nothing_is_a_jump_before_enough_is_known():
    early = FEWEST_RETURNS  # the 20th return is the first that has 19 before it
    assert jumps(scaled(walk(), early, 0.5), DAYS[0], 10.0) == []
    assert len(jumps(scaled(walk(), early + 1, 0.5), DAYS[0], 10.0)) == 1


def test_a_price_that_stood_still_may_move_a_little():
    still = walk(sigma=0.0)
    assert jumps(scaled(still, 80, 1.005), DAYS[0], 10.0) == []
    assert len(jumps(scaled(still, 80, 1.02), DAYS[0], 10.0)) == 1


def test_a_jump_over_a_halt_is_seen_at_the_first_bar_after_it():
    bars = scaled(walk(), 80, 0.5).drop(index=[78, 79])
    assert [finding.session for finding in jumps(bars, DAYS[0], 10.0)] == [DAYS[80]]


def test_the_jumps_of_the_bundled_bars_are_two_earnings_days(sample_bars):
    found = jumps(sample_bars, pd.Timestamp("2005-03-01"), 10.0)
    assert [(f.instrument, str(f.session.date())) for f in found] == [("IBM", "2005-04-15"), ("MSFT", "2006-04-28")]


def test_absent_bars_are_the_expected_ones_that_are_not_stored():
    bars = walk()
    absent = absent_bars(bars[["instrument", "timestamp"]], bars.drop(index=[3, 50]))
    assert list(absent["timestamp"]) == [DAYS[3], DAYS[50]]
    assert absent_bars(bars[["instrument", "timestamp"]], bars).empty
    assert len(absent_bars(bars[["instrument", "timestamp"]], bars.iloc[:0])) == len(bars)
