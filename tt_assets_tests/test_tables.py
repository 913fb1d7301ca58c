"""The schema refuses what must never be stored, and one declaration says it all."""

from __future__ import annotations

import psycopg
import pytest

from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES, TABLES, content_columns, key_columns

GOOD = {
    "tt_prices": ("'AAPL'", "'2012-05-18'", "10", "12", "9", "11", "100"),
    "tt_features": ("'AAPL'", "'2012-05-18'", "'return_1'", "0.01"),
    "tt_signal_scores": ("'AAPL'", "'2012-05-18'", "'momentum_20d'", "0.5", "'{}'"),
    "tt_policy": ("'2012-04-01'", "'AAPL'", "0", "'x'", "'{}'", "'x'"),
    "tt_episode": (
        "'2012-04-01'", "'AAPL'", "NULL", "'2012-04-02'", "NULL", "NULL", "NULL", "NULL", "NULL", "'{}'", "'cash'", "0",
    ),
}  # fmt: skip

REFUSED = [
    ("tt_prices", "open", "0"),
    ("tt_prices", "close", "-1"),
    ("tt_prices", "close", "'NaN'"),
    ("tt_prices", "high", "'Infinity'"),
    ("tt_prices", "low", "'-Infinity'"),
    ("tt_prices", "high", "10.5"),
    ("tt_prices", "low", "10.5"),
    ("tt_prices", "volume", "-1"),
    ("tt_prices", "volume", "'NaN'"),
    ("tt_prices", "instrument", "NULL"),
    ("tt_prices", "timestamp", "NULL"),
    ("tt_features", "value", "'NaN'"),
    ("tt_features", "value", "'-Infinity'"),
    ("tt_features", "value", "NULL"),
    ("tt_features", "feature", "NULL"),
    ("tt_signal_scores", "score", "1.0000001"),
    ("tt_signal_scores", "score", "-1.0000001"),
    ("tt_signal_scores", "score", "'NaN'"),
    ("tt_signal_scores", "meta_json", "'[1]'"),
    ("tt_signal_scores", "meta_json", "'no json'"),
    ("tt_policy", "config_json", "'{'"),
    ("tt_policy", "seed", "NULL"),
    ("tt_episode", "strategy", "NULL"),
    ("tt_episode", "seed", "NULL"),
    ("tt_episode", "config_json", "'[1]'"),
    ("tt_episode", "instrument", "NULL"),
]


def insert(connection: psycopg.Connection, table: str, **changes: str) -> None:
    values = dict(zip(content_columns(TABLES[table]), GOOD[table], strict=True)) | changes
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})")


@pytest.mark.parametrize("table", GOOD)
def test_a_row_as_it_should_be_is_stored_once(empty_tables, table):
    with empty_tables.connect() as connection:
        insert(connection, table)
        with pytest.raises(psycopg.errors.UniqueViolation):
            insert(connection, table)


@pytest.mark.parametrize(("table", "column", "value"), REFUSED)
def test_a_value_that_must_not_be_is_refused(empty_tables, table, column, value):
    with empty_tables.connect() as connection:
        insert(connection, table)
    refusals = (
        psycopg.errors.CheckViolation,
        psycopg.errors.NotNullViolation,
        psycopg.errors.InvalidTextRepresentation,
    )
    other = {"instrument": "'MSFT'"} if column != "instrument" else {}
    with empty_tables.connect() as connection, pytest.raises(refusals):
        insert(connection, table, **(other | {column: value}))
    with empty_tables.connect() as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"end_time": "'2012-06-29'", "stop_reason": "'evaluation_complete'"}, False),
        ({"end_time": "'2012-06-29'"}, True),
        ({"stop_reason": "'terminated'"}, True),
        ({"end_time": "'2012-06-29'", "stop_reason": "'bored'"}, True),
        ({"max_drawdown": "1.1"}, True),
        ({"max_drawdown": "-0.1"}, True),
        ({"max_drawdown": "'NaN'"}, True),
    ],
)
def test_an_episode_is_finished_with_a_known_reason_or_plainly_not(empty_tables, changes, refused):
    values = {
        "window_start": "'2012-04-01'",
        "instrument": "'AAPL'",
        "start_time": "'2012-04-02'",
        "config_json": "'{}'",
        "strategy": "'agent'",
        "seed": "0",
    } | changes
    statement = f"INSERT INTO tt_episode ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    with empty_tables.connect() as connection:
        if refused:
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(statement)
        else:
            connection.execute(statement)


def test_an_episode_is_known_by_its_window_what_is_traded_who_acted_and_the_seed(empty_tables):
    assert key_columns(TABLES["tt_episode"]) == ("window_start", "instrument", "strategy", "seed")
    others = (
        {"window_start": "'2012-07-01'"},
        {"instrument": "'MSFT'"},
        {"strategy": "'random'"},
        {"seed": "1"},
    )
    with empty_tables.connect() as connection:
        for changes in ({}, *others):
            insert(connection, "tt_episode", **changes)
        assert connection.execute("SELECT count(*) FROM tt_episode").fetchone() == (1 + len(others),)


def test_the_user_s_twelve_tables_and_the_agents_come_in_the_order_of_flow():
    assert list(TABLES) == [
        "tt_prices", "tt_features", "tt_signal_scores", "tt_policy", "tt_episode", "tt_observation", "tt_action",
        "tt_target_weights", "tt_order", "tt_portfolio", "tt_holdings", "tt_reward", "tt_equity_curve",
    ]  # fmt: skip
    assert {*MARKET_TABLES, "tt_policy", *EPISODE_TABLES} == set(TABLES)


def test_every_foreign_key_of_the_server_cascades_and_is_indexed(postgres):
    with postgres.connect() as connection:
        keys = connection.execute(
            "SELECT c.conrelid::regclass::text, a.attname, c.confdeltype::text, EXISTS ("
            "  SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = a.attnum) "
            "FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
            "WHERE c.contype = 'f'"
        ).fetchall()
    assert len(keys) == 10  # eight of episodes, that of an episode to its agent, that of a promotion to its trial
    for table, column, on_delete, indexed in keys:
        assert (on_delete, indexed) == ("c", True), (table, column)


@pytest.mark.parametrize("table", TABLES)
def test_the_key_of_a_table_is_part_of_its_content(table):
    assert set(key_columns(TABLES[table])) <= set(content_columns(TABLES[table]))
    assert "id" not in content_columns(TABLES[table])


def test_every_number_carries_its_unit():
    from sqlalchemy import Double

    for table in TABLES.values():
        for column in table.columns:
            assert column.comment, f"{table.name}.{column.name}"
            if isinstance(column.type, Double):
                assert column.info.get("unit"), f"{table.name}.{column.name}"
