"""An episode is whole or plainly unfinished, a retry replaces it, and nothing of two materializations is ever mixed."""

from __future__ import annotations

import json
import threading
from datetime import date, datetime

import pandas as pd
import psycopg
import pytest

from tt_assets.postgres.copy_format import FrameMismatch
from tt_assets.postgres.episode_store import EpisodeHeader, EpisodeReplaced, EpisodeStore, EpisodeSummary
from tt_assets.tables import EPISODE_TABLES
from tt_assets_tests.dagster_runs import query

WINDOW = date(2012, 4, 1)
PARTITION = [(WINDOW, "AAPL")]
SESSIONS = pd.to_datetime(["2012-04-02", "2012-04-03", "2012-04-04"])


@pytest.fixture
def store(empty_tables) -> EpisodeStore:
    return EpisodeStore(empty_tables)


def header(
    traded: str = "AAPL",
    policy: int | None = None,
    window: date = WINDOW,
    *,
    strategy: str = "agent",
    seed: int = 0,
) -> EpisodeHeader:
    return EpisodeHeader(
        window_start=window,
        instrument=traded,
        strategy=strategy,
        seed=seed,
        policy_id=policy,
        start_time=datetime(2012, 4, 2),
        config_json=json.dumps({"engine": "test"}),
    )


def summary(episode: int, sharpe: float | None = 1.5) -> EpisodeSummary:
    return EpisodeSummary(episode, datetime(2012, 4, 4), "evaluation_complete", 0.1, sharpe, 0.2)


def portfolio(episode: int, worth: float = 10_000.0) -> pd.DataFrame:
    return pd.DataFrame({"episode_id": episode, "timestamp": SESSIONS, "net_worth": worth, "cash_balance": 1.0})


def holdings(episode: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"episode_id": episode, "timestamp": SESSIONS[::-1], "instrument": "AAPL", "quantity": [3.0, 2.0, 1.0]}
    )


def write_whole(store: EpisodeStore, episode: int, worth: float = 10_000.0) -> None:
    store.add("tt_portfolio", portfolio(episode, worth))
    store.add("tt_holdings", holdings(episode))
    store.finalize([summary(episode)])


def rows(store: EpisodeStore, table: str) -> int:
    return query(store.database, f"SELECT count(*) FROM {table}")[0][0]


def test_an_opened_episode_is_unfinished_until_it_is_finalized(store):
    (episode,) = store.open(PARTITION, [header()])
    store.add("tt_portfolio", portfolio(episode))
    unfinished = "SELECT end_time, stop_reason, sharpe_ratio, max_drawdown, turnover FROM tt_episode"
    assert query(store.database, unfinished) == [(None, None, None, None, None)]
    store.finalize([summary(episode)])
    assert query(store.database, unfinished) == [(datetime(2012, 4, 4), "evaluation_complete", 1.5, 0.1, 0.2)]


def test_an_undefined_sharpe_ratio_is_null_not_nan(store):
    (episode,) = store.open(PARTITION, [header()])
    store.finalize([summary(episode, sharpe=None)])
    assert query(store.database, "SELECT sharpe_ratio IS NULL FROM tt_episode") == [(True,)]


def test_holdings_find_the_portfolio_row_of_their_session(store):
    (episode,) = store.open(PARTITION, [header()])
    write_whole(store, episode)
    assert query(
        store.database,
        "SELECT p.timestamp, h.quantity FROM tt_holdings h JOIN tt_portfolio p ON p.id = h.portfolio_id ORDER BY 1",
    ) == list(zip(SESSIONS, [1.0, 2.0, 3.0], strict=True))


def test_holdings_of_a_session_without_a_portfolio_row_are_refused(store):
    (episode,) = store.open(PARTITION, [header()])
    store.add("tt_portfolio", portfolio(episode).iloc[:2])
    with pytest.raises(FrameMismatch, match=r"tt_holdings\.portfolio_id"):
        store.add("tt_holdings", holdings(episode))
    assert rows(store, "tt_holdings") == 0


def test_opening_a_partition_again_removes_what_a_crashed_run_left(store):
    (crashed,) = store.open(PARTITION, [header()])
    store.add("tt_portfolio", portfolio(crashed))
    store.add("tt_holdings", holdings(crashed))
    (retried,) = store.open(PARTITION, [header()])
    assert query(store.database, "SELECT id FROM tt_episode") == [(retried,)]
    assert (rows(store, "tt_portfolio"), rows(store, "tt_holdings")) == (0, 0)
    write_whole(store, retried)
    assert (rows(store, "tt_portfolio"), rows(store, "tt_holdings")) == (3, 3)


def test_opening_a_partition_leaves_every_other_partition_as_it_was(store):
    others = [(WINDOW, "A"), (WINDOW, "AAPLX"), (date(2012, 7, 1), "AAPL")]
    for window, traded in [*others, *PARTITION]:
        (episode,) = store.open([(window, traded)], [header(traded, window=window)])
        write_whole(store, episode)
    store.open(PARTITION, [header()])
    finished = query(store.database, "SELECT window_start, instrument FROM tt_episode WHERE end_time IS NOT NULL")
    assert set(finished) == set(others)
    assert rows(store, "tt_holdings") == 3 * len(others)


def test_a_partition_that_yields_no_episode_any_more_becomes_empty(store):
    (episode,) = store.open(PARTITION, [header()])
    write_whole(store, episode)
    assert store.open(PARTITION, []) == []
    assert all(rows(store, table) == 0 for table in EPISODE_TABLES)


