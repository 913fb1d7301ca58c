"""Any table as a typed frame: every row that is to be seen, none that is not, sorted by the key."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime

import pandas as pd
import pytest

import tt_assets
from tt_assets.errors import UserError
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_store import EpisodeHeader, EpisodeStore, EpisodeSummary
from tt_assets.postgres.schema import SchemaMissing
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.tables import EPISODE_TABLES, TABLES
from tt_assets_tests.dagster_runs import query, stored

SPRING, SUMMER = date(2012, 4, 1), date(2012, 7, 1)
ALWAYS = (datetime(2000, 1, 1), datetime(2030, 1, 1))
JOINED = ["window_start", "traded", "strategy", "seed"]
KINDS = {
    "window_start": "datetime64[ns]",
    "timestamp": "datetime64[ns]",
    "start_time": "datetime64[ns]",
    "end_time": "datetime64[ns]",
    "seed": "int64",
    "episode_id": "int64",
    "portfolio_id": "int64",
    "policy_id": "Int64",
}


def store_slice(database: Database, table: str, frame: pd.DataFrame, date_column: str = "timestamp") -> None:
    everything = {name: (name, *ALWAYS) for name in frame["instrument"].unique()}
    SliceStore(database, TABLES[table], date_column).write(Selection.of(everything), frame)


def header(window: date, traded: str, strategy: str, seed: int, policy: int | None = None) -> EpisodeHeader:
    return EpisodeHeader(
        window_start=window,
        instrument=traded,
        strategy=strategy,
        seed=seed,
        policy_id=policy,
        start_time=datetime(window.year, window.month, 2),
        config_json="{}",
    )


def store_episode(database: Database, of: EpisodeHeader, *, finished: bool = True) -> int:
    """Two sessions in all nine tables, the later one first."""
    store = EpisodeStore(database)
    (episode,) = store.open([], [of])
    stamps = [pd.Timestamp(of.start_time) + pd.Timedelta(days=1), pd.Timestamp(of.start_time)]
    base = pd.DataFrame({"episode_id": episode, "timestamp": stamps})
    twice = base.merge(pd.DataFrame({"instrument": ["IBM", "AAPL"]}), how="cross")
    store.add("tt_observation", base.assign(features="{}"))
    store.add("tt_action", twice.assign(action_value=[4.0, 3.0, 2.0, 1.0]))
    store.add("tt_target_weights", twice.assign(target_weight=0.5, strategy="scheme", rationale="why"))
    store.add("tt_order", twice.assign(order_type="buy", size=1.0, price=2.0, commission=0.0))
    store.add("tt_portfolio", base.assign(net_worth=2.0, cash_balance=1.0))
    store.add("tt_holdings", twice.assign(quantity=[40.0, 30.0, 20.0, 10.0]))
    store.add("tt_equity_curve", base.assign(net_worth=2.0))
    store.add("tt_reward", base.assign(reward_value=[0.2, 0.1]))
    if finished:
        store.finalize([EpisodeSummary(episode, stamps[0].to_pydatetime(), "evaluation_complete", 0.0, None, 0.1)])
    return episode


@pytest.fixture
def bars(connected: Database, sample_bars: pd.DataFrame) -> pd.DataFrame:
    """Bars of all five instruments from May 2012 on, stored."""
    bars = sample_bars[sample_bars["timestamp"] >= "2012-05-01"].astype({"volume": "float64"})
    bars = bars.sort_values(["instrument", "timestamp"]).reset_index(drop=True)
    store_slice(connected, "tt_prices", bars)
    return bars


def test_prices_come_whole_and_sorted(bars):
    pd.testing.assert_frame_equal(tt_assets.read("tt_prices"), bars, check_exact=True)
    pd.testing.assert_frame_equal(tt_assets.read("prices"), bars, check_exact=True)


def test_both_ends_of_a_span_are_included(bars):
    read = tt_assets.read("tt_prices", ["MSFT", "AAPL"], "2012-05-14", date(2012, 5, 18))
    inside = bars["timestamp"].between("2012-05-14", "2012-05-18") & bars["instrument"].isin(["AAPL", "MSFT"])
    pd.testing.assert_frame_equal(read, bars[inside].reset_index(drop=True), check_exact=True)
    one = tt_assets.read("tt_prices", "IBM", end=datetime(2012, 5, 1))
    assert one["timestamp"].tolist() == [pd.Timestamp("2012-05-01")]


def test_an_instrument_without_rows_is_empty_but_a_typing_error_is_named(bars):
    empty = tt_assets.read("tt_prices", ["FB"], "2012-05-01", "2012-05-17")  # listed on the 18th
    assert empty.empty
    assert empty.dtypes.equals(bars.dtypes)
    with pytest.raises(UserError, match="Unknown instrument 'AAPLE'; the nearest is AAPL"):
        tt_assets.read("tt_prices", ["IBM", "AAPLE"])
    with pytest.raises(UserError, match=r"Unknown instrument or portfolio 'sampel'; the nearest is sample"):
        tt_assets.read("tt_reward", "sampel")


def test_a_retired_instrument_is_still_read(bars, tmp_path, monkeypatch):
    (tmp_path / "watchlist.csv").write_text("AAPL,IBM\n")
    monkeypatch.setenv("TT_WATCHLIST", str(tmp_path / "watchlist.csv"))
    assert set(tt_assets.read("tt_prices", ["MSFT"])["instrument"]) == {"MSFT"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("tt_price",), "Unknown table 'tt_price'; the nearest is tt_prices"),
        (("tt_prices", None, "2012-05-18", "2012-05-14"), "start 2012-05-18 is after end 2012-05-14"),
        (("tt_prices", None, "May"), "start 'May' is no session date"),
        (("tt_prices", None, None, datetime(2012, 5, 18, 16)), "end .* is no session date"),
    ],
)
def test_a_mistake_is_one_line(connected, arguments, complaint):
    with pytest.raises(UserError, match=complaint):
        tt_assets.read(*arguments)


def test_features_and_scores_are_sorted_by_code_point_whatever_their_names(connected):
    names = ["a_b", "aB", "B", "ab", "A", "Ä"]
    rows = pd.DataFrame({"instrument": "IBM", "timestamp": pd.Timestamp("2012-05-14"), "feature": names, "value": 1.0})
    store_slice(connected, "tt_features", rows)
    assert tt_assets.read("tt_features")["feature"].tolist() == sorted(names)
    scores = rows.rename(columns={"feature": "signal_name", "value": "score"}).assign(meta_json="{}")
    store_slice(connected, "tt_signal_scores", scores)
    assert tt_assets.read("tt_signal_scores")["signal_name"].tolist() == sorted(names)


def test_policies_come_with_their_weights_and_their_id(connected):
    policies = pd.DataFrame(
        {
            "window_start": pd.to_datetime([SUMMER, SPRING, SPRING]),
            "instrument": "AAPL",
            "seed": [0, 1, 0],
            "weights": [b"c\0", b"b", b"a"],
            "config_json": "{}",
            "sha256": ["c", "b", "a"],
        }
    )
    store_slice(connected, "tt_policy", policies, "window_start")
    read = tt_assets.read("tt_policy")
    assert read["weights"].tolist() == [b"a", b"b", b"c\0"]
    assert str(read["seed"].dtype) == "int64"
    assert [(number,) for number in read["policy_id"]] == query(connected, "SELECT id FROM tt_policy ORDER BY sha256")
    assert tt_assets.read("tt_policy", end="2012-06-30")["sha256"].tolist() == ["a", "b"]
    assert tt_assets.read("tt_policy", start="2012-06-30", end="2012-07-01")["sha256"].tolist() == ["a", "b", "c"]
    assert tt_assets.read("tt_policy", start="2012-07-01")["sha256"].tolist() == ["c"]


def test_episode_rows_carry_their_window_and_strategy_and_come_in_order(connected):
    order = [
        header(SUMMER, "AAPL", "hand", 0),
        header(SPRING, "sample", "agent", 1),
        header(SPRING, "sample", "agent", 0),
        header(SPRING, "AAPL", "momentum", 0),
    ]
    ids = [store_episode(connected, of) for of in order]
    for table in EPISODE_TABLES:
        read = tt_assets.read(table)
        assert list(read.columns[:4]) == JOINED
        keys = [name for name in (*JOINED, "timestamp", "instrument") if name in read.columns]
        pd.testing.assert_frame_equal(read, read.sort_values(keys).reset_index(drop=True))
        assert read["episode_id"].drop_duplicates().tolist() == ids[::-1]
        assert len(read) == query(connected, f"SELECT count(*) FROM {table}")[0][0]
        assert {name: str(kind) for name, kind in read.dtypes.items() if name in KINDS} == {
            name: kind for name, kind in KINDS.items() if name in read.columns
        }


def test_holdings_carry_the_session_of_their_portfolio(connected):
    store_episode(connected, header(SPRING, "sample", "agent", 0))
    read = tt_assets.read("tt_holdings")
    expected = query(
        connected,
        "SELECT p.timestamp, h.instrument, h.quantity, h.portfolio_id FROM tt_holdings h "
        "JOIN tt_portfolio p ON p.id = h.portfolio_id ORDER BY p.timestamp, h.instrument",
    )
    assert (
        list(zip(*(read[c] for c in ("timestamp", "instrument", "quantity", "portfolio_id")), strict=True)) == expected
    )
    portfolio = tt_assets.read("tt_portfolio")
    assert read.merge(portfolio, on="portfolio_id", validate="many_to_one")["net_worth"].eq(2.0).all()


def test_target_weights_keep_both_strategies_apart(connected):
    store_episode(connected, header(SPRING, "sample", "momentum", 0))
    read = tt_assets.read("tt_target_weights")
    assert set(read["strategy"]) == {"momentum"}
    assert set(read["action_scheme"]) == {"scheme"}


def test_unfinished_episodes_are_not_shown(connected):
    store_episode(connected, header(SPRING, "AAPL", "agent", 0), finished=False)
    whole = store_episode(connected, header(SPRING, "AAPL", "agent", 1))
    for table in EPISODE_TABLES:
        assert set(tt_assets.read(table)["episode_id"]) == {whole}


def test_episode_rows_are_chosen_by_what_is_traded_and_by_session(connected):
    spring = store_episode(connected, header(SPRING, "sample", "agent", 0))
    summer = store_episode(connected, header(SUMMER, "AAPL", "agent", 0))
    assert set(tt_assets.read("tt_action", ["sample"])["episode_id"]) == {spring}
    assert set(tt_assets.read("tt_action", start="2012-07-01")["episode_id"]) == {summer}
    first = tt_assets.read("tt_holdings", start="2012-04-02", end="2012-04-02")
    assert first["quantity"].tolist() == [10.0, 20.0]
    assert tt_assets.read("tt_episode", start="2012-05-07", end="2012-05-07")["episode_id"].tolist() == [spring]


def test_an_undefined_figure_is_nan_and_no_agent_is_na(connected):
    store_episode(connected, header(SPRING, "AAPL", "cash", 0))
    read = tt_assets.read("tt_episode").iloc[0]
    assert pd.isna(read["sharpe_ratio"])
    assert read["policy_id"] is pd.NA


def test_an_empty_table_has_the_columns_and_types_of_a_full_one(connected):
    empty = {table: tt_assets.read(table) for table in EPISODE_TABLES}
    store_episode(connected, header(SPRING, "AAPL", "agent", 0))
    for table in EPISODE_TABLES:
        assert empty[table].dtypes.equals(tt_assets.read(table).dtypes), table


def test_every_table_is_read_with_all_its_content(connected, bars):
    store_episode(connected, header(SPRING, "AAPL", "agent", 0))
    for name, table in TABLES.items():
        renamed = {"tt_target_weights": {"strategy": "action_scheme"}, "tt_episode": {"instrument": "traded"}}
        wanted = [renamed.get(name, {}).get(column, column) for column in table.columns.keys() if column != "id"]  # noqa: SIM118
        assert set(wanted) <= set(tt_assets.read(name).columns), name
    assert len(stored(connected, "tt_prices")) == len(bars)


def test_a_database_without_tables_is_named_with_the_remedy(postgres, monkeypatch):
    with postgres.named("postgres").connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS tt_bare")
        connection.execute("CREATE DATABASE tt_bare")
    monkeypatch.setenv("TT_DATABASE_URL", postgres.named("tt_bare").adbc_uri())
    with pytest.raises(SchemaMissing, match="tt db upgrade"):
        tt_assets.read("tt_prices")


def test_importing_the_package_costs_nothing():
    loaded = (
        "import sys, json, tt_assets; print(json.dumps(sorted({'pandas', 'dagster', 'sqlalchemy'} & set(sys.modules))))"
    )
    result = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_reading_needs_neither_dagster_nor_an_agent():
    heavy = {"dagster", "torch", "stable_baselines3", "tensortrade", "talib", "matplotlib"}
    loaded = f"import sys, json, tt_assets; tt_assets.read; print(json.dumps(sorted({heavy!r} & set(sys.modules))))"
    result = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_the_package_offers_what_it_names():
    assert callable(tt_assets.read)
    assert tt_assets.population.get_engine
    assert {"population", "read"} <= set(dir(tt_assets))
    with pytest.raises(AttributeError, match="no attribute 'write'"):
        tt_assets.write  # noqa: B018
