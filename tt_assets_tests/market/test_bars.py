"""The bar contract: every bad row is counted, every clean one lands."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_assets.market.bars import (
    BAR_COLUMNS,
    BarFault,
    BarRows,
    BarRule,
    CheckedBars,
    Mending,
    RawRow,
    check_bars,
    check_rows,
    summarise,
)
from tt_assets.market.errors import BarsFileError

GOOD = ("A", "2013-02-28", 10.0, 12.0, 9.0, 11.0, 100.0)


def bars(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(BAR_COLUMNS))


def but(**cells: object) -> tuple:
    return tuple(cells.get(column, value) for column, value in zip(BAR_COLUMNS, GOOD, strict=True))


@pytest.mark.parametrize(
    ("bad", "rule", "value"),
    [
        (but(timestamp="2013-02-30"), BarRule.DATE, ""),
        (but(timestamp=""), BarRule.DATE, ""),
        (but(timestamp="28.02.2013"), BarRule.DATE, ""),
        (but(timestamp="2013-03-01T16:00:00"), BarRule.TIME_OF_DAY, "timestamp=2013-03-01T16:00:00"),
        (but(timestamp="2013-03-01T00:00:00Z"), BarRule.TIME_ZONE, "timestamp=2013-03-01T00:00:00Z"),
        (but(timestamp="2013-03-02"), BarRule.CLOSED_DAY, ""),
        (but(timestamp="2012-10-29"), BarRule.CLOSED_DAY, ""),
        (but(timestamp="1901-01-02"), BarRule.TOO_EARLY, ""),
        (but(timestamp="2013-03-05"), BarRule.NOT_CLOSED, ""),
        (but(instrument="Z", timestamp="2013-03-01"), BarRule.INSTRUMENT_UNKNOWN, ""),
        (but(instrument="", timestamp="2013-03-01"), BarRule.INSTRUMENT_MISSING, ""),
        (but(instrument=None, timestamp="2013-03-01"), BarRule.INSTRUMENT_MISSING, ""),
        (but(timestamp="2013-03-01", close=0.0), BarRule.PRICE, "close=0.0"),
        (but(timestamp="2013-03-01", open=-1.0), BarRule.PRICE, "open=-1.0"),
        (but(timestamp="2013-03-01", high=np.nan), BarRule.PRICE, "high=nan"),
        (but(timestamp="2013-03-01", low=np.inf), BarRule.PRICE, "low=inf"),
        (but(timestamp="2013-03-01", open=None, low=-2.5), BarRule.PRICE, "open=nan low=-2.5"),
        (but(timestamp="2013-03-01", volume=-1.0), BarRule.VOLUME, "volume=-1.0"),
        (but(timestamp="2013-03-01", volume=np.nan), BarRule.VOLUME, "volume=nan"),
        (but(timestamp="2013-03-01", high=9.0, low=12.0), BarRule.HIGH_BELOW_LOW, "high=9.0 low=12.0"),
        (but(timestamp="2013-03-01", high=10.5), BarRule.HIGH_BELOW_BODY, "open=10.0 high=10.5 close=11.0"),
        (but(timestamp="2013-03-01", low=10.5), BarRule.LOW_ABOVE_BODY, "open=10.0 low=10.5 close=11.0"),
    ],
)
def test_a_bad_row_is_named_by_its_rule_and_the_good_one_lands(bad: tuple, rule: BarRule, value: str):
    checked = check_bars(bars(GOOD, bad), known={"A"}, latest=date(2013, 3, 4))
    assert [(fault.rule, fault.value) for fault in checked.faults] == [(rule, value)]
    assert checked.faults[0].instrument == (bad[0] or "")
    assert checked.clean["timestamp"].tolist() == [pd.Timestamp("2013-02-28")]


def test_numbers_written_as_text_are_read_and_what_is_no_number_is_shown():
    text = bars(but(close="11"), but(timestamp="2013-03-01", close="n/a"), but(timestamp="2013-03-04", volume="1_000"))
    checked = check_bars(text)
    assert [fault.value for fault in checked.faults] == ["close=n/a", "volume=1_000"]
    assert checked.clean["close"].tolist() == [11.0]


def test_both_rows_of_a_repeated_session_are_faults_and_neither_lands():
    other = but(timestamp="2013-03-01")
    checked = check_bars(bars(GOOD, other, but(instrument="B"), but(volume=7.0)))
    assert [fault.rule for fault in checked.faults] == [BarRule.DUPLICATE] * 2
    assert checked.clean[["instrument", "timestamp"]].to_numpy().tolist() == [
        ["A", pd.Timestamp("2013-03-01")],
        ["B", pd.Timestamp("2013-02-28")],
    ]


def test_a_session_with_a_bad_and_a_good_row_has_no_clean_row():
    checked = check_bars(bars(GOOD, but(close=-1.0)))
    assert {fault.rule for fault in checked.faults} == {BarRule.PRICE, BarRule.DUPLICATE}
    assert checked.clean.empty


def test_a_row_that_breaks_two_rules_counts_under_both():
    checked = check_bars(bars(but(timestamp="2013-03-02", close=-1.0)))
    assert [fault.rule for fault in checked.faults] == [BarRule.CLOSED_DAY, BarRule.PRICE]


@pytest.mark.parametrize(
    "timestamps",
    [
        ["2013-02-28", "2013-03-01"],
        ["2013-02-28T00:00:00", "2013-03-01 00:00:00"],
        [date(2013, 2, 28), date(2013, 3, 1)],
        [datetime(2013, 2, 28), pd.Timestamp("2013-03-01")],
        pd.to_datetime(["2013-02-28", "2013-03-01"]),
        pd.to_datetime(["2013-02-28", "2013-03-01"]).astype("datetime64[us]"),
        pd.Categorical(["2013-02-28", "2013-03-01"]),
    ],
)
def test_a_session_is_read_however_it_is_written(timestamps: object):
    checked = check_bars(bars(GOOD, GOOD).assign(timestamp=timestamps))
    assert not checked.faults
    assert checked.clean["timestamp"].tolist() == [pd.Timestamp("2013-02-28"), pd.Timestamp("2013-03-01")]
    assert checked.clean["timestamp"].dtype == np.dtype("datetime64[ns]")


def test_a_column_of_moments_in_a_time_zone_or_with_a_time_of_day_is_refused_row_by_row():
    zoned = bars(GOOD).assign(timestamp=pd.to_datetime([datetime(2013, 2, 28, tzinfo=UTC)]))
    assert [(f.rule, f.session) for f in check_bars(zoned).faults] == [(BarRule.TIME_ZONE, date(2013, 2, 28))]
    late = bars(GOOD).assign(timestamp=pd.to_datetime(["2013-02-28 16:00"]))
    assert [(f.rule, f.session) for f in check_bars(late).faults] == [(BarRule.TIME_OF_DAY, date(2013, 2, 28))]
    never = bars(GOOD).assign(timestamp=pd.to_datetime([None]))
    assert [f.rule for f in check_bars(never).faults] == [BarRule.DATE]


def test_missing_columns_are_refused_at_once_by_name():
    with pytest.raises(BarsFileError, match=r"lack the columns open, volume .*Name the columns instrument, timestamp"):
        check_bars(bars(GOOD).drop(columns=["open", "volume"]))


def test_no_rows_are_no_faults():
    checked = check_bars(bars(), known={"A"})
    assert (len(checked.clean), checked.faults) == (0, ())
    assert checked.clean.columns.tolist() == list(BAR_COLUMNS)


def test_with_no_known_instrument_every_row_is_unknown():
    assert [fault.rule for fault in check_bars(bars(GOOD), known=()).faults] == [BarRule.INSTRUMENT_UNKNOWN]


def test_the_sample_is_clean_and_comes_back_sorted_and_unchanged():
    sample = pd.read_csv("tt_assets/sample/daily_bars_2005_2013.csv")
    shuffled = sample.sample(frac=1, random_state=0)
    checked = check_bars(shuffled)
    assert checked.faults == ()
    expected = sample.assign(timestamp=pd.to_datetime(sample["timestamp"]), volume=sample["volume"].astype(float))
    pd.testing.assert_frame_equal(
        checked.clean, expected.sort_values(["instrument", "timestamp"], ignore_index=True), check_exact=True
    )


SESSIONS = pd.bdate_range("2013-02-25", "2013-03-01").strftime("%Y-%m-%d").tolist()
prices = st.sampled_from([9.0, 10.0, 11.0, 0.0, -1.0, np.nan, np.inf])
rows = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "Z", ""]),
        st.sampled_from([*SESSIONS, "2013-03-02", "junk"]),
        prices,
        prices,
        prices,
        prices,
        st.sampled_from([0.0, 5.0, -5.0, np.nan]),
    ),
    max_size=12,
)


def is_good_alone(row: tuple) -> bool:
    """The contract of one row, written out."""
    instrument, session, opened, high, low, close, volume = row
    return (
        instrument in ("A", "B")
        and session in SESSIONS
        and all(0 < price < float("inf") for price in (opened, high, low, close))
        and low <= opened <= high
        and low <= close <= high
        and volume >= 0
    )


@settings(max_examples=200)
@given(rows)
def test_exactly_the_rows_that_are_good_and_not_contradicted_land_once(table: list[tuple]):
    priced = [row for row in table if not all(np.isnan(price) for price in row[2:6])]
    of_key: dict[tuple, list[tuple]] = {}
    for row in priced:
        of_key.setdefault((row[0], row[1]), []).append(row)
    expected = sorted(
        rows[0] for rows in of_key.values() if is_good_alone(rows[0]) and all(row == rows[0] for row in rows)
    )
    checked = check_bars(bars(*table), known={"A", "B"})
    landed = checked.clean.assign(timestamp=checked.clean["timestamp"].dt.strftime("%Y-%m-%d"))
    assert [tuple(row) for row in landed.to_numpy().tolist()] == expected
    assert bool(checked.faults) == any(row not in expected for row in priced)


def test_rows_alike_in_every_column_are_one_and_counted():
    checked = check_bars(bars(GOOD, but(timestamp="2013-03-01"), GOOD, GOOD))
    assert checked.clean["timestamp"].dt.day.tolist() == [28, 1]
    assert checked.faults == ()
    assert checked.mended == ((Mending.TWICE, 2, ("A 2013-02-28", "A 2013-02-28")),)


def test_a_row_without_any_price_is_no_bar_and_one_without_some_is_a_fault():
    none = but(timestamp="2013-03-01", open=None, high="", low=np.nan, close=None, volume=None)
    some = but(timestamp="2013-02-27", open=None, high=None, low=None)
    checked = check_bars(bars(GOOD, none, some))
    assert [(fault.rule, fault.session) for fault in checked.faults] == [(BarRule.PRICE, date(2013, 2, 27))]
    assert checked.mended == ((Mending.EMPTY, 1, ("A 2013-03-01",)),)
    assert len(checked.clean) == 1


@pytest.mark.parametrize(("by", "lands"), [(1e-16, True), (9e-7, True), (2e-6, False)])
def test_high_and_low_short_of_the_body_by_a_rounding_are_moved_to_it(by: float, lands: bool):
    high = check_bars(bars(but(high=11.0 * (1 - by), close=11.0)))
    low = check_bars(bars(but(low=10.0 * (1 + by), open=10.0)))
    assert [len(high.clean), len(low.clean)] == [lands, lands]
    if lands:
        assert high.clean["high"].tolist() == [11.0]
        assert low.clean["low"].tolist() == [10.0]


def test_rows_are_looked_up_only_where_there_is_a_fault():
    asked: list[list[int]] = []

    def raw(rows: np.ndarray) -> list[RawRow]:
        asked.append(rows.tolist())
        return [RawRow(5, "x.csv", {"volume": "many"}) for _ in rows]

    def judged(volume: float) -> CheckedBars:
        columns = {name: np.array([10.0]) for name in ("open", "high", "low", "close")} | {"volume": np.array([volume])}
        day = np.array(["2013-02-28"], dtype="datetime64[D]")
        return check_rows(BarRows(np.array([0]), np.array(["A"], dtype=object), day, {}, columns, raw))

    assert judged(5.0).faults == ()
    assert asked == []
    assert [str(fault) for fault in judged(np.inf).faults] == ["A 2013-02-28 volume=many, x.csv line 5"]
    assert [fault.said() for fault in judged(np.inf).faults] == ["volume not finite and >= 0 volume=many, x.csv line 5"]


def test_the_summary_counts_every_row_by_rule_and_shows_the_first_few():
    faults = (
        *(BarFault("A", date(2013, 2, day), BarRule.PRICE, "close=0", day) for day in range(1, 8)),
        BarFault("B", "junk", BarRule.DATE, "", None),
    )
    text = summarise(faults, first=4)
    assert text == (
        "8 faults in the bars. price not finite and positive: 7 (A 2013-02-01 close=0, line 1; "
        "A 2013-02-02 close=0, line 2; …). date not readable: 1 (B junk)."
    )
    assert summarise(()) == ""
