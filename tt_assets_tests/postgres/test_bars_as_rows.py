"""tt_features and tt_signal_scores are stored by the bar and behave as the long tables they were."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import psycopg
import pytest
from alembic import command

from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.postgres.standing import standing
from tt_assets.tables import BAR_FORMS, TABLES, content_columns, key_columns

DAYS = [datetime(2012, 5, day) for day in (14, 15, 16)]
NAMES = ("A", "T")
# Beside each view a table of the same columns, made and filled by the same statements: what a long table would hold.
LONG = {
    "tt_features": "CREATE TEMP TABLE long (instrument text, timestamp timestamp, feature text, "
    "value double precision, UNIQUE (instrument, timestamp, feature))",
    "tt_signal_scores": "CREATE TEMP TABLE long (instrument text, timestamp timestamp, signal_name text, "
    "score double precision, meta_json text, UNIQUE (instrument, timestamp, signal_name))",
}


def cells(instruments=NAMES, days=DAYS) -> Selection:
    return Selection.of(
        {f"{day:%Y-%m-%d}|{name}": (name, day, day + timedelta(days=1)) for name in instruments for day in days}
    )


def features(names, instruments=NAMES, days=DAYS, seed=0) -> pd.DataFrame:
    places = pd.MultiIndex.from_product(
        [instruments, days, sorted(names)], names=["instrument", "timestamp", "feature"]
    )
    frame = places.to_frame(index=False).astype({"timestamp": "datetime64[ns]"})
    return frame.assign(value=np.random.default_rng(seed).normal(size=len(frame)))


def in_view(database: Database, table: str) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return connection.execute(f"SELECT {', '.join(content_columns(TABLES[table]))} FROM {table}").fetchall()


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True), check_dtype=False)


@pytest.mark.parametrize("table", BAR_FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_any_statements_leave_what_they_leave_in_a_long_table(empty_tables, table, seed):
    draw = np.random.default_rng(seed)
    name, number = key_columns(TABLES[table])[-1], BAR_FORMS[table].number
    with empty_tables.connect() as connection:
        connection.execute(LONG[table])
        for _ in range(150):
            instrument, day, other = draw.choice(NAMES), DAYS[draw.integers(3)], DAYS[draw.integers(3)]
            what, value = f"n{draw.integers(5)}", round(float(draw.uniform(-1, 1)), 3)
            meta = {"meta_json": json.dumps({"lookback": int(draw.integers(2))})} if name == "signal_name" else {}
            row = {"instrument": instrument, "timestamp": day, name: what, number: value, **meta}
            columns, values = ", ".join(row), ", ".join(["%s"] * len(row))
            statement, parameters = [
                (f"INSERT INTO {{}} ({columns}) VALUES ({values})", list(row.values())),
                (f"INSERT INTO {{}} ({columns}) VALUES ({values})", list(row.values())),
                (
                    f"UPDATE {{}} SET {number} = {number} / 2 WHERE instrument = %s AND timestamp >= %s",
                    [instrument, day],
                ),
                (f"UPDATE {{}} SET {name} = {name} || 'x' WHERE {name} = %s AND timestamp = %s", [what, day]),
                ("UPDATE {} SET timestamp = %s WHERE timestamp = %s AND instrument = %s", [other, day, instrument]),
                (f"DELETE FROM {{}} WHERE {name} = %s AND instrument = %s", [what, instrument]),
                ("DELETE FROM {} WHERE timestamp = %s AND instrument = %s", [day, instrument]),
            ][draw.choice(7, p=[0.35, 0.35, 0.1, 0.05, 0.05, 0.05, 0.05])]
            outcomes = []
            for relation in (table, "long"):
                try:
                    with connection.transaction():
                        outcomes.append(connection.execute(statement.format(relation), parameters).rowcount)
                except psycopg.errors.UniqueViolation as error:
                    outcomes.append(type(error).__name__)
            assert outcomes[0] == outcomes[1], (statement, parameters)
            shown, truth = (
                sorted(connection.execute(f"SELECT {columns} FROM {relation}").fetchall())
                for relation in (table, "long")
            )
            assert shown == truth, (statement, parameters)
        assert truth
        ids = connection.execute(f"SELECT count(DISTINCT id), count(*) FROM {table}").fetchone()
        assert ids == (len(truth), len(truth))


def test_rows_by_hand_are_returned_and_copied_with_their_id(empty_tables):
    with empty_tables.connect() as connection:
        given = connection.execute(
            "INSERT INTO tt_features (instrument, timestamp, feature, value) VALUES ('A', '2012-05-14', 'f', 1), "
            "('A', '2012-05-14', 'g', 2) RETURNING id, feature"
        ).fetchall()
        with connection.cursor().copy("COPY tt_features (instrument, timestamp, feature, value) FROM STDIN") as copy:
            copy.write_row(("A", "2012-05-14", "h", 3))
        connection.execute("UPDATE tt_features SET value = 20 WHERE feature = 'g'")
        stored = connection.execute("SELECT feature, id, value FROM tt_features ORDER BY 1").fetchall()
        assert {(name, number) for number, name in given} == {(name, number) for name, number, _ in stored[:2]}
        assert [(name, value) for name, _, value in stored] == [("f", 1), ("g", 20), ("h", 3)]
        assert connection.execute("SELECT count(*) FROM tt_feature_bar").fetchone() == (1,)
        connection.execute("DELETE FROM tt_features")
        assert connection.execute("SELECT count(*) FROM tt_feature_bar").fetchone() == (0,)


def test_what_the_store_writes_is_what_the_view_shows_and_the_ledger_says(empty_tables):
    store = SliceStore(empty_tables, TABLES["tt_features"])
    frame = features(("b", "a", "Z", "é"))
    frame = frame[(frame["feature"] != "a") | (frame["timestamp"] > DAYS[0])]  # warm-up: no row
    written = store.write(cells(), frame.sample(frac=1, random_state=1))
    in_order = frame.sort_values(["instrument", "timestamp", "feature"])
    same(store.read(cells()), in_order)
    assert sorted(in_view(empty_tables, "tt_features")) == sorted(in_order.itertuples(index=False, name=None))
    with empty_tables.connect() as connection:
        digests = {f"{day}|{name}": digest for day, name, _, digest in standing(connection, "tt_features")}
    assert digests == dict(zip(cells().keys, written.digests, strict=True))
    fewer = in_order[in_order["feature"] == "b"]
    store.write(cells(days=DAYS[:2]), fewer[fewer["timestamp"] < DAYS[2]])
    kept = pd.concat([fewer[fewer["timestamp"] < DAYS[2]], in_order[in_order["timestamp"] == DAYS[2]]])
    same(store.read(cells()), kept.sort_values(["instrument", "timestamp", "feature"]))
    with empty_tables.connect() as connection:  # by hand behind the others, out of order
        connection.execute(
            "INSERT INTO tt_features (instrument, timestamp, feature, value) VALUES ('A', %s, 'A', 1)", [DAYS[0]]
        )
    assert store.read(cells())["feature"].tolist()[:2] == ["A", "b"]


@pytest.mark.parametrize("count", [1, 300])
def test_a_bar_holds_one_value_or_hundreds(empty_tables, count):
    store = SliceStore(empty_tables, TABLES["tt_features"])
    frame = features([f"f{number:03d}" for number in range(count)])
    store.write(cells(), frame)
    same(store.read(cells()), frame)


def test_scores_keep_what_is_said_of_each_of_them(empty_tables):
    store = SliceStore(empty_tables, TABLES["tt_signal_scores"])
    frame = features(("model", "trend")).rename(columns={"feature": "signal_name", "value": "score"})
    frame["score"] = np.tanh(frame["score"])
    frame["meta_json"] = [json.dumps({"p": number, "why": "x" * 5_000 * (number == 3)}) for number in range(len(frame))]
    store.write(cells(), frame)
    same(store.read(cells()), frame)
    assert sorted(in_view(empty_tables, "tt_signal_scores")) == sorted(frame.itertuples(index=False, name=None))


def test_a_name_that_others_are_about_to_enter_holds_nobody_up(empty_tables):
    """A statement of somebody's holds a new name in its transaction; what does not need it lands meanwhile."""
    frame = features(("other",), instruments=("T",))
    with empty_tables.connect() as connection:
        connection.execute(
            "INSERT INTO tt_features (instrument, timestamp, feature, value) VALUES ('A', %s, 'new', 1)", [DAYS[0]]
        )
        SliceStore(empty_tables, TABLES["tt_features"]).write(cells(("T",)), frame)
        waiting = threading.Thread(
            target=SliceStore(empty_tables, TABLES["tt_features"]).write,
            args=(cells(("X",)), features(("new", "another"), instruments=("X",))),
        )
        waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()
    with empty_tables.connect() as connection:
        held = connection.execute("SELECT instrument, count(*) FROM tt_features GROUP BY 1 ORDER BY 1").fetchall()
        assert held == [("A", 1), ("T", 3), ("X", 6)]
        assert connection.execute("SELECT count(*) FROM tt_feature_name").fetchone() == (3,)


