"""`tt promote` and `tt trials` on a portfolio whose members change between two windows; the check on promotions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date

import dagster as dg
import pytest

from tt_assets.assets.gate import promotion_check
from tt_assets.assets.judging import subject_of
from tt_assets.postgres.promotions import Promotion, bars_digest, record_promotion
from tt_assets.report.labels import COVERAGE_TEXT
from tt_assets.runs.market_reader import MarketReader
from tt_assets_tests.assets.sample_window import AGENTS, Rolled, fill_market, sample_window
from tt_assets_tests.commands.conftest import Answer
from tt_assets_tests.dagster_runs import current_plan, query, run_job

FIRST, SECOND, LAST = "2012-07-01", "2012-10-01", date(2012, 12, 31)
WATCHLIST = """symbol,portfolio,from,to
AAPL,dated,2005-03-01,
GOOG,dated,2005-03-01,2012-09-28
IBM,dated,2005-03-01,
MSFT,dated,2012-10-01,
"""
TODAY = "symbol,portfolio\nAAPL,dated\nIBM,dated\nMSFT,dated\n"
QUICK = {
    "TT_TRAIN_STEPS": "512",
    "TT_TRAIN_WORKERS": "1",
    "TT_SEEDS": "2",
    "TT_END_DATE": f"{LAST}",
}


@pytest.fixture(scope="module")
def on_dated(postgres, tmp_path_factory) -> Iterator[tuple[Rolled, dict[str, str]]]:
    """Two windows of a portfolio that one symbol left and one joined between them; what the settings are."""
    home = tmp_path_factory.mktemp("home")
    listed = home / "dated.csv"
    listed.write_text(WATCHLIST)
    settings = {**QUICK, "TT_WATCHLIST": str(listed)}
    with sample_window(postgres, home, ("dated",), **settings) as made:
        fill_market(postgres, "2011-09-01", f"{LAST}")
        for window in (FIRST, SECOND):
            assert run_job(made.instance, AGENTS, f"{window}|dated").success
        yield made, {**settings, "TT_HOME": str(home), "TT_DATABASE_URL": postgres.adbc_uri()}


@pytest.fixture
def rolled(on_dated, monkeypatch) -> Rolled:
    made, settings = on_dated
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def refused(rolled, tt) -> tuple[Answer, dict]:
    """What `tt promote` says, as a table and as JSON."""
    said = tt("promote", "dated")
    return said, json.loads(tt("promote", "dated", "--json").out)


def test_each_window_is_trained_and_judged_with_the_members_it_had(rolled, tmp_path, monkeypatch):
    expected = {FIRST: ["AAPL", "GOOG", "IBM"], SECOND: ["AAPL", "IBM", "MSFT"]}
    trained = query(
        rolled.database,
        "SELECT DISTINCT window_start::text, (config_json::json -> 'instruments')::text FROM tt_policy",
    )
    assert {window: sorted(json.loads(members)) for window, members in trained} == expected
    held = query(
        rolled.database,
        "SELECT DISTINCT e.window_start::text, t.instrument FROM tt_target_weights t JOIN tt_episode e "
        "ON e.id = t.episode_id WHERE t.instrument <> 'CASH'",
    )
    assert {window: sorted(name for own, name in held if own == window) for window in expected} == expected
    subject = subject_of(MarketReader(rolled.database), "dated", current_plan())
    assert [sorted(window.panel.instruments) for window in subject.windows] == list(expected.values())
    # A watchlist without these dates changes nothing about what was judged.
    later = tmp_path / "today.csv"
    later.write_text(TODAY)
    monkeypatch.setenv("TT_WATCHLIST", str(later))
    again = subject_of(MarketReader(rolled.database), "dated", current_plan())
    assert [sorted(window.panel.instruments) for window in again.windows] == list(expected.values())
    assert again.trial.config == subject.trial.config


def test_a_refusal_names_each_rule_by_how_much_it_misses_and_how_many_sessions_more(refused):
    said, told = refused
    assert said.code == 1
    assert not told["promoted"]
    found = {rule["name"]: rule for rule in told["rules"]}
    judged = int(found["sessions"]["figure"].split()[0])
    assert found["sessions"]["sessions_more"] == 504 - judged
    assert judged in range(120, 130)
    assert f"{judged} sessions were judged, 504 are asked: {504 - judged} more." in told["refusal"]
    assert "dated is not promoted." in said.err
    assert " ".join(told["refusal"].split()) in " ".join(said.err.split())
    for rule in told["rules"]:
        assert rule["name"] in said.out
        assert rule["words"].endswith(".")
        assert rule["held"] or rule["words"] in told["refusal"]
    assert "p of at most 0.05" in found["beats every yardstick"]["threshold"]


def test_every_try_is_listed_shown_and_compared(refused, tt):
    _, told = refused
    rows = json.loads(tt("trials", "list", "--json").out)
    assert [(row["trial"], row["traded"], row["source"], row["state"]) for row in rows] == [
        (1, "dated", "promote", "judged")
    ]  # asked twice, counted once
    whole = tt("trials", "show", "1")
    assert whole.code == 0
    assert "commission_bps" in whole.out
    dearer = json.loads(tt("promote", "dated", "--json", TT_COMMISSION_BPS="30").out)
    assert dearer["number"] > told["number"]
    said = tt("trials", "list", TT_COMMISSION_BPS="10")
    assert "2 configurations counted." in said.out
    numbers = [str(row["trial"]) for row in json.loads(tt("trials", "list", "--json").out)]
    compared = {row["what"]: row for row in json.loads(tt("trials", "compare", *numbers, "--json").out)}
    settings = [name for name in compared if name.startswith("setting ")]
    assert settings == ["setting trading.commission_bps"]
    assert list(compared[settings[0]].values())[1:] == ["10", "30"]
    paid = list(compared["figure commission_paid"].values())[1:]
    assert float(paid[1]) > 2.0 * float(paid[0])
    assert "Both are trial 1: they are the same." in tt("trials", "compare", "1", "1").out
    assert f"low end of the {COVERAGE_TEXT} interval" in tt("trials", "show", "1").out
    assert "sharpe_low" not in tt("trials", "show", "1").out
    assert tt("trials", "show", "99").is_one_line_of_advice()
    assert tt("trials", "list", "--instruments", "nothing").code == 0


def test_the_check_of_promotions_warns_when_one_has_lapsed(rolled):
    def checked() -> dg.AssetCheckResult:
        return promotion_check(current_plan())(database=rolled.database)

    assert checked().passed
    agents = dict(query(rolled.database, "SELECT window_start::text || ' ' || seed, sha256 FROM tt_policy"))
    (number,) = query(rolled.database, "SELECT min(id) FROM tt_trial")[0] or (None,)
    first, members = date(2012, 7, 2), ["AAPL", "IBM"]
    digest = bars_digest(rolled.database, members, first, LAST)
    stands = Promotion("dated", number, True, "1", [], agents, members, digest, first, LAST, date(2013, 4, 1))
    record_promotion(rolled.database, stands)
    assert checked().passed
    assert "promoted until 2013-04-01" in str(checked().metadata["dated"].value)
    with rolled.database.connect() as connection:
        connection.execute(
            "UPDATE tt_slice SET digest = md5(digest) WHERE table_name = 'tt_prices' AND instrument = 'IBM' "
            "AND date = '2012-08-01'"
        )
    said = checked()
    assert not said.passed
    assert said.severity is dg.AssetCheckSeverity.WARN
    assert "dated not promoted: bars it was promoted on" in said.description
