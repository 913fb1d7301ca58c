"""Agents and every baseline of one window: that every check holds in them, and the report."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from html import unescape
from itertools import pairwise
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from tt_assets.assets.episode_checks import STORED
from tt_assets.assets.gate import decide
from tt_assets.assets.judging import finished_windows, judgement_of, seeds_of, subject_of
from tt_assets.assets.rolling import roll
from tt_assets.errors import UserError
from tt_assets.grid.partition_slices import selection_of
from tt_assets.grid.partitions import Window
from tt_assets.market.watchlist import read_watchlist
from tt_assets.postgres.promotions import Promotion, bars_digest, promotion_status, record_promotion
from tt_assets.postgres.trials import count, trials_of
from tt_assets.report.charts import NOTICE
from tt_assets.runs.market_reader import MarketReader
from tt_assets.settings import Settings
from tt_assets.trading.judging.gate import Evidence, rules
from tt_assets.trading.judging.gate_config import GateConfig
from tt_assets_tests.assets.episode_evaluations import verdicts_of
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
from tt_assets_tests.dagster_runs import current_definitions, current_plan, failure_text, landed_cells, query, run_job

SEEDS = 2
QUICK = {"TT_TRAIN_STEPS": "512", "TT_TRAIN_WORKERS": "1", "TT_SEEDS": str(SEEDS)}
AGENT_ALONE = {"TT_SEEDS": "1", "TT_BASELINES": ","}
SAMPLE, ALONE = f"{WINDOW}|sample", f"{WINDOW}|AAPL"
WHO = {
    ("ensemble", 0),
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


def test_every_check_holds_in_every_episode_of_agents_and_baselines(on_sample):
    rolled, run_id = on_sample
    said = verdicts_of(rolled.instance, run_id)
    assert set(said) == set(STORED)
    for name, evaluation in said.items():
        assert evaluation.passed, (name, evaluation.metadata)
        assert evaluation.blocking, name
        # No policy stands behind a baseline that could be replayed.
        assert evaluation.metadata["episodes"].value == (SEEDS + 1 if name == "replays" else len(WHO)), name
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


# --- the report -------------------------------------------------------------------------------------------------------


def run_report(rolled: Rolled, traded: str) -> dg.ExecuteInProcessResult:
    from tt_assets.automation import REPORT_JOB

    return (
        current_definitions()
        .resolve_job_def(REPORT_JOB)
        .execute_in_process(
            instance=rolled.instance,
            partition_key=traded,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
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
    assert f"the mean action of {SEEDS} agents" in shown["verdict"]
    assert shown["verdict"].startswith(f"{shown['conclusion']} Out of sample over")
    lines = [line for line in shown["figures"].splitlines() if line.startswith("|")]
    # A head, a rule, and ensemble, two seeds, ridge and six baselines in four scenarios.
    assert len(lines) == 2 + 10 * 4

    text = written.decode("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert shown["verdict"] in unescape(text)
    assert "today's universe: survivorship bias" in unescape(text)
    assert "Price return without dividends; cash earns 0 % a year; commission 10 bps" in unescape(text)
    assert "1 configuration tried on sample so far (<code>tt trials list</code>)." in text
    assert "1 walk-forward window, 2012-07-01 to 2012-10-01 (excluded)" in text
    # The two scripts that draw the charts are held against their files, and the policy against them, in test_html.
    bare = re.sub(r"base64,[A-Za-z0-9+/=]+|<script>.*?</script>", "", text, flags=re.DOTALL).replace(NOTICE, "")
    assert not re.search(r"https?:|//\w|<script>|<script src|<link|<iframe|@import", bare)
    told = json.loads(Path(shown["html"]).with_suffix(".json").read_text("utf-8"))
    assert told["verdict"] == shown["verdict"]
    assert {row["channel"] for row in told["attribution"]["channels"]}
    assert [row["capital"] for row in told["capacity"]["curve"]][:2] == [10_000.0, 100_000.0]
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
    assert len(as_configured) == 10
    for strategy, drawdown in recorded.items():
        assert f"{drawdown:.1f}" in as_configured, strategy


def test_a_report_is_a_trial_registered_before_and_closed_with_the_ensemble_s_returns(rolled, reported):
    event, _ = reported
    (trial,) = trials_of(rolled.database, "sample")
    assert event.metadata["trial"].value == trial.id
    assert (trial.source, trial.seeds, trial.windows) == ("report", (0, 1), (date.fromisoformat(WINDOW),))
    assert trial.registered_at < trial.judged_at
    worth = query(
        rolled.database,
        "SELECT c.timestamp::date, c.net_worth FROM tt_equity_curve c JOIN tt_episode e ON e.id = c.episode_id "
        "WHERE e.instrument = 'sample' AND e.strategy = 'ensemble' ORDER BY 1",
    )
    days, levels = zip(*worth, strict=True)
    assert trial.sessions.tolist() == list(days[1:])
    assert trial.returns == pytest.approx([after / before - 1 for before, after in pairwise(levels)], abs=1e-9)
    assert "report" in event.metadata["trials"].value


def test_a_symbol_that_joins_the_portfolio_leaves_its_old_windows_judged(rolled, reported, tmp_path, monkeypatch):
    listed = read_watchlist(Settings().watchlist)
    more = tmp_path / "watchlist.csv"
    more.write_text("symbol,portfolio\n" + "".join(f"{name},sample\n" for name in (*listed.members("sample"), "XOM")))
    monkeypatch.setenv("TT_WATCHLIST", str(more))
    result = run_report(rolled, "sample")
    assert result.success
    (event,) = result.asset_materializations_for_node("report")
    assert event.metadata["figures"].value == reported[0].metadata["figures"].value


def test_the_gate_refuses_one_window_of_the_bundled_bars_and_says_why(rolled, reported):
    plan, market = current_plan(), MarketReader(rolled.database)
    decided = decide(market, "sample", plan)
    assert not decided.promoted
    found = {rule.name: rule for rule in decided.rules}
    assert found["sessions"].sessions_more == 504 - 63
    assert "63 sessions were judged, 504 are asked: 441 more." in decided.refusal
    assert "it could not be asked; one window is all there is" in found["ahead without its best window"].words
    assert found["episodes are sound"].held, found["episodes are sound"].words
    assert found["orders fit the market"].held
    status = promotion_status(rolled.database, "sample", date(2012, 9, 28))
    assert not status.promoted
    assert str(status).startswith("not promoted: refused on")
    assert decided.refusal in str(status)
    assert "nobody asked the gate" in promotion_status(rolled.database, "IBM", date(2012, 9, 28)).reason
    assert len(trials_of(rolled.database, "sample")) == 1  # asking the gate is the trial that the report was


def test_a_promotion_lapses_with_time_with_its_bars_and_with_its_agents(rolled, reported):
    plan, market = current_plan(), MarketReader(rolled.database)
    open_gate = GateConfig(sessions=21, level=0.999, deflated_sharpe=1e-9, windows_ahead=0.0)
    results = [rule for rule in rules_of(market, plan, open_gate) if rule.name == "sessions"]
    assert results[0].held
    (trial,) = trials_of(rolled.database, "sample")
    agents = dict(
        query(
            rolled.database,
            "SELECT window_start::text || ' ' || seed, sha256 FROM tt_policy WHERE instrument = 'sample'",
        )
    )
    first, last = date(2012, 7, 2), date(2012, 9, 28)
    members = ["AAPL", "IBM"]
    decision = Promotion(
        "sample", trial.id, True, "1", [], agents, members, bars_digest(rolled.database, members, first, last), first,
        last, date(2012, 12, 28),
    )  # fmt: skip
    record_promotion(rolled.database, decision)
    assert promotion_status(rolled.database, "sample", last).promoted
    assert "held until 2012-12-28" in promotion_status(rolled.database, "sample", date(2012, 12, 31)).reason
    record_promotion(rolled.database, replace(decision, agents=agents | {f"{WINDOW} 0": "another"}))
    assert f"{WINDOW} 0 is not the one promoted" in promotion_status(rolled.database, "sample", last).reason
    record_promotion(rolled.database, replace(decision, bars="others"))
    assert "have been restated since" in promotion_status(rolled.database, "sample", last).reason


def rules_of(market, plan, config):
    subject = subject_of(market, "sample", plan)
    _, judgement = judgement_of(subject, market)
    return rules(Evidence(judgement, 1, np.empty((0, 0)), [], [], 10_000.0, 10_000.0), config)


def test_the_same_episodes_give_the_same_report(rolled, reported):
    assert run_report(rolled, "sample").success
    assert (Settings().home / "reports" / "sample.html").read_bytes() == reported[1]


def test_only_the_seeds_and_baselines_in_force_are_rolled_and_judged(rolled, monkeypatch):
    monkeypatch.setenv("TT_SEEDS", "1")
    monkeypatch.setenv("TT_BASELINES", "momentum,random")
    settings, market = Settings(), MarketReader(rolled.database)
    window = Window(date.fromisoformat(WINDOW), "sample")
    policies = market.rolled_policies("sample")
    assert set(policies["seed"]) == set(range(SEEDS))
    plan = current_plan()
    stored = market.policies_with_digests(selection_of(plan.window_partitions, [window.key()]))
    again = roll([window], stored, read_watchlist(settings.watchlist), market, plan)
    assert [(e.strategy, e.seed) for e in again.episodes] == [("agent", 0), ("momentum", 0), ("random", 0)]
    assert again.counted()["seeds_of_agents"] == "0"

    result = run_report(rolled, "sample")
    (event,) = result.asset_materializations_for_node("report")
    assert event.metadata["seeds_of_agents"].value == "0"
    assert "the agent (one seed)" in event.metadata["verdict"].value
    assert "; momentum, returned" in event.metadata["verdict"].value
    lines = [line for line in event.metadata["figures"].value.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4 * 4
    assert count(trials_of(rolled.database, "sample")) == 2  # one seed is another configuration


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

    one = Stored(q20120101=[0, 1, 2, 3], q20120401=[0, 2])
    windows = finished_windows(one, "sample", 3)
    assert [list(rows["seed"]) for rows in windows.values()] == [[0, 2], [0, 2]]
    assert seeds_of(windows) == (0, 2)
    with pytest.raises(UserError, match="have no seed in common; run `tt train --instruments sample`"):
        finished_windows(Stored(q20120101=[1], q20120401=[2]), "sample", 3)
    with pytest.raises(UserError, match="No finished episode of sample"):
        finished_windows(Stored(q20120101=[7]), "sample", 3)