def test_writers_of_the_same_new_names_all_land(empty_tables):
    names = [f"f{number}" for number in range(40)]
    store = SliceStore(empty_tables, TABLES["tt_features"])
    frames = {name: features(names, instruments=(name,), seed=place) for place, name in enumerate("ABCDEF")}
    writers = [
        threading.Thread(target=store.write, args=(cells((name,)), frame.iloc[::-1])) for name, frame in frames.items()
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    same(store.read(cells(tuple("ABCDEF"))), pd.concat(frames.values()))


@pytest.mark.parametrize(
    ("role", "writes"), [("tt_writer", True), ("tt_reader", False)], ids=["tt_writer", "tt_reader"]
)
def test_a_role_may_do_with_the_views_what_it_may_do_with_the_tables(empty_tables, role, writes):
    with empty_tables.connect() as connection:
        connection.execute(f"SET ROLE {role}")
        statement = (
            "INSERT INTO tt_signal_scores (instrument, timestamp, signal_name, score, meta_json) "
            "VALUES ('A', '2012-05-14', 'of my own', 0.5, '{}')"
        )
        if writes:
            connection.execute(statement)
            connection.execute("UPDATE tt_signal_scores SET score = 0.25")
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM tt_signal_scores").fetchone() == (int(writes),)


def _at_0007(database: Database) -> None:
    with database.engine().begin() as connection:
        command.upgrade(schema._config(connection), "0007")
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO tt_features (instrument, timestamp, feature, value) VALUES ('A', '2012-05-14', 'f', 0.1)"
        )


