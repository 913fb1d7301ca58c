"""Agents and baselines of a window through Dagster: books recomputed in SQL from orders and prices, retries, failures.

`test_strategies.py` has every baseline, the checks and the report.
"""

from collections.abc import Iterator
from itertools import product

import dagster as dg
import pytest

from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_store import EpisodeStore
from tt_assets.runs.io_managers import EpisodeIOManager
from tt_assets.runs.market_reader import MarketReader
from tt_assets.tables import EPISODE_TABLES, TABLES, content_columns
from tt_assets_tests.assets.sample_window import (
    AGENTS,
    CENT,
    WINDOW,
    Rolled,
    gaps_of_cash,
    gaps_of_net_worth,
    gaps_of_positions,
    sample_window,
)
from tt_assets_tests.dagster_runs import (
    current_definitions,
    current_plan,
    failure_text,
    landed_cells,
    partition_counts,
    query,
    run_job,
)

TRADED = ("AAPL", "sample")
QUICK = {
    "TT_TRAIN_STEPS": "2048",
    "TT_TRAIN_WORKERS": "1",
    "TT_SEEDS": "1",
    "TT_BASELINES": "cash,equal_weight_hold",
}
ACTED = ("agent", "cash", "equal_weight_hold")
COMMISSION = 10e-4


@pytest.fixture(scope="module")
def on_sample(postgres, tmp_path_factory) -> Iterator[Rolled]:
    """Market tables of the year up to September 2012, agents and episodes of AAPL and the sample portfolio."""
    with sample_window(postgres, tmp_path_factory.mktemp("home"), (*TRADED, "FB"), **QUICK) as rolled:
        assert run_job(rolled.instance, AGENTS, f"{WINDOW}|AAPL", f"{WINDOW}|sample").success
        yield rolled


@pytest.fixture
def rolled(on_sample, monkeypatch) -> Rolled:
    """The rolled episodes, which the settings of this process name. A test that rolls again leaves equal ones."""
    monkeypatch.setenv("TT_DATABASE_URL", on_sample.database.adbc_uri())
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    return on_sample


def _rows(database: Database, table: str, episode: str = "true") -> list[tuple]:
    """Content of an episode table after window, traded and strategy of its episode, no surrogate id in it."""
    columns = [name for name in content_columns(TABLES[table]) if not name.endswith("_id")]
    if table == "tt_episode":
        source, alias = "tt_episode AS e", "e"
    elif table == "tt_holdings":
        alias = "t"
        source = (
            "tt_holdings AS t JOIN tt_portfolio AS p ON p.id = t.portfolio_id "
            "JOIN tt_episode AS e ON e.id = p.episode_id"
        )
    else:
        source, alias = f"{table} AS t JOIN tt_episode AS e ON e.id = t.episode_id", "t"
    named = ", ".join(f"{alias}.{name}" for name in columns) + (", p.timestamp" if table == "tt_holdings" else "")
    found = query(database, f"SELECT e.window_start, e.instrument, e.strategy, {named} FROM {source} WHERE {episode}")
    return sorted(found, key=repr)


def everything(database: Database) -> dict[str, list[tuple]]:
    return {table: _rows(database, table, "e.strategy <> 'old agent'") for table in EPISODE_TABLES}


def test_all_nine_tables_have_rows_of_every_episode(rolled):
    for table in EPISODE_TABLES:
        found = {(str(row[0]), *row[1:3]) for row in _rows(rolled.database, table)}
        # Whoever stays in cash gives no order.
        acted = [name for name in ACTED if (table, name) != ("tt_order", "cash")]
        assert found == {(WINDOW, traded, name) for traded in TRADED for name in acted}, table


