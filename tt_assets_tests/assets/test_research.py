"""`tt_features` and `tt_signal_scores` as they land, against the same figures written out in SQL window functions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
import pytest

from tt_assets.tables import metadata
from tt_assets_tests.conftest import INSTRUMENTS_OF_SAMPLE, settings_of_a_test
from tt_assets_tests.dagster_runs import landed_cells, query, run_job, stored

MARKET = ["tt_prices", "tt_features", "tt_signal_scores"]
FIRST, LAST = "2012-05-01", "2012-07-13"

RETURNS = """
WITH r AS (
    SELECT instrument, timestamp, close,
           close / lag(close) OVER (PARTITION BY instrument ORDER BY timestamp) - 1 AS r
    FROM tt_prices
), w AS (
    SELECT instrument, timestamp, close, r,
           stddev_samp(r) OVER ten AS vol_10, count(r) OVER ten AS n_10,
           stddev_samp(r) OVER twenty AS vol_20, count(r) OVER twenty AS n_20, avg(r) OVER twenty AS mean_r,
           avg(close) OVER twenty AS mean_close
    FROM r
    WINDOW ten AS (PARTITION BY instrument ORDER BY timestamp ROWS BETWEEN 9 PRECEDING AND CURRENT ROW),
           twenty AS (PARTITION BY instrument ORDER BY timestamp ROWS BETWEEN 19 PRECEDING AND CURRENT ROW)
)
"""
SECOND_FORMULA = {
    ("tt_features", "return_1"): "SELECT instrument, timestamp, r FROM w WHERE r IS NOT NULL",
    ("tt_features", "vol_10"): "SELECT instrument, timestamp, vol_10 FROM w WHERE n_10 = 10",
    ("tt_features", "vol_20"): "SELECT instrument, timestamp, vol_20 FROM w WHERE n_20 = 20",
    ("tt_signal_scores", "momentum_20d"): "SELECT instrument, timestamp, tanh(mean_r * 252) FROM w WHERE n_20 = 20",
    (
        "tt_signal_scores",
        "mean_reversion_20d",
    ): "SELECT instrument, timestamp, -tanh((close / mean_close - 1) / vol_20) FROM w WHERE n_20 = 20",
}
STORED = {
    "tt_features": "SELECT instrument, timestamp, value FROM tt_features WHERE feature = %s",
    "tt_signal_scores": "SELECT instrument, timestamp, score FROM tt_signal_scores WHERE signal_name = %s",
}

Values = dict[tuple[str, datetime], float]


@dataclass(frozen=True)
class Bulk:
    """What one range run through the three market tables left, and what SQL says it should be."""

    instance: dg.DagsterInstance
    run_id: str
    stored: dict[tuple[str, str], Values]
    in_sql: dict[tuple[str, str], Values]


@pytest.fixture(scope="module")
def bulk(postgres, tmp_path_factory) -> Iterator[Bulk]:
    with (
        settings_of_a_test(tmp_path_factory.mktemp("home"), TT_DATABASE_URL=postgres.adbc_uri()),
        dg.DagsterInstance.ephemeral() as instance,
    ):
        with postgres.connect() as connection:
            connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE")
        instance.add_dynamic_partitions("instrument", list(INSTRUMENTS_OF_SAMPLE))
        result = run_job(instance, MARKET, f"{FIRST}|AAPL", f"{LAST}|FB")
        assert result.success
        yield Bulk(
            instance,
            result.run_id,
            {name: _values(query(postgres, STORED[name[0]], name[1])) for name in SECOND_FORMULA},
            {name: _values(query(postgres, RETURNS + select)) for name, select in SECOND_FORMULA.items()},
        )


def _values(rows) -> Values:
    return {(instrument, timestamp): value for instrument, timestamp, value in rows}


@pytest.mark.parametrize("name", SECOND_FORMULA, ids="/".join)
def test_what_lands_equals_the_same_figure_written_in_sql(bulk, name):
    assert bulk.stored[name].keys() == bulk.in_sql[name].keys()
    assert len(bulk.stored[name]) > 100
    for key, value in bulk.stored[name].items():
        assert value == pytest.approx(bulk.in_sql[name][key], rel=1e-9, abs=1e-15), (name, key)


def test_the_first_value_of_an_instrument_waits_for_its_own_history_only(bulk):
    # Facebook's first bar is of 18 May 2012; 20 returns need 21 bars, the last of them of 18 June.
    fb = sorted(timestamp for instrument, timestamp in bulk.stored["tt_features", "vol_20"] if instrument == "FB")
    assert fb[0] == datetime(2012, 6, 18)


def test_every_cell_is_materialized_also_those_without_a_row_yet(bulk):
    features = landed_cells(bulk.instance, "tt_features", bulk.run_id)
    prices = landed_cells(bulk.instance, "tt_prices", bulk.run_id)
    assert features.keys() == prices.keys()
    assert features[f"{FIRST}|AAPL"]["dagster/row_count"] == 0  # no session before it was loaded
    assert features["2012-05-01|FB"]["dagster/row_count"] == 0  # not listed yet
    assert sum(said["dagster/row_count"] for said in prices.values()) == sum(
        1 for said in prices.values() if said["outcome"] == "loaded"
    )


@pytest.fixture
def filled(bulk, postgres, monkeypatch):
    """The tables as the bulk run left them; a test that takes rows away puts them back by running their cells again."""
    monkeypatch.setenv("TT_DATABASE_URL", postgres.adbc_uri())
    return postgres


def bits(database, table: str, where: str = "true") -> list[tuple]:
    """Rows with their doubles as text that tells every bit."""
    name, value = ("feature", "value") if table == "tt_features" else ("signal_name", "score")
    rows = query(database, f"SELECT instrument, timestamp, {name}, {value} FROM {table} WHERE {where} ORDER BY 1, 2, 3")
    return [(*row[:-1], row[-1].hex()) for row in rows]


def test_a_cell_made_alone_equals_the_same_cell_of_the_bulk_run_bit_for_bit(filled, bulk):
    before = {table: bits(filled, table) for table in MARKET[1:]}
    for cell in ("2012-07-13|AAPL", "2012-05-29|MSFT", "2012-06-18|FB", "2012-05-02|IBM"):
        day, name = cell.split("|")
        where = f"instrument = '{name}' AND timestamp = '{day}'"
        assert bits(filled, "tt_features", where)
        with filled.connect() as connection:
            for table in MARKET[1:]:
                connection.execute(f"DELETE FROM {table} WHERE {where}")
        assert run_job(bulk.instance, MARKET[1:], cell).success
        assert {table: bits(filled, table) for table in MARKET[1:]} == before


def test_running_a_line_of_cells_again_gives_the_same_rows_and_digests(filled, bulk):
    before = {table: stored(filled, table) for table in MARKET}
    digests = {table: landed_cells(bulk.instance, table, bulk.run_id) for table in MARKET}
    again = run_job(bulk.instance, MARKET, "2012-06-01|AAPL", "2012-06-29|AAPL")
    assert {table: stored(filled, table) for table in MARKET} == before
    for table in MARKET:
        rerun = landed_cells(bulk.instance, table, again.run_id)
        assert len(rerun) == 21
        assert {key: said["digest"] for key, said in rerun.items()} == {
            key: digests[table][key]["digest"] for key in rerun
        }


def test_rows_up_to_a_session_are_identical_when_every_later_bar_is_gone(filled, bulk):
    cut = "2012-06-20"
    before = {table: bits(filled, table, f"timestamp BETWEEN '2012-06-11' AND '{cut}'") for table in MARKET[1:]}
    later = query(filled, "SELECT * FROM tt_prices WHERE timestamp > %s", cut)
    try:
        with filled.connect() as connection:
            connection.execute("DELETE FROM tt_prices WHERE timestamp > %s", [cut])
            for table in MARKET[1:]:
                connection.execute(f"DELETE FROM {table} WHERE timestamp >= '2012-06-11'")
        assert run_job(bulk.instance, MARKET[1:], "2012-06-11|AAPL", f"{cut}|FB").success
        assert {table: bits(filled, table, "timestamp >= '2012-06-11'") for table in MARKET[1:]} == before
        assert all(before.values())
    finally:
        with filled.connect() as connection:
            connection.cursor().executemany("INSERT INTO tt_prices VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", later)


def test_scores_lie_in_their_bounds_and_say_how_they_were_made(filled):
    rows = query(filled, "SELECT score, meta_json FROM tt_signal_scores")
    assert rows
    assert all(-1 <= score <= 1 for score, _ in rows)
    for meta in {meta for _, meta in rows}:
        assert {"lookback", "inputs", "method"} <= json.loads(meta).keys()
