"""By hand from a notebook: what is written is what was given, nothing beside it changes, and Dagster is told."""

from __future__ import annotations

import threading
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

import tt_assets
from tt_assets import population as tt
from tt_assets.commands.signals_import import ScoresFileError, import_scores
from tt_assets.errors import UserError
from tt_assets.market.errors import BarsFileError
from tt_assets.notebook.reports_to_dagster import NotReported
from tt_assets.postgres import database as database_module
from tt_assets.postgres.copy_format import FrameMismatch
from tt_assets.postgres.database import Database, DatabaseUnreachable
from tt_assets.postgres.episode_store import EpisodeHeader, EpisodeStore
from tt_assets.research.registry import RegistryError
from tt_assets.runtime.platform import settle_dead_runs
from tt_assets_tests.dagster_runs import landed_cells, query, run_job, stored

MAY = ("2012-05-14", "2012-05-18")
BASIC = ["return_1", "vol_10", "vol_20"]


@pytest.fixture
def engine(connected: Database) -> Engine:
    return connected.engine()


@pytest.fixture
def bars(sample_bars: pd.DataFrame) -> pd.DataFrame:
    """Bars of AAPL and IBM in the second quarter of 2012."""
    inside = sample_bars["timestamp"].between("2012-04-02", "2012-06-29")
    return sample_bars[inside & sample_bars["instrument"].isin(["AAPL", "IBM"])].reset_index(drop=True)


def week(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["timestamp"].between(*MAY)]


def scores(*rows: tuple, **more: object) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["instrument", "timestamp", "signal_name", "score"]).assign(**more)


# Bars.


def test_bars_by_hand_come_back_bit_for_bit(engine, bars):
    shuffled = bars.sample(frac=1, random_state=1).assign(note="left out")
    written = tt.upsert_price_bars(engine, shuffled)
    assert (written.rows, written.cells) == (len(bars), len(bars))
    read = tt.fetch_prices(engine, ["AAPL", "IBM"], "2012-04-02", "2012-06-29")
    pd.testing.assert_frame_equal(read, bars.astype({"volume": "float64"}), check_exact=True)


def test_only_the_given_bars_change(engine, connected, bars):
    tt.upsert_price_bars(engine, bars)
    before = stored(connected, "tt_prices")
    restated = week(bars[bars["instrument"] == "IBM"]).assign(volume=1.0)
    tt.upsert_price_bars(engine, restated.iloc[[0, 2]])
    after = stored(connected, "tt_prices")
    changed = {row[:2] for row, old in zip(after, before, strict=True) if row != old}
    assert changed == {("IBM", datetime(2012, 5, 14)), ("IBM", datetime(2012, 5, 16))}


def test_one_bad_bar_and_nothing_is_written(engine, connected, bars):
    bad = bars.copy()
    bad.loc[3, "high"] = bad.loc[3, "low"] / 2
    with pytest.raises(tt.RowsRefused, match=r"nothing was written.*high below low: 1 \(AAPL 2012-04-05"):
        tt.upsert_price_bars(engine, bad)
    assert stored(connected, "tt_prices") == []


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ({"instrument": "TSLA"}, "instrument not on the watchlist: 1"),
        ({"timestamp": pd.Timestamp("2012-05-19")}, "no session on that day: 1"),
        ({"timestamp": pd.Timestamp("2013-03-04")}, "outside the partitions 2005-03-01 to 2013-03-01: 1"),
        ({"timestamp": pd.Timestamp("2005-02-28")}, "outside the partitions 2005-03-01 to 2013-03-01: 1"),
        ({"timestamp": pd.Timestamp("2035-12-03")}, "session not closed yet: 1"),
        ({"close": np.nan}, "price not finite and positive: 1"),
        ({"volume": -1.0}, "volume not finite"),
    ],
)
def test_a_bar_that_breaks_a_rule_is_named(engine, bars, cell, complaint):
    with pytest.raises(tt.RowsRefused) as refused:
        tt.upsert_price_bars(engine, bars.iloc[:1].assign(**cell))
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bars_without_a_column_are_refused(engine, bars):
    with pytest.raises(BarsFileError, match="volume"):
        tt.upsert_price_bars(engine, bars.drop(columns="volume"))


# Features.


