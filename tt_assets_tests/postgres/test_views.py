"""The views say what the tables hold, to those who may read the tables, and change nothing."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tt_assets.postgres.database import Database
from tt_assets.postgres.views import VIEWS

NET_WORTH = (10_000.0, 11_000.0, 9_900.0)
DAYS = ("2012-07-02", "2012-07-03", "2012-07-05")


@pytest.fixture
def episode(empty_tables: Database) -> Database:
    """One episode of three sessions beside another of the same portfolio, and four partitions on record."""
    with empty_tables.connect() as connection:
        for seed in (7, 3):
            (number,) = connection.execute(
                "INSERT INTO tt_episode (window_start, instrument, start_time, end_time, stop_reason, config_json, "
                "strategy, seed) VALUES ('2012-07-01', 'sample', '2012-07-02', '2012-07-05', 'evaluation_complete', "
                "'{}', 'agent', %s) RETURNING id",
                [seed],
            ).fetchone() or (0,)
            for day, worth in zip(DAYS, NET_WORTH, strict=True):
                connection.execute(
                    "WITH p AS (INSERT INTO tt_portfolio (episode_id, timestamp, net_worth, cash_balance) "
                    "VALUES (%s, %s, %s, 500) RETURNING id) "
                    "INSERT INTO tt_holdings (portfolio_id, instrument, quantity) SELECT id, 'AAPL', 3 FROM p",
                    [number, day, worth],
                )
            connection.execute(
                "INSERT INTO tt_order (episode_id, timestamp, instrument, order_type, size, price, commission) VALUES "
                "(%(e)s, '2012-07-03', 'AAPL', 'buy', 3, 100, 1), (%(e)s, '2012-07-03', 'IBM', 'sell', 2, 50, 1), "
                "(%(e)s, '2012-07-05', 'GOOG', 'delisted_sell', 1, 10, 0), "
                "(%(e)s, '2012-07-05', 'FB', 'delisted_buy', 4, 10, 0)",
                {"e": number},
            )
            connection.execute(
                "INSERT INTO tt_target_weights (episode_id, timestamp, instrument, target_weight, strategy, rationale) "
                "VALUES (%(e)s, '2012-07-03', 'AAPL', 0.6, 's', 'up'), (%(e)s, '2012-07-03', 'IBM', 0.3, 's', 'flat'), "
                "(%(e)s, '2012-07-03', 'CASH', 0.1, 's', 'rest')",
                {"e": number},
            )
        connection.execute(
            'INSERT INTO tt_slice (table_name, date, instrument, rows, digest, "fetch", failure, outcome, tries, told, '
            "written_in) VALUES ('tt_prices', '2012-07-02', 'A', 1, 'x', 1, NULL, 'loaded', 0, true, 1), "
            "('tt_prices', '2012-07-02', 'B', 0, 'x', 1, NULL, 'not listed yet', 1, true, 1), "
            "('tt_prices', '2012-07-02', 'C', 1, 'x', 1, '{\"reason\": \"no bar\"}', 'loaded', 2, true, 1), "
            "('tt_prices', '2012-07-02', 'D', NULL, NULL, 1, NULL, 'loaded', 0, true, 1)"
        )
    return empty_tables


def _rows(database: Database, statement: str) -> list[dict[str, Any]]:
    with database.connect(row_factory=dict_row) as connection:
        return connection.execute(statement).fetchall()


def test_an_account_says_what_it_earned_and_how_far_it_fell(episode: Database) -> None:
    rows = _rows(episode, "SELECT * FROM v_equity WHERE traded = 'sample' AND seed = 7 ORDER BY session")
    assert [str(row["session"]) for row in rows] == list(DAYS)
    assert [row["net_worth"] for row in rows] == list(NET_WORTH)
    assert rows[0]["net_return"] is None
    assert [row["net_return"] for row in rows[1:]] == pytest.approx([0.1, -0.1])
    assert [row["drawdown"] for row in rows] == pytest.approx([0, 0, -0.1])
    assert len(_rows(episode, "SELECT * FROM v_equity")) == 2 * len(DAYS)


def test_a_choice_of_a_portfolio_reads_no_other_account(episode: Database) -> None:
    plan = _rows(episode, "EXPLAIN SELECT * FROM v_equity WHERE traded = 'sample' AND strategy = 'agent'")
    lines = [row["QUERY PLAN"] for row in plan]
    window = next(place for place, line in enumerate(lines) if "WindowAgg" in line)
    choice = [place for place, line in enumerate(lines) if "sample" in line]
    assert min(choice) > window, "the choice is made before the windows are computed"


def test_trades_have_a_side_and_a_signed_value(episode: Database) -> None:
    rows = _rows(episode, "SELECT instrument, side, delisted, value FROM v_trades WHERE seed = 3 ORDER BY instrument")
    assert [tuple(row.values()) for row in rows] == [
        ("AAPL", "buy", False, 300.0),
        ("FB", "buy", True, 40.0),
        ("GOOG", "sell", True, -10.0),
        ("IBM", "sell", False, -100.0),
    ]


def test_weights_stand_beside_what_was_held(episode: Database) -> None:
    rows = _rows(episode, "SELECT instrument, target_weight, held FROM v_weights WHERE seed = 3 ORDER BY instrument")
    assert [tuple(row.values()) for row in rows] == [("AAPL", 0.6, 3.0), ("CASH", 0.1, 500.0), ("IBM", 0.3, 0.0)]


def test_partitions_have_a_state_and_a_reason(episode: Database) -> None:
    rows = _rows(episode, "SELECT instrument, state, rows, reason FROM v_partitions ORDER BY instrument")
    assert [tuple(row.values()) for row in rows] == [
        ("A", "materialized", 1, "loaded"),
        ("B", "empty", 0, "not listed yet"),
        ("C", "failed", 1, "no bar"),
        ("D", "missing", None, "loaded"),
    ]


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
def test_every_role_reads_a_view_and_none_writes_through_it(episode: Database, view: str) -> None:
    for role in ("tt_reader", "tt_writer", "tt_owner"):  # who owns a view could give itself any right again
        with episode.connect() as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(view))).fetchone()
            for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
                may = connection.execute("SELECT has_table_privilege(%s, %s)", [view, right]).fetchone()
                assert may == (role == "tt_owner",)
            connection.rollback()


def test_a_view_opens_nothing_that_its_tables_keep_closed(episode: Database) -> None:
    with episode.connect() as connection:
        connection.execute("CREATE ROLE stranger")
        connection.execute("GRANT SELECT ON v_equity TO stranger")
        connection.execute("SET ROLE stranger")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"tt_portfolio|tt_episode"):
            connection.execute("SELECT * FROM v_equity")
        connection.rollback()
