"""Agents and every baseline of one window: what the checks say of them and of records that lie, and the report."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from html import unescape

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from tt_assets.assets.checks import CHECKS
from tt_assets.assets.report import finished_windows, seeds_of
from tt_assets.assets.rolling import roll
from tt_assets.errors import UserError
from tt_assets.market.watchlist import read_watchlist
from tt_assets.partitions import Window
from tt_assets.settings import Settings
from tt_assets.storage.io_managers import EpisodeIOManager
from tt_assets.storage.market_reader import MarketReader
from tt_assets.tables import EPISODE_TABLES
from tt_assets.trading import episode as trading_episode
from tt_assets.trading.record import EpisodeRecord
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
from tt_assets_tests.dagster_runs import failure_text, landed_cells, query, run_job

SEEDS = 2
QUICK = {"TT_TRAIN_STEPS": "512", "TT_TRAIN_WORKERS": "1", "TT_SEEDS": str(SEEDS)}
AGENT_ALONE = {"TT_SEEDS": "1", "TT_BASELINES": ","}
SAMPLE, ALONE = f"{WINDOW}|sample", f"{WINDOW}|AAPL"
WHO = {
    *(("agent", seed) for seed in range(SEEDS)),
    *(("random", seed) for seed in range(SEEDS)),
    ("cash", 0),
    ("equal_weight_hold", 0),
    ("equal_weight_rebalanced", 0),
    ("inverse_volatility", 0),
    ("momentum", 0),
}


@pytest.fixture(scope="module")
def on_sample(postgres, tmp_path_factory) -> Iterator[tuple[Rolled, str]]:
    """The sample portfolio with two agents and every baseline, AAPL with one agent; the run that made the former."""
    with sample_window(postgres, tmp_path_factory.mktemp("home"), ("AAPL", "sample", "IBM"), **QUICK) as rolled:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in AGENT_ALONE.items():
                patch.setenv(name, value)
            assert run_job(rolled.instance, AGENTS, ALONE).success
        made = run_job(rolled.instance, AGENTS, SAMPLE)
        assert made.success
        yield rolled, made.run_id


@pytest.fixture
def rolled(on_sample, monkeypatch) -> Rolled:
    """The rolled episodes, which the settings of this process name. A test leaves those of the sample as they are."""
    rolled, _ = on_sample
    monkeypatch.setenv("TT_DATABASE_URL", rolled.database.adbc_uri())
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    return rolled


def evaluations(instance: dg.DagsterInstance, name: str) -> list[tuple[str, dg.AssetCheckEvaluation]]:
    """Run id and evaluation of every time a check was evaluated, oldest first."""
    records = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("tt_episode"), name), limit=1000
    )
    found = []
    for record in reversed(records):
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found.append((record.run_id, event.asset_check_evaluation_data))
    return found


def verdicts_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dg.AssetCheckEvaluation]:
    """What each check said of a run as a whole."""
    return {
        name: found
        for name in CHECKS
        for of_run, found in evaluations(instance, name)
        if of_run == run_id and found.partition is None
    }


def failing_partitions(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """Check → the partition keys it was reported to fail for by name, oldest first."""
    found = {name: [e for _, e in evaluations(instance, name) if e.partition] for name in CHECKS}
    assert not any(evaluation.passed for of_check in found.values() for evaluation in of_check)
    return {name: [str(evaluation.partition) for evaluation in of_check] for name, of_check in found.items()}


def test_every_check_holds_in_every_episode_of_agents_and_baselines(on_sample):
    rolled, run_id = on_sample
    said = verdicts_of(rolled.instance, run_id)
    assert set(said) == set(CHECKS)
    for name, evaluation in said.items():
        assert evaluation.passed, (name, evaluation.metadata)
        assert evaluation.blocking, name
        # No policy stands behind a baseline that could be replayed.
        assert evaluation.metadata["episodes"].value == (SEEDS if name == "replays" else len(WHO)), name
        assert 0.0 <= evaluation.metadata["worst_deviation"].value < 1e-5, name
        assert "failing" not in evaluation.metadata, name


def test_a_window_has_an_episode_of_each_agent_and_each_baseline(rolled):
    rows = query(rolled.database, "SELECT strategy, seed, end_time IS NULL FROM tt_episode WHERE instrument = 'sample'")
    assert sorted(rows) == sorted((*who, False) for who in WHO)
    said = landed_cells(rolled.instance, "tt_episode")[SAMPLE]
    assert (said["episodes"], said["seeds_of_agents"]) == (len(WHO), "0, 1")
    assert (said["orders_not_filled"], said["orders_cut_by_volume"]) == (0, 0)


def test_a_baseline_has_no_agent_and_an_agent_is_its_own(rolled):
    rows = query(
        rolled.database,
        "SELECT e.strategy, e.policy_id IS NULL, p.seed = e.seed, e.config_json::json ->> 'policy_sha256' = p.sha256 "
        "FROM tt_episode e LEFT JOIN tt_policy p ON p.id = e.policy_id WHERE e.instrument = 'sample'",
    )
    assert len(rows) == len(WHO)
    for strategy, without, own_seed, own_weights in rows:
        expected = (False, True, True) if strategy == "agent" else (True, None, None)
        assert (without, own_seed, own_weights) == expected, strategy


def test_the_books_of_every_strategy_balance(rolled):
    everyone = {f"{strategy} {seed}" for strategy, seed in WHO}
    for gaps, most in (
        (gaps_of_net_worth(rolled.database), CENT),
        (gaps_of_cash(rolled.database), CENT),
        (gaps_of_positions(rolled.database), 1e-6),
    ):
        assert {who for who, *_ in gaps} == everyone
        assert max(abs(gap) for _, gap, *_ in gaps) < most
    traded = query(
        rolled.database,
        "SELECT DISTINCT e.strategy FROM tt_order o JOIN tt_episode e ON e.id = o.episode_id "
        "WHERE e.instrument = 'sample'",
    )
    assert {name for (name,) in traded} == {strategy for strategy, _ in WHO} - {"cash"}


def test_a_random_baseline_draws_anew_with_each_seed(rolled):
    worth = query(
        rolled.database,
        "SELECT c.net_worth FROM tt_equity_curve c JOIN tt_episode e ON e.id = c.episode_id "
        "AND c.timestamp = e.end_time WHERE e.instrument = 'sample' AND e.strategy = 'random'",
    )
    assert len(set(worth)) == SEEDS


def test_equal_weight_that_is_held_buys_each_member_once_at_the_first_open_and_never_trades_again(rolled):
    orders = query(
        rolled.database,
        "SELECT o.timestamp::date::text, o.order_type, o.instrument, o.size * o.price FROM tt_order o "
        "JOIN tt_episode e ON e.id = o.episode_id "
        "WHERE e.instrument = 'sample' AND e.strategy = 'equal_weight_hold' ORDER BY o.instrument",
    )
    assert [order[:3] for order in orders] == [("2012-07-03", "buy", name) for name in ("AAPL", "GOOG", "IBM", "MSFT")]
    # A quarter of 10,000 USD each, sized at the close before: the open may differ by a little.
    assert all(2400 < spent < 2600 for *_, spent in orders)


# --- records that lie -------------------------------------------------------------------------------------------------

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
    """Rolling AAPL fails for the checks `expected` and no other, and says so for its partition."""
    result = run_job(instance, list(EPISODE_TABLES), ALONE)
    assert not result.success
    said = verdicts_of(instance, result.run_id)
    assert set(said) == set(CHECKS), failure_text(result, "episodes")
    assert {name for name, evaluation in said.items() if not evaluation.passed} == expected
    stopped = failure_text(result, "episodes")
    for name in expected:
        assert name in stopped
        assert said[name].severity == dg.AssetCheckSeverity.ERROR
        (failing,) = said[name].metadata["failing"].value
        assert failing.startswith(f"{ALONE} agent 0: off by ")
    assert failing_partitions(instance) == {name: [ALONE] if name in expected else [] for name in CHECKS}


@pytest.mark.parametrize("check", LIES)
def test_a_record_that_lies_fails_its_check_stops_the_run_and_is_reported_for_its_partition(alone, monkeypatch, check):
    tamper, noticed = LIES[check]
    lie(monkeypatch, tamper)
    assert_refused(alone.instance, {check, *noticed})


def test_an_agent_that_saw_the_next_session_is_found_out(alone, monkeypatch):
    honest = trading_episode.roll_episode

    def peek(policy, panel, config, engine):
        ahead = np.concatenate([panel.features[1:], panel.features[-1:]])
        return honest(policy, dataclasses.replace(panel, features=ahead), config, engine)

    monkeypatch.setattr(trading_episode, "roll_episode", peek)
    assert_refused(alone.instance, {"no_look_ahead"})


def test_every_lie_has_its_check():
    assert {*LIES, "no_look_ahead"} == set(CHECKS)


def test_of_a_range_only_the_partition_that_lies_is_reported(accused, monkeypatch):
    lie(monkeypatch, a_better_reward)
    result = run_job(accused.instance, list(EPISODE_TABLES), ALONE, SAMPLE)
    assert not result.success
    said = verdicts_of(accused.instance, result.run_id)
    assert {name for name, evaluation in said.items() if not evaluation.passed} == {"rewards_recompute"}
    (failing,) = said["rewards_recompute"].metadata["failing"].value
    assert failing.startswith(f"{ALONE} agent 0")
    assert failing_partitions(accused.instance) == {
        name: [ALONE] if name == "rewards_recompute" else [] for name in CHECKS
    }


def test_a_partition_that_lies_again_is_refused_and_reported_again(alone, monkeypatch):
    lie(monkeypatch, a_better_reward)
    for times in (1, 2):
        result = run_job(alone.instance, list(EPISODE_TABLES), ALONE)
        assert not result.success
        assert "rewards_recompute" in failure_text(result, "episodes")
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
        for run_id, evaluation in evaluations(accused.instance, name)
        if evaluation.partition
    ]
    assert said == [("rewards_recompute", ALONE, False, False), ("rewards_recompute", ALONE, True, True)]


def test_what_lies_downstream_of_a_lie_is_not_made(alone, monkeypatch):
    from tt_assets.definitions import defs

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
            [episodes, downstream],
            instance=alone.instance,
            partition_key=dg.MultiPartitionKey({"date": WINDOW, "instrument": "AAPL"}),
            resources={
                "episodes": EpisodeIOManager(),
                "episode_tables": EpisodeIOManager(),
                "market": MarketReader(),
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


# --- the report -------------------------------------------------------------------------------------------------------


def run_report(rolled: Rolled, traded: str) -> dg.ExecuteInProcessResult:
    from tt_assets.automation import REPORT_JOB
    from tt_assets.definitions import defs

    return defs.resolve_job_def(REPORT_JOB).execute_in_process(
        instance=rolled.instance,
        partition_key=traded,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


@pytest.fixture(scope="module")
def reported(on_sample) -> tuple[dg.AssetMaterialization, bytes]:
    """The report of the sample portfolio as a whole: what its page shows, and its file."""
    rolled, _ = on_sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TT_DATABASE_URL", rolled.database.adbc_uri())
        for name, value in QUICK.items():
            patch.setenv(name, value)
        result = run_report(rolled, "sample")
        assert result.success
        (event,) = result.asset_materializations_for_node("report")
        path = Settings().home / "reports" / "sample.html"
        assert str(event.metadata["html"].value) == str(path)
        return event, path.read_bytes()


def test_a_report_shows_plots_figures_and_a_verdict_and_writes_one_file_that_fetches_nothing(reported):
    event, written = reported
    assert event.partition == "sample"
    shown = {name: entry.value for name, entry in event.metadata.items()}
    pictures = ("equity", "drawdown", "turnover", "weights")
    assert {"verdict", *pictures, "figures", "html"} <= set(shown)

    drawn = set()
    for name in pictures:
        found = re.fullmatch(r"!\[[^\]]*\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", shown[name])
        assert found, name
        picture = base64.b64decode(found.group(1), validate=True)
        assert picture.startswith(b"\x89PNG\r\n\x1a\n"), name
        drawn.add(picture)
    assert len(drawn) == len(pictures)
    assert f"the median of {SEEDS} agents" in shown["verdict"]
    lines = [line for line in shown["figures"].splitlines() if line.startswith("|")]
    # A head, a rule, and agent and six baselines in four scenarios.
    assert len(lines) == 2 + 7 * 4

    text = written.decode("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert shown["verdict"] in unescape(text)
    assert "1 walk-forward windows, 2012-07-01 to 2012-10-01 (excluded)" in text
    assert not re.search(r"https?:|//\w|<script|<link|<iframe|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    sources = re.findall(r"""\s(?:src|href|srcset|data|action)\s*=\s*["']([^"']*)""", text)
    assert len(sources) == len(pictures)
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_the_report_s_figures_as_configured_are_those_of_the_episodes(rolled, reported):
    """One window, so the chained figures of a baseline are those that its episode recorded on the other engine."""
    event, _ = reported
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in event.metadata["figures"].value.splitlines()
        if line.startswith("|")
    ]
    head, body = rows[0], rows[2:]
    place = next(i for i, name in enumerate(head) if name.startswith("Max drawdown"))
    shown = {tuple(row[:2]): row[place] for row in body}
    recorded = dict(
        query(
            rolled.database,
            "SELECT strategy, max_drawdown * 100 FROM tt_episode "
            "WHERE instrument = 'sample' AND seed = 0 AND strategy NOT IN ('agent', 'random')",
        )
    )
    first = body[0][head.index("Scenario")]
    as_configured = [value for (scenario, _), value in shown.items() if scenario == first]
    assert len(as_configured) == 7
    for strategy, drawdown in recorded.items():
        assert f"{drawdown:.1f}" in as_configured, strategy