def test_basic_features_are_pandas_own(engine, bars):
    wide = tt.compute_basic_features(bars)
    assert list(wide.columns) == ["instrument", "timestamp", *BASIC]
    for name, own in bars.groupby("instrument"):
        closes = own.set_index("timestamp")["close"]
        mine = wide[wide["instrument"] == name].set_index("timestamp")
        returns = closes.pct_change()
        np.testing.assert_array_equal(mine["return_1"], returns)
        np.testing.assert_allclose(mine["vol_10"], returns.rolling(10).std(), rtol=1e-12)
        np.testing.assert_allclose(mine["vol_20"], returns.rolling(20).std(), rtol=1e-12)


def test_basic_features_of_bars_without_history_are_undefined_and_never_missing_rows(bars):
    wide = tt.compute_basic_features(bars.iloc[:1])
    assert wide.shape == (1, 5)
    assert wide[BASIC].isna().all(axis=None)


def test_wide_and_long_features_write_the_same_rows(engine, connected, bars):
    wide = tt.compute_basic_features(bars)
    written = tt.upsert_features(engine, wide, BASIC)
    assert written.rows == written.inserted == int(wide[BASIC].notna().sum().sum())
    assert written.cells == len(wide)
    first = stored(connected, "tt_features")
    long = wide.melt(["instrument", "timestamp"], BASIC, "feature", "value").sample(frac=1, random_state=2)
    tt.upsert_features(engine, long, BASIC)
    assert stored(connected, "tt_features") == first


def test_only_the_named_features_of_the_given_cells_change(engine, connected, bars):
    tt.upsert_features(engine, tt.compute_basic_features(bars), BASIC)
    before = {row[:3]: row[3] for row in stored(connected, "tt_features")}
    given = week(tt.compute_basic_features(bars))
    given = given[given["instrument"] == "AAPL"].assign(vol_10=[1.0, np.nan, 3.0, 4.0, 5.0], vol_20=99.0)
    undeleted = tt.upsert_features(engine, given, "vol_10")
    assert (undeleted.inserted, undeleted.changed, undeleted.deleted) == (0, 4, 0)
    assert {row[:3] for row in stored(connected, "tt_features")} == set(before)
    written = tt.upsert_features(engine, given, "vol_10", delete_undefined=True)
    assert (written.inserted, written.changed, written.deleted) == (0, 0, 1)
    after = {row[:3]: row[3] for row in stored(connected, "tt_features")}
    gone = ("AAPL", datetime(2012, 5, 15), "vol_10")
    assert set(before) - set(after) == {gone}
    changed = {key for key, value in after.items() if before[key] != value}
    assert changed == {("AAPL", datetime(2012, 5, day), "vol_10") for day in (14, 16, 17, 18)}
    assert after["AAPL", datetime(2012, 5, 17), "vol_10"] == 4.0


def test_a_feature_that_is_undefined_everywhere_leaves_no_row(engine, connected, bars):
    tt.upsert_features(engine, tt.compute_basic_features(bars), BASIC)
    written = tt.upsert_features(engine, bars[["instrument", "timestamp"]].assign(vol_10=np.nan), ["vol_10"])
    assert (written.rows, written.deleted) == (0, 0)
    nothing = bars[["instrument", "timestamp"]].assign(vol_10=np.nan)
    written = tt.upsert_features(engine, nothing, ["vol_10"], delete_undefined=True)
    assert written.rows == 0
    assert written.deleted > 0
    assert query(connected, "SELECT DISTINCT feature FROM tt_features ORDER BY 1") == [("return_1",), ("vol_20",)]


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ({"vol_10": np.inf}, r"value is infinite: 2 \(AAPL 2012-04-02 feature=vol_10 value=inf"),
        ({"vol_10": "much"}, "value is no number: 2"),
        ({"instrument": "TSLA"}, "instrument not on the watchlist: 2"),
        ({"timestamp": "2012-05-19"}, "no session on that day: 2"),
        ({"timestamp": "yesterday"}, r"date not readable: 2 \(AAPL yesterday"),
        ({"timestamp": pd.Timestamp("2012-05-14", tz="UTC")}, "timestamp has a time zone: 2"),
        ({"timestamp": "2012-05-14"}, "key twice: 2"),
    ],
)
def test_a_feature_row_that_breaks_a_rule_is_named_and_nothing_is_written(engine, connected, bars, cells, complaint):
    frame = bars.iloc[:2][["instrument", "timestamp"]].assign(vol_10=0.5)
    with pytest.raises(tt.RowsRefused, match=complaint):
        tt.upsert_features(engine, frame.assign(**cells), ["vol_10"])
    assert stored(connected, "tt_features") == []