def test_children_of_an_episode_that_another_run_replaced_are_refused_and_leave_no_row(store):
    (mine,) = store.open(PARTITION, [header()])
    (theirs,) = store.open(PARTITION, [header()])
    with pytest.raises(EpisodeReplaced, match="replaced by another run"):
        store.add("tt_portfolio", portfolio(mine))
    with pytest.raises(EpisodeReplaced, match=f"tt_episode {mine}"):
        store.finalize([summary(mine)])
    write_whole(store, theirs, worth=7.0)
    assert query(store.database, "SELECT DISTINCT episode_id, net_worth FROM tt_portfolio") == [(theirs, 7.0)]


def test_holdings_of_an_episode_that_was_replaced_after_its_portfolio_say_so(store):
    (mine,) = store.open(PARTITION, [header()])
    store.add("tt_portfolio", portfolio(mine))
    store.open(PARTITION, [header()])
    with pytest.raises(EpisodeReplaced, match="tt_holdings: the episode was replaced by another run"):
        store.add("tt_holdings", holdings(mine))
    assert rows(store, "tt_holdings") == 0


def test_finalizing_is_all_or_nothing(store):
    first, second = store.open([*PARTITION, (WINDOW, "MSFT")], [header(), header("MSFT")])
    with pytest.raises(EpisodeReplaced):
        store.finalize([summary(first), summary(second + 1)])
    assert query(store.database, "SELECT count(*) FROM tt_episode WHERE end_time IS NOT NULL") == [(0,)]


def test_writers_racing_for_one_partition_leave_one_whole_episode(store):
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def write(version: int) -> None:
        start.wait()
        for _ in range(5):
            try:
                (episode,) = store.open(PARTITION, [header()])
                write_whole(store, episode, worth=float(version))
                outcomes.append("written")
            except EpisodeReplaced:
                outcomes.append("replaced")

    writers = [threading.Thread(target=write, args=(version,)) for version in (1, 2, 3, 4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert len(outcomes) == 20  # nothing else was raised
    assert "written" in outcomes
    assert query(store.database, "SELECT count(*), count(end_time) FROM tt_episode") == [(1, 1)]
    assert query(store.database, "SELECT count(*), count(DISTINCT net_worth) FROM tt_portfolio") == [(3, 1)]
    assert rows(store, "tt_holdings") == 3


def test_deleting_an_agent_takes_its_episodes_and_all_their_rows_with_it(store):
    with store.database.connect() as connection:
        policies = [
            connection.execute(
                "INSERT INTO tt_policy (window_start, instrument, seed, weights, config_json, sha256) "
                "VALUES (%s, 'AAPL', %s, 'x', '{}', 'x') RETURNING id",
                [WINDOW, seed],
            ).fetchone()[0]
            for seed in (0, 1)
        ]
    episodes = store.open(PARTITION, [header(policy=policy, seed=seed) for seed, policy in enumerate(policies)])
    for episode in episodes:
        write_whole(store, episode)
    with store.database.connect() as connection:
        connection.execute("DELETE FROM tt_policy WHERE seed = 0")
    assert query(store.database, "SELECT id FROM tt_episode") == [(episodes[1],)]
    assert query(store.database, "SELECT DISTINCT episode_id FROM tt_portfolio") == [(episodes[1],)]
    assert rows(store, "tt_holdings") == 3


def test_deleting_an_agent_leaves_the_baselines_of_its_window(store):
    with store.database.connect() as connection:
        policy = connection.execute(
            "INSERT INTO tt_policy (window_start, instrument, seed, weights, config_json, sha256) "
            "VALUES (%s, 'AAPL', 0, 'x', '{}', 'x') RETURNING id",
            [WINDOW],
        ).fetchone()[0]
    _, cash = store.open(PARTITION, [header(policy=policy), header(strategy="cash")])
    write_whole(store, cash)
    with store.database.connect() as connection:
        connection.execute("DELETE FROM tt_policy")
    assert query(store.database, "SELECT id, strategy FROM tt_episode") == [(cash, "cash")]
    assert rows(store, "tt_holdings") == 3


def test_agents_and_baselines_of_a_partition_stand_side_by_side_and_are_replaced_together(store):
    who = [("agent", 0), ("agent", 1), ("cash", 0), ("random", 0), ("random", 1)]
    first = store.open(PARTITION, [header(strategy=strategy, seed=seed) for strategy, seed in who])
    named = "SELECT id, strategy, seed FROM tt_episode ORDER BY id"
    assert query(store.database, named) == [(number, *acted) for number, acted in zip(first, who, strict=True)]
    for episode in first:
        write_whole(store, episode)
    second = store.open(PARTITION, [header(strategy=strategy, seed=seed) for strategy, seed in who[:3]])
    assert set(second).isdisjoint(first)
    assert query(store.database, named) == [(number, *acted) for number, acted in zip(second, who[:3], strict=True)]
    assert rows(store, "tt_holdings") == 0


@pytest.mark.parametrize("strategy", ["agent", "random"])
def test_a_strategy_and_seed_have_one_episode_a_window(store, strategy):
    twice = [header(strategy=strategy, seed=1)] * 2
    with pytest.raises(psycopg.errors.UniqueViolation):
        store.open(PARTITION, twice)
    assert rows(store, "tt_episode") == 0