def test_every_session_of_the_window_is_marked_and_decided_on(rolled):
    sessions = query(
        rolled.database,
        "SELECT DISTINCT timestamp FROM tt_prices WHERE timestamp BETWEEN '2012-07-01' AND '2012-09-30' ORDER BY 1",
    )
    for table, wanted in {
        "tt_portfolio": sessions,
        "tt_equity_curve": sessions,
        "tt_observation": sessions,
        "tt_action": sessions,
        "tt_target_weights": sessions,
        "tt_reward": sessions[1:],
    }.items():
        for traded, strategy in product(TRADED, ACTED):
            found = query(
                rolled.database,
                f"SELECT DISTINCT t.timestamp FROM {table} t JOIN tt_episode e ON e.id = t.episode_id "
                "WHERE e.instrument = %s AND e.strategy = %s ORDER BY 1",
                traded,
                strategy,
            )
            assert found == wanted, (table, traded, strategy)


def test_cash_and_positions_at_the_close_are_the_net_worth_to_the_cent(rolled):
    gaps = gaps_of_net_worth(rolled.database)
    assert len(gaps) == query(rolled.database, "SELECT count(*) FROM tt_portfolio")[0][0] > 0
    assert max(abs(gap) for _, gap, _ in gaps) < CENT
    assert {count for *_, count in gaps} == {1, 4}


def test_cash_changes_by_what_was_traded_and_the_commission_alone(rolled):
    assert max(abs(gap) for _, gap in gaps_of_cash(rolled.database)) < CENT


def test_positions_change_by_the_fills_alone(rolled):
    assert max(abs(gap) for _, gap in gaps_of_positions(rolled.database)) < 1e-6  # shares
    assert query(rolled.database, "SELECT count(*) > 50 FROM tt_order") == [(True,)]


def test_an_order_is_filled_at_the_open_of_its_session_and_pays_ten_basis_points(rolled):
    rows = query(
        rolled.database,
        "SELECT o.price / b.open - 1, o.commission - o.size * o.price * %s, b.open IS NULL FROM tt_order o "
        "LEFT JOIN tt_prices b ON b.instrument = o.instrument AND b.timestamp = o.timestamp",
        COMMISSION,
    )
    assert not any(absent for _, _, absent in rows)
    assert max(abs(off) for off, _, _ in rows) < 1e-9
    assert max(abs(off) for _, off, _ in rows) < 1e-6


def test_target_weights_of_a_decision_sum_to_one_with_cash(rolled):
    rows = query(
        rolled.database,
        "SELECT sum(target_weight), count(*) FILTER (WHERE instrument = 'CASH'), min(target_weight) "
        "FROM tt_target_weights GROUP BY episode_id, timestamp",
    )
    assert max(abs(total - 1) for total, _, _ in rows) < 1e-12
    assert {cash for _, cash, _ in rows} == {1}
    assert min(least for *_, least in rows) >= -1e-12


def test_the_equity_curve_is_the_net_worth_of_the_portfolio(rolled):
    assert query(
        rolled.database,
        "SELECT count(*) FROM tt_equity_curve c FULL JOIN tt_portfolio p USING (episode_id, timestamp) "
        "WHERE c.net_worth IS DISTINCT FROM p.net_worth",
    ) == [(0,)]


def test_the_figures_of_an_episode_recompute_from_its_curve_and_weights(rolled):
    rows = query(
        rolled.database,
        """
        WITH returns AS (
            SELECT episode_id,
                   net_worth / lag(net_worth) OVER (PARTITION BY episode_id ORDER BY timestamp) - 1 AS r,
                   1 - net_worth / max(net_worth) OVER (PARTITION BY episode_id ORDER BY timestamp) AS fall
            FROM tt_equity_curve
        ), curve AS (
            SELECT episode_id, avg(r) / nullif(stddev_samp(r), 0) * sqrt(252) AS sharpe, max(fall) AS drawdown
            FROM returns GROUP BY episode_id
        ), moves AS (
            SELECT episode_id, abs(target_weight - coalesce(
                   lag(target_weight) OVER (PARTITION BY episode_id, instrument ORDER BY timestamp), 0)) AS move,
                   timestamp < max(timestamp) OVER (PARTITION BY episode_id) AS filled
            FROM tt_target_weights WHERE instrument <> 'CASH'
        ), turned AS (SELECT episode_id, avg(move) AS turnover FROM moves WHERE filled GROUP BY episode_id)
        SELECT e.strategy, e.sharpe_ratio, c.sharpe, e.max_drawdown, c.drawdown, e.turnover, t.turnover
        FROM tt_episode e JOIN curve c ON c.episode_id = e.id JOIN turned t ON t.episode_id = e.id
        """,
    )
    assert sorted(strategy for strategy, *_ in rows) == sorted(ACTED * 2)
    for strategy, sharpe, sharpe_sql, drawdown, drawdown_sql, turnover, turnover_sql in rows:
        # Cash does not vary, so it has no Sharpe ratio.
        assert (sharpe is None) == (sharpe_sql is None) == (strategy == "cash")
        assert sharpe is None or sharpe == pytest.approx(sharpe_sql, rel=1e-9)
        assert drawdown == pytest.approx(drawdown_sql, rel=1e-9)
        assert turnover == pytest.approx(turnover_sql, rel=1e-9)