@pytest.mark.parametrize("name", ["close", "momentum_20d", "10 vol", ""])
def test_a_feature_may_not_bear_the_name_of_something_else(engine, bars, name):
    with pytest.raises(RegistryError):
        tt.upsert_features(engine, bars[["instrument", "timestamp"]].assign(**{name: 0.5}), [name])


def test_features_need_the_columns_they_are_named_after(engine, bars):
    with pytest.raises(FrameMismatch, match="lack vol_20"):
        tt.upsert_features(engine, bars[["instrument", "timestamp"]].assign(vol_10=0.5), ["vol_10", "vol_20"])
    long = bars[["instrument", "timestamp"]].assign(feature="vol_20", value=1.0)
    with pytest.raises(tt.RowsRefused, match="feature is none of the names"):
        tt.upsert_features(engine, long, ["vol_10"])
    with pytest.raises(UserError, match="names is empty"):
        tt.upsert_features(engine, long, [])


# Scores.


def test_a_score_replaces_its_own_signal_only(engine, connected):
    tt.upsert_signal_scores(
        engine, scores(("AAPL", "2012-05-14", "analysts", 0.5), ("AAPL", "2012-05-14", "news", -0.25))
    )
    tt.upsert_signal_scores(engine, scores(("AAPL", date(2012, 5, 14), "news", 1)), report=False)
    assert [row[2:4] for row in stored(connected, "tt_signal_scores")] == [("analysts", 0.5), ("news", 1.0)]


def test_a_score_says_how_it_was_made(engine, connected):
    said = scores(("AAPL", "2012-05-14", "analysts", 0.5), meta_json=[{"method": "mean of σ", "inputs": ["x"]}])
    tt.upsert_signal_scores(engine, said)
    tt.upsert_signal_scores(engine, scores(("IBM", "2012-05-14", "analysts", 0.5)))
    methods = "SELECT instrument, meta_json::json ->> 'method' FROM tt_signal_scores ORDER BY 1"
    assert query(connected, methods) == [("AAPL", "mean of σ"), ("IBM", "by hand")]


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ({"score": 1.5}, r"score is no number in \[-1, 1\]: 1 \(AAPL 2012-05-14 signal_name=news score=1.5\)"),
        ({"score": np.nan}, "score is no number"),
        ({"score": "high"}, "score=high"),
        ({"meta_json": "not json"}, "meta_json is no JSON object: 1"),
        ({"meta_json": "[1]"}, "meta_json is no JSON object: 1"),
        ({"meta_json": '{"a": NaN}'}, "meta_json is no JSON object: 1"),
        ({"meta_json": None}, "meta_json is no JSON object: 1"),
        ({"signal_name": ""}, "signal_name is missing: 1"),
        ({"instrument": None}, "instrument missing: 1"),
    ],
)
def test_a_score_that_breaks_a_rule_is_named_and_nothing_is_written(engine, connected, cells, complaint):
    good = scores(("IBM", "2012-05-14", "news", 0.1), meta_json="{}")
    bad = scores(("AAPL", "2012-05-14", "news", 0.1), meta_json="{}").assign(**cells)
    with pytest.raises(tt.RowsRefused, match=complaint):
        tt.upsert_signal_scores(engine, pd.concat([good, bad]))
    assert stored(connected, "tt_signal_scores") == []


def test_a_signal_may_not_be_named_like_a_feature(engine):
    with pytest.raises(RegistryError, match="vol_20"):
        tt.upsert_signal_scores(engine, scores(("AAPL", "2012-05-14", "vol_20", 0.5)))


