"""`tt signals` and `tt policies` as a person types them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from tt_assets.postgres.database import Database
from tt_assets_tests.commands.conftest import Tt
from tt_assets_tests.dagster_runs import query

SCORES = (
    "instrument,timestamp,signal_name,score\n"
    "AAPL,2012-05-14,news,0.5\nIBM,2012-05-15,news,-1\nAAPL,2012-05-14,analysts,0.1\n"
)


@pytest.fixture
def imported(tt: Tt, connected: Database, tmp_path: Path) -> Database:
    """A database with three scores of two signals."""
    (tmp_path / "scores.csv").write_text(SCORES)
    done = tt("signals", "import", str(tmp_path / "scores.csv"))
    assert done.code == 0, done.err
    assert "Imported 3 scores into 2 partitions" in done.out + done.err
    assert "analysts, news: seen by agents trained from now on" in done.out + done.err
    return connected


def test_every_signal_is_listed_with_what_there_is_of_it(tt: Tt, imported: Database) -> None:
    listed = json.loads(tt("signals", "list", "--json").out)
    assert listed == [
        {"signal": "analysts", "scores": 1, "instruments": 1, "first": "2012-05-14", "last": "2012-05-14"},
        {"signal": "news", "scores": 2, "instruments": 2, "first": "2012-05-14", "last": "2012-05-15"},
    ]


def test_a_removed_signal_is_gone_and_the_others_stay(tt: Tt, imported: Database) -> None:
    done = tt("signals", "remove", "news")
    assert "Deleted 2 scores of news from 2 partitions" in done.out + done.err
    assert query(imported, "SELECT instrument, signal_name, score FROM tt_signal_scores") == [("AAPL", "analysts", 0.1)]
    ledger = query(imported, "SELECT date::text, instrument, rows FROM tt_slice WHERE rows IS NOT NULL ORDER BY 1")
    assert ledger == [("2012-05-14", "AAPL", 1), ("2012-05-15", "IBM", 0)]


def test_a_signal_nobody_knows_is_named_with_those_there_are(tt: Tt, imported: Database) -> None:
    answer = tt("signals", "remove", "nwes")
    assert answer.is_one_line_of_advice()
    assert 'No score of "nwes" is stored; there are scores of analysts, news.' in answer.err


def test_a_decimal_comma_in_every_row_is_refused(tt: Tt, connected: Database, tmp_path: Path) -> None:
    (tmp_path / "comma.csv").write_text("instrument,timestamp,signal_name,score\nAAPL,2012-05-14,news,0,5\n")
    answer = tt("signals", "import", str(tmp_path / "comma.csv"))
    assert answer.is_one_line_of_advice()
    assert "line 2: 5 fields where the header has 4" in answer.err
    assert query(connected, "SELECT count(*) FROM tt_signal_scores") == [(0,)]


def _agent(database: Database, seed: int, sha256: str, superseded: str | None, episode: str | None) -> None:
    """An agent of one window; with an episode of that strategy."""
    ((number,),) = query(
        database,
        "INSERT INTO tt_policy (window_start, instrument, seed, weights, config_json, sha256, superseded_at) "
        "VALUES ('2012-04-01', 'AAPL', %s, '', '{}', %s, %s) RETURNING id",
        seed,
        sha256,
        superseded,
    )
    if episode:
        query(
            database,
            "INSERT INTO tt_episode (window_start, instrument, strategy, seed, policy_id, start_time, end_time, "
            "stop_reason, config_json) VALUES ('2012-04-01', 'AAPL', %s, %s, %s, %s, %s, 'evaluation_complete', '{}') "
            "RETURNING id",
            episode,
            seed,
            number,
            datetime(2012, 4, 2),
            datetime(2012, 6, 29),
        )


def test_agents_are_listed_and_those_out_of_force_pruned_once_another_was_rolled(tt: Tt, connected: Database) -> None:
    _agent(connected, 0, "aaa", None, "agent")
    _agent(connected, 0, "bbb", "2012-07-01", "old agent")
    _agent(connected, 1, "ccc", "2012-07-01", "agent")  # whose successor was not rolled yet
    listed = json.loads(tt("policies", "list", "--json").out)
    assert [(row["sha256"], row["in_force"], row["episodes"]) for row in listed] == [
        ("aaa", True, 1),
        ("bbb", False, 1),
        ("ccc", False, 1),
    ]
    young = tt("policies", "prune", "--older-than", "36500")
    assert "Deleted 0 earlier agents" in young.out + young.err
    done = tt("policies", "prune")
    assert "Deleted 1 earlier agents and 1 of their episodes" in done.out + done.err
    assert query(connected, "SELECT sha256 FROM tt_policy ORDER BY 1") == [("aaa",), ("ccc",)]
    assert query(connected, "SELECT strategy FROM tt_episode ORDER BY 1") == [("agent",), ("agent",)]