def test_rights_that_were_given_on_a_table_hold_on_its_view(new_database):
    _at_0007(new_database)
    with new_database.connect() as connection:
        connection.execute(
            "DROP ROLE IF EXISTS tt_test_analyst; CREATE ROLE tt_test_analyst; "
            "GRANT USAGE ON SCHEMA public TO tt_test_analyst; GRANT SELECT, INSERT ON tt_features TO tt_test_analyst"
        )
    try:
        schema.upgrade(new_database)
        with new_database.connect() as connection:
            connection.execute("SET ROLE tt_test_analyst")
            assert connection.execute("SELECT feature, value FROM tt_features").fetchall() == [("f", 0.1)]
            connection.execute(
                "INSERT INTO tt_features (instrument, timestamp, feature, value) VALUES ('A', '2012-05-14', 'g', 1)"
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT count(*) FROM tt_signal_scores")
            connection.rollback()
    finally:
        with new_database.connect() as connection:
            connection.execute("DROP OWNED BY tt_test_analyst; DROP ROLE tt_test_analyst")


def test_a_view_of_the_user_s_on_a_table_is_named_and_nothing_is_changed(new_database):
    _at_0007(new_database)
    with new_database.connect() as connection:
        connection.execute("CREATE VIEW mine AS SELECT value FROM tt_features")
    with pytest.raises(schema.DependedOn, match=r"view mine depends on .*drop it, upgrade, and make it again"):
        schema.upgrade(new_database)
    assert schema.current(new_database) == "0007"
    with new_database.connect() as connection:
        assert connection.execute("SELECT value FROM mine").fetchall() == [(0.1,)]
        connection.execute("DROP VIEW mine")
    schema.upgrade(new_database)
    assert [row[-1] for row in in_view(new_database, "tt_features")] == [0.1]
