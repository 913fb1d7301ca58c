"""The ledger says what every slice holds, in the transaction of its rows, whoever wrote them and in whatever order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from uuid import uuid4

import pandas as pd
import pytest
from psycopg import sql

from tt_assets.grain import DateGrain
from tt_assets.postgres import ledger, schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_store import EpisodeStore
from tt_assets.postgres.landed import Landed, landed
from tt_assets.postgres.ledger import Provenance, digest_number, next_fetch, record_failures, wrapped_sum
from tt_assets.postgres.restated import SOURCE_CHANGED
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.postgres.standing import standing
from tt_assets.tables import EPISODE_TABLES, TABLES
from tt_assets_tests.dagster_runs import query
from tt_assets_tests.postgres.test_episode_store import PARTITION, WINDOW, header, summary, write_whole
from tt_assets_tests.postgres.test_slice_store import DAYS, bars, select

CELLS = [("A", DAYS[0]), ("A", DAYS[1]), ("AA", DAYS[0])]


@pytest.fixture
def prices(empty_tables: Database) -> SliceStore:
    return SliceStore(empty_tables, TABLES["tt_prices"])


def entries(database: Database, columns: str, table: str = "tt_prices") -> dict[tuple[str, str], tuple]:
    found = query(
        database, f"SELECT date::text, instrument, {columns} FROM tt_slice WHERE table_name = %s ORDER BY 1, 2", table
    )
    return {(day, name): tuple(rest) for day, name, *rest in found}


def test_a_write_enters_rows_and_digest_of_every_cell_also_of_an_empty_one(prices):
    written = prices.write(
        select(CELLS), bars(CELLS[:2], 1.0), Provenance(run_id="r1", outcomes={"2012-05-14|AA": "not listed"})
    )
    assert entries(prices.database, "rows, digest, run_id, outcome, failure, tries, told") == {
        ("2012-05-14", "A"): (1, written.digests[0], "r1", "loaded", None, 0, False),
        ("2012-05-15", "A"): (1, written.digests[1], "r1", "loaded", None, 0, False),
        ("2012-05-14", "AA"): (0, written.digests[2], "r1", "not listed", None, 1, False),
    }


def test_what_runs_wrote_of_a_request_is_counted_and_what_had_been_there(prices):
    prices.write(select(CELLS[:1]), bars(CELLS[:1], 1.0), Provenance(run_id="before"))
    prices.write(select(CELLS[1:]), bars(CELLS[1:2], 1.0), Provenance(run_id="now"))
    days = sorted({str(day) for _, day in CELLS})
    assert landed(prices.database, ["tt_prices"], days, ["A", "AA"], ["now"]) == Landed(3, 2, 1)
    assert landed(prices.database, ["tt_prices"], days, ["AA"], []) == Landed(1, 0, 0)
    assert landed(prices.database, ["tt_prices"], [], ["AA"], ["now"]) == Landed(0, 0, 0)


def test_the_server_s_digests_are_the_writer_s_bit_for_bit(empty_tables):
    awkward = bars(CELLS, 1 / 3).assign(volume=[0.0, 1e-300, 2**53 + 1.0])
    frames = {
        "tt_prices": awkward,
        "tt_features": pd.DataFrame(
            {"instrument": ["A", "A", "AA"], "timestamp": [pd.Timestamp(day) for _, day in CELLS]}
        ).assign(feature=["ümlaut", "z", "é"], value=[-0.0, 5e-324, 1.5]),
        "tt_signal_scores": pd.DataFrame(
            {"instrument": ["A", "A", "AA"], "timestamp": [pd.Timestamp(day) for _, day in CELLS]}
        ).assign(signal_name=["b", "a", "c"], score=0.5, meta_json='{"method": "σ"}'),
    }
    for table, frame in frames.items():
        written = SliceStore(empty_tables, TABLES[table]).write(select(CELLS), frame)
        with empty_tables.connect() as connection:
            found = {f"{day}|{name}": digest for day, name, _, digest in standing(connection, table)}
        assert found == dict(zip(select(CELLS).keys, written.digests, strict=True))
        with empty_tables.connect() as connection:
            chosen = [name for _, name, _, _ in standing(connection, table, select(CELLS[2:]))]
        assert chosen == ["AA"]


def test_a_month_is_one_slice_of_its_sessions(empty_tables):
    month = Selection.of({"2012-05-01|A": ("A", datetime(2012, 5, 1), datetime(2012, 6, 1))})
    cells = [("A", day) for day in DAYS]
    written = SliceStore(empty_tables, TABLES["tt_prices"]).write(month, bars(cells, 2.0))
    with empty_tables.connect() as connection:
        assert list(standing(connection, "tt_prices", grain=DateGrain.MONTH)) == [
            ("2012-05-01", "A", len(DAYS), written.digests[0])
        ]
    assert entries(empty_tables, "rows") == {("2012-05-01", "A"): (len(DAYS),)}


def test_the_later_reading_wins_whatever_the_order_of_commits(prices):
    older, newer = next_fetch(prices.database), next_fetch(prices.database)
    prices.write(select(CELLS[:2]), bars(CELLS[:2], 2.0), Provenance(fetch=newer, run_id="newer"))
    late = prices.write(select(CELLS), bars(CELLS, 1.0), Provenance(fetch=older, run_id="older"))
    assert set(late.overtaken) == {"2012-05-14|A", "2012-05-15|A"}
    assert prices.read(select(CELLS))["close"].tolist() == [2.0, 2.0, 1.0]
    assert entries(prices.database, "run_id, digest") == {
        ("2012-05-14", "A"): ("newer", late.digests[0]),
        ("2012-05-15", "A"): ("newer", late.digests[1]),
        ("2012-05-14", "AA"): ("older", late.digests[2]),
    }
    assert late.rows == (1, 1, 1)


def test_content_that_changed_says_what_it_was_and_content_that_did_not_keeps_the_last_word(prices):
    why = Provenance(causes={"A": SOURCE_CHANGED})
    prices.write(select(CELLS), bars(CELLS, 1.0), why)
    assert {said for (said,) in entries(prices.database, "changed").values()} == {None}
    changed = bars(CELLS, 1.0).assign(volume=[1.0, 2.0, 1.0])
    restated = prices.write(select(CELLS), changed, why).restated
    prices.write(select(CELLS), changed, why)
    found = entries(prices.database, "changed")
    assert found["2012-05-15", "A"] == (restated["2012-05-15|A"],)
    assert restated["2012-05-15|A"]["was"]["volume"] == 1.0
    assert found["2012-05-14", "A"] == (None,)


def test_a_failure_keeps_the_rows_counts_tries_on_one_state_of_the_source_and_is_cleared_by_success(prices):
    database, chosen = prices.database, select(CELLS[:1])
    prices.write(chosen, bars(CELLS[:1], 1.0))
    for source, count in (("f1", 1), ("f1", 2), ("f2", 1)):
        record_failures(database, "tt_prices", chosen, {"2012-05-14|A": "no answer"}, run_id="r", source=source)
        ((rows, failure, tries),) = entries(database, "rows, failure, tries").values()
        assert (rows, failure["reason"], failure["run"], tries) == (1, "no answer", "r", count)
    record_failures(database, "tt_prices", select(CELLS[2:]), {"2012-05-14|AA": "never"}, source="f1")
    assert entries(database, "rows, tries, told")["2012-05-14", "AA"] == (None, 1, True)
    prices.write(chosen, bars(CELLS[:1], 1.0), Provenance(source="f2"))
    assert entries(database, "failure, tries")["2012-05-14", "A"] == (None, 0)


def test_an_empty_slice_that_comes_out_empty_again_was_tried_in_vain(prices):
    for source, count in (("f1", 1), ("f1", 2), ("f2", 1)):
        prices.write(select(CELLS[:1]), bars([], 1.0), Provenance(source=source))
        assert entries(prices.database, "tries") == {("2012-05-14", "A"): (count,)}


def test_what_was_told_stays_told_until_the_content_is_another(prices):
    database, chosen = prices.database, select(CELLS[:1])
    first = prices.write(chosen, bars(CELLS[:1], 1.0))
    ledger.mark_told(database, "tt_prices", chosen, first.digests)
    prices.write(chosen, bars(CELLS[:1], 1.0))
    assert entries(database, "told") == {("2012-05-14", "A"): (True,)}
    second = prices.write(chosen, bars(CELLS[:1], 2.0))
    assert entries(database, "told") == {("2012-05-14", "A"): (False,)}
    ledger.mark_told(database, "tt_prices", chosen, second.digests)
    assert entries(database, "told") == {("2012-05-14", "A"): (True,)}
    ledger.mark_told(database, "tt_prices", chosen, first.digests)  # an older event that came last
    assert entries(database, "told") == {("2012-05-14", "A"): (False,)}


def test_the_digests_read_with_rows_are_those_of_the_slices_with_rows(prices):
    written = prices.write(select(CELLS), bars(CELLS[:2], 1.0))
    rows, numbers = prices.read_with_digests(select(CELLS))
    assert len(rows) == 2
    assert sorted(numbers["number"]) == sorted(digest_number(digest, 1) for digest in written.digests[:2])
    assert digest_number(written.digests[2], 0) == 0


def test_of_a_weekend_between_selected_sessions_nothing_is_read(prices):
    friday, saturday, monday = (("A", datetime(2012, 5, day)) for day in (18, 19, 21))
    prices.write(select([friday, saturday, monday]), bars([friday, saturday, monday], 1.0))
    rows, numbers = prices.read_with_digests(select([friday, monday]))
    for found in (rows["timestamp"], numbers["date"]):
        assert sorted(found) == [pd.Timestamp(friday[1]), pd.Timestamp(monday[1])]
    prices.write(select([friday, monday]), bars([], 1.0))
    assert list(prices.read(select([friday, saturday, monday]))["timestamp"]) == [pd.Timestamp(saturday[1])]


def test_sums_wrap_at_sixty_four_bits():
    assert wrapped_sum([2**63 - 1, 1]) == -(2**63)
    assert wrapped_sum([-(2**63), -1]) == 2**63 - 1
    assert wrapped_sum([]) == 0


def agents(database: Database, *weights: bytes) -> SliceStore:
    store = SliceStore(database, TABLES["tt_policy"], "window_start")
    window = Selection.of({"2012-04-01|AAPL": ("AAPL", datetime(2012, 4, 1), datetime(2012, 7, 1))})
    frame = pd.DataFrame(
        {
            "window_start": pd.Timestamp(WINDOW),
            "instrument": "AAPL",
            "seed": range(len(weights)),
            "weights": list(weights),
            "config_json": "{}",
            "sha256": [weight.hex() for weight in weights],
        }
    )
    store.write(window, frame)
    return store


def test_an_agent_trained_again_supersedes_the_one_before_and_deletes_nothing(empty_tables):
    agents(empty_tables, b"one", b"two")
    store = EpisodeStore(empty_tables)
    write_whole(store, store.open(PARTITION, [header(policy=1)])[0])
    before = entries(empty_tables, "digest", "tt_policy")
    agents(empty_tables, b"other", b"two")
    assert query(empty_tables, "SELECT id, superseded_at IS NOT NULL FROM tt_policy ORDER BY id") == [
        (1, True),
        (2, False),
        (3, False),
    ]
    assert entries(empty_tables, "digest", "tt_policy") != before
    assert query(empty_tables, "SELECT count(*) FROM tt_episode WHERE end_time IS NOT NULL") == [(1,)]
    # The next roll keeps it as the episode of an old agent, beside that of the new one.
    (episode,) = store.open(PARTITION, [header(policy=3)])
    write_whole(store, episode)
    assert query(empty_tables, "SELECT policy_id, strategy FROM tt_episode ORDER BY id") == [
        (1, "old agent"),
        (3, "agent"),
    ]
    assert entries(empty_tables, "rows", "tt_episode") == {("2012-04-01", "AAPL"): (1,)}


def test_opening_episodes_empties_their_slices_and_closing_enters_all_nine(empty_tables):
    store = EpisodeStore(empty_tables)
    (episode,) = store.open(PARTITION, [header()])
    assert entries(empty_tables, "rows", "tt_episode") == {}
    write_whole(store, episode)
    held = {table: entries(empty_tables, "rows, digest", table) for table in EPISODE_TABLES}
    assert {table: found["2012-04-01", "AAPL"][0] for table, found in held.items()} == {
        **dict.fromkeys(EPISODE_TABLES, 0),
        "tt_episode": 1,
        "tt_portfolio": 3,
        "tt_holdings": 3,
    }
    store.open(PARTITION, [header()])
    assert entries(empty_tables, "rows, digest, reads", "tt_portfolio") == {("2012-04-01", "AAPL"): (None, None, None)}
    (again,) = store.open(PARTITION, [header()])
    write_whole(store, again)
    assert {table: entries(empty_tables, "rows, digest", table) for table in EPISODE_TABLES} == held


def test_an_episode_that_stays_open_is_a_failure_of_its_window(empty_tables):
    store = EpisodeStore(empty_tables)
    window = Selection.of({"2012-04-01|AAPL": ("AAPL", datetime(2012, 4, 1), datetime(2012, 7, 1))})
    first, _ = store.open(PARTITION, [header(), header(seed=1)])
    closed = store.finalize(
        [summary(first)], window, Provenance(reads={"2012-04-01|AAPL": 7}), {"2012-04-01|AAPL": "seed 1 lies"}
    )
    ((rows, reads, failure, tries),) = entries(empty_tables, "rows, reads, failure, tries", "tt_episode").values()
    assert (rows, reads, failure["reason"], tries) == (1, 7, "seed 1 lies", 1)
    assert closed["tt_episode"][0].rows == 1


@pytest.fixture
def older_database(embedded_server: EmbeddedServer) -> Iterator[Database]:
    """A database of its own at revision 0003."""
    from alembic import command

    database = Database.on(embedded_server, f"test_{uuid4().hex[:12]}")
    database.create_databases()
    with database.engine().begin() as connection:
        command.upgrade(schema._config(connection), "0003")
    yield database
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))


def test_a_filled_database_of_before_gets_the_ledger_a_fresh_write_would_make(older_database, prices):
    """Everything is written twice: by plain INSERTs before the upgrade, and by the stores of today."""
    with older_database.connect() as connection:
        for row in bars(CELLS, 1 / 3).itertuples(index=False):
            connection.execute(
                "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                list(row),
            )
        connection.execute(
            "INSERT INTO tt_policy (window_start, instrument, seed, weights, config_json, sha256) "
            "VALUES ('2012-04-01', 'AAPL', 0, 'one', '{}', '6f6e65')"
        )
        connection.execute(
            "INSERT INTO tt_episode (window_start, instrument, policy_id, start_time, end_time, stop_reason, "
            "max_drawdown, sharpe_ratio, turnover, config_json, strategy, seed) VALUES ('2012-04-01', 'AAPL', 1, "
            "'2012-04-02', '2012-04-04', 'evaluation_complete', 0.1, 1.5, 0.2, %s, 'agent', 0)",
            [json.dumps({"engine": "test"})],
        )
        connection.execute(
            "INSERT INTO tt_portfolio (episode_id, timestamp, net_worth, cash_balance) "
            "SELECT 1, d, 10000, 1 FROM unnest('{2012-04-02,2012-04-03,2012-04-04}'::timestamp[]) AS d"
        )
        connection.execute(
            "INSERT INTO tt_holdings (portfolio_id, instrument, quantity) VALUES (3, 'AAPL', 3), (2, 'AAPL', 2), "
            "(1, 'AAPL', 1)"
        )
    schema.upgrade(older_database)
    schema.upgrade(older_database)  # nothing is left to do
    prices.write(select(CELLS), bars(CELLS, 1 / 3))
    agents(prices.database, b"one")
    store = EpisodeStore(prices.database)
    write_whole(store, store.open(PARTITION, [header(policy=1)])[0])
    for table in TABLES:
        fresh = {key: held for key, held in entries(prices.database, "rows, digest", table).items() if held[0]}
        assert entries(older_database, "rows, digest", table) == fresh, table
    assert {told for (told,) in entries(older_database, "told").values()} == {True}


def test_a_killed_upgrade_leaves_the_older_schema(older_database, monkeypatch):
    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr("tt_assets.postgres.standing.fill_ledger", dies)
    with pytest.raises(RuntimeError, match="killed"):
        schema.upgrade(older_database)
    assert schema.current(older_database) == "0003"
    assert query(older_database, "SELECT to_regclass('tt_slice')") == [(None,)]