def test_an_episode_names_its_ends_its_reason_and_the_agent_that_acted(rolled):
    rows = query(
        rolled.database,
        "SELECT e.instrument, e.strategy, e.seed, e.start_time::date::text, e.end_time::date::text, e.stop_reason, "
        "p.instrument, p.seed, e.config_json::json ->> 'policy_sha256' = p.sha256 "
        "FROM tt_episode e LEFT JOIN tt_policy p ON p.id = e.policy_id ORDER BY 1, 2",
    )
    span = ("2012-07-02", "2012-09-28", "evaluation_complete")
    assert rows == [
        (traded, strategy, 0, *span, *((traded, 0, True) if strategy == "agent" else (None, None, None)))
        for traded in TRADED
        for strategy in ACTED
    ]


def test_every_table_is_materialized_for_each_window_with_its_own_row_count(rolled):
    for table in EPISODE_TABLES:
        landed = landed_cells(rolled.instance, table)
        for traded in TRADED:
            counted = len(_rows(rolled.database, table, f"e.instrument = '{traded}'"))
            assert landed[f"{WINDOW}|{traded}"]["dagster/row_count"] == counted > 0, (table, traded)


def test_a_second_materialization_gives_the_same_rows(rolled):
    before = everything(rolled.database)
    agents = query(rolled.database, "SELECT instrument, seed, id, sha256, weights FROM tt_policy ORDER BY 1, 2")
    assert run_job(rolled.instance, AGENTS, f"{WINDOW}|AAPL", f"{WINDOW}|sample").success
    assert everything(rolled.database) == before
    # The retrained agent has the same bits, so its row and its id stay.
    assert query(rolled.database, "SELECT instrument, seed, id, sha256, weights FROM tt_policy ORDER BY 1, 2") == agents


def test_one_episode_rolled_alone_leaves_the_others_as_they_were(rolled):
    before = everything(rolled.database)
    others = query(rolled.database, "SELECT id FROM tt_episode WHERE instrument = 'sample'")
    assert run_job(rolled.instance, list(EPISODE_TABLES), f"{WINDOW}|AAPL").success
    assert everything(rolled.database) == before
    assert query(rolled.database, "SELECT id FROM tt_episode WHERE instrument = 'sample'") == others


def test_a_crash_between_open_and_finalize_leaves_a_plainly_unfinished_episode_that_a_retry_replaces(
    rolled, monkeypatch
):
    before = everything(rolled.database)

    def crash(self, summaries):
        raise RuntimeError("the machine stopped")

    with monkeypatch.context() as patch:
        patch.setattr(EpisodeStore, "finalize", crash)
        assert not run_job(rolled.instance, list(EPISODE_TABLES), f"{WINDOW}|AAPL").success
    unfinished = query(
        rolled.database, "SELECT end_time, stop_reason, sharpe_ratio FROM tt_episode WHERE instrument = 'AAPL'"
    )
    assert unfinished == [(None, None, None)] * len(ACTED)
    assert _read_curves(rolled) == {"sample"}

    assert run_job(rolled.instance, list(EPISODE_TABLES), f"{WINDOW}|AAPL").success
    assert everything(rolled.database) == before
    assert _read_curves(rolled) == {"AAPL", "sample"}


