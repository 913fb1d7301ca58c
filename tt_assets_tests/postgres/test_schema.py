"""The migrated schema is the one of `tables.py`, and every other state of a database is said in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tt_assets.postgres import schema
from tt_assets.postgres.bar_views import statements
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.views import VIEWS, definition
from tt_assets.tables import BAR_FORMS, BESIDE, TABLES, metadata

CATALOG = {
    "columns": """
        SELECT table_name, rank() OVER (PARTITION BY table_name ORDER BY ordinal_position), column_name, data_type,
               is_nullable, column_default, is_identity,
               identity_generation, datetime_precision,
               col_description(format('%I', table_name)::regclass, ordinal_position)
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid), condeferrable, convalidated
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "comments": """
        SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1""",
    "views": """
        SELECT c.relname, pg_get_viewdef(c.oid), c.reloptions::text FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' ORDER BY 1""",
    # That rows are only added to tt_trial and tt_promotion is declared in the migration alone.
    "functions": """
        SELECT proname, prosrc, prosecdef, proconfig::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        AND proname <> 'tt_append_only' ORDER BY 1""",
    "triggers": """
        SELECT tgrelid::regclass::text, pg_get_triggerdef(t.oid) FROM pg_trigger AS t
        JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE NOT tgisinternal AND proname <> 'tt_append_only' ORDER BY 1""",
    "sequences": "SELECT sequencename, data_type, start_value, increment_by FROM pg_sequences ORDER BY 1",
}
"""What the server itself says of a schema; NOT NULL is `is_nullable` (PostgreSQL 18 lists it as a constraint too).

Columns are counted, as a dropped one leaves a gap in their positions."""


def _catalog(database: Database) -> dict[str, set[tuple[object, ...]]]:
    with database.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")
        found = {part: set(connection.execute(question).fetchall()) for part, question in CATALOG.items()}
        connection.rollback()
    return found


def test_the_migrated_schema_is_the_one_of_tables_py(new_database: Database, second_database: Database) -> None:
    schema.upgrade(new_database)
    with second_database.engine().begin() as connection:
        metadata.create_all(connection)
    with second_database.connect() as connection:
        for statement in (each for view in VIEWS for each in definition(view)):
            connection.execute(statement)
        for statement in (each for table in BAR_FORMS for each in statements(table)):
            connection.execute(statement)
    migrated, declared = _catalog(new_database), _catalog(second_database)
    for part in CATALOG:
        assert migrated[part] - declared[part] == set(), f"{part} only in the migrations"
        assert declared[part] - migrated[part] == set(), f"{part} only in tables.py"
    stored = {each for form in BAR_FORMS.values() for each in (form.bars.name, form.catalog.name)}
    assert {*TABLES, *BESIDE} - {*BAR_FORMS} | stored == set(metadata.tables)
    shown = {*metadata.tables, *BAR_FORMS, *(view.name for view in VIEWS)}
    assert {row[0] for row in migrated["comments"]} == shown
    columns = sum(len(table.columns) for table in {**metadata.tables, **TABLES}.values())
    columns += sum(len(view.columns) for view in VIEWS)
    assert len(migrated["columns"]) == columns


@pytest.mark.parametrize(
    "drift",
    [
        "ALTER TABLE tt_prices ADD COLUMN vwap double precision",
        "ALTER TABLE tt_prices ALTER COLUMN volume TYPE real",
        "ALTER TABLE tt_prices ALTER COLUMN volume DROP NOT NULL",
        "ALTER TABLE tt_prices DROP CONSTRAINT tt_prices_key",
        "ALTER TABLE tt_episode DROP CONSTRAINT tt_episode_stop_reason_check",
        "ALTER TABLE tt_episode ADD CONSTRAINT another CHECK (stop_reason <> '')",
        "ALTER TABLE tt_holdings DROP CONSTRAINT tt_holdings_portfolio_id_fkey",
        "ALTER TABLE tt_reward ADD CONSTRAINT kept FOREIGN KEY (episode_id) REFERENCES tt_episode (id)",
        "DROP INDEX tt_episode_policy_id_idx",
        "COMMENT ON COLUMN tt_prices.close IS 'Last trade.'",
        "COMMENT ON TABLE tt_prices IS NULL",
        "ALTER VIEW v_trades SET (security_invoker = false)",
        "DROP TRIGGER tt_features_change ON tt_features",
        "ALTER FUNCTION tt_features_change() SECURITY DEFINER",
    ],
)
def test_the_comparison_sees_every_kind_of_drift(new_database: Database, drift: str) -> None:
    schema.upgrade(new_database)
    before = _catalog(new_database)
    with new_database.connect() as connection:
        connection.execute(drift)
    assert _catalog(new_database) != before


def test_every_foreign_key_cascades_and_leads_an_index(postgres: Database) -> None:
    with postgres.connect() as connection:
        keys = connection.execute(
            """
            SELECT conrelid::regclass::text, confdeltype,
                   EXISTS (SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1])
            FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"""
        ).fetchall()
    assert len(keys) == 10
    assert all(action == "c" and indexed for _, action, indexed in keys), keys