def test_the_same_episodes_give_the_same_report(rolled, reported):
    assert run_report(rolled, "sample").success
    assert (Settings().home / "reports" / "sample.html").read_bytes() == reported[1]


def test_only_the_seeds_and_baselines_in_force_are_rolled_and_judged(rolled, monkeypatch):
    monkeypatch.setenv("TT_SEEDS", "1")
    monkeypatch.setenv("TT_BASELINES", "momentum,random")
    settings, market = Settings(), MarketReader()
    window = Window(date.fromisoformat(WINDOW), "sample")
    policies = market.rolled_policies("sample")
    assert set(policies["seed"]) == set(range(SEEDS))
    again = roll([window], policies, read_watchlist(settings.watchlist), market, settings)
    assert [(e.strategy, e.seed) for e in again.episodes] == [("agent", 0), ("momentum", 0), ("random", 0)]
    assert again.counted()["seeds_of_agents"] == "0"

    result = run_report(rolled, "sample")
    (event,) = result.asset_materializations_for_node("report")
    assert event.metadata["seeds_of_agents"].value == "0"
    assert "the agent (one seed)" in event.metadata["verdict"].value
    assert "; momentum, returned" in event.metadata["verdict"].value
    lines = [line for line in event.metadata["figures"].value.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3 * 4


def test_a_report_of_what_was_never_rolled_says_what_to_run(rolled):
    result = run_report(rolled, "IBM")
    assert not result.success
    assert "No finished episode of IBM; run `tt train --instruments IBM` first." in failure_text(result, "report")
    assert not (Settings().home / "reports" / "IBM.html").exists()


def test_a_report_judges_the_seeds_that_every_window_has():
    class Stored:
        def __init__(self, **seeds_by_window):
            rows = [
                (pd.Timestamp(start.strip("q")), seed) for start, seeds in seeds_by_window.items() for seed in seeds
            ]
            self._rows = pd.DataFrame(rows, columns=["window_start", "seed"])

        def rolled_policies(self, traded):
            return self._rows

    settings = Settings(seeds=3)
    one = Stored(q20120101=[0, 1, 2, 3], q20120401=[0, 2])
    windows = finished_windows(one, "sample", settings)
    assert [list(rows["seed"]) for rows in windows.values()] == [[0, 2], [0, 2]]
    assert seeds_of(windows) == "0, 2"
    with pytest.raises(UserError, match="have no seed in common; run `tt train --instruments sample`"):
        finished_windows(Stored(q20120101=[1], q20120401=[2]), "sample", settings)
    with pytest.raises(UserError, match="No finished episode of sample"):
        finished_windows(Stored(q20120101=[7]), "sample", settings)
