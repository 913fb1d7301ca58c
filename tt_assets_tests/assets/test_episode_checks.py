"""The checks of episodes: records that lie, and stored rows that somebody changed."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from tt_assets.assets.episode_checks import STORED, check_results, episode_checks
from tt_assets.assets.episode_rules import CHECKS
from tt_assets.grid.partitions import Window
from tt_assets.runs.io_managers import EpisodeIOManager
from tt_assets.runs.market_reader import MarketReader
from tt_assets.tables import EPISODE_TABLES, TABLES
from tt_assets.trading.episodes import roll as trading_episode
from tt_assets.trading.episodes.record import EpisodeRecord
from tt_assets.trading.judging.checks import CheckResult
from tt_assets_tests.assets.episode_evaluations import CHECK_STEP, evaluations_of, failing_partitions, verdicts_of
from tt_assets_tests.assets.sample_window import AGENTS, WINDOW, Rolled, sample_window
from tt_assets_tests.dagster_runs import current_definitions, current_plan, failure_text, query, run_job

QUICK = {
    "TT_TRAIN_STEPS": "512",
    "TT_TRAIN_WORKERS": "1",
    "TT_SEEDS": "1",
    "TT_BASELINES": "equal_weight_rebalanced",
}
AGENT_ALONE = {"TT_BASELINES": ","}
SAMPLE, ALONE = f"{WINDOW}|sample", f"{WINDOW}|AAPL"


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, str]:
    """A portfolio whose members stand in no order of the alphabet, trained in a moment."""
    watchlist = tmp_path_factory.mktemp("watchlist") / "watchlist.csv"
    watchlist.write_text("symbol,portfolio\nMSFT,sample\nAAPL,sample\nIBM,sample\nGOOG,sample\nFB,\n")
    return {**QUICK, "TT_WATCHLIST": str(watchlist)}


@pytest.fixture(scope="module")
def on_sample(postgres, tmp_path_factory, settings) -> Iterator[Rolled]:
    """AAPL and the portfolio, each with one agent and a baseline."""
    with sample_window(postgres, tmp_path_factory.mktemp("home"), ("AAPL", "sample"), **settings) as rolled:
        assert run_job(rolled.instance, AGENTS, ALONE, SAMPLE).success
        yield rolled


@pytest.fixture
def rolled(on_sample, settings, monkeypatch) -> Rolled:
    """The rolled episodes, which the settings of this process name."""
    monkeypatch.setenv("TT_DATABASE_URL", on_sample.database.adbc_uri())
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return on_sample


Tamper = Callable[[EpisodeRecord], EpisodeRecord]


def changed(frame: pd.DataFrame, row: int, column: str, change: Callable[[float], float]) -> pd.DataFrame:
    """`frame` with one cell changed."""
    frame = frame.copy()
    frame.loc[frame.index[row], column] = change(frame[column].iloc[row])
    return frame


def a_cent_out_of_nowhere(record: EpisodeRecord) -> EpisodeRecord:
    return dataclasses.replace(record, equity_curve=changed(record.equity_curve, 20, "net_worth", lambda x: x + 0.01))


def commission_kept_from_the_books(record: EpisodeRecord) -> EpisodeRecord:
    return dataclasses.replace(record, order=changed(record.order, 0, "commission", lambda paid: paid / 2))


def a_fill_of_half_the_shares_at_twice_the_price(record: EpisodeRecord) -> EpisodeRecord:
    order = changed(record.order, 0, "size", lambda shares: shares / 2)
    return dataclasses.replace(record, order=changed(order, 0, "price", lambda price: price * 2))


def cash_left_out_of_the_weights(record: EpisodeRecord) -> EpisodeRecord:
    row = int(np.flatnonzero(record.target_weights["instrument"] == "CASH")[10])
    return dataclasses.replace(record, target_weights=changed(record.target_weights, row, "target_weight", lambda x: 9))


def weights_on_credit(record: EpisodeRecord) -> EpisodeRecord:
    row = int(np.flatnonzero(record.target_weights["instrument"] == "AAPL")[10])
    weights = changed(record.target_weights, row, "target_weight", lambda weight: weight + 1)
    return dataclasses.replace(record, target_weights=changed(weights, row + 1, "target_weight", lambda cash: cash - 1))


def a_better_reward(record: EpisodeRecord) -> EpisodeRecord:
    return dataclasses.replace(record, reward=changed(record.reward, 5, "reward_value", lambda reward: reward + 0.01))


def a_better_sharpe_ratio(record: EpisodeRecord) -> EpisodeRecord:
    assert record.sharpe_ratio is not None
    return dataclasses.replace(record, sharpe_ratio=record.sharpe_ratio + 0.1)


def other_costs_than_those_paid(record: EpisodeRecord) -> EpisodeRecord:
    stored = json.loads(record.config_json)
    stored["trading"]["commission_bps"] = 0.0
    return dataclasses.replace(record, config_json=json.dumps(stored))


def an_observation_the_agent_never_saw(record: EpisodeRecord) -> EpisodeRecord:
    seen = json.loads(record.observation["features"].iloc[3])
    *channels, held, cash = seen
    other = {name: -3.0 * seen[name] + 1.0 for name in channels} | {held: seen[held], cash: seen[cash]}
    return dataclasses.replace(
        record, observation=changed(record.observation, 3, "features", lambda _: json.dumps(other))
    )


FIGURES = {"rewards_recompute", "metrics_recompute"}
"""Follow from the equity curve and the target weights, so they notice a change of either."""

LIES: dict[str, tuple[Tamper, set[str]]] = {
    "books_balance": (a_cent_out_of_nowhere, {"engines_agree", *FIGURES}),
    "cash_follows_orders": (commission_kept_from_the_books, set()),
    "fills_change_holdings": (a_fill_of_half_the_shares_at_twice_the_price, set()),
    "weights_sum_to_one": (cash_left_out_of_the_weights, set()),
    "leverage_within_limit": (weights_on_credit, FIGURES),
    "rewards_recompute": (a_better_reward, set()),
    "metrics_recompute": (a_better_sharpe_ratio, set()),
    "engines_agree": (other_costs_than_those_paid, set()),
    "replays": (an_observation_the_agent_never_saw, set()),
}
"""Check → a record that is wrong in its respect, and which other checks notice too.

