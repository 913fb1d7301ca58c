"""A frame is cast to its table without changing a value, or refused; the stream is what the server would write."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tt_assets.postgres.copy_format import HEADER, TRAILER, FrameMismatch, conform, copy_rows
from tt_assets.tables import TABLES, content_columns

PRICES = TABLES["tt_prices"]


def bars(**changes):
    frame = pd.DataFrame(
        {
            "instrument": ["AAPL", "BRK B"],
            "timestamp": pd.to_datetime(["2012-05-18", "2012-05-18"]),
            "open": [530.0, 1e-300],
            "high": [540.1, 0.1 + 0.7],
            "low": [529.9, 5e-324],
            "close": [530.38, 1 / 3],
            "volume": [1.0, 0.0],
        }
    )
    return frame.assign(**changes)


def test_the_stream_is_byte_for_byte_what_the_server_writes_for_the_same_rows(postgres, empty_tables):
    frame = conform(bars(), PRICES, content_columns(PRICES))
    rows = copy_rows(frame, PRICES)
    mine = HEADER + bytes(rows.between(0, 2)) + TRAILER
    columns = ", ".join(content_columns(PRICES))
    with postgres.connect() as connection:
        with connection.cursor().copy(f"COPY tt_prices ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(mine)
        with connection.cursor().copy(
            f"COPY (SELECT {columns} FROM tt_prices ORDER BY id) TO STDOUT (FORMAT BINARY)"
        ) as copy:
            theirs = b"".join(bytes(part) for part in copy)
    assert mine == theirs


def test_null_text_bytes_dates_and_integers_survive_the_stream(postgres):
    policy = TABLES["tt_policy"]
    frame = pd.DataFrame(
        {
            "window_start": [pd.Timestamp("2012-04-01")],
            "instrument": ["Ünïcode €"],
            "seed": [7],
            "weights": [bytes(range(256))],
            "config_json": ['{"a": "\\u0000 is not stored raw"}'],
            "sha256": ["x"],
        }
    )
    rows = copy_rows(conform(frame, policy, content_columns(policy)), policy)
    with postgres.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (LIKE tt_policy)")
        connection.execute("ALTER TABLE t DROP COLUMN id, DROP COLUMN superseded_at")
        with connection.cursor().copy("COPY t FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(HEADER + bytes(rows.between(0, 1)) + TRAILER)
        stored = connection.execute(
            "SELECT window_start::text, instrument, seed, weights, config_json FROM t"
        ).fetchone()
    assert stored == ("2012-04-01", "Ünïcode €", 7, bytes(range(256)), frame["config_json"][0])


def test_an_undefined_value_in_a_nullable_column_becomes_null(postgres):
    episode = TABLES["tt_episode"]
    columns = ("end_time", "stop_reason", "sharpe_ratio", "policy_id")
    frame = pd.DataFrame({"end_time": [pd.NaT], "stop_reason": [None], "sharpe_ratio": [np.nan], "policy_id": [None]})
    rows = copy_rows(conform(frame, episode, columns), episode)
    with postgres.connect() as connection:
        connection.execute(
            "CREATE TEMP TABLE e (end_time timestamp, stop_reason text, sharpe_ratio float8, policy_id int8)"
        )
        with connection.cursor().copy("COPY e FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(HEADER + bytes(rows.between(0, 1)) + TRAILER)
        assert connection.execute("SELECT * FROM e").fetchone() == (None, None, None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"close": ["a", "b"]}, "tt_prices.close"),
        ({"close": [1.0, np.nan]}, "tt_prices.close: 1 undefined"),
        ({"close": [1.0, np.inf]}, "tt_prices.close.*infinite"),
        ({"instrument": ["A", None]}, "tt_prices.instrument: 1 undefined"),
        ({"instrument": [1, 2]}, "tt_prices.instrument.*text expected"),
        ({"timestamp": ["2012-05-18", "2012-05-21"]}, "tt_prices.timestamp"),
        (
            {"timestamp": pd.to_datetime(["2012-05-18", "2012-05-21"]).tz_localize("UTC")},
            "tt_prices.timestamp.*time zone",
        ),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_with_table_and_column(changes, said):
    with pytest.raises(FrameMismatch, match=said):
        conform(bars(**changes), PRICES, content_columns(PRICES))


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(FrameMismatch, match="tt_prices: the frame lacks volume; it has instrument"):
        conform(bars().drop(columns="volume"), PRICES, content_columns(PRICES))


def test_whole_numbers_with_a_fraction_are_refused_not_cut():
    with pytest.raises(FrameMismatch, match=r"tt_policy\.seed"):
        conform(pd.DataFrame({"seed": [1.5]}), TABLES["tt_policy"], ("seed",))


def test_columns_the_table_does_not_have_are_left_out():
    assert list(conform(bars(extra=1), PRICES, content_columns(PRICES)).columns) == list(content_columns(PRICES))