def test_two_writers_of_one_cell_leave_the_rows_of_one_of_them(engine, connected, bars):
    cells = bars[["instrument", "timestamp"]]
    barrier = threading.Barrier(4)

    def write(value: float) -> None:
        barrier.wait()
        for _ in range(5):
            tt.upsert_features(engine, cells.assign(vol_10=value, vol_20=value), ["vol_10", "vol_20"], report=False)

    writers = [threading.Thread(target=write, args=(float(number),)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(query(connected, "SELECT DISTINCT value FROM tt_features")) == 1
    assert len(stored(connected, "tt_features")) == 2 * len(cells)


# What Dagster is told.


def test_bars_by_hand_and_bars_of_a_run_look_the_same_to_dagster(postgres_instance, engine, bars):
    given = week(bars)
    assert run_job(postgres_instance, ["tt_prices"], f"{MAY[0]}|AAPL", f"{MAY[1]}|IBM").success
    by_run = landed_cells(postgres_instance, "tt_prices")
    written = tt.upsert_price_bars(engine, given)
    by_hand = landed_cells(postgres_instance, "tt_prices", run_id="")
    assert written.reported == len(by_hand) == 10
    assert set(by_hand) == {
        f"{stamp:%Y-%m-%d}|{name}" for name, stamp in zip(given["instrument"], given["timestamp"], strict=True)
    }
    for key, told in by_hand.items():
        assert told["outcome"] == "written by hand"
        assert (told["dagster/row_count"], told["digest"]) == (1, by_run[key]["digest"])


def test_a_cell_written_by_hand_counts_as_materialized_under_both_dimensions(postgres_instance, engine, bars):
    tt.upsert_price_bars(engine, week(bars).iloc[:1])
    key = dg.AssetKey("tt_prices")
    assert postgres_instance.get_materialized_partitions(key) == {"2012-05-14|AAPL"}
    event = postgres_instance.get_latest_materialization_event(key)
    assert event.asset_materialization.tags["dagster/partition/instrument"] == "AAPL"
    assert event.asset_materialization.tags["dagster/data_version"] == (
        event.asset_materialization.metadata["digest"].value
    )


def test_a_report_counts_all_rows_of_a_cell_not_only_those_by_hand(postgres_instance, engine, bars):
    tt.upsert_features(engine, week(tt.compute_basic_features(bars)), BASIC)
    whole = landed_cells(postgres_instance, "tt_features")
    given = week(tt.compute_basic_features(bars)).iloc[:1]
    tt.upsert_features(engine, given, ["vol_10"])
    again = landed_cells(postgres_instance, "tt_features")
    assert again["2012-05-14|AAPL"]["dagster/row_count"] == 3
    (said,) = {told.pop("whole_table") for told in again.values() if "whole_table" in told}
    assert said.startswith("30 rows, 2012-05-14 to 2012-05-18, 10 partitions with rows")
    once = {"whole_table", "dagster/table_name"}  # said of all of them, on the event that came last
    assert [{name: value for name, value in told.items() if name not in once} for told in again.values()] == [
        {name: value for name, value in told.items() if name not in once} for told in whole.values()
    ]
    assert again.keys() == whole.keys()
    tt.upsert_features(engine, given.assign(vol_10=np.nan), ["vol_10"], delete_undefined=True)
    assert landed_cells(postgres_instance, "tt_features")["2012-05-14|AAPL"]["dagster/row_count"] == 2


def test_month_partitions_are_reported_as_they_stand_whole(postgres_instance, engine, bars, monkeypatch):
    monkeypatch.setenv("TT_DATE_GRAIN", "month")
    tt.upsert_price_bars(engine, bars)
    may = int((bars["timestamp"].dt.month == 5).sum()) // 2
    written = tt.upsert_price_bars(engine, week(bars).iloc[:2])
    assert (written.cells, written.reported) == (2, 1)
    told = landed_cells(postgres_instance, "tt_prices")
    assert set(told) == {f"2012-0{month}-01|{name}" for month in (4, 5, 6) for name in ("AAPL", "IBM")}
    assert told["2012-05-01|AAPL"]["dagster/row_count"] == may == 22


def test_thousands_of_cells_are_stored_in_batches(postgres_instance, engine, sample_bars):
    batches: list[int] = []
    storage_type = type(postgres_instance.event_log_storage)
    single, many = storage_type.store_event, storage_type._store_asset_event
    patch = pytest.MonkeyPatch()
    patch.setattr(storage_type, "store_event", lambda self, event: batches.append(1) or single(self, event))
    patch.setattr(
        storage_type, "_store_asset_event", lambda self, *arguments: batches.append(0) or many(self, *arguments)
    )
    with patch.context():
        written = tt.upsert_price_bars(engine, sample_bars)
    patch.undo()
    assert written.reported == len(sample_bars)
    assert len(batches) == -(-len(sample_bars) // 1000)
    assert len(postgres_instance.get_materialized_partitions(dg.AssetKey("tt_prices"))) == len(sample_bars)


def test_an_unwanted_report_is_not_made_by_the_call_but_by_the_next_command(postgres_instance, connected, engine, bars):
    assert tt.upsert_price_bars(engine, week(bars), report=False).reported == 0
    assert landed_cells(postgres_instance, "tt_prices") == {}
    settle_dead_runs(postgres_instance, connected)
    assert len(landed_cells(postgres_instance, "tt_prices")) == 10


def test_where_dagster_was_never_set_up_rows_land_unreported(engine, connected, bars):
    assert tt.upsert_price_bars(engine, week(bars)).reported == 0
    assert len(stored(connected, "tt_prices")) == 10


def test_rows_of_another_database_are_not_reported(postgres_instance, connected, engine, bars):
    with connected.named("postgres").connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS tt_scratch")
        connection.execute("CREATE DATABASE tt_scratch TEMPLATE template0")
    from tt_assets.postgres import schema

    scratch = connected.named("tt_scratch")
    schema.upgrade(scratch)
    assert tt.upsert_price_bars(scratch.engine(), week(bars)).reported == 0
    assert landed_cells(postgres_instance, "tt_prices") == {}
    assert (len(stored(scratch, "tt_prices")), stored(connected, "tt_prices")) == (10, [])


def test_a_new_instrument_of_the_watchlist_gets_a_key(postgres_instance, engine, bars, tmp_path, monkeypatch):
    watchlist = tmp_path / "watchlist.csv"
    watchlist.write_text("AAPL,GOOG,IBM,MSFT,FB,NEW\n")
    monkeypatch.setenv("TT_WATCHLIST", str(watchlist))
    tt.upsert_price_bars(engine, week(bars).iloc[:1].assign(instrument="NEW"))
    assert postgres_instance.get_dynamic_partitions("instrument")[-1] == "NEW"
    assert postgres_instance.get_materialized_partitions(dg.AssetKey("tt_prices")) == {"2012-05-14|NEW"}


# Engines.


def test_the_engine_of_the_settings_finds_the_tables_and_dagster(postgres_instance, bars):
    assert tt.upsert_price_bars(tt.get_engine(), week(bars)).reported == 10


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_an_engine_of_ones_own_reaches_the_same_tables(postgres_instance, connected, bars, driver):
    own = create_engine(make_url(connected.engine().url).set(drivername=driver))
    try:
        assert tt.upsert_price_bars(own, week(bars)).reported == 10
    finally:
        own.dispose()
    assert len(stored(connected, "tt_prices")) == 10


def test_an_engine_that_is_no_postgres_is_refused(bars):
    with pytest.raises(UserError, match=r"sqlite.*get_engine"):
        tt.upsert_price_bars(create_engine("sqlite://"), bars)


def test_an_engine_without_a_server_says_so_without_the_password(bars):
    lost = create_engine(make_url("postgresql+psycopg://someone@127.0.0.1:1/tt").set(password="secret"))
    with pytest.raises(DatabaseUnreachable) as refused:
        tt.fetch_prices(lost)
    assert "secret" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)


# Episodes.

SESSIONS = pd.to_datetime(["2012-04-02", "2012-04-03", "2012-04-04", "2012-04-05"])
WORTH = np.array([10_000.0, 11_000.0, 9_900.0, 10_395.0])


def filled(engine: Engine, traded: str = "AAPL", **options: object) -> int:
    """An open episode with weights 0.5, 0.7, 0.1 of AAPL and four points of equity."""
    episode = tt.create_episode(engine, traded, "2012-04-02", {"note": "manual"}, **options)
    curve = pd.DataFrame({"episode_id": episode, "timestamp": SESSIONS, "net_worth": WORTH})
    tt.insert_equity_point(engine, curve)
    for session, weight in zip(SESSIONS, (0.5, 0.7, 0.1), strict=False):
        row = {"episode_id": episode, "timestamp": session}
        tt.insert_target_weights(
            engine,
            [
                row | {"instrument": "AAPL", "target_weight": weight},
                row | {"instrument": "CASH", "target_weight": 1 - weight},
            ],
        )
        tt.insert_action(engine, episode_id=episode, timestamp=session.date(), instrument="AAPL", action_value=1)
        tt.insert_reward(engine, episode_id=episode, timestamp=str(session.date()), reward_value=-0.5)
    return episode


def test_an_episode_by_hand_gets_the_figures_of_its_rows(engine, connected):
    episode = filled(engine)
    summary = tt.finalize_episode(engine, episode)
    returns = np.array([0.1, -0.1, 0.05])
    assert summary.max_drawdown == pytest.approx(0.1)
    assert summary.sharpe_ratio == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))
    assert summary.turnover == pytest.approx((0.5 + 0.2 + 0.6) / 3)
    ((window, traded, strategy, seed, end, reason),) = query(
        connected, "SELECT window_start, instrument, strategy, seed, end_time, stop_reason FROM tt_episode"
    )
    assert (window, traded, strategy, seed) == (date(2012, 4, 1), "AAPL", "hand", 0)
    assert (end, reason) == (datetime(2012, 4, 5), "evaluation_complete")
    for table, count in (("tt_equity_curve", 4), ("tt_target_weights", 6), ("tt_action", 3), ("tt_reward", 3)):
        assert query(connected, f"SELECT count(*) FROM {table} WHERE episode_id = %s", episode) == [(count,)]