def test_downgrading_to_nothing_and_back_gives_the_same_schema(new_database: Database) -> None:
    from alembic import command

    schema.upgrade(new_database)
    before = _catalog(new_database)
    with new_database.engine().begin() as connection:
        command.downgrade(schema._config(connection), "base")
    with new_database.connect() as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relname ~ '^(tt|v)_'").fetchall()
    assert left == []
    schema.upgrade(new_database)
    assert _catalog(new_database) == before


def _to(database: Database, revision: str) -> None:
    from alembic import command

    found = schema.current(database)
    step = command.upgrade if found is None or found < revision else command.downgrade
    with database.engine().begin() as connection:
        step(schema._config(connection), revision)


def _store_an_agent_s_episode(database: Database, seed: int) -> None:
    """An agent and its finished episode with rows below it, as a database at revision 0002 has them."""
    with database.connect() as connection:
        connection.execute(
            "WITH p AS (INSERT INTO tt_policy (window_start, instrument, seed, weights, config_json, sha256) "
            "  VALUES ('2012-07-01', 'AAPL', %s, 'w', '{}', 'x') RETURNING id), "
            "e AS (INSERT INTO tt_episode (window_start, instrument, policy_id, start_time, end_time, stop_reason, "
            "    max_drawdown, sharpe_ratio, turnover, config_json) "
            "  SELECT '2012-07-01', 'AAPL', id, '2012-07-02', '2012-09-28', 'evaluation_complete', 0.1, 1.5, 0.2, "
            """  '{"engine": "tensortrade"}' FROM p RETURNING id), """
            "f AS (INSERT INTO tt_portfolio (episode_id, timestamp, net_worth, cash_balance) "
            "  SELECT id, '2012-07-02', 10000, 10000 FROM e RETURNING id) "
            "INSERT INTO tt_holdings (portfolio_id, instrument, quantity) SELECT id, 'AAPL', 3 FROM f",
            [seed],
        )


EPISODE_AT_0002 = (
    "SELECT e.id, e.window_start, e.instrument, e.policy_id, e.start_time, e.end_time, e.stop_reason, e.max_drawdown, "
    "e.sharpe_ratio, e.turnover, e.config_json, f.net_worth, h.quantity FROM tt_episode e "
    "JOIN tt_portfolio f ON f.episode_id = e.id JOIN tt_holdings h ON h.portfolio_id = f.id ORDER BY e.id"
)


def _found(database: Database, statement: str) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return connection.execute(statement).fetchall()


def test_the_episodes_of_an_older_schema_become_those_of_their_agents(new_database: Database) -> None:
    _to(new_database, "0002")
    for seed in (7, 3):
        _store_an_agent_s_episode(new_database, seed)
    before = _found(new_database, EPISODE_AT_0002)
    assert len(before) == 2
    schema.upgrade(new_database)
    schema.check(new_database)
    assert _found(new_database, EPISODE_AT_0002) == before
    assert _found(new_database, "SELECT strategy, seed FROM tt_episode ORDER BY id") == [("agent", 7), ("agent", 3)]


def test_going_back_before_the_strategies_keeps_the_agents_episodes_and_drops_the_baselines(
    new_database: Database,
) -> None:
    _to(new_database, "0002")
    older = _catalog(new_database)
    _store_an_agent_s_episode(new_database, 7)
    before = _found(new_database, EPISODE_AT_0002)
    schema.upgrade(new_database)
    newer = _catalog(new_database)
    with new_database.connect() as connection:
        connection.execute(
            "INSERT INTO tt_episode (window_start, instrument, start_time, config_json, strategy, seed) "
            "VALUES ('2012-07-01', 'AAPL', '2012-07-02', '{}', 'cash', 0)"
        )
    _to(new_database, "0002")
    assert _catalog(new_database) == older
    assert _found(new_database, EPISODE_AT_0002) == before
    assert _found(new_database, "SELECT count(*) FROM tt_episode") == [(1,)]
    schema.upgrade(new_database)
    assert _catalog(new_database) == newer
    assert _found(new_database, EPISODE_AT_0002) == before
    assert _found(new_database, "SELECT strategy, seed FROM tt_episode") == [("agent", 7)]


UPGRADE = """
import sys
from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.database_url import parse_url
schema.upgrade(Database.of(parse_url(sys.argv[1])))
"""


def test_six_concurrent_upgrades_all_succeed(embedded_server: EmbeddedServer, new_database: Database) -> None:
    # Nobody has made the database either: it is dropped first.
    with new_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(new_database.name)))
    racers = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, new_database.adbc_uri()], stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    outcomes = [(racer.communicate(timeout=120)[1], racer.returncode) for racer in racers]
    assert outcomes == [("", 0)] * 6
    schema.check(new_database)
    with new_database.connect() as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema.head(),)]


