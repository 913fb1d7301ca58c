"""The look-ups by dimension give exactly what Dagster's own mapping of the same definition gives."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import dagster as dg
import exchange_calendars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_assets.grid.horizon import Horizon
from tt_assets.grid.keys import DATE, INSTRUMENT
from tt_assets.grid.lineage import lookback, windows_behind
from tt_assets.grid.partitions import (
    instrument_partitions,
    quarter_partitions,
    session_partitions,
    traded_partitions,
)
from tt_assets.settings import DateGrain

SPAN = Horizon(date(2011, 1, 3), date(2012, 6, 29))
NAMES = ["MSFT", "T", "AA", "A"]
TRADED = [*NAMES, "tech"]
SESSIONS = dg.MultiPartitionsDefinition(
    {DATE: session_partitions(SPAN, DateGrain.SESSION), INSTRUMENT: instrument_partitions}
)
MONTHS = dg.MultiPartitionsDefinition(
    {DATE: session_partitions(SPAN, DateGrain.MONTH), INSTRUMENT: instrument_partitions}
)
YEARS = dg.MultiPartitionsDefinition(
    {DATE: session_partitions(SPAN, DateGrain.YEAR), INSTRUMENT: instrument_partitions}
)
WINDOWS = dg.MultiPartitionsDefinition({DATE: quarter_partitions(SPAN, 3), INSTRUMENT: traded_partitions})

SESSION_KEYS = list(SESSIONS.get_partitions_def_for_dimension(DATE).get_partition_keys())
MONTH_KEYS = list(MONTHS.get_partitions_def_for_dimension(DATE).get_partition_keys())
YEAR_KEYS = list(YEARS.get_partitions_def_for_dimension(DATE).get_partition_keys())
WINDOW_KEYS = list(WINDOWS.get_partitions_def_for_dimension(DATE).get_partition_keys())

quick = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def store() -> Iterable[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("instrument", NAMES)
        instance.add_dynamic_partitions("traded", TRADED)
        yield instance


def upstream_of(mapping: dg.MultiPartitionMapping, cells, downstream, upstream, store) -> set[str]:
    keys = [dg.MultiPartitionKey({DATE: day, INSTRUMENT: name}) for day, name in cells]
    subset = downstream.empty_subset().with_partition_keys(keys)
    result = mapping.get_upstream_mapped_partitions_result_for_partitions(
        subset, downstream, upstream, dynamic_partitions_store=store
    )
    assert not list(result.required_but_nonexistent_subset.get_partition_keys())
    return {str(key) for key in result.partitions_subset.get_partition_keys()}


def dagsters_own(mapping: dg.MultiPartitionMapping) -> dg.MultiPartitionMapping:
    """The same definition with nothing of ours around it."""
    assert type(mapping) is not dg.MultiPartitionMapping
    return dg.MultiPartitionMapping(mapping.downstream_mappings_by_upstream_dimension)


@pytest.mark.parametrize("mapping", [lookback(21, DateGrain.SESSION), windows_behind(-3, -1)])
def test_the_daemon_reads_a_mapping_as_dagsters_own(mapping):
    """A code location tells what it holds by names of classes."""
    read = dg.deserialize_value(dg.serialize_value(mapping))
    assert type(read) is dg.MultiPartitionMapping
    assert read == mapping


def some(days: list[str], names: list[str]) -> st.SearchStrategy[set[tuple[str, str]]]:
    return st.sets(st.tuples(st.sampled_from(days), st.sampled_from(names)), min_size=1, max_size=6)


@quick
@given(cells=some(SESSION_KEYS[:40] + SESSION_KEYS[-40:], NAMES), sessions=st.integers(0, 25))
def test_looking_back_over_sessions_is_what_dagster_says(store, cells, sessions):
    mapping = lookback(sessions, DateGrain.SESSION)
    assert upstream_of(mapping, cells, SESSIONS, SESSIONS, store) == upstream_of(
        dagsters_own(mapping), cells, SESSIONS, SESSIONS, store
    )


@quick
@given(cells=some(MONTH_KEYS, NAMES), sessions=st.integers(0, 70))
def test_looking_back_over_months_is_what_dagster_says(store, cells, sessions):
    mapping = lookback(sessions, DateGrain.MONTH)
    assert upstream_of(mapping, cells, MONTHS, MONTHS, store) == upstream_of(
        dagsters_own(mapping), cells, MONTHS, MONTHS, store
    )


@quick
@given(cells=some(YEAR_KEYS, NAMES), sessions=st.integers(0, 500))
def test_looking_back_over_years_is_what_dagster_says(store, cells, sessions):
    mapping = lookback(sessions, DateGrain.YEAR)
    assert upstream_of(mapping, cells, YEARS, YEARS, store) == upstream_of(
        dagsters_own(mapping), cells, YEARS, YEARS, store
    )


@settings(quick, max_examples=6)
@given(
    cells=some(WINDOW_KEYS, TRADED),
    span=st.tuples(st.integers(-3, 0), st.integers(-3, 0)).map(sorted),
    upstream=st.sampled_from((SESSIONS, MONTHS, YEARS)),
)
def test_the_windows_behind_are_what_dagster_says(store, cells, span, upstream):
    mapping = windows_behind(*span)
    assert upstream_of(mapping, cells, WINDOWS, upstream, store) == upstream_of(
        dagsters_own(mapping), cells, WINDOWS, upstream, store
    )


def test_a_look_back_counts_sessions_of_the_exchange_over_holidays(store):
    xnys = exchange_calendars.get_calendar("XNYS", start="2010-01-01", end="2013-01-01")
    truth = xnys.sessions_window("2012-01-18", -22).strftime("%Y-%m-%d")
    read = upstream_of(lookback(21, DateGrain.SESSION), {("2012-01-18", "T")}, SESSIONS, SESSIONS, store)
    assert read == {f"{day}|T" for day in truth}
    assert "2012-01-16|T" not in read  # Martin Luther King's day


def test_a_look_back_is_clipped_at_the_first_session(store):
    read = upstream_of(lookback(21, DateGrain.SESSION), {(SESSION_KEYS[2], "T")}, SESSIONS, SESSIONS, store)
    assert read == {f"{day}|T" for day in ("2011-01-03", "2011-01-04", "2011-01-05")}


def test_enough_months_are_read_to_hold_the_sessions_of_any_look_back():
    xnys = exchange_calendars.get_calendar("XNYS", start="1990-01-01", end="2025-12-31")
    months = xnys.sessions.to_period("M").value_counts()
    fewest = months[(months.index > "1990-01") & (months.index < "2025-12")].min()
    for sessions in (1, 15, 16, 21, 30, 31, 60):
        (steps,) = {
            -mapping.partition_mapping.start_offset
            for name, mapping in lookback(sessions, DateGrain.MONTH).downstream_mappings_by_upstream_dimension.items()
            if name == DATE
        }
        assert steps * fewest >= sessions


def test_an_instrument_reads_itself_only_and_a_traded_key_reads_every_instrument(store):
    market = upstream_of(lookback(1, DateGrain.SESSION), {("2012-01-18", "T")}, SESSIONS, SESSIONS, store)
    agent = upstream_of(windows_behind(-1, -1), {("2012-04-01", "tech")}, WINDOWS, SESSIONS, store)
    assert {key[11:] for key in market} == {"T"}
    assert {key[11:] for key in agent} == set(NAMES)


def test_training_reads_nothing_of_the_window_it_trades(store):
    read = upstream_of(windows_behind(-3, -1), {("2012-04-01", "T")}, WINDOWS, SESSIONS, store)
    days = sorted({key[:10] for key in read})
    assert days[-1] == "2012-03-30"
    assert days[0] <= "2011-07-01"