def test_given_figures_are_stored_as_given(engine):
    summary = tt.finalize_episode(
        engine,
        filled(engine),
        stop_reason="terminated",
        end_time="2012-04-09",
        max_drawdown=0.2,
        sharpe_ratio=-1,
        turnover=0,
    )
    row = tt_assets.read("tt_episode").iloc[0]
    assert (row["stop_reason"], row["end_time"]) == ("terminated", pd.Timestamp("2012-04-09"))
    assert (row["max_drawdown"], row["sharpe_ratio"], row["turnover"]) == (0.2, -1.0, 0.0)
    assert summary.episode_id == row["episode_id"]


def test_an_episode_is_reported_when_it_is_closed_and_not_before(postgres_instance, engine):
    episode = filled(engine, traded="sample")
    tables = ("tt_episode", "tt_equity_curve", "tt_target_weights", "tt_action", "tt_reward")
    assert all(landed_cells(postgres_instance, table) == {} for table in tables)
    tt.finalize_episode(engine, episode)
    counts = {
        table: [(key, told["dagster/row_count"]) for key, told in landed_cells(postgres_instance, table).items()]
        for table in tables
    }
    key = "2012-04-01|sample"
    assert counts == {
        "tt_episode": [(key, 1)],
        "tt_equity_curve": [(key, 4)],
        "tt_target_weights": [(key, 6)],
        "tt_action": [(key, 3)],
        "tt_reward": [(key, 3)],
    }
    assert landed_cells(postgres_instance, "tt_order") == {}