Looking ahead is not a lie of the record, so it has a test of its own.
"""


@pytest.fixture
def accused(rolled) -> Iterator[Rolled]:
    """The rolled episodes under an instance that has not heard of any check yet."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("traded", ["AAPL", "sample"])
        yield dataclasses.replace(rolled, instance=instance)


@pytest.fixture
def alone(accused, monkeypatch) -> Rolled:
    """AAPL is rolled by its one agent, without a baseline."""
    for name, value in AGENT_ALONE.items():
        monkeypatch.setenv(name, value)
    return accused


def lie(monkeypatch: pytest.MonkeyPatch, tamper: Tamper) -> None:
    """Every agent's episode of AAPL is recorded as `tamper` makes it."""
    honest = trading_episode.roll_episode

    def roll(policy, panel, config, engine):
        record = honest(policy, panel, config, engine)
        return tamper(record) if panel.instruments == ("AAPL",) else record

    monkeypatch.setattr(trading_episode, "roll_episode", roll)


def assert_refused(instance: dg.DagsterInstance, expected: set[str]) -> None:
    """Rolling AAPL fails for the checks `expected` and no other, and says so for its partition; nothing is closed."""
    result = run_job(instance, list(EPISODE_TABLES), ALONE)
    assert not result.success
    said = verdicts_of(instance, result.run_id)
    assert set(said) == set(STORED), failure_text(result, CHECK_STEP)
    assert {name for name, evaluation in said.items() if not evaluation.passed} == expected
    stopped = failure_text(result, CHECK_STEP)
    for name in expected:
        assert name in stopped
        assert said[name].severity == dg.AssetCheckSeverity.ERROR
        (failing,) = said[name].metadata["failing"].value
        assert failing.startswith(f"{ALONE} agent 0: {'never closed:' if name == 'finished' else 'off by'} ")
    assert failing_partitions(instance) == {name: [ALONE] if name in expected else [] for name in STORED}


@pytest.mark.parametrize("check", LIES)
def test_a_record_that_lies_fails_its_check_stops_the_run_and_is_reported_for_its_partition(alone, monkeypatch, check):
    tamper, noticed = LIES[check]
    lie(monkeypatch, tamper)
    lying = {check, *noticed} - {"metrics_recompute"}  # the figures of an episode that is never closed are not written
    assert_refused(alone.instance, {"finished", *lying})


def test_an_agent_that_saw_the_next_session_is_found_out(alone, monkeypatch):
    honest = trading_episode.roll_episode

    def peek(policy, panel, config, engine):
        ahead = np.concatenate([panel.features[1:], panel.features[-1:]])
        return honest(policy, dataclasses.replace(panel, features=ahead), config, engine)

    monkeypatch.setattr(trading_episode, "roll_episode", peek)
    assert_refused(alone.instance, {"finished", "no_look_ahead"})


def test_every_lie_has_its_check():
    assert {*LIES, "no_look_ahead"} == set(CHECKS)


def test_of_a_range_only_the_partition_that_lies_is_reported(accused, monkeypatch):
    lie(monkeypatch, a_better_reward)
    result = run_job(accused.instance, list(EPISODE_TABLES), ALONE, SAMPLE)
    assert not result.success
    said = verdicts_of(accused.instance, result.run_id)
    assert {name for name, evaluation in said.items() if not evaluation.passed} == {"finished", "rewards_recompute"}
    (failing,) = said["rewards_recompute"].metadata["failing"].value
    assert failing.startswith(f"{ALONE} agent 0")
    assert failing_partitions(accused.instance) == {
        name: [ALONE] if name in ("finished", "rewards_recompute") else [] for name in STORED
    }


