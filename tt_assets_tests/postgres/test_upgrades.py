"""A filled database of every earlier revision comes to this one with each of its rows, and with a ledger of them."""

from __future__ import annotations

import pytest
from alembic import command

from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.standing import fill_ledger
from tt_assets.tables import BAR_FORMS, TABLES
from tt_assets_tests.agreement import rows_and_ledger_agree

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
WITH_LEDGER = "0004"
FILLED = (
    """INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume)
       SELECT i, d, 10, 12, 9, 11.5, 1e6 FROM unnest('{AAPL,"BRK B"}'::text[]) AS i,
       unnest('{2012-07-02,2012-07-03,2012-09-28}'::timestamp[]) AS d""",
    """INSERT INTO tt_features (instrument, timestamp, feature, value)
       SELECT instrument, timestamp, f, 0.1 + close FROM tt_prices, unnest('{return_1,vol_20}'::text[]) AS f""",
    """INSERT INTO tt_signal_scores (instrument, timestamp, signal_name, score, meta_json)
       SELECT instrument, timestamp, 'momentum', -0.25, '{}' FROM tt_prices""",
    """INSERT INTO tt_policy (window_start, instrument, seed, weights, config_json, sha256)
       SELECT '2012-07-01', 'AAPL', s, 'w', '{"seed": 1}', md5(s::text) FROM generate_series(0, 2) AS s""",
    """INSERT INTO tt_episode (window_start, instrument, policy_id, start_time, end_time, stop_reason, max_drawdown,
       sharpe_ratio, turnover, config_json) SELECT window_start, instrument, id, '2012-07-02', '2012-09-28',
       'evaluation_complete', 0.1, 1.5, 0.2, '{"engine": "tensortrade"}' FROM tt_policy WHERE seed < 2""",
    """INSERT INTO tt_portfolio (episode_id, timestamp, net_worth, cash_balance)
       SELECT id, d, 10000 + id, 5000 FROM tt_episode, unnest('{2012-07-02,2012-09-28}'::timestamp[]) AS d""",
    "INSERT INTO tt_holdings (portfolio_id, instrument, quantity) SELECT id, 'AAPL', 3.5 FROM tt_portfolio",
    """INSERT INTO tt_equity_curve (episode_id, timestamp, net_worth)
       SELECT episode_id, timestamp, net_worth FROM tt_portfolio""",
    """INSERT INTO tt_observation (episode_id, timestamp, features)
       SELECT episode_id, timestamp, '{"return_1": 0.5}' FROM tt_portfolio""",
    """INSERT INTO tt_action (episode_id, timestamp, instrument, action_value)
       SELECT episode_id, timestamp, 'AAPL', 0.75 FROM tt_portfolio""",
    """INSERT INTO tt_target_weights (episode_id, timestamp, instrument, target_weight, strategy, rationale)
       SELECT episode_id, timestamp, i, 0.5, 'volatility_target', 'why' FROM tt_portfolio,
       unnest('{AAPL,CASH}'::text[]) AS i""",
    """INSERT INTO tt_order (episode_id, timestamp, instrument, order_type, size, price, commission)
       SELECT episode_id, timestamp, 'AAPL', 'buy', 2, 11.5, 0.01 FROM tt_portfolio""",
    """INSERT INTO tt_reward (episode_id, timestamp, reward_value)
       SELECT episode_id, timestamp, 0.001 FROM tt_portfolio""",
)


def to(database: Database, revision: str) -> None:
    with database.engine().begin() as connection:
        command.upgrade(schema._config(connection), revision)


def content(database: Database, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    with database.connect() as connection:
        return {
            table: sorted(connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall(), key=repr)
            for table, names in columns.items()
        }


def columns_of(database: Database) -> dict[str, list[str]]:
    with database.connect() as connection:
        found = connection.execute(
            "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name = ANY(%s) "
            "AND NOT (table_name = ANY(%s) AND column_name = 'id') GROUP BY 1",  # which they have anew
            [list(TABLES), list(BAR_FORMS)],
        ).fetchall()
    return {str(table): list(names) for table, names in found}


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_filled_database_keeps_each_row(new_database: Database, revision: str) -> None:
    database = new_database
    to(database, "0001")
    with database.connect() as connection:
        for statement in FILLED:
            connection.execute(statement)
    to(database, revision)
    if revision >= WITH_LEDGER:  # whoever upgraded to it filled the ledger then
        with database.connect() as connection:
            fill_ledger(connection)
    columns = columns_of(database)
    before = content(database, columns)
    assert set(before) == set(TABLES)
    assert all(before.values())
    schema.upgrade(database)
    schema.check(database)
    assert content(database, columns) == before
    rows_and_ledger_agree(database)
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM tt_slice WHERE digest IS NOT NULL").fetchone() != (0,)
        assert connection.execute("SELECT count(*) FROM v_equity").fetchone() == (4,)


def test_every_revision_but_the_last_is_tried() -> None:
    assert {*REVISIONS, schema.head()} == set(schema.revisions())