def test_the_same_episode_again_replaces_itself_with_the_same_digest(postgres_instance, engine, connected):
    tt.finalize_episode(engine, filled(engine))
    first = {table: landed_cells(postgres_instance, table) for table in ("tt_episode", "tt_target_weights")}
    tt.finalize_episode(engine, filled(engine))
    assert {table: landed_cells(postgres_instance, table) for table in first} == first
    assert query(connected, "SELECT count(*) FROM tt_episode") == [(1,)]
    assert query(connected, "SELECT count(*) FROM tt_equity_curve") == [(4,)]


def test_an_episode_by_hand_replaces_no_other(engine, connected):
    header = EpisodeHeader(
        window_start=date(2012, 4, 1),
        instrument="AAPL",
        strategy="momentum",
        seed=0,
        policy_id=None,
        start_time=datetime(2012, 4, 2),
        config_json="{}",
    )
    (other,) = EpisodeStore(connected).open([], [header])
    one, two = filled(engine), filled(engine, seed=1)
    again = filled(engine)
    left = query(connected, "SELECT id, strategy, seed FROM tt_episode ORDER BY id")
    assert left == [(other, "momentum", 0), (two, "hand", 1), (again, "hand", 0)]
    assert one not in (other, two, again)


def test_a_finished_episode_takes_no_more_rows(engine, connected):
    episode = filled(engine)
    tt.finalize_episode(engine, episode)
    with pytest.raises(tt.RowsRefused, match="no such episode, or a finished one: 1"):
        tt.insert_reward(engine, episode_id=episode, timestamp="2012-04-09", reward_value=1.0)
    with pytest.raises(UserError, match="is finished since its session 2012-04-05"):
        tt.finalize_episode(engine, episode)
    with pytest.raises(UserError, match=r"no row 999.*create_episode"):
        tt.finalize_episode(engine, 999)
    assert query(connected, "SELECT count(*) FROM tt_reward") == [(3,)]


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ({"episode_id": 999}, "no such episode"),
        ({"episode_id": 1.5}, "no such episode"),
        ({"timestamp": "2012-04-06"}, "no session on that day"),
        ({"timestamp": "2012-07-02"}, "outside the episode, 2012-04-02 to the day before 2012-07-01"),
        ({"timestamp": "2012-03-30"}, "outside the episode"),
        ({"timestamp": datetime(2012, 4, 9, 16)}, "timestamp has a time of day"),
        ({"instrument": "IBM"}, "instrument is none of AAPL"),
        ({"instrument": "CASH"}, "instrument is none of AAPL"),
        ({"timestamp": "2012-04-02"}, "already exists"),
    ],
)
def test_an_action_that_breaks_a_rule_is_named_and_nothing_is_written(engine, connected, cells, complaint):
    episode = filled(engine)
    good = {"episode_id": episode, "timestamp": "2012-04-10", "instrument": "AAPL", "action_value": 0.5}
    with pytest.raises(tt.RowsRefused, match=complaint):
        tt.insert_action(engine, [good, good | {"timestamp": "2012-04-09"} | cells])
    assert query(connected, "SELECT count(*) FROM tt_action") == [(3,)]