def test_a_partition_that_lies_again_is_refused_and_reported_again(alone, monkeypatch):
    lie(monkeypatch, a_better_reward)
    for times in (1, 2):
        result = run_job(alone.instance, list(EPISODE_TABLES), ALONE)
        assert not result.success
        assert "rewards_recompute" in failure_text(result, CHECK_STEP)
        assert failing_partitions(alone.instance)["rewards_recompute"] == [ALONE] * times


def test_a_partition_that_holds_again_is_said_to_pass_and_no_other_is(accused, monkeypatch):
    with monkeypatch.context() as patch:
        lie(patch, a_better_reward)
        assert not run_job(accused.instance, list(EPISODE_TABLES), ALONE).success
    mended = run_job(accused.instance, list(EPISODE_TABLES), ALONE, SAMPLE)
    assert mended.success
    said = [
        (name, evaluation.partition, evaluation.passed, run_id == mended.run_id)
        for name in CHECKS
        for run_id, evaluation in evaluations_of(accused.instance, name)
        if evaluation.partition
    ]
    assert said == [("rewards_recompute", ALONE, False, False), ("rewards_recompute", ALONE, True, True)]


def test_what_lies_downstream_of_a_lie_is_not_made(alone, monkeypatch):
    defs = current_definitions()
    made = []

    @dg.asset(
        deps=["tt_episode"],
        partitions_def=defs.get_assets_def("tt_episode").partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def downstream() -> None:
        made.append(True)

    def materialize() -> bool:
        episodes = defs.get_assets_def("tt_episode")
        return dg.materialize(
            [episodes, episode_checks(current_plan()), downstream],
            instance=alone.instance,
            partition_key=dg.MultiPartitionKey({"date": WINDOW, "instrument": "AAPL"}),
            resources={
                "database": alone.database,
                "episodes": EpisodeIOManager(database=alone.database),
                "episode_tables": EpisodeIOManager(database=alone.database),
                "market": MarketReader(alone.database),
            },
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        ).success

    with monkeypatch.context() as patch:
        lie(patch, a_better_reward)
        assert not materialize()
        assert made == []
    assert materialize()
    assert made == [True]


# --- stored rows that somebody changed --------------------------------------------------------------------------------


def verify(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks of the episodes alone, over every one that is stored."""
    from tt_assets.automation import VERIFY_JOB

    keys = {dg.AssetCheckKey(dg.AssetKey("tt_episode"), name) for name in STORED}
    job = (
        current_definitions().resolve_job_def(VERIFY_JOB).get_subset(asset_selection=set(), asset_check_selection=keys)
    )
    result = job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert not result.asset_materializations_for_node(CHECK_STEP)
    return verdicts_of(instance, result.run_id)


def failing(said: dict[str, dg.AssetCheckEvaluation]) -> set[str]:
    return {name for name, evaluation in said.items() if not evaluation.passed}


def rows_of_everything(rolled: Rolled) -> list[list[tuple]]:
    return [query(rolled.database, f"SELECT * FROM {table} ORDER BY id") for table in EPISODE_TABLES]


def test_stored_episodes_hold_when_they_are_read_back_and_nothing_is_written(rolled):
    assert run_job(rolled.instance, list(EPISODE_TABLES), ALONE, SAMPLE).success  # records that lie were stored above
    before = rows_of_everything(rolled)
    said = verify(rolled.instance)
    assert set(said) == set(STORED)
    assert failing(said) == set()
    for name, evaluation in said.items():
        assert evaluation.metadata["episodes"].value == (2 if name == "replays" else 4), name
        assert evaluation.metadata["worst_deviation"].value < 1e-5, name
    assert rows_of_everything(rolled) == before


AGENT_OF_SAMPLE = (
    "(SELECT id FROM tt_episode WHERE instrument = 'sample' AND strategy = 'agent' AND window_start = '2012-07-01')"
)
AT = f"episode_id = {AGENT_OF_SAMPLE} AND timestamp = '2012-08-16'"

LATER = "SET timestamp = timestamp + interval '1 h'"
ACCOUNT = f"(SELECT id FROM tt_portfolio WHERE {AT})"
FIRST_ORDER = f"(SELECT min(timestamp) FROM tt_order WHERE episode_id = {AGENT_OF_SAMPLE})"
OPEN = "end_time = NULL, stop_reason = NULL, max_drawdown = NULL, sharpe_ratio = NULL, turnover = NULL"
OF_SAMPLE = f"WHERE id = {AGENT_OF_SAMPLE}"

CHANGES = [
    ("tt_equity_curve", f"SET net_worth = net_worth + 1 WHERE {AT}", {"books_balance", "engines_agree", *FIGURES}),
    ("tt_portfolio", f"SET cash_balance = cash_balance + 1 WHERE {AT}", {"books_balance", "cash_follows_orders"}),
    (
        "tt_order",
        f"SET commission = commission + 1 WHERE episode_id = {AGENT_OF_SAMPLE} AND timestamp = {FIRST_ORDER}",
        {"cash_follows_orders"},
    ),
    (
        "tt_holdings",
        f"SET quantity = quantity + 1 WHERE instrument = 'IBM' AND portfolio_id = {ACCOUNT}",
        {"books_balance", "fills_change_holdings"},
    ),
    ("tt_reward", f"SET reward_value = reward_value + 0.01 WHERE {AT}", {"rewards_recompute"}),
    ("tt_episode", f"SET sharpe_ratio = sharpe_ratio + 0.1 {OF_SAMPLE}", {"metrics_recompute"}),
    ("tt_episode", f"SET config_json = '{{}}' {OF_SAMPLE}", set(CHECKS)),
    ("tt_episode", f"SET {OPEN} {OF_SAMPLE}", {"finished"}),
    ("tt_action", f"{LATER} WHERE {AT}", {"engines_agree", "replays"}),
    ("tt_target_weights", f"{LATER} WHERE {AT}", FIGURES),
    ("tt_policy", "SET sha256 = repeat('0', 64) WHERE instrument = 'sample'", {"replays", "no_look_ahead"}),
    # The bars an episode stands on are no longer those it was made of.
    (
        "tt_prices",
        "SET close = close * 1.001, high = high * 1.001 WHERE instrument = 'IBM' AND timestamp = '2012-08-15'",
        {"books_balance", "engines_agree", "no_look_ahead"},
    ),
]
"""What changes of a stored episode, by table, and the checks that notice."""


@contextmanager
def changed_rows(rolled: Rolled, table: str, change: str) -> Iterator[None]:
    """`UPDATE table change`, until the end of the block."""
    columns = ", ".join(column.name for column in TABLES[table].columns)
    with rolled.database.connect() as connection:
        connection.execute(f"CREATE TABLE kept AS TABLE {table}")
        assert connection.execute(f"UPDATE {table} {change}").rowcount > 0
    try:
        yield
    finally:
        with rolled.database.connect() as connection:
            connection.execute(
                f"UPDATE {table} AS t SET ({columns}) = (SELECT {columns} FROM kept WHERE kept.id = t.id)"
            )
            connection.execute("DROP TABLE kept")


@pytest.mark.parametrize(("table", "change", "noticed"), CHANGES)
def test_stored_rows_that_were_changed_are_found_without_a_roll_and_named(rolled, table, change, noticed):
    with changed_rows(rolled, table, change):
        said = verify(rolled.instance)
    assert failing(said) == noticed
    for name in noticed:
        assert f"{SAMPLE} agent 0: " in str(said[name].metadata["failing"].value)
        of_windows = [evaluation for _, evaluation in evaluations_of(rolled.instance, name) if evaluation.partition]
        assert (SAMPLE, False) in [(evaluation.partition, evaluation.passed) for evaluation in of_windows[-2:]]


def test_a_stored_episode_never_decides_which_modules_are_imported(rolled, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    planted = (
        f"""SET config_json = jsonb_set(config_json::jsonb, '{{trading,trading_modules}}', '["planted"]') {OF_SAMPLE}"""
    )
    with changed_rows(rolled, "tt_episode", planted):
        said = verify(rolled.instance)
    assert "planted" not in sys.modules
    assert failing(said) == set(CHECKS)
    assert "rolled with TT_TRADING_MODULES planted" in str(said["books_balance"].metadata["failing"].value)


def test_what_was_put_right_holds_again_and_says_so_for_its_window(rolled):
    assert failing(verify(rolled.instance)) == set()
    for name in STORED:
        *_, last = [evaluation for _, evaluation in evaluations_of(rolled.instance, name) if evaluation.partition]
        assert last.passed, name


def test_a_failing_check_says_of_which_episode_and_why():
    window = Window(date(2012, 7, 1), "AAPL")
    holds, fails = CheckResult("replays", True, 0.0, 0.0, ""), CheckResult.not_made("replays", "it lacks momentum.")
    (result,) = check_results(["replays"], [(window, "agent 0", holds), (window, "agent 1", fails)])
    assert not result.passed
    assert result.description == "1 of 2 episodes fail, the first 2012-07-01|AAPL agent 1: it lacks momentum"
    (result,) = check_results(["replays"], [(window, "agent 0", holds)])
    assert (result.passed, result.description) == (True, "holds in 1 episodes")