def _read_curves(rolled: Rolled) -> set[str]:
    """What an asset downstream of `tt_equity_curve` is given for both windows."""
    read = []
    keys = [f"{WINDOW}|AAPL", f"{WINDOW}|sample"]

    @dg.asset(ins={"tt_equity_curve": dg.AssetIn(partition_mapping=dg.SpecificPartitionsPartitionMapping(keys))})
    def reader(tt_equity_curve) -> None:
        read.append(tt_equity_curve)

    upstream = current_definitions().get_assets_def("tt_equity_curve")
    result = dg.materialize(
        [upstream, reader],
        instance=rolled.instance,
        selection=[reader],
        resources={
            "database": rolled.database,
            "episodes": EpisodeIOManager(database=rolled.database),
            "episode_tables": EpisodeIOManager(database=rolled.database),
            "market": MarketReader(rolled.database),
        },
    )
    assert result.success
    (frame,) = read
    assert list(frame.columns) == ["window_start", "traded", "id", "episode_id", "timestamp", "net_worth"]
    return set(frame["traded"])


def test_an_episode_takes_its_rows_with_it_when_its_agent_is_deleted(rolled):
    kept = {
        table: len(_rows(rolled.database, table, "e.instrument = 'sample' OR e.strategy <> 'agent'"))
        for table in EPISODE_TABLES
    }
    assert all(kept[table] < len(_rows(rolled.database, table)) for table in EPISODE_TABLES)
    with rolled.database.connect() as connection:
        connection.execute("DELETE FROM tt_policy WHERE instrument = 'AAPL'")
        left = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in EPISODE_TABLES}
        connection.rollback()
    assert left == kept
    assert len(_rows(rolled.database, "tt_episode")) == len(TRADED) * len(ACTED)


def test_a_window_without_enough_history_fails_with_the_figures_and_the_others_land(rolled):
    # Facebook was listed on 18 May 2012: 30 sessions before July.
    result = run_job(rolled.instance, ["tt_policy"], f"{WINDOW}|AAPL", f"{WINDOW}|FB")
    said = failure_text(result, "tt_policy")
    assert f"{WINDOW}|FB" in said
    assert "FB" in said
    assert "30 sessions have prices" in said
    assert "training needs" in said
    assert query(rolled.database, "SELECT instrument FROM tt_policy ORDER BY 1") == [("AAPL",), ("sample",)]
    landed = landed_cells(rolled.instance, "tt_policy", result.run_id)
    assert set(landed) == {f"{WINDOW}|AAPL", f"{WINDOW}|sample"}
    done, _, failed = partition_counts(rolled.instance, "tt_policy", current_plan().window_partitions)
    assert (done, failed) == (2, 1)


def test_a_window_without_an_agent_fails_in_all_nine_tables_and_the_others_land(rolled):
    before = everything(rolled.database)
    result = run_job(rolled.instance, list(EPISODE_TABLES), f"{WINDOW}|AAPL", f"{WINDOW}|FB")
    assert f"tt_policy has no agent for {WINDOW}|FB" in failure_text(result, "episodes")
    assert everything(rolled.database) == before
    for table in EPISODE_TABLES:
        assert set(landed_cells(rolled.instance, table, result.run_id)) == {f"{WINDOW}|{name}" for name in TRADED}
        done, _, failed = partition_counts(rolled.instance, table, current_plan().window_partitions)
        assert (table, done, failed) == (table, 2, 1)


def test_a_window_whose_agent_was_tampered_with_fails_and_its_episode_stays(rolled):
    before = everything(rolled.database)
    with rolled.database.connect() as connection:
        connection.execute("UPDATE tt_policy SET sha256 = repeat('0', 64) WHERE instrument = 'AAPL'")
    try:
        result = run_job(rolled.instance, list(EPISODE_TABLES), f"{WINDOW}|AAPL")
        assert "sha256" in failure_text(result, "episodes").lower()
        assert everything(rolled.database) == before
    finally:
        assert run_job(rolled.instance, ["tt_policy"], f"{WINDOW}|AAPL").success
        assert run_job(rolled.instance, list(EPISODE_TABLES), f"{WINDOW}|AAPL").success
    assert everything(rolled.database) == before