def test_an_undefined_value_or_a_missing_column_is_refused(engine, connected):
    episode = filled(engine)
    for value in (np.nan, np.inf):
        with pytest.raises(FrameMismatch, match=r"tt_reward\.reward_value"):
            tt.insert_reward(engine, episode_id=episode, timestamp="2012-04-09", reward_value=value)
    with pytest.raises(FrameMismatch, match="lack net_worth"):
        tt.insert_equity_point(engine, episode_id=episode, timestamp="2012-04-09")
    with pytest.raises(UserError, match="not both"):
        tt.insert_reward(engine)
    assert tt.insert_reward(engine, []) == 0


def test_weights_that_do_not_sum_to_one_keep_the_episode_open(engine, connected):
    episode = filled(engine)
    tt.insert_target_weights(engine, episode_id=episode, timestamp="2012-04-05", instrument="AAPL", target_weight=0.4)
    with pytest.raises(tt.RowsRefused, match=r"stays open.*1 sessions.*2012-04-05 sum to 0.4"):
        tt.finalize_episode(engine, episode)
    assert query(connected, "SELECT end_time FROM tt_episode") == [(None,)]
    tt.insert_target_weights(engine, episode_id=episode, timestamp="2012-04-05", instrument="CASH", target_weight=0.6)
    tt.finalize_episode(engine, episode)


@pytest.mark.parametrize(
    ("figures", "complaint"),
    [
        ({"stop_reason": "bored"}, "none of evaluation_complete, terminated"),
        ({"end_time": "2012-07-02"}, "end_time 2012-07-02 is no session from 2012-04-02"),
        ({"max_drawdown": 1.5}, "max_drawdown 1.5"),
        ({"turnover": -0.1}, "turnover -0.1"),
        ({"sharpe_ratio": float("nan")}, "sharpe_ratio nan"),
    ],
)
def test_a_figure_out_of_its_range_keeps_the_episode_open(engine, connected, figures, complaint):
    episode = filled(engine)
    with pytest.raises(UserError, match=complaint):
        tt.finalize_episode(engine, episode, **figures)
    assert query(connected, "SELECT end_time FROM tt_episode") == [(None,)]


def test_an_episode_without_equity_cannot_be_closed(engine):
    with pytest.raises(UserError, match="no equity curve"):
        tt.finalize_episode(engine, tt.create_episode(engine, "AAPL", "2012-04-02"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("TSLA", "2012-04-02"), "TSLA"),
        (("AAPL", "2012-04-01"), "no trading session; the nearest is"),
        (("AAPL", "2005-06-01"), "no walk-forward window; the windows begin 2006-01-01 to 2013-01-01"),
        (("AAPL", "soon"), "start_time 'soon' is no session date"),
        (("AAPL", "2012-04-02", "[]"), "no JSON object"),
    ],
)
def test_an_episode_that_cannot_be_is_not_opened(engine, connected, arguments, complaint):
    with pytest.raises(UserError, match=complaint):
        tt.create_episode(engine, *arguments)
    with pytest.raises(UserError, match="tt_policy has no row 7"):
        tt.create_episode(engine, "AAPL", "2012-04-02", policy_id=7)
    assert stored(connected, "tt_episode") == []