def test_a_failing_migration_leaves_nothing_behind(new_database: Database) -> None:
    with new_database.connect() as connection:
        connection.execute("CREATE TABLE tt_equity_curve (in_the_way integer)")  # the last table of the first revision
    with pytest.raises(Exception, match="already exists"):
        schema.upgrade(new_database)
    with new_database.connect() as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == [("tt_equity_curve",)]


def _one_line(error: Exception) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_a_database_without_tables_is_told_to_upgrade(new_database: Database) -> None:
    assert schema.current(new_database) is None
    with pytest.raises(schema.SchemaMissing) as caught:
        schema.check(new_database)
    assert "tt db upgrade" in _one_line(caught.value)
    assert new_database.name in str(caught.value)


def test_an_older_schema_is_told_to_upgrade_and_does(new_database: Database) -> None:
    from alembic import command

    with new_database.engine().begin() as connection:
        command.upgrade(schema._config(connection), "0001")
    with pytest.raises(schema.SchemaOlder) as caught:
        schema.check(new_database)
    assert re.search(r"revision 0001.*needs \d{4}.*tt db upgrade", _one_line(caught.value))
    schema.upgrade(new_database)
    schema.check(new_database)
    assert schema.current(new_database) == schema.head() == schema.revisions()[-1]


def test_a_newer_schema_is_neither_used_nor_touched(new_database: Database) -> None:
    schema.upgrade(new_database)
    with new_database.connect() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for refuse in (schema.check, schema.upgrade):
        with pytest.raises(schema.SchemaNewer) as caught:
            refuse(new_database)
        assert re.search(r"revision 9999.*upgrade tt_assets", _one_line(caught.value))
    assert schema.current(new_database) == "9999"


def _as(database: Database, role: str, statement: str) -> None:
    with database.connect() as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.execute(statement)
        connection.rollback()


BAR = "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) VALUES ('A', now(), 1, 1, 1, 1, 0)"
ALLOWED = {
    "SELECT count(*) FROM tt_holdings": {"tt_owner", "tt_writer", "tt_reader"},
    "SELECT version_num FROM alembic_version": {"tt_owner", "tt_writer", "tt_reader"},
    BAR: {"tt_owner", "tt_writer"},
    "UPDATE tt_episode SET turnover = 0": {"tt_owner", "tt_writer"},
    "DELETE FROM tt_prices": {"tt_owner", "tt_writer"},
    "UPDATE alembic_version SET version_num = 'x'": {"tt_owner"},
    "TRUNCATE tt_prices": {"tt_owner"},
    "ALTER TABLE tt_prices ADD COLUMN vwap double precision": {"tt_owner"},
    "CREATE TABLE tt_mine (a integer)": {"tt_owner"},
    "SELECT count(*) FROM tt_later": {"tt_owner", "tt_writer", "tt_reader"},
    "INSERT INTO tt_later DEFAULT VALUES": {"tt_owner", "tt_writer"},
    "CREATE ROLE tt_intruder": set(),
}


@pytest.mark.parametrize("role", ["tt_owner", "tt_writer", "tt_reader"])
@pytest.mark.parametrize("statement", ALLOWED)
def test_each_role_may_do_its_work_and_no_more(postgres: Database, role: str, statement: str) -> None:
    with postgres.connect() as connection:  # a table of the future, made by the user who migrates
        connection.execute("CREATE TABLE IF NOT EXISTS tt_later (id bigint GENERATED BY DEFAULT AS IDENTITY, a text)")
    try:
        if role in ALLOWED[statement]:
            _as(postgres, role, statement)
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                _as(postgres, role, statement)
    finally:
        with postgres.connect() as connection:
            connection.execute("DROP TABLE tt_later")


def test_the_roles_cannot_log_in(postgres: Database) -> None:
    with postgres.connect() as connection:
        roles = connection.execute(
            "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb "
            "FROM pg_roles WHERE rolname IN ('tt_owner', 'tt_writer', 'tt_reader')"
        ).fetchall()
    assert len(roles) == 3
    assert not any(any(rights) for _, *rights in roles)


@pytest.fixture
def plain_user(new_database: Database) -> Iterator[Database]:
    """A login that owns its database and may create neither roles nor databases."""
    name = sql.Identifier(new_database.name)  # the user is named as the database
    with new_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        connection.execute(sql.SQL("ALTER DATABASE {0} OWNER TO {0}").format(name))
    yield Database.of(dict(new_database.parameters) | {"user": new_database.name})
    with new_database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO postgres").format(name))
        connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


def test_a_user_who_may_not_create_roles_can_upgrade_and_work(plain_user: Database) -> None:
    schema.upgrade(plain_user)
    schema.check(plain_user)
    with plain_user.connect() as connection:
        connection.execute(BAR)
        owner = connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'tt_prices'").fetchone()
    assert owner == (plain_user.name,)


def test_a_user_who_may_not_make_tables_is_told_who_can(plain_user: Database, new_database: Database) -> None:
    with new_database.connect() as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(sql.Identifier(new_database.name)))
    with pytest.raises(schema.SchemaNotAllowed) as caught:
        schema.upgrade(plain_user)
    assert "permission denied" in _one_line(caught.value)
    assert schema.current(new_database) is None
