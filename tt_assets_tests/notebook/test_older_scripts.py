"""Scripts from before this package: their calls, positional as they were, do what today's do."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from tt_assets import population as tt
from tt_assets.errors import UserError
from tt_assets.postgres.database import Database
from tt_assets.postgres.database_url import DatabaseUrlError
from tt_assets_tests.dagster_runs import query

SYMBOLS = ["AAPL", "IBM"]
START, END = datetime(2012, 4, 2), datetime(2012, 6, 29)
DAYS = [datetime(2012, 5, day) for day in (14, 15, 16, 17, 18)]


@pytest.fixture
def engine(connected: Database) -> Engine:
    return connected.engine()


@pytest.fixture
def filled(engine: Engine, sample_bars: pd.DataFrame) -> Engine:
    """An engine on tables with bars of two instruments in a quarter."""
    inside = sample_bars["timestamp"].between(START, END) & sample_bars["instrument"].isin(SYMBOLS)
    tt.upsert_price_bars(engine, sample_bars[inside])
    return engine


def test_a_whole_script_of_then_runs(postgres_instance: object, connected: Database, sample_bars: pd.DataFrame) -> None:
    """From bars to a finished episode, as such scripts did it."""
    inside = sample_bars["timestamp"].between(START, END) & sample_bars["instrument"].isin(SYMBOLS)
    engine = tt.get_engine(connected.adbc_uri())
    tt.upsert_price_bars(engine, sample_bars[inside])

    df = tt.fetch_prices(engine, SYMBOLS, START, END)
    features = tt.compute_basic_features(df)
    assert tt.upsert_features(engine, features, ["return_1", "vol_10", "vol_20"]).reported == len(df)
    scores = [
        {
            "instrument": row.instrument,
            "timestamp": row.timestamp,
            "signal_name": "sign_of_return",
            "score": float(np.sign(row.return_1)),
            "meta_json": {"source": "script"},
        }
        for row in features.dropna().itertuples()
    ]
    assert tt.upsert_signal_scores(engine, scores).rows == len(scores)

    episode = tt.create_episode(engine, DAYS[0])
    worth = 10_000.0
    for number, day in enumerate(DAYS):
        tt.insert_action(engine, episode, day, "AAPL", 0.5)
        tt.insert_target_weights(engine, episode, day, {"AAPL": 0.3, "IBM": 0.2}, "vol_target", "half of it")
        tt.insert_reward(engine, episode, day, 0.01 * number)
        worth *= 1.01
        tt.insert_equity_point(engine, episode, day, worth)
    done = tt.finalize_episode(engine, episode, DAYS[-1], stop_reason="truncated", max_drawdown=0.0, turnover=0.25)
    assert (done.stop_reason, done.turnover, done.end_time) == ("truncated", 0.25, DAYS[-1])

    assert query(connected, "SELECT instrument, strategy, end_time FROM tt_episode") == [("sample", "hand", DAYS[-1])]
    weights = query(
        connected,
        "SELECT instrument, target_weight, strategy, rationale FROM tt_target_weights WHERE timestamp = %s ORDER BY 1",
        DAYS[0],
    )
    assert weights == [
        ("AAPL", 0.3, "vol_target", "half of it"),
        ("CASH", 0.5, "vol_target", "half of it"),
        ("IBM", 0.2, "vol_target", "half of it"),
    ]
    assert query(connected, "SELECT count(*), sum(action_value) FROM tt_action") == [(5, 2.5)]
    assert query(connected, "SELECT meta_json FROM tt_signal_scores LIMIT 1") == [('{"source":"script"}',)]


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_an_engine_is_made_from_a_url(connected: Database, driver: str) -> None:
    url = connected.adbc_uri().replace("postgresql", driver, 1)
    with tt.get_engine(url).begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM tt_prices")).scalar() == 0
    assert tt.fetch_prices(tt.get_engine(make_url(url)), [], START, END).empty


def test_a_url_that_cannot_be_used_is_one_line_without_the_password() -> None:
    with pytest.raises(DatabaseUrlError) as refused:
        tt.get_engine("mysql://me:s3cret@db/tt")
    assert "s3cret" not in str(refused.value)


def test_moments_bound_the_sessions_between_them(filled: Engine) -> None:
    bars = tt.fetch_prices(filled, ["AAPL"], datetime(2012, 5, 14, 16, 30), datetime(2012, 5, 16, 9, 30))
    assert list(bars["timestamp"]) == DAYS[1:3]


def test_scores_as_mappings_may_leave_out_how_they_were_made(filled: Engine, connected: Database) -> None:
    row = {"instrument": "AAPL", "timestamp": "2012-05-14", "signal_name": "news", "score": 0.5}
    tt.upsert_signal_scores(filled, [row, {**row, "instrument": "IBM", "meta_json": {"method": "read"}}])
    tt.upsert_signal_scores(filled, {**row, "timestamp": "2012-05-15", "meta_json": None})
    methods = "SELECT instrument, meta_json::json ->> 'method' FROM tt_signal_scores ORDER BY timestamp, instrument"
    assert query(connected, methods) == [("AAPL", "by hand"), ("IBM", "read"), ("AAPL", "by hand")]
    assert tt.upsert_signal_scores(filled, []).rows == 0
    with pytest.raises(tt.RowsRefused, match="score is no number"):
        tt.upsert_signal_scores(filled, [{**row, "score": 2.0}])
    with pytest.raises(UserError, match="list of mappings"):
        tt.upsert_signal_scores(filled, ["AAPL", 0.5])  # type: ignore[list-item]


def test_weights_of_one_instrument_at_a_time(engine: Engine, connected: Database) -> None:
    episode = tt.create_episode(engine, start_time="2012-05-14")
    tt.insert_target_weights(engine, episode, DAYS[0], "AAPL", 0.4, "mine")
    tt.insert_target_weights(engine, np.int64(episode), timestamp=DAYS[0], instrument="CASH", target_weight=0.6)
    stored = query(connected, "SELECT instrument, target_weight, strategy FROM tt_target_weights ORDER BY 1")
    assert stored == [("AAPL", 0.4, "mine"), ("CASH", 0.6, "hand")]


def test_weights_that_name_cash_are_taken_as_they_are(engine: Engine, connected: Database) -> None:
    episode = tt.create_episode(engine, DAYS[0], {"note": "mine"})
    tt.insert_target_weights(engine, episode, DAYS[0], pd.Series({"AAPL": 0.4, "CASH": 0.5}))
    tt.insert_equity_point(engine, episode, DAYS[0], 10_000.0)
    with pytest.raises(tt.RowsRefused, match=r"do not sum to 1, those of 2012-05-14 sum to 0.9"):
        tt.finalize_episode(engine, episode, DAYS[0])
    assert query(connected, "SELECT config_json FROM tt_episode") == [('{"note": "mine"}',)]


def test_what_is_traded_must_be_said_where_the_watchlist_leaves_a_choice(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watchlist = tmp_path / "watchlist.csv"
    watchlist.write_text("AAPL,IBM,MSFT\n")
    monkeypatch.setenv("TT_WATCHLIST", str(watchlist))
    with pytest.raises(UserError, match=r'has AAPL, IBM, MSFT; name it, as in create_episode\(engine, "AAPL", t\)'):
        tt.create_episode(engine, DAYS[0])
    watchlist.write_text("AAPL\n")
    assert tt.create_episode(engine, DAYS[0]) > 0


def test_values_that_do_not_fit_the_columns_are_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"4 values for 3 columns; the order is episode_id, timestamp, net_worth"):
        tt.insert_equity_point(engine, 1, DAYS[0], 1.0, 2.0)
    with pytest.raises(UserError, match="reward_value is given by position and by keyword"):
        tt.insert_reward(engine, 1, DAYS[0], 0.1, reward_value=0.2)
    with pytest.raises(UserError, match="give rows alone"):
        tt.insert_action(engine, [], DAYS[0])
    with pytest.raises(tt.RowsRefused, match="no such episode"):
        tt.insert_equity_point(engine, 987654, DAYS[0], 1.0)