# `tt signals import`.


def test_a_file_of_scores_lands_with_the_file_as_its_method(postgres_instance, connected, tmp_path):
    file = tmp_path / "analysts.csv"
    file.write_text(
        "instrument,timestamp,signal_name,score,meta_json,desk\n"
        'AAPL,2012-05-14,analysts,0.1,"{""method"": ""consensus""}",x\n'
        "IBM,2012-05-14,analysts,-1,,y\n"
    )
    written = import_scores(file)
    assert (written.rows, written.reported) == (2, 2)
    methods = "SELECT instrument, score, meta_json::json ->> 'method' FROM tt_signal_scores ORDER BY 1"
    assert query(connected, methods) == [("AAPL", 0.1, "consensus"), ("IBM", -1.0, "imported from analysts.csv")]
    assert set(landed_cells(postgres_instance, "tt_signal_scores")) == {"2012-05-14|AAPL", "2012-05-14|IBM"}


def test_parquet_and_csv_store_the_same_scores(connected, tmp_path):
    frame = scores(("AAPL", "2012-05-14", "news", 0.1), ("IBM", "2012-05-14", "news", 1 / 3))
    frame.to_csv(tmp_path / "scores", index=False)
    import_scores(tmp_path / "scores")
    from_csv = stored(connected, "tt_signal_scores")
    frame.assign(timestamp=pd.to_datetime(frame["timestamp"])).to_parquet(tmp_path / "scores")
    import_scores(tmp_path / "scores")
    assert stored(connected, "tt_signal_scores") == from_csv
    assert from_csv[1][3] == 1 / 3


def test_bad_rows_of_a_file_are_named_with_their_lines(connected, tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text(
        "instrument,timestamp,signal_name,score\n\nAAPL,2012-05-14,news,0.5\nAAPL,2012-05-15,news,2\nIBM,2012-05-19,news,x\n"
    )
    with pytest.raises(tt.RowsRefused) as refused:
        import_scores(file)
    said = str(refused.value)
    assert "2 of 3 rows are bad" in said
    assert "score=2.0, line 4" in said
    assert "score=x, line 5" in said
    assert "no session on that day: 1 (IBM 2012-05-19, line 5)" in said
    assert stored(connected, "tt_signal_scores") == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no scores can be read"),
        (b"", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"PAR1 but not really", "cannot be read"),
        (b"instrument,timestamp,score\nAAPL,2012-05-14,1\n", "lacks the column signal_name"),
        (
            b"instrument,timestamp,signal_name,score\nAAPL,2012-05-14,news,0,5\nIBM,2012-05-14,news,0,7\n",
            "line 2 and 1 more: 5 fields where the header has 4. Write scores with a decimal point",
        ),
    ],
)
def test_a_file_that_is_no_file_of_scores_is_one_line(tmp_path: Path, content, complaint):
    file = tmp_path / "scores.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ScoresFileError, match=complaint) as refused:
        import_scores(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rows_that_dagster_could_not_be_told_of_are_said_to_be_written(postgres_instance, engine, connected, bars):
    def refused(*_: object) -> None:
        raise OperationalError("INSERT …", {}, Exception("the server closed the connection\nunexpectedly"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dg.DagsterInstance, "add_dynamic_partitions", refused)
        with pytest.raises(
            NotReported, match=r"tt_prices: the rows are written, but .*closed the connection\)"
        ) as told:
            tt.upsert_price_bars(engine, week(bars))
    assert "\n" not in str(told.value)
    assert len(stored(connected, "tt_prices")) == 10
    settle_dead_runs(postgres_instance, connected)  # as the next command does
    assert len(landed_cells(postgres_instance, "tt_prices")) == 10


def test_nothing_is_written_when_dagsters_storage_does_not_answer(
    postgres_instance, engine, connected, bars, monkeypatch
):
    monkeypatch.setattr(database_module, "dagster_name", lambda tables: "no_such_database")
    with pytest.raises(DatabaseUnreachable, match='no database "no_such_database": run `tt db upgrade`'):
        tt.upsert_price_bars(engine, week(bars))
    assert stored(connected, "tt_prices") == []
